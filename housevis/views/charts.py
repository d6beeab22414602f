"""Charts of the report as inline SVG: they need no script and print sharply."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

WIDTH = 460
"""Width of a chart in its own units; the page scales it."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 44


def price_ticks(low: float, high: float) -> list[float]:
    """Round amounts (1, 2, 5 times a power of ten) from `low` to `high`, at most six."""
    ticks = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) <= 6 else inside[:: math.ceil(len(inside) / 6)]


def short_amount(amount: float) -> str:
    """An amount short enough for an axis, for example ``500k``."""
    for size, letter in ((1e9, "bn"), (1e6, "m"), (1e3, "k")):
        if amount >= size:
            return f"{amount / size:g}{letter}"
    return f"{amount:g}"


def agreement_chart(price: np.ndarray, estimate: np.ndarray, currency: str) -> Markup:
    """Estimates against prices on logarithmic axes, counted in hexagons.

    The band is ±10 % around the line where both are equal.

    Args:
        price: Sale prices ``(n,)``.
        estimate: Estimates ``(n,)``.
        currency: ISO 4217 code.
    """
    side = WIDTH - _LEFT - _RIGHT
    low, high = _log_limits(price, estimate)
    unit = side / (high - low)

    def across(value: float) -> float:
        return _LEFT + (value - low) * unit

    def up(value: float) -> float:
        return _TOP + side - (value - low) * unit

    cells = agreement_cells(price, estimate)
    x, y = np.log(cells["price"].to_numpy()), np.log(cells["estimate"].to_numpy())
    centres = np.stack([_LEFT + (x - low) * unit, _TOP + side - (y - low) * unit], axis=1)
    counts = cells["sales"].to_numpy()
    shade = np.log1p(counts) / np.log1p(counts.max()) if len(counts) else counts
    parts = [_open(WIDTH, side + _TOP + _BOTTOM, "Estimates against sale prices, counted in hexagons")]
    for tick in price_ticks(math.exp(low), math.exp(high)):
        place, text = math.log(tick), short_amount(tick)
        parts.append(
            f'<path class="grid" d="M{across(place):.1f} {_TOP}v{side}M{_LEFT} {up(place):.1f}h{side}"/>'
            f'<text x="{across(place):.1f}" y="{_TOP + side + 17}" text-anchor="middle">{text}</text>'
            f'<text x="{_LEFT - 7}" y="{up(place) + 4:.1f}" text-anchor="end">{text}</text>'
        )
    parts.append(f'<clipPath id="plot"><path d="M{_LEFT} {_TOP}h{side}v{side}h-{side}z"/></clipPath>')
    parts.append('<g clip-path="url(#plot)">')
    band = [(low, low + math.log(0.9)), (high, high + math.log(0.9)), (high, high + math.log(1.1))]
    band.append((low, low + math.log(1.1)))
    outline = "L".join(f"{across(a):.1f} {up(b):.1f}" for a, b in band)
    parts.append(f'<path class="band" d="M{outline}z"/>')
    for (centre_x, centre_y), part in zip(centres, shade, strict=True):
        parts.append(
            f'<use href="#hexagon" x="{centre_x:.1f}" y="{centre_y:.1f}" opacity="{0.22 + 0.78 * part:.2f}"/>'
        )
    parts.append(f'<path class="equal" d="M{_LEFT} {_TOP + side}L{_LEFT + side} {_TOP}"/></g>')
    parts.append(
        f'<text class="axis" x="{_LEFT + side / 2}" y="{_TOP + side + 38}" text-anchor="middle">'
        f"Sale price, {escape(currency)}</text>"
        f'<text class="axis" transform="translate(13 {_TOP + side / 2}) rotate(-90)" '
        'text-anchor="middle">Estimate</text></svg>'
    )
    return Markup("".join(parts))  # noqa: S704


def agreement_cells(price: np.ndarray, estimate: np.ndarray) -> pd.DataFrame:
    """The cells of :func:`agreement_chart`.

    Args:
        price: Sale prices ``(n,)``.
        estimate: Estimates ``(n,)``.

    Returns:
        ``price`` and ``estimate`` at the middle of each cell, currency, and
        the ``sales`` in it; 1 sale in 250 at the ends is outside the chart.
    """
    low, high = _log_limits(price, estimate)
    unit = (WIDTH - _LEFT - _RIGHT) / (high - low)
    logs = np.stack([np.log(price), np.log(estimate)])
    x, y = (logs[:, ((logs >= low) & (logs <= high)).all(axis=0)] - low) * unit
    centres, counts = hexagon_counts(x, y, radius=7.0)
    amounts = np.exp(low + centres / unit)
    return pd.DataFrame({"price": amounts[:, 0], "estimate": amounts[:, 1], "sales": counts})


