"""Import torchvision also where its compiled operators do not fit torch.

A torchvision wheel built against another build of torch (for example a CUDA
wheel beside a CPU torch) cannot load its operators, and then ``import
torchvision`` itself fails: it registers fake kernels for two operators that
were never defined. Networks and transforms need none of them. Declaring the
two names first lets the import go through; calling one of them still fails,
as it should. Where the operators load, nothing is declared.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch

from housevis.core.errors import WeightsError

_DECLARATIONS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its missing operators where needed.

    Returns:
        The module ``torchvision``.

    Raises:
        WeightsError: torchvision is not installed.
    """
    if "torchvision" not in sys.modules and not operators_load():
        declare_missing_operators()
    return importlib.import_module("torchvision")


def operators_load() -> bool:
    """Whether torchvision's compiled operators load beside this torch.

    Raises:
        WeightsError: torchvision is not installed.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        raise WeightsError(
            "torchvision is not installed",
            remedy='Install it, or set vision.backbone = "efficientnet-lite0", which does not need it.',
        )
    libraries = [file for file in Path(found.origin).parent.glob("_C.*") if file.suffix in {".so", ".pyd"}]
    for library in libraries:
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
    return bool(libraries) and hasattr(torch.ops.torchvision, "nms")


def declare_missing_operators() -> list[str]:
    """Declare the operators that torchvision expects and torch does not know.

    Returns:
        The names declared now; empty where all were known already.
    """
    missing = [name for name in _DECLARATIONS if not hasattr(torch.ops.torchvision, name)]
    for name in missing:
        torch.library.define(f"torchvision::{name}", _DECLARATIONS[name])
    return missing
