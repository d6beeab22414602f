"""Houses gathered in cells, against medians and counts of pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.views.cells import COLOURED, Gatherer

LIMITS = {"price": [300_000.0, 450_000.0, 9e9], "error": [-0.2, -0.1, 0.1, 0.2]}


def houses(count: int) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "latitude": random.normal(47, 1, count),
            "longitude": random.normal(-122, 1, count),
            "price": np.round(np.exp(random.normal(13, 0.5, count)), -4),
            "error": random.normal(0, 0.15, count),
            "effect": np.where(random.random(count) < 0.4, np.nan, random.normal(0, 9_000, count)),
            "cell": np.sort(random.integers(0, 7, count)),
        }
    )


@pytest.mark.parametrize("count", [40, 300, 20_000])
def test_medians_shares_and_places_are_those_of_the_houses(count):
    frame = houses(count)
    frame.loc[frame["cell"] == 3, "effect"] = np.nan
    gatherer = Gatherer(
        frame["latitude"].to_numpy(),
        frame["longitude"].to_numpy(),
        {name: frame[name].to_numpy() for name in COLOURED},
        LIMITS,
    )
    chosen = frame.iloc[::2]
    by_cell = chosen.groupby("cell")
    cells = gatherer.gather(chosen.index.to_numpy(), by_cell.size().to_numpy())
    for name in ("latitude", "longitude"):
        assert getattr(cells, name) == pytest.approx(by_cell[name].mean().to_numpy())
    for name in COLOURED:
        assert getattr(cells, name) == pytest.approx(by_cell[name].median().to_numpy(), nan_ok=True)
    assert set(cells.classes) == set(LIMITS)
    for name, limits in LIMITS.items():
        found = np.searchsorted(limits, chosen[name], side="right")
        wanted = pd.crosstab(chosen["cell"], found).reindex(columns=range(len(limits) + 2), fill_value=0)
        assert np.array_equal(cells.classes[name], wanted.to_numpy())


def test_no_houses_are_no_cells():
    frame = houses(10)
    gatherer = Gatherer(
        frame["latitude"].to_numpy(),
        frame["longitude"].to_numpy(),
        {name: frame[name].to_numpy() for name in COLOURED},
        {"effect": [0.0]},
    )
    cells = gatherer.gather(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    assert len(cells.count) == len(cells.price) == len(cells.classes["effect"]) == 0


def test_houses_without_a_value_are_counted_last():
    places, prices = np.zeros(3), np.array([1.0, 2.0, 3.0])
    effect = np.array([np.nan, -5.0, np.nan])
    values = {"price": prices, "error": prices, "effect": effect}
    cells = Gatherer(places, places, values, {"effect": [0.0]}).gather(np.arange(3), np.array([2, 1]))
    assert cells.classes["effect"].tolist() == [[1, 0, 1], [0, 0, 1]]
    assert cells.effect[0] == -5
    assert np.isnan(cells.effect[1])
