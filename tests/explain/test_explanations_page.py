"""The Python of docs/explanations.md runs from top to bottom."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from housevis.vision.torchvision_import import import_torchvision

PAGE = Path(__file__).parents[2] / "docs" / "explanations.md"
SECTION = re.compile(r"^## ", re.MULTILINE)
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 4, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:
        return self.lstm(frames.mean(dim=(3, 4)))[0][:, -1]


def given() -> dict[str, Any]:
    """What the page takes for granted."""
    torch.manual_seed(1)
    parts = OrderedDict(
        conv1=nn.Conv2d(3, 8, 3, padding=1),
        layer4=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1),
        flat=nn.Flatten(),
        fc=nn.Linear(8, 4),
    )
    return {
        "module": nn.Sequential(parts),
        "pictures": torch.rand(6, 3, 7, 7),
        "bounds": (-122.3, 47.5, -122.29, 47.51),
        "positives": torch.randn(6, 5, 4),
        "negatives": torch.randn(6, 5, 4),
        "prices": torch.arange(6) * 1000.0,
        "labels": ["oak", "elm"] * 3,
        "names": [f"picture {number}" for number in range(6)],
        "frames": torch.rand(2, 3, 8, 4, 4),
        "fused": Fused(),
    }


def test_the_code_of_the_page_runs() -> None:
    names = given()
    sections = SECTION.split(PAGE.read_text(encoding="utf-8"))
    ran = 0
    for section in sections:
        if section.startswith("Methods of other libraries"):
            import_torchvision()
            pytest.importorskip("pytorch_grad_cam")
            pytest.importorskip("captum")
        for code in CODE.findall(section):
            exec(compile(code, str(PAGE), "exec"), names)
            ran += 1
    assert ran >= 7
    assert set(names["theirs"]) == set(names["PEERS"])
    assert torch.allclose(names["search"].heats, names["quick"].heats, atol=0.02)


def test_every_method_says_what_it_shows_costs_and_gets_wrong() -> None:
    sections = SECTION.split(PAGE.read_text(encoding="utf-8"))
    methods = [section for section in sections if "**What it shows.**" in section]
    assert len(methods) >= 5
    for section in methods:
        assert "**Cost.**" in section
        assert "**What can go wrong.**" in section
