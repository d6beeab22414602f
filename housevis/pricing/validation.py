"""Figures of the tests of a model: the same table for every way of holding sales out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.pricing import metrics

BY_DATE: Final = "by date"
ROLLING_ORIGIN: Final = "rolling origin"
BY_HOUSE: Final = "by house"
BY_BLOCK: Final = "by spatial block"

TESTS: Final = (BY_DATE, ROLLING_ORIGIN, BY_HOUSE, BY_BLOCK)
"""The tests, in the order they are shown."""

REFERENCES: Final = {ROLLING_ORIGIN: BY_DATE, BY_BLOCK: BY_HOUSE}
"""Test -> the test that judged the same sales with the run's own models."""

BOTH: Final = "attributes and pictures"
ATTRIBUTES: Final = "attributes only"
PICTURES: Final = "pictures only"

EVERYTHING: Final = "all"
"""The part that is all parts of a test together."""

KNOWN: Final = ("sale_id", "house_id", "price")
"""Columns of a table of estimates beside its methods."""


def figures_of_test(
    test: str,
    parts: Mapping[str, pd.DataFrame],
    taught: Mapping[str, int],
    reference: pd.Series[Any] | None,
    *,
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """The rows of one test: all its sales together, then part by part.

    Args:
        test: Its name.
        parts: Part -> table of estimates: ``sale_id``, ``house_id``,
            ``price`` and one column per method, the run's own model first.
        taught: Part -> number of sales that its model learned from.
        reference: Estimates by sale id that the run's model is compared with
            on the same sales; None compares it with nothing.
        repeats: Draws of the paired bootstrap.
        seed: Its seed.

    Returns:
        ``test``, ``part``, ``method``, ``is_run_model``, ``sales``,
        ``taught`` (NaN of all parts together), ``pe10`` with its 95 % score
        interval ``pe10_low`` to ``pe10_high``, ``mdape``, ``median_ratio``,
        ``cod`` (percent), and the paired difference in PE10 ``difference``
        with ``difference_low`` and ``difference_high`` to what ``against``
        names: of a baseline to the run's model, of the run's model to the
        test of :data:`REFERENCES` on the same sales. Shares and their
        differences are fractions.
    """
    together = {EVERYTHING: pd.concat(parts.values(), ignore_index=True)}
    tables = together | (dict(parts) if len(parts) > 1 else {})
    rows = []
    for part, table in tables.items():
        methods = [str(name) for name in table.columns if name not in KNOWN]
        own, price = methods[0], table["price"].to_numpy(np.float64)
        hits = {name: metrics.hit(table[name].to_numpy(np.float64), price) for name in methods}
        for name in methods:
            against, other = own, hits[own]
            if name == own and reference is not None:
                against = REFERENCES[test]
                other = metrics.hit(reference.loc[table["sale_id"]].to_numpy(np.float64), price)
            compared = name != own or reference is not None
            row = {
                "test": test,
                "part": part,
                "method": name,
                "is_run_model": name == own,
                "sales": len(table),
                "taught": float(taught[part]) if part in taught else np.nan,
                **_figures(table[name].to_numpy(np.float64), price),
                "against": against if compared else "",
                **_difference(other if compared else None, hits[name], repeats, seed),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _figures(estimate: metrics.Array, price: metrics.Array) -> dict[str, float]:
    share = metrics.share_interval(metrics.hit(estimate, price))
    return {
        "pe10": share.estimate,
        "pe10_low": share.low,
        "pe10_high": share.high,
        "mdape": float(metrics.mdape(estimate, price)),
        "median_ratio": float(metrics.median_ratio(estimate, price)),
        "cod": float(metrics.cod(estimate, price)),
    }


def _difference(other: Any, hit: Any, repeats: int, seed: int) -> dict[str, float]:
    names = ("difference", "difference_low", "difference_high")
    if other is None:
        return dict.fromkeys(names, np.nan)
    found = metrics.paired_bootstrap_difference(other, hit, repeats, seed)
    return dict(zip(names, (found.estimate, found.low, found.high), strict=True))
