"""Where the pictures help and where they hurt: the gain in PE10 by group, each with its paired interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.pricing.metrics import FEWEST_SALES_JUDGED, hit, mdape, paired_bootstrap_difference
from housevis.pricing.sale_groups import PRICE, Grouping

HELPS, HURTS, UNSURE, NOT_JUDGED = "helps", "hurts", "chance not excluded", "not judged"
"""What is said of a group: its whole interval above zero, below it, zero inside, or too few sales."""

ALL: Final = "all"

COLUMNS: Final = (
    "by", "group", "position", "from", "to", "sales", "without", "with", "gain", "low", "high",
    "mdape_without", "mdape_with", "verdict",
)  # fmt: skip


def picture_gain(
    sales: pd.DataFrame, groupings: Sequence[Grouping], *, repeats: int = 2000, seed: int = 1
) -> pd.DataFrame:
    """The share of estimates within ±10 % without and with the pictures, over all sales and by group.

    Args:
        sales: ``estimate``, ``without_picture`` and ``price`` of n sales, currency.
        groupings: How to group them; by sale price nothing is grouped, as
            nothing can be judged there.
        repeats: Draws of the paired bootstrap.
        seed: Seed of the draws.

    Returns:
        One row per group, columns :data:`COLUMNS`. Shares and their
        difference ``gain`` with its 95 % interval ``low`` to ``high`` are
        fractions; ``from`` and ``to`` are the ends of a tenth, currency, NaN
        elsewhere.

    Raises:
        ModelError: There are no sales.
    """
    price = sales["price"].to_numpy(np.float64)
    estimate, without = (sales[name].to_numpy(np.float64) for name in ("estimate", "without_picture"))

    def row(by: str, name: str, position: int, chosen: Any, ends: tuple[float, float]) -> dict[str, Any]:
        p, e, w = price[chosen], estimate[chosen], without[chosen]
        gain = paired_bootstrap_difference(hit(w, p), hit(e, p), repeats, seed)
        return {
            "by": by,
            "group": name,
            "position": position,
            "from": ends[0],
            "to": ends[1],
            "sales": len(p),
            "without": float(hit(w, p).mean()),
            "with": float(hit(e, p).mean()),
            "gain": gain.estimate,
            "low": gain.low,
            "high": gain.high,
            "mdape_without": float(mdape(w, p)),
            "mdape_with": float(mdape(e, p)),
            "verdict": verdict(gain.low, gain.high, len(p)),
        }

    unknown = (float("nan"), float("nan"))
    rows = [row(ALL, "all sales", 0, slice(None), unknown)]
    for grouping in groupings:
        if grouping.by == PRICE:
            continue
        for position in np.unique(grouping.group).tolist():
            chosen = grouping.group == position
            ends = unknown
            if grouping.values is not None:
                ends = (float(grouping.values[chosen].min()), float(grouping.values[chosen].max()))
            rows.append(row(grouping.by, grouping.names[position], position, chosen, ends))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdict(low: float, high: float, sales: int) -> str:
    """What is said of a gain with this interval over so many sales."""
    if sales < FEWEST_SALES_JUDGED:
        return NOT_JUDGED
    return HELPS if low > 0 else HURTS if high < 0 else UNSURE


def moved_most(sales: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The sales whose estimate the picture moved the most, up or down, as a factor.

    Args:
        sales: ``sale_id``, ``house_id``, ``sale_date``, ``price``, ``estimate``, ``without_picture``,
            ``low``, ``high``, ``picture`` (what the picture adds, currency), ``picture_effect`` (the same
            as a fraction: 0.1 makes the estimate 10 % higher) and, where known, ``used_picture`` of n sales.
        count: How many to take; of a house the sale moved most.

    Returns:
        Those columns but the last, the largest effect first.
    """
    names = [
        "sale_id", "house_id", "sale_date", "price", "estimate", "without_picture", "low", "high", "picture",
        "picture_effect",
    ]  # fmt: skip
    found = sales[names]
    if "used_picture" in sales:
        found = found[sales["used_picture"].to_numpy(bool)]
    size = np.log1p(found["picture_effect"]).abs()
    order = size.sort_values(ascending=False, kind="stable").index
    return found.loc[order].drop_duplicates("house_id").head(count).reset_index(drop=True)
