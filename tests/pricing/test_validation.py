from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.pricing import metrics
from housevis.pricing.validation import ATTRIBUTES, BOTH, BY_DATE, EVERYTHING, ROLLING_ORIGIN, figures_of_test


def estimates(first: int, count: int) -> pd.DataFrame:
    generator = np.random.default_rng(first)
    price = generator.uniform(1e5, 1e6, count)
    return pd.DataFrame(
        {
            "sale_id": [f"s{number}" for number in range(first, first + count)],
            "house_id": [f"h{number}" for number in range(first, first + count)],
            "price": price,
            BOTH: price * np.exp(0.1 * generator.normal(size=count)),
            ATTRIBUTES: price * np.exp(0.2 * generator.normal(size=count)),
        }
    )


def test_figures_are_those_of_the_metrics_and_parts_add_up() -> None:
    parts = {"one": estimates(0, 80), "two": estimates(80, 120)}
    together = pd.concat(parts.values(), ignore_index=True)
    reference = together.set_index("sale_id")["price"] * 1.05
    rows = figures_of_test(ROLLING_ORIGIN, parts, {"one": 300, "two": 380}, reference, repeats=200, seed=1)
    assert rows["part"].unique().tolist() == [EVERYTHING, "one", "two"]
    assert rows[rows["method"] == BOTH]["is_run_model"].all()
    for part, table in {EVERYTHING: together, **parts}.items():
        for method in (BOTH, ATTRIBUTES):
            row = rows[(rows["part"] == part) & (rows["method"] == method)].iloc[0]
            estimate, price = table[method].to_numpy(), table["price"].to_numpy()
            assert row["sales"] == len(table)
            assert row["pe10"] == pytest.approx(metrics.pe(estimate, price))
            assert row["pe10_low"] < row["pe10"] < row["pe10_high"]
            assert row["mdape"] == pytest.approx(metrics.mdape(estimate, price))
            assert row["cod"] == pytest.approx(metrics.cod(estimate, price))
            assert row["median_ratio"] == pytest.approx(metrics.median_ratio(estimate, price))
            own = row["method"] == BOTH
            assert row["against"] == (BY_DATE if own else BOTH)
            before = 1.0 if own else metrics.pe(table[BOTH].to_numpy(), price)
            assert row["difference"] == pytest.approx(row["pe10"] - before)
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert rows.loc[rows["part"] == "two", "taught"].eq(380).all()


def test_a_test_of_one_part_has_one_and_nothing_to_compare_the_model_with() -> None:
    rows = figures_of_test(
        BY_DATE, {EVERYTHING: estimates(0, 40)}, {EVERYTHING: 90}, None, repeats=100, seed=1
    )
    assert rows["part"].tolist() == [EVERYTHING] * 2
    assert rows["against"].tolist() == ["", BOTH]
    assert np.isnan(rows["difference"][0])
    assert rows["taught"].tolist() == [90, 90]
