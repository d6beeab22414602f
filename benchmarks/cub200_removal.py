"""Insertion, deletion and ROAD on the birds: likeness to the nearest training picture without some pixels."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from cub200_data import CROP, PictureSet, picture
from cub200_features import COARSE, Trunk
from cub200_methods import Lenders, View, all_methods
from numpy.typing import NDArray

from housevis.explain.removal import Fill, Order, removal_curve
from housevis.explain.scalars import normalised
from housevis.vision.engines import open_engine
from housevis.vision.torchvision_import import import_torchvision

ROAD_SHARES: Final = (0.3, 0.6)
_ORDERS: Final[dict[str, Order]] = {"deletion": "hottest first", "insertion": "coldest first"}


def removal_study(
    names: Sequence[str], pictures: PictureSet, view: View, trunk: Trunk, lenders: Lenders
) -> dict[str, Any]:
    """Mean scores by method.

    Args:
        names: Of the methods.
        pictures: Few pictures; every one costs dozens of passes.
        view: Their maps.
        trunk: What they are passed through.
        lenders: The training pictures.
    """
    seen = np.stack([picture(path, "centre crop", CROP) for path in pictures.paths])
    rows = lenders.nearest(lenders.head(view.maps), lending=False)
    asked = normalised(lenders.embeddings[rows])
    methods = all_methods(view, lenders)
    linear = _linear_fill()
    found: dict[str, Any] = {}
    with open_engine(trunk.backbone(COARSE), "auto", 16, threads=torch.get_num_threads()) as engine:

        def likeness(changed: NDArray[np.uint8]) -> NDArray[np.float32]:
            maps = torch.from_numpy(engine.pooled(changed))[:, :, None, None]
            return (normalised(lenders.head(maps)) * asked).sum(dim=1).numpy()

        for name in names:
            heats = methods[name]().numpy()
            row = {
                score: float(removal_curve(seen, heats, likeness, order=order).mean())
                for score, order in _ORDERS.items()
            }
            row["insertion less deletion"] = row["insertion"] - row["deletion"]
            if linear is not None:
                ends = [
                    removal_curve(seen, heats, likeness, order=order, fill=linear, shares=ROAD_SHARES).mean()
                    for order in ("coldest first", "hottest first")
                ]
                row["ROAD, combined"] = float((ends[0] - ends[1]) / 2)
            found[name] = row
    return {"pictures": len(pictures), "road_shares": ROAD_SHARES, "methods": found}


def _linear_fill() -> Fill | None:
    """ROAD's noisy linear imputation by grad-cam, at an eighth of the size; None without the library."""
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        return None
    import_torchvision()
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    impute = NoisyLinearImputer(noise=0.01)

    def fill(pictures: NDArray[np.uint8], removed: NDArray[np.bool_]) -> NDArray[np.uint8]:
        changed = pictures.copy()
        for row, (pixels, gone) in enumerate(zip(pictures, removed, strict=True)):
            small = torch.from_numpy(pixels[::8, ::8].copy()).permute(2, 0, 1).float() / 255
            kept = torch.from_numpy(~gone[::8, ::8].copy()).float()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(row)
                imputed = impute(small, kept).clamp(0, 1)
            large = torch.nn.functional.interpolate(imputed[None], pixels.shape[:2], mode="bilinear")[0]
            found = (255 * large).round().byte().permute(1, 2, 0).numpy()
            changed[row][gone] = found[gone]
        return changed

    return fill
