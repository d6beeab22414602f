from __future__ import annotations

import subprocess
import sys

import torch

from housevis.vision.torchvision_import import (
    declare_missing_operators,
    import_torchvision,
    operators_load,
)


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_networks_and_transforms_work_whether_or_not_the_operators_load() -> None:
    torchvision = import_torchvision()
    from torchvision.models import resnet18
    from torchvision.transforms import functional

    network = resnet18(weights=None).eval()
    picture = functional.resize(torch.zeros(1, 3, 40, 40), [32, 32])
    assert network(picture).shape == (1, 1000)
    assert import_torchvision() is torchvision


def test_nothing_is_declared_where_the_operators_are_known() -> None:
    code = (
        "import torch\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.define(f'torchvision::{name}',"
        " '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "from housevis.vision.torchvision_import import declare_missing_operators\n"
        "print(declare_missing_operators())"
    )
    assert run(code) == "[]"


def test_a_fresh_process_imports_torchvision_after_the_declaration() -> None:
    code = (
        "from housevis.vision.torchvision_import import *\n"
        "loads = operators_load()\n"
        "module = import_torchvision()\n"
        "import torch\n"
        "print(module.__name__, loads == module.extension._has_ops(), hasattr(torch.ops.torchvision, 'nms'))"
    )
    assert run(code) == "torchvision True True"


def test_declaring_twice_is_harmless() -> None:
    import_torchvision()
    assert declare_missing_operators() == []
    assert isinstance(operators_load(), bool)
