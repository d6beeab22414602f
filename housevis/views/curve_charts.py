"""Curves of the report: ratios by tenth, coverage by tenth, the level of prices, the Lorenz curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

_WIDTH: Final = 460
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 46

_ACROSS: Final = _WIDTH - _LEFT - _RIGHT
_UP: Final = _HEIGHT - _TOP - _BOTTOM


def tenths_chart(
    rows: pd.DataFrame,
    band: tuple[float, float],
    *,
    line: float,
    title: str,
    axis: str,
    as_percent: bool = False,
    wide_band: tuple[float, float] | None = None,
) -> Markup:
    """A figure with its interval for each tenth of the estimates, from the cheapest to the dearest.

    Args:
        rows: ``value``, ``low``, ``high`` in the order of the tenths.
        band: The range that the figure should lie in; it is shaded.
        line: Where a line is drawn across: 1 of a ratio, the nominal share of a coverage.
        title: What a reader who sees no pictures is told.
        axis: What stands below.
        as_percent: Whether values are shares, printed as percentages.
        wide_band: A wider range, shaded more faintly.
    """
    reach = [*rows["low"].dropna(), *rows["high"].dropna(), *(wide_band or band)]
    step = 0.05
    low = math.floor((min(reach) - 1e-9) / step) * step
    high = math.ceil((max(reach) + 1e-9) / step) * step
    while (high - low) / step > 8:
        step *= 2
        low, high = math.floor(low / step) * step, math.ceil(high / step) * step

    def up(value: float) -> float:
        return _TOP + _UP * (1 - (value - low) / (high - low))

    parts = [_open(title)]
    for limits, name in ((wide_band, "band faint"), (band, "band")):
        if limits:
            parts.append(
                f'<rect class="{name}" x="{_LEFT}" y="{up(limits[1]):.1f}" width="{_ACROSS}" '
                f'height="{up(limits[0]) - up(limits[1]):.1f}"/>'
            )
    for number in range(round((high - low) / step) + 1):
        tick = low + number * step
        text = f"{100 * tick:.0f} %" if as_percent else f"{tick:.2f}"
        parts.append(_level(up(tick), text))
    parts.append(f'<path class="equal" d="M{_LEFT} {up(line):.1f}h{_ACROSS}"/>')
    width = _ACROSS / max(len(rows), 1)
    points = []
    for number, row in enumerate(rows.to_dict("records")):
        x = _LEFT + (number + 0.5) * width
        if np.isfinite(row["low"]) and np.isfinite(row["high"]):
            whisker = f"M{x:.1f} {up(row['low']):.1f}V{up(row['high']):.1f}"
            parts.append(f'<path class="whisker" d="{whisker}m-4 0h8M{x - 4:.1f} {up(row["low"]):.1f}h8"/>')
        points.append(f"{x:.1f} {up(row['value']):.1f}")
        parts.append(
            f'<text x="{x:.1f}" y="{_TOP + _UP + 17}" text-anchor="middle">{int(row["position"]) + 1}</text>'
        )
    parts.append(f'<path class="curve" d="M{"L".join(points)}"/>' if points else "")
    parts += [f'<circle class="dot" cx="{p.split()[0]}" cy="{p.split()[1]}" r="4"/>' for p in points]
    return _closed(parts, axis)


def lorenz_chart(curves: pd.DataFrame, shown: Sequence[tuple[str, str]] | None = None) -> Markup:
    """The share of all value that the cheapest houses hold.

    Args:
        curves: Of :func:`housevis.pricing.equity.lorenz_curves`.
        shown: Columns and their classes; None shows prices and estimates.
    """
    parts = [_open("Lorenz curves of prices and of estimates")]
    for number in range(6):
        share = number / 5
        parts.append(_level(_TOP + _UP * (1 - share), f"{100 * share:.0f} %"))
        x = _LEFT + _ACROSS * share
        parts.append(
            f'<text x="{x:.1f}" y="{_TOP + _UP + 17}" text-anchor="{"end" if number == 5 else "middle"}">'
            f"{100 * share:.0f} %</text>"
        )
    parts.append(f'<path class="equal dashed" d="M{_LEFT} {_TOP + _UP}L{_LEFT + _ACROSS} {_TOP}"/>')
    for name, kind in shown or (("prices", "curve grey"), ("estimates", "curve")):
        line = "L".join(
            f"{_LEFT + _ACROSS * x:.1f} {_TOP + _UP * (1 - y):.1f}"
            for x, y in zip(curves["houses"], curves[name], strict=True)
        )
        parts.append(f'<path class="{kind}" d="M{line}"/>')
    return _closed(parts, "Share of the houses, in order of price")


def level_chart(level: pd.DataFrame, *, last_sale: pd.Timestamp | None = None) -> Markup:
    """The level of prices by month with its interval.

    Args:
        level: ``date``, ``level``, ``low``, ``high`` in log units.
        last_sale: Beyond that day the level is carried and drawn dashed.
    """
    days = (pd.to_datetime(level["date"]) - level["date"].iloc[0]).dt.days.to_numpy(np.float64)
    index = {name: 100 * np.exp(level[name].to_numpy(np.float64)) for name in ("level", "low", "high")}
    everything = np.concatenate(list(index.values()))
    everything = everything[np.isfinite(everything)]
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 1000) if np.ptp(everything) / s <= 6)
    low, high = (
        math.floor(everything.min() / step) * step,
        math.ceil((everything.max() + 1e-9) / step) * step,
    )
    span = max(days[-1], 1.0)

    def x_of(day: float) -> float:
        return _LEFT + _ACROSS * day / span

    def y_of(value: float) -> float:
        return _TOP + _UP * (1 - (value - low) / (high - low))

    parts = [_open("The level of prices by month with its interval")]
    for number in range(int((high - low) / step) + 1):
        parts.append(_level(y_of(low + number * step), f"{low + number * step:g}"))
    known = np.isfinite(index["low"]) & np.isfinite(index["high"])
    if known.any():
        upper = [
            f"{x_of(d):.1f} {y_of(v):.1f}" for d, v in zip(days[known], index["high"][known], strict=True)
        ]
        lower = [
            f"{x_of(d):.1f} {y_of(v):.1f}" for d, v in zip(days[known], index["low"][known], strict=True)
        ]
        parts.append(f'<path class="band" d="M{"L".join([*upper, *reversed(lower)])}z"/>')
    carried = (
        (pd.to_datetime(level["date"]) > last_sale).to_numpy() if last_sale is not None else known & False
    )
    line = [f"{x_of(d):.1f} {y_of(v):.1f}" for d, v in zip(days, index["level"], strict=True)]
    first_carried = int(np.argmax(carried)) if carried.any() else len(line)
    parts.append(f'<path class="curve" d="M{"L".join(line[:first_carried])}"/>')
    if carried.any():
        parts.append(f'<path class="curve dashed" d="M{"L".join(line[first_carried - 1 :])}"/>')
    for number in np.unique(np.linspace(0, len(level) - 1, min(4, len(level))).round().astype(int)):
        text = f"{level['date'].iloc[number]:%b %Y}"
        anchor = "end" if number == len(level) - 1 and len(level) > 1 else "middle" if number else "start"
        parts.append(
            f'<text x="{x_of(days[number]):.1f}" y="{_TOP + _UP + 17}" text-anchor="{anchor}">{text}</text>'
        )
    return _closed(parts, "Month")


def _level(y: float, text: str) -> str:
    text = text.replace("-", "−")
    return (
        f'<path class="grid" d="M{_LEFT} {y:.1f}h{_ACROSS}"/>'
        f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _open(title: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'


def _closed(parts: list[str], axis: str) -> Markup:
    parts.append(
        f'<text class="axis" x="{_LEFT + _ACROSS / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
        f"{escape(axis)}</text></svg>"
    )
    return Markup("".join(parts))  # noqa: S704