def error_shares(price: np.ndarray, estimate: np.ndarray) -> pd.DataFrame:
    """The bars of :func:`error_chart`: ``from`` and ``to`` (percent), ``sales`` and their ``share``.

    The outermost bars also count what lies beyond them.

    Args:
        price: Sale prices ``(n,)``.
        estimate: Estimates ``(n,)``.
    """
    edges = np.arange(-50, 51, 5)
    error = np.clip(100 * (estimate / price - 1), -49.9, 49.9)
    counts, _ = np.histogram(error, edges)
    return pd.DataFrame(
        {"from": edges[:-1], "to": edges[1:], "sales": counts, "share": counts / max(1, counts.sum())}
    )


def _log_limits(price: np.ndarray, estimate: np.ndarray) -> tuple[float, float]:
    """Ends of both axes of the agreement, in log price."""
    low, high = np.quantile(np.log(np.concatenate([price, estimate])), [0.002, 0.998])
    margin = 0.04 * (high - low) + 0.02
    return float(low - margin), float(high + margin)


def error_chart(price: np.ndarray, estimate: np.ndarray) -> Markup:
    """How many sales were estimated how far off, in steps of 5 %.

    Args:
        price: Sale prices ``(n,)``.
        estimate: Estimates ``(n,)``.
    """
    bars = error_shares(price, estimate)
    edges, share = bars["from"].to_numpy(), bars["share"].to_numpy()
    width = height = WIDTH - _LEFT - _RIGHT
    step = width / len(bars)
    highest = max(float(share.max()), 0.01)
    parts = [_open(WIDTH, height + _TOP + _BOTTOM, "Share of sales by error of the estimate")]
    tick = 0.1 if highest > 0.25 else 0.05
    for number in range(int(highest / tick) + 1):
        level = _TOP + height * (1 - number * tick / highest)
        parts.append(
            f'<path class="grid" d="M{_LEFT} {level:.1f}h{width}"/>'
            f'<text x="{_LEFT - 7}" y="{level + 4:.1f}" text-anchor="end">{100 * number * tick:.0f} %</text>'
        )
    for number, part in enumerate(share):
        near = abs(edges[number] + 2.5) < 10
        tall = height * float(part) / highest
        parts.append(
            f'<rect class="{"near" if near else "far"}" x="{_LEFT + number * step + 1:.1f}" '
            f'y="{_TOP + height - tall:.1f}" width="{step - 2:.1f}" height="{tall:.1f}"/>'
        )
    for edge in range(-40, 41, 20):
        place = _LEFT + (edge + 50) / 100 * width
        text = f"{edge:+d} %".replace("-", "−") if edge else "0"
        parts.append(f'<text x="{place:.1f}" y="{_TOP + height + 17}" text-anchor="middle">{text}</text>')
    parts.append(
        f'<text class="axis" x="{_LEFT + width / 2}" y="{_TOP + height + 38}" '
        'text-anchor="middle">Estimate compared with the sale price</text></svg>'
    )
    return Markup("".join(parts))  # noqa: S704


def hexagon_counts(x: np.ndarray, y: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Count points in a honeycomb.

    Args:
        x: Positions ``(n,)``.
        y: Positions ``(n,)``.
        radius: From the centre of a cell to its corners.

    Returns:
        Centres ``(m, 2)`` and counts ``(m,)`` of the cells that hold a point;
        the counts add up to n.
    """
    wide, tall = math.sqrt(3) * radius, 3 * radius
    even = np.stack([np.round(x / wide) * wide, np.round(y / tall) * tall], axis=1)
    odd = np.stack(
        [
            (np.floor(x / wide) + 0.5) * wide,
            (np.floor(y / tall) + 0.5) * tall,
        ],
        axis=1,
    )
    points = np.stack([x, y], axis=1)
    nearer = ((points - even) ** 2).sum(axis=1) <= ((points - odd) ** 2).sum(axis=1)
    centres = np.where(nearer[:, None], even, odd).round(3)
    found, counts = np.unique(centres.reshape(-1, 2), axis=0, return_counts=True)
    return found, counts


def hexagon_shape(radius: float = 7.0) -> Markup:
    """The cell that :func:`agreement_chart` draws, to be defined once in the page."""
    corners = [
        (radius * math.sin(math.pi / 3 * corner), radius * math.cos(math.pi / 3 * corner))
        for corner in range(6)
    ]
    outline = "L".join(f"{x:.2f} {y:.2f}" for x, y in corners)
    return Markup(f'<path id="hexagon" class="hexagon" d="M{outline}z"/>')  # noqa: S704


def _open(width: float, height: float, title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">'
