"""Drivers over many sales, and how the picture's effect depends on the place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import ModelError
from housevis.pricing.driver_tables import COLUMNS, SaleDrivers, drivers_by_group
from housevis.pricing.drivers import driver_groups, log_effects, to_currency
from housevis.pricing.location_and_picture import COLUMNS as PLACE_COLUMNS
from housevis.pricing.location_and_picture import exchange, location_and_picture
from housevis.pricing.model import HousePriceModel
from housevis.pricing.sale_groups import by_quarter


def sale_drivers(rows: int = 400, seed: int = 1) -> SaleDrivers:
    random = np.random.default_rng(seed)
    phi = random.normal(0, 0.2, (rows, 4))
    names = ("latitude", "longitude", "bedrooms", "visual_1")
    groups = driver_groups(["visual_1"])
    found = to_currency(phi, np.full(rows, 12.0), names, groups)
    drivers, logs = log_effects(phi, names, groups)
    assert drivers == found.names == ("location", "bedrooms", "picture")
    return SaleDrivers(drivers, logs, found.amounts, found.estimate)


def test_means_over_all_and_by_group() -> None:
    drivers = sale_drivers()
    dates = pd.Series(pd.date_range("2024-01-15", periods=400, freq="D"))
    table = drivers_by_group(drivers, [by_quarter(dates)])
    assert list(table.columns) == list(COLUMNS)
    everything = table[table["by"] == "all"].set_index("driver")
    assert everything["sales"].tolist() == [400] * 3
    for column, name in enumerate(drivers.names):
        row = everything.loc[name]
        assert row["mean_log"] == pytest.approx(drivers.logs[:, column].mean())
        assert row["mean_absolute_log"] == pytest.approx(np.abs(drivers.logs[:, column]).mean())
        assert row["mean_amount"] == pytest.approx(drivers.amounts[:, column].mean())
        assert row["mean_absolute_amount"] == pytest.approx(np.abs(drivers.amounts[:, column]).mean())
        shares = np.abs(drivers.amounts[:, column]) / drivers.estimate
        assert row["mean_absolute_share"] == pytest.approx(shares.mean())
    quarters = table[table["by"] == "quarter"]
    assert quarters["group"].unique().tolist() == ["2024 Q1", "2024 Q2", "2024 Q3", "2024 Q4", "2025 Q1"]
    weighted = quarters.assign(part=quarters["mean_log"] * quarters["sales"]).groupby("driver")["part"].sum()
    assert np.allclose(weighted / 400, everything["mean_log"].loc[weighted.index])


def test_effects_of_other_shapes_are_refused() -> None:
    with pytest.raises(ModelError, match="do not fit"):
        SaleDrivers(("a",), np.zeros((3, 2)), np.zeros((3, 1)), np.ones(3))


def town(rows: int, *, together: float, seed: int = 1) -> pd.DataFrame:
    """Prices that rise to the north and with the picture, and in the north more with the picture."""
    random = np.random.default_rng(seed)
    sales = pd.DataFrame(
        {
            "latitude": random.uniform(47.0, 48.0, rows),
            "longitude": random.uniform(-122.5, -121.5, rows),
            "visual_1": random.uniform(-1, 1, rows),
        }
    )
    north = sales["latitude"] - 47.5
    log_price = 13 + north + 0.3 * sales["visual_1"] + together * 2 * north * sales["visual_1"]
    return sales.assign(price=np.exp(log_price))


@pytest.mark.parametrize("together", [0.0, 0.3])
def test_a_planted_interaction_is_found_and_none_where_there_is_none(together: float) -> None:
    sales, later = town(4000, together=together), town(600, together=together, seed=2)
    model = HousePriceModel(
        attributes=["latitude", "longitude"], visual_names=["visual_1"], rounds=150, num_threads=1
    ).fit(sales, sales["price"])
    exchanged = exchange(model, later, houses=200, lenders=20, seed=1)
    assert len(exchanged.rows) == len(exchanged.swing) == len(exchanged.interaction) == 200
    phi = model.contributions(later)
    groups = driver_groups(model.visual_names)
    found = to_currency(phi[:, :-1], phi[:, -1], model.features_, groups)
    names, logs = log_effects(phi[:, :-1], model.features_, groups)
    drivers = SaleDrivers(names, logs, found.amounts, found.estimate)
    table = location_and_picture(drivers, exchanged, repeats=100)
    assert list(table.columns) == list(PLACE_COLUMNS)
    assert table["position"].tolist() == list(range(11))
    assert table["sales"].tolist() == [600] + [60] * 10
    assert table["tried"].iloc[0] == 200 == table["tried"].iloc[1:].sum()
    assert (table["picture_log_low"] <= table["picture_log"]).all()
    assert (table["picture_log"] <= table["picture_log_high"]).all()
    tenths = table.iloc[1:]
    assert tenths["location_log"].is_monotonic_increasing
    if together:
        assert tenths["swing_log_low"].iloc[-1] > 3 * tenths["swing_log_high"].iloc[0]
        assert table["interaction_absolute_log"].iloc[0] > 0.04
    else:
        assert tenths["swing_log"].max() < 1.2 * tenths["swing_log"].min()
        assert table["interaction_absolute_log"].iloc[0] < 0.015
    again = exchange(model, later, houses=200, lenders=20, seed=1)
    assert np.array_equal(again.interaction, exchanged.interaction)


def test_a_tenth_without_a_drawn_house_is_empty_not_nought() -> None:
    sales = town(2000, together=0.0)
    model = HousePriceModel(
        attributes=["latitude", "longitude"], visual_names=["visual_1"], rounds=20, num_threads=1
    ).fit(sales, sales["price"])
    later = town(400, together=0.0, seed=3)
    table = location_and_picture(sale_drivers(), exchange(model, later, houses=5, lenders=4), repeats=20)
    empty = table["tried"] == 0
    assert empty.sum() >= 5
    assert table.loc[empty, ["swing_log", "swing_log_low", "interaction_absolute_log"]].isna().all(axis=None)
    assert table["picture_log"].notna().all()
