"""What is left of the answer when the hottest, or the coldest, pixels are taken away.

Insertion and deletion (Petsiuk et al. 2018) and ROAD (Rong et al. 2022)
differ in what stands in for a removed pixel. That is a function here:
:func:`blurred` for the first two; for ROAD its noisy linear imputation, which
the library grad-cam has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from housevis.core.errors import ModelError
from housevis.explain.heatmap import upsample

SHARES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the pixels that are removed."""

Order = Literal["hottest first", "coldest first"]

Fill = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]
"""From pictures ``(n, H, W, 3)`` and the pixels to remove ``(n, H, W)`` to pictures without them."""

_BLUR = 11.0


def blurred(pictures: NDArray[np.uint8], removed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A strongly blurred copy of the picture stands where pixels are removed."""
    soft = gaussian_filter(pictures.astype(np.float32), sigma=(0, _BLUR, _BLUR, 0), mode="reflect")
    return np.where(removed[..., None], soft.round().astype(np.uint8), pictures)


def removed_pixels(
    heats: NDArray[np.floating], share: float, height: int, width: int, order: Order
) -> NDArray[np.bool_]:
    """The given share of each picture's pixels, by the heat of the enlarged map.

    Pixels of the same heat are taken from the top left; every picture loses
    the same number.

    Args:
        heats: ``(n, h, w)``.
        share: Between 0 and 1.
        height: Rows of the picture.
        width: Columns of the picture.
        order: Which pixels go first.

    Returns:
        bool ``(n, height, width)``.
    """
    sign = -1 if order == "hottest first" else 1
    enlarged = sign * upsample(heats, height, width).reshape(len(heats), -1)
    removed = np.zeros(enlarged.shape, dtype=bool)
    places = np.argsort(enlarged, axis=1, kind="stable")[:, : round(share * enlarged.shape[1])]
    np.put_along_axis(removed, places, True, axis=1)
    return removed.reshape(len(heats), height, width)


def removal_curve(
    pictures: NDArray[np.uint8],
    heats: NDArray[np.floating],
    score: Callable[[NDArray[np.uint8]], NDArray[np.floating]],
    *,
    order: Order,
    fill: Fill = blurred,
    shares: Sequence[float] = SHARES,
) -> NDArray[np.float64]:
    """The score of each picture with more and more pixels removed.

    The mean over the shares with the hottest pixels first is the deletion
    score (low is good); with the coldest first, which leaves the hottest in,
    it is the insertion score (high is good). Their difference is what ROAD
    combines.

    Args:
        pictures: uint8 ``(n, H, W, 3)``.
        heats: ``(n, h, w)``.
        score: The scalar that is explained: pictures to ``(n,)``.
        order: Which pixels go first.
        fill: What stands in their place.
        shares: Shares of the pixels.

    Returns:
        float64 ``(S, n)``.

    Raises:
        ModelError: The shapes do not fit, or a map is not finite.
    """
    if pictures.ndim != 4 or heats.ndim != 3 or len(pictures) != len(heats):
        raise ModelError(
            f"pictures {pictures.shape} and maps {heats.shape} must be (n, H, W, 3) and (n, h, w)"
        )
    if not np.isfinite(heats).all():
        raise ModelError("a map holds a value that is no finite number")
    height, width = pictures.shape[1:3]
    return np.array(
        [score(fill(pictures, removed_pixels(heats, share, height, width, order))) for share in shares],
        dtype=np.float64,
    )
