"""How much of the heat falls on what truly moves the price.

The heat ratio (C section 5) is the share of the heat that falls inside a
mask. Here it is pooled: heat inside summed over all houses, divided by all
heat. So a house without the driver counts too, and a method that heats it all
the same pays for that. The lift compares with a map that is the same
everywhere.

Beside the methods stand what bounds them: the true mask at the resolution of
the feature map, the most that any map of that grid reaches without
sharpening, and a Gaussian in the middle of the picture, which any method has
to beat where drivers stand near the house.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from housevis.core.errors import ModelError
from housevis.explain.heatmap import interpolation_matrix

ANY_DRIVER = "any driver"
"""Name of the region that is the union of all drivers' masks."""

UNIFORM = "uniform"
TRUE_MASK = "true mask on the grid"
CENTRED = "centred Gaussian"
CEILINGS = (UNIFORM, CENTRED, TRUE_MASK)
"""Methods that every table of heat ratios carries beside its own."""

_CENTRED_SIGMA = 0.25


@dataclass(frozen=True)
class HeatShare:
    """One line of a table of heat ratios.

    Attributes:
        method: The method, or one of :data:`CEILINGS`.
        region: A driver, or :data:`ANY_DRIVER`.
        ratio: Heat inside the region / all heat, pooled over the houses; None
            where the method gave no heat at all.
        uniform: The same for a map that is the same everywhere: the region's share of the area.
        lift: `ratio` / `uniform`; None where either is missing or the region is empty.
        houses: Houses counted.
        houses_with_region: Those of them whose picture shows the region.
        houses_with_heat: Those of them where the method gave any heat.
    """

    method: str
    region: str
    ratio: float | None
    uniform: float
    lift: float | None
    houses: int
    houses_with_region: int
    houses_with_heat: int


