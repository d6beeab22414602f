"""Drawings of the report of one house as inline SVG: the range, the drivers, where the comparables lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from housevis.core.earth import METRES_PER_DEGREE
from housevis.views.charts import short_amount
from housevis.views.words import money

_LONGEST_LABEL: Final = 30
_SMALLEST_REACH: Final = 120.0
_DISC: Final = 9.0
_SCALE_ROOM: Final = 18.0
"""Room at the foot of the little map for its scale."""


def shortened(text: str, most: int = _LONGEST_LABEL) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def range_chart(
    estimate: float,
    low: float,
    high: float,
    price: float | None,
    comparables: Sequence[float],
    currency: str,
    *,
    width: float = 440.0,
) -> Markup:
    """The estimate in its range, with the price and the adjusted prices of comparables.

    Args:
        estimate: Currency.
        low: Lower end of the range.
        high: Upper end of it.
        price: Price of the sale, or None.
        comparables: Adjusted prices; those far beyond the range are drawn at the edge.
        currency: ISO 4217 code.
        width: Width of the drawing in its own units.
    """
    inner = [low, high, estimate] + ([price] if price is not None else [])
    span = max(max(inner) - min(inner), 0.02 * estimate)
    left, right = min(inner) - 0.28 * span, max(inner) + 0.28 * span
    unit = (width - 20) / (right - left)

    def across(amount: float) -> float:
        return 10 + (min(max(amount, left), right) - left) * unit

    def text(x: float, y: float, words: str, kind: str) -> str:
        anchor = "start" if x < 52 else "end" if x > width - 52 else "middle"
        x = 2 if x < 52 else width - 2 if x > width - 52 else x
        return f'<text x="{x:.1f}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'

    parts = [
        f'<svg class="drawing" viewBox="0 0 {width:g} 104" role="img" aria-label="Estimate '
        f"{escape(money(estimate, currency, digits=4))}, range {escape(money(low, currency, digits=4))} to "
        f'{escape(money(high, currency, digits=4))}">',
        f'<path class="line" d="M4 44H{width - 4:g}"/>',
        f'<rect class="range" x="{across(low):.1f}" y="33" width="{across(high) - across(low):.1f}" '
        'height="22" rx="4"/>',
    ]
    parts += [f'<circle class="comparable" cx="{across(one):.1f}" cy="44" r="4"/>' for one in comparables]
    parts.append(f'<path class="mark" d="M{across(estimate):.1f} 26v36"/>')
    parts.append(text(across(estimate), 20, f"estimate {money(estimate, currency, digits=4)}", "strong"))
    parts.append(text(across(low), 71, money(low, currency, digits=3), "soft"))
    parts.append(text(across(high), 71, money(high, currency, digits=3), "soft"))
    if price is not None:
        x = across(price)
        parts.append(
            f'<path class="price" d="M{x:.1f} 37l7 7-7 7-7-7z"/><path class="line" d="M{x:.1f} 53v27"/>'
        )
        parts.append(text(x, 93, f"sold for {money(price, currency, digits=4)}", "plain"))
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704


def waterfall_chart(
    base: float,
    drivers: Sequence[tuple[str, float, bool]],
    estimate: float,
    currency: str,
    *,
    pointer: str = "",
    width: float = 700.0,
    row: float = 19.0,
) -> Markup:
    """From the base over each driver to the estimate.

    The axis does not begin at zero: base and estimate are lines, not bars.

    Args:
        base: Currency.
        drivers: Name, amount, and whether it is the picture's, in the order of the drawing; with the base
            they add up to the estimate.
        estimate: Currency.
        currency: ISO 4217 code.
        pointer: What stands behind the picture's name, to point to its map.
        width: Width of the drawing in its own units.
        row: Height of a row in its own units.
    """
    steps = np.concatenate([[base], base + np.cumsum([amount for _, amount, _ in drivers])])
    low, high = float(min(steps.min(), estimate)), float(max(steps.max(), estimate))
    margin = 0.06 * max(high - low, 0.01 * abs(estimate))
    low, high = low - margin, high + margin
    left, right = 190.0, width - 92.0
    unit = (right - left) / (high - low)

    def across(amount: float) -> float:
        return left + (amount - low) * unit

    rows = len(drivers) + 2
    height = rows * row + 22
    parts = [
        f'<svg class="drawing" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-label="Drivers of the estimate in the currency, from the base to the estimate">'
    ]
    for tick in _even_ticks(low, high):
        x = across(tick)
        parts.append(
            f'<path class="grid" d="M{x:.1f} 2V{rows * row + 2:g}"/>'
            f'<text class="soft" x="{x:.1f}" y="{rows * row + 17:g}" text-anchor="middle">'
            f"{escape(short_amount(tick))}</text>"
        )

    def line(number: int, name: str, amount: str, kind: str) -> None:
        y = number * row + 0.68 * row
        parts.append(
            f'<text class="{kind}" x="{left - 10:g}" y="{y:.1f}" text-anchor="end">{escape(name)}</text>'
            f'<text class="{kind}" x="{width - 4:g}" y="{y:.1f}" text-anchor="end">{escape(amount)}</text>'
        )

    line(0, "Base: a typical house", money(base, currency, digits=4), "plain")
    parts.append(f'<path class="mark thin" d="M{across(base):.1f} 3V{row + 2:g}"/>')
    for number, (name, amount, is_picture) in enumerate(drivers, start=1):
        begin, end = across(float(steps[number - 1])), across(float(steps[number]))
        kind = "adds" if amount >= 0 else "takes"
        top = number * row + 0.14 * row
        parts.append(
            f'<path class="step" d="M{begin:.1f} {top - 0.28 * row:.1f}v{0.28 * row:.1f}"/>'
            f'<rect class="{kind}{" picture" if is_picture else ""}" x="{min(begin, end):.1f}" y="{top:.1f}" '
            f'width="{max(abs(end - begin), 1.2):.1f}" height="{0.72 * row:.1f}" rx="1.5"/>'
        )
        words = shortened(name) + (pointer if is_picture else "")
        line(
            number, words, money(amount, currency, digits=3, signed=True), "strong" if is_picture else "plain"
        )
    line(rows - 1, "Estimate", money(estimate, currency, digits=4), "strong")
    x = across(estimate)
    parts.append(f'<path class="mark" d="M{x:.1f} {(rows - 1) * row + 1:g}v{row:g}"/></svg>')
    return Markup("".join(parts))  # noqa: S704


def locator_chart(
    house: tuple[float, float],
    comparables: Sequence[tuple[float, float]],
    around: NDArray[np.float64],
    *,
    width: float = 330.0,
    height: float = 205.0,
) -> Markup:
    """Where the house and its comparables lie, north at the top; no tiles are needed.

    Args:
        house: Latitude and longitude, degrees.
        comparables: The same of each comparable, in the order of their ranks.
        around: Other sales ``(m, 2)``, drawn faintly.
        width: Width of the drawing in its own units.
        height: Height of it.
    """
    places = _metres(house, np.array(comparables, dtype=np.float64).reshape(-1, 2))
    distance = np.hypot(places[:, 0], places[:, 1]) if len(places) else np.zeros(1)
    reach = max(min(float(distance.max()), 3 * float(np.median(distance))), _SMALLEST_REACH)
    near = places * np.minimum(1, reach / np.maximum(distance, 1e-9))[:, None] if len(places) else places
    corners = np.vstack([near, np.zeros((1, 2))])
    lowest, highest = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(highest - lowest, _SMALLEST_REACH)
    room = np.array([width, height - _SCALE_ROOM])
    unit = float(((room - 4 * _DISC - 8) / size).min())
    centre = (lowest + highest) / 2

    def on_page(metres: NDArray[np.float64]) -> NDArray[np.float64]:
        return room / 2 + (metres - centre) * np.array([unit, -unit])

    middle = on_page(np.zeros((1, 2)))[0]

    parts = [
        f'<svg class="drawing map" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-label="Where the house and its comparables lie, north at the top">'
        f'<rect class="ground" x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="6"/>'
    ]
    others = on_page(_metres(house, around))
    inside = ((others > 5) & (others < room - 2)).all(axis=1)
    parts += [f'<circle class="other" cx="{x:.1f}" cy="{y:.1f}" r="1.5"/>' for x, y in others[inside]]
    true = on_page(places)
    edge = np.array([_DISC + 3, _DISC + 3])
    shown = np.clip(true, edge, room - edge)
    outside = np.abs(shown - true).max(axis=1) > 1 if len(true) else np.zeros(0, dtype=bool)
    discs = _apart(shown, middle, edge, room - edge)
    for number, (disc, place) in enumerate(zip(discs, shown, strict=True), start=1):
        if not outside[number - 1] and np.hypot(*(disc - place)) > 2:
            parts.append(
                f'<path class="leader" d="M{place[0]:.1f} {place[1]:.1f}L{disc[0]:.1f} {disc[1]:.1f}"/>'
                f'<circle class="spot" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="2.2"/>'
            )
        kind = "disc beyond" if outside[number - 1] else "disc"
        parts.append(
            f'<circle class="{kind}" cx="{disc[0]:.1f}" cy="{disc[1]:.1f}" r="{_DISC:g}"/>'
            f'<text class="number" x="{disc[0]:.1f}" y="{disc[1] + 3.8:.1f}" text-anchor="middle">'
            f"{number}</text>"
        )
    x, y = middle
    parts.append(
        f'<path class="house" d="M{x - 8:.1f} {y + 1:.1f}L{x:.1f} {y - 7.5:.1f}L{x + 8:.1f} {y + 1:.1f}'
        f'V{y + 8:.1f}H{x - 8:.1f}z"/>'
    )
    bar = _round_below(0.28 * width / unit)
    words = f"{bar:g} m" if bar < 1000 else f"{bar / 1000:g} km"
    parts.append(
        f'<path class="scale" d="M12 {height - 16:g}v5h{bar * unit:.1f}v-5"/>'
        f'<text class="soft" x="{16 + bar * unit:.1f}" y="{height - 9:g}">{words}</text>'
        f'<path class="north" d="M{width - 16:g} 26V11m-4 5l4-6 4 6"/>'
        f'<text class="soft" x="{width - 16:g}" y="37" text-anchor="middle">N</text></svg>'
    )
    return Markup("".join(parts))  # noqa: S704


def _metres(house: tuple[float, float], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """East and north ``(m, 2)`` of the house, metres."""
    if not len(places):
        return np.empty((0, 2))
    east = (places[:, 1] - house[1] + 180) % 360 - 180
    across = math.cos(math.radians(house[0]))
    return np.stack([east * across, places[:, 0] - house[0]], axis=1) * METRES_PER_DEGREE


def _apart(
    places: NDArray[np.float64],
    middle: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Places of the discs, pushed from each other and from the house until none covers another."""
    discs = places + np.array([[1e-3 * number, -1e-3 * number] for number in range(len(places))]).reshape(
        -1, 2
    )
    for _ in range(80):
        for one in range(len(discs)):
            others = np.vstack([np.delete(discs, one, axis=0), middle[None]])
            away = discs[one] - others
            gap = np.hypot(away[:, 0], away[:, 1])
            short = gap < 2 * _DISC + 1.5
            if short.any():
                push = away[short] / np.maximum(gap[short], 1e-6)[:, None]
                discs[one] += (push * (2 * _DISC + 1.5 - gap[short])[:, None]).sum(axis=0) / 2
        discs = np.clip(discs, low, high)
    return discs


def _round_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= value)


def _even_ticks(low: float, high: float) -> list[float]:
    step = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(step))
    step = next(size * power for size in (1.0, 2.0, 5.0, 10.0) if size * power >= step)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
