from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from housevis.core.errors import ModelError
from housevis.pricing.linear_base import LinearBase


@pytest.fixture(scope="module")
def sales() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas, rooms, an empty column and a constant; the log price is straight in log area and rooms."""
    random = np.random.default_rng(2)
    area, rooms = random.uniform(40, 300, 400), random.integers(1, 6, 400).astype(float)
    table = np.column_stack([area, rooms, np.full(400, np.nan), np.full(400, 7.0)])
    return table, 9 + 0.8 * np.log1p(area) + 0.03 * rooms


def test_straight_lines_are_found(sales) -> None:
    table, target = sales
    predicted = LinearBase.fit(table, target).predict(table)
    assert np.corrcoef(predicted, target)[0, 1] > 0.99


def test_it_is_a_ridge_regression_on_standardised_columns(sales) -> None:
    table, target = sales
    columns = np.hstack([table[:, :2], np.log1p(table[:, :2])])
    standard = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    expected = Ridge(alpha=10.0).fit(standard, target).predict(standard)
    np.testing.assert_allclose(LinearBase.fit(table, target).predict(table), expected, rtol=1e-9)


def test_contributions_add_up_and_are_zero_where_nothing_is_known(sales) -> None:
    table, target = sales
    base = LinearBase.fit(table, target)
    gaps = table.copy()
    gaps[::2, 0] = np.nan
    phi = base.contributions(gaps)
    assert phi.shape == (400, 5)
    np.testing.assert_allclose(phi.sum(axis=1), base.predict(gaps), rtol=1e-12)
    assert (phi[::2, 0] == 0).all()
    assert (phi[:, 2:4] == 0).all()
    np.testing.assert_allclose(phi[:, -1], target.mean())


def test_a_house_beyond_all_sales_counts_as_one_at_the_edge(sales) -> None:
    table, target = sales
    base = LinearBase.fit(table, target)
    palace, largest = np.array([[9e9, 3.0, 0.0, 7.0]]), np.array([[table[:, 0].max(), 3.0, 0.0, 7.0]])
    np.testing.assert_array_equal(base.predict(palace), base.predict(largest))


def test_json_keeps_every_digit(sales) -> None:
    table, target = sales
    base = LinearBase.fit(table, target)
    again = LinearBase.from_dict(json.loads(json.dumps(base.to_dict())))
    np.testing.assert_array_equal(again.predict(table), base.predict(table))
    for damage in ({}, base.to_dict() | {"means": [1.0]}, base.to_dict() | {"intercept": None}):
        with pytest.raises(ModelError, match="this is no linear base"):
            LinearBase.from_dict(damage)


def test_a_house_has_one_prediction_whatever_the_layout_of_the_table() -> None:
    table = np.random.default_rng(6).normal(size=(300, 23))
    base = LinearBase.fit(table, table @ np.linspace(-1, 1, 23))
    some = np.arange(300) % 3 == 0
    by_columns = base.predict(np.asfortranarray(table))
    assert np.array_equal(by_columns, base.predict(table))
    assert np.array_equal(by_columns[some], base.predict(np.asfortranarray(table)[some]))