class HeatRatio:
    """Pooled heat ratios of several methods, collected batch by batch.

    Masks are needed only for one batch at a time. Heat is taken as enlarged
    bilinearly to the size of the masks; no enlarged map is ever made, since
    ``sum(U(heat) * mask) = sum(heat * U^T(mask))`` for the linear `U`.

    Args:
        drivers: Names of the masks, in their order; for example
            ``("pool", "water", "canopy", "arterial")``.
    """

    def __init__(self, drivers: Sequence[str]) -> None:
        self._regions = (ANY_DRIVER, *drivers)
        self._inside: dict[str, NDArray[np.float64]] = {}
        self._heat: dict[str, NDArray[np.float64]] = {}
        self._with_heat: dict[str, int] = {}
        self._with_region = np.zeros(len(self._regions), dtype=np.int64)
        self._houses = 0

    def add(self, heats: Mapping[str, NDArray[np.floating]], masks: NDArray[np.bool_]) -> None:
        """Count a batch of houses.

        Args:
            heats: Method -> maps ``(n, h, w)`` of the same houses; the same
                methods in every batch. Negative heat counts as none.
            masks: Where the drivers truly are, bool ``(n, D, H, W)``, over
                the same ground as the maps.

        Raises:
            ModelError: The shapes or methods do not fit, or a map is not finite.
        """
        self._check(heats, masks)
        if len(masks) == 0:
            return
        height, width = next(iter(heats.values())).shape[1:]
        regions = np.concatenate([masks.any(axis=1, keepdims=True), masks], axis=1)
        rows = interpolation_matrix(height, masks.shape[2])
        columns = interpolation_matrix(width, masks.shape[3])
        back = np.stack(
            [_back_to_grid(regions[:, place], rows, columns) for place in range(regions.shape[1])], 1
        )
        weight = np.outer(rows.sum(axis=0), columns.sum(axis=0)).astype(np.float64)

        for method, heat in heats.items():
            positive = np.maximum(heat, 0).astype(np.float64)[:, None]
            self._count(method, np.broadcast_to(positive, back.shape), back, weight)
        everywhere = np.broadcast_to(np.ones((height, width)), back.shape)
        centred = np.broadcast_to(centred_gaussian(height, width), back.shape)
        true = np.stack(
            [mask_on_grid(regions[:, place], height, width) for place in range(regions.shape[1])], axis=1
        )
        for method, ceiling in ((UNIFORM, everywhere), (CENTRED, centred), (TRUE_MASK, true)):
            self._count(method, ceiling, back, weight)
        self._with_region += regions.any(axis=(2, 3)).sum(axis=0)
        self._houses += len(masks)

    def results(self) -> list[HeatShare]:
        """The table so far: own methods first, then the ceilings; the union of drivers first.

        Returns:
            One line per method and region; none before any house was counted.
        """
        own = [method for method in self._inside if method not in CEILINGS]
        ceilings = [method for method in CEILINGS if method in self._inside]
        return [self._line(method, place) for method in own + ceilings for place in range(len(self._regions))]

    def _line(self, method: str, place: int) -> HeatShare:
        uniform = float(self._inside[UNIFORM][place] / self._heat[UNIFORM][place])
        heat = float(self._heat[method][place])
        ratio = float(self._inside[method][place]) / heat if heat > 0 else None
        return HeatShare(
            method=method,
            region=self._regions[place],
            ratio=ratio,
            uniform=uniform,
            lift=ratio / uniform if ratio is not None and uniform > 0 else None,
            houses=self._houses,
            houses_with_region=int(self._with_region[place]),
            houses_with_heat=self._with_heat[method],
        )

    def _count(
        self,
        method: str,
        heat: NDArray[np.float64],
        back: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> None:
        zeros = np.zeros(len(self._regions))
        self._inside[method] = self._inside.get(method, zeros) + (heat * back).sum(axis=(0, 2, 3))
        self._heat[method] = self._heat.get(method, zeros) + (heat * weight).sum(axis=(0, 2, 3))
        self._with_heat[method] = self._with_heat.get(method, 0) + int(heat[:, 0].any(axis=(1, 2)).sum())

    def _check(self, heats: Mapping[str, NDArray[np.floating]], masks: NDArray[np.bool_]) -> None:
        drivers = len(self._regions) - 1
        if masks.ndim != 4 or masks.shape[1] != drivers or masks.dtype != np.bool_:
            raise ModelError(f"the masks are {masks.dtype} {masks.shape}, not bool (n, {drivers}, H, W)")
        counted = set(self._inside) - set(CEILINGS)
        if not heats or set(heats) & set(CEILINGS) or (counted and counted != set(heats)):
            raise ModelError(
                f"the methods {sorted(heats)} do not fit; "
                + (f"so far there were {sorted(counted)}" if counted else "name at least one of your own")
            )
        shapes = {heat.shape for heat in heats.values()}
        if len(shapes) > 1 or any(heat.ndim != 3 or len(heat) != len(masks) for heat in heats.values()):
            raise ModelError(f"the maps have the shapes {sorted(shapes)} for {len(masks)} masks")
        for method, heat in heats.items():
            if not np.isfinite(heat).all():
                raise ModelError(f"a map of the method {method!r} holds a value that is no finite number")


def heat_ratio(
    heat: NDArray[np.floating], masks: NDArray[np.bool_], drivers: Sequence[str], *, method: str = "heat"
) -> list[HeatShare]:
    """The table of heat ratios of one method whose masks fit into memory.

    Args:
        heat: ``(n, h, w)``.
        masks: bool ``(n, D, H, W)``.
        drivers: Names of the masks.
        method: Name of the method in the table.

    Returns:
        The lines of :meth:`HeatRatio.results`.

    Raises:
        ModelError: The shapes do not fit, or a map is not finite.
    """
    counted = HeatRatio(drivers)
    counted.add({method: heat}, masks)
    return counted.results()


def rank_agreement(found: NDArray[np.floating], own: NDArray[np.floating]) -> NDArray[np.float64]:
    """Whether two sets of maps put the cells of each picture in the same order.

    Args:
        found: Maps ``(n, H, W)``; a grid finer than that of `own` is averaged over its cells.
        own: What they are compared with ``(n, h, w)``, for example the
            back-propagated maps of the same pictures.

    Returns:
        Spearman's rank correlation over the cells, float64 ``(n,)``; NaN
        where one of the maps is the same everywhere.

    Raises:
        ModelError: The shapes do not fit.
    """
    if found.ndim != 3 or own.ndim != 3 or len(found) != len(own):
        raise ModelError(f"maps {found.shape} and {own.shape} cannot be compared; they must be (n, h, w)")
    rows, columns = (
        _area_matrix(fine, coarse) for fine, coarse in zip(found.shape[1:], own.shape[1:], strict=True)
    )
    ranks = [
        rankdata(each.reshape(len(own), -1).astype(np.float64), axis=1)
        for each in (rows @ found @ columns.T, own)
    ]
    centred = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    spread = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    shared = (centred[0] * centred[1]).sum(axis=1)
    return np.divide(shared, spread, out=np.full(len(own), np.nan), where=spread > 0)


def mask_on_grid(masks: NDArray[np.bool_], height: int, width: int) -> NDArray[np.float64]:
    """The best map of a grid: each cell holds the share of its area that the mask covers.

    Args:
        masks: bool ``(n, H, W)``.
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        float64 ``(n, height, width)`` within [0, 1].
    """
    rows = _area_matrix(masks.shape[1], height)
    columns = _area_matrix(masks.shape[2], width)
    return (rows @ masks.astype(np.float32) @ columns.T).astype(np.float64)


def centred_gaussian(height: int, width: int) -> NDArray[np.float64]:
    """A map that knows nothing but that the house stands in the middle.

    Returns:
        float64 ``(height, width)``, 1 in the middle of the picture; its
        standard deviation is a quarter of each side.
    """
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return np.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * _CENTRED_SIGMA**2))


def _back_to_grid(
    masks: NDArray[np.bool_], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float64]:
    """The transpose of the bilinear enlargement, applied to masks ``(n, H, W)``."""
    return (rows.T @ masks.astype(np.float32) @ columns).astype(np.float64)


def _area_matrix(pixels: int, cells: int) -> NDArray[np.float32]:
    """The matrix ``(cells, pixels)`` that averages pixels over cells, shared ones by their part."""
    edges = np.arange(cells + 1) * pixels / cells
    left, right = np.arange(pixels)[None, :], np.arange(1, pixels + 1)[None, :]
    overlap = np.clip(np.minimum(edges[1:, None], right) - np.maximum(edges[:-1, None], left), 0, None)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
