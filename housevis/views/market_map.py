"""Maps of the market in the report: hexagons over the ground, each coloured by the sales in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from housevis.core.earth import METRES_PER_DEGREE
from housevis.views.charts import hexagon_counts
from housevis.views.words import percent

FEWEST_SALES: Final = 10
"""Cells with fewer sales are drawn without a colour."""

RATIO_LIMITS: Final = (0.90, 0.95, 0.98, 1.02, 1.05, 1.10)
"""Limits between the classes of the median ratio."""

_WIDTH: Final = 460
_COLOURED: Final = 0.95
_MOST_CELLS: Final = 420
_EDGE: Final = 0.004
_STEPS: Final = (0.001, 0.002, 0.004, 0.006, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1)


@dataclass(frozen=True)
class MapClass:
    """One colour of a map: its number from 0 and what it stands for."""

    number: int
    words: str


@dataclass(frozen=True)
class MarketMap:
    """One map of the report.

    Attributes:
        heading: What it shows.
        drawing: The map.
        classes: Its legend, from low to high.
        says: What is worth knowing beside it.
    """

    heading: str
    drawing: Markup
    classes: tuple[MapClass, ...]
    says: str


def map_cells(sales: pd.DataFrame) -> pd.DataFrame:
    """Later sales counted in hexagons over the ground.

    Args:
        sales: ``latitude``, ``longitude`` (EPSG:4326), ``price``, ``estimate`` and, of a
            run with pictures, ``picture_effect`` (a fraction).

    Returns:
        One row per cell with a sale: ``east`` and ``north`` of its middle
        (metres from the middle of the market), ``latitude``, ``longitude``,
        ``radius`` (metres to the corners), ``sales``, ``median_ratio``
        (estimate / price), ``median_error`` (without sign, a fraction) and
        ``picture_effect`` (its median), and ``shown``: False of the outermost places, which the
        maps leave out.
    """
    latitude = sales["latitude"].to_numpy(np.float64)
    longitude = sales["longitude"].to_numpy(np.float64)
    turned = (longitude - longitude[0] + 180) % 360 - 180
    middle = np.median(latitude), np.median(turned)
    stretch = math.cos(math.radians(float(middle[0])))
    east = (turned - middle[1]) * METRES_PER_DEGREE * stretch
    north = (latitude - middle[0]) * METRES_PER_DEGREE
    radius = _radius(east, north)
    centres, cell = _cells(east, north, radius)
    ratio = (sales["estimate"] / sales["price"]).to_numpy(np.float64)
    columns = {"cell": cell, "median_ratio": ratio, "median_error": np.abs(ratio - 1)}
    if "picture_effect" in sales:
        columns["picture_effect"] = sales["picture_effect"].to_numpy(np.float64)
    grouped = pd.DataFrame(columns).groupby("cell")
    ends = [np.quantile(side, [_EDGE, 1 - _EDGE]) for side in (east, north)]
    shown = np.all(
        [
            (ends[axis][0] - 2 * radius <= centres[:, axis])
            & (centres[:, axis] <= ends[axis][1] + 2 * radius)
            for axis in (0, 1)
        ],
        axis=0,
    )
    place = pd.DataFrame(
        {
            "east": centres[:, 0],
            "north": centres[:, 1],
            "latitude": middle[0] + centres[:, 1] / METRES_PER_DEGREE,
            "longitude": (longitude[0] + middle[1] + centres[:, 0] / (METRES_PER_DEGREE * stretch) + 180)
            % 360
            - 180,
            "radius": radius,
            "sales": grouped.size().to_numpy(),
        }
    )
    return pd.concat([place, grouped.median().reset_index(drop=True)], axis=1).assign(shown=shown)


def market_maps(cells: pd.DataFrame) -> list[MarketMap]:
    """The maps that the cells allow: of the median ratio, and of what the pictures do."""
    maps = [_ratio_map(cells)]
    if "picture_effect" in cells:
        maps.append(_picture_map(cells))
    return maps


def _ratio_map(cells: pd.DataFrame) -> MarketMap:
    limits = [f"{limit:.2f}" for limit in RATIO_LIMITS]
    words = [f"under {limits[0]}", *_between(limits), f"over {limits[-1]}"]
    says = "Blue: estimated below the prices; orange: above."
    return _map(
        "Estimate / price, the middle sale of each cell", cells, "median_ratio", RATIO_LIMITS, words, says
    )


def _picture_map(cells: pd.DataFrame) -> MarketMap:
    values = cells.loc[cells["sales"] >= FEWEST_SALES, "picture_effect"].abs()
    reach = float(values.quantile(0.95)) if len(values) else 0.0
    step = next((step for step in _STEPS if 5 * step >= reach), _STEPS[-1])
    limits = [number * step for number in (-5, -3, -1, 1, 3, 5)]
    texts = [percent(limit, 1 if step < 0.01 else 0).replace("-", "−") for limit in limits]
    words = [f"under {texts[0]}", *_between(texts), f"over {texts[-1]}"]
    says = "Blue: the pictures lower the estimates; orange: they raise them."
    heading = "How far the picture moves the estimate, the middle sale of each cell"
    return _map(heading, cells, "picture_effect", limits, words, says)


def _between(limits: Sequence[str]) -> list[str]:
    return [f"{low} to {high}" for low, high in pairwise(limits)]


def _map(
    heading: str, cells: pd.DataFrame, column: str, limits: Sequence[float], words: Sequence[str], says: str
) -> MarketMap:
    classes = tuple(MapClass(number, text) for number, text in enumerate(words))
    left_out = int(cells.loc[~cells["shown"], "sales"].sum())
    if left_out:
        says += f" {left_out:,} sales far outside are not drawn."
    return MarketMap(heading, _draw(heading, cells[cells["shown"]], column, limits, words), classes, says)


def _draw(
    heading: str, cells: pd.DataFrame, column: str, limits: Sequence[float], words: Sequence[str]
) -> Markup:
    radius = float(cells["radius"].iloc[0])
    west, south = cells["east"].min() - radius, cells["north"].min() - radius
    width = cells["east"].max() + radius - west
    tall = cells["north"].max() + radius - south
    scale = min(_WIDTH / width, 1.25 * _WIDTH / tall)
    height = tall * scale
    left = (_WIDTH - width * scale) / 2
    corners = [
        (0.97 * radius * scale * math.sin(math.pi / 3 * k), 0.97 * radius * scale * math.cos(math.pi / 3 * k))
        for k in range(6)
    ]
    outline = "l".join(f"{b[0] - a[0]:.1f} {b[1] - a[1]:.1f}" for a, b in pairwise(corners))
    box = f'viewBox="0 0 {_WIDTH} {height + 26:.0f}"'
    parts = [f'<svg class="chart map" {box} role="img" aria-label="{escape(heading)}">']
    for cell in cells.to_dict("records"):
        x = left + (cell["east"] - west) * scale + corners[0][0]
        y = (tall - (cell["north"] - south)) * scale + corners[0][1]
        few = cell["sales"] < FEWEST_SALES
        number = int(np.searchsorted(limits, cell[column], side="right"))
        told = f"fewer than {FEWEST_SALES} sales" if few else f"{cell['sales']} sales, {words[number]}"
        parts.append(
            f'<path class="{"few" if few else f"c{number}"}" d="M{x:.1f} {y:.1f}l{outline}z">'
            f"<title>{told}</title></path>"
        )
    parts.append(_scale_bar(scale, height + 20))
    return Markup("".join(parts) + "</svg>")  # noqa: S704


def _scale_bar(scale: float, bottom: float) -> str:
    """A bar of a round length, a fifth of the map at most."""
    longest = _WIDTH / 5 / scale
    power = 10 ** math.floor(math.log10(longest))
    metres = next(digit * power for digit in (5, 2, 1) if digit * power <= longest)
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    return (
        f'<path class="scale" d="M2 {bottom - 5:.1f}v5h{metres * scale:.1f}v-5"/>'
        f'<text x="{metres * scale + 10:.1f}" y="{bottom:.1f}">{text}</text>'
        f'<text x="{_WIDTH - 2}" y="{bottom:.1f}" text-anchor="end">north is up</text>'
    )


def _radius(east: np.ndarray, north: np.ndarray) -> float:
    """Metres from the middle of a cell to its corners: as small as leaves most sales in coloured cells."""
    spans = [float(np.diff(np.quantile(side, [_EDGE, 1 - _EDGE]))[0]) for side in (east, north)]
    radius = max(*spans, 100.0) / 3
    for _ in range(60):
        counts = hexagon_counts(east, north, 0.9 * radius)[1]
        coloured = counts[counts >= FEWEST_SALES].sum() / len(east)
        if len(counts) > _MOST_CELLS or coloured < _COLOURED:
            break
        radius *= 0.9
    return radius


def _cells(east: np.ndarray, north: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the cells ``(m, 2)`` and the number of each point's cell ``(n,)``."""
    centres, _ = hexagon_counts(east, north, radius)
    nearest: list[Any] = [
        np.argmin(((centres - point) ** 2).sum(axis=1)) for point in np.stack([east, north], axis=1)
    ]
    cell = np.array(nearest, dtype=np.int64)
    return centres[np.unique(cell)], np.unique(cell, return_inverse=True)[1]
