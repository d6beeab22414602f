"""The Python of docs/price-model.md runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "price-model.md"


def test_the_page_runs_from_top_to_bottom(
    market: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    market[0].to_parquet("sales.parquet")
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(names["estimate"]) == len(names["later"]) > 0
    assert np.isfinite(names["scores"]).all()
    drivers = names["drivers"]
    np.testing.assert_allclose(drivers.estimate, names["same"].predict(names["later"]))
    assert sorted(path.name for path in Path("model").iterdir()) == [
        "comparables.json", "comparables.parquet", "model.json", "without_picture.txt",
    ]  # fmt: skip
