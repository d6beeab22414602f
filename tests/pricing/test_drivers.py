from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from housevis.core.errors import ModelError
from housevis.pricing.attributes import visual_names
from housevis.pricing.drivers import driver_groups, to_currency

contributions = arrays(
    np.float64, st.tuples(st.integers(1, 8), st.just(3)), elements=st.floats(-1.5, 1.5, allow_subnormal=False)
)


@given(contributions, st.floats(9, 15))
def test_base_and_drivers_add_up_to_the_estimate(phi, log_base) -> None:
    base = np.full(len(phi), log_base)
    drivers = to_currency(phi, base, ["a", "b", "c"])
    np.testing.assert_allclose(drivers.base + drivers.amounts.sum(axis=1), np.exp(base + phi.sum(axis=1)))
    np.testing.assert_allclose(drivers.estimate, np.exp(base + phi.sum(axis=1)))
    assert (np.sign(drivers.amounts) == np.sign(phi)).all()


def test_the_sum_is_right_to_the_cent_at_real_prices() -> None:
    random = np.random.default_rng(1)
    phi, base = random.normal(0, 0.3, (2000, 6)), random.normal(13, 0.01, 2000)
    drivers = to_currency(phi, base, list("abcdef"))
    assert np.abs(drivers.estimate - np.exp(base + phi.sum(axis=1))).max() < 0.005


def test_contributions_that_cancel_take_the_limit() -> None:
    drivers = to_currency(np.array([[0.1, -0.1]]), np.array([np.log(200_000)]), ["a", "b"])
    np.testing.assert_allclose(drivers.amounts, [[20_000, -20_000]])


def test_features_are_grouped_and_sorted() -> None:
    names = ["latitude", "longitude", "area_m2", *visual_names(4)]
    phi = np.array([[0.01, 0.02, -0.2, 0.05, 0.01, 0.0, 0.04]])
    drivers = to_currency(phi, np.array([12.0]), names, driver_groups(visual_names(4)))
    assert drivers.names == ("location", "area_m2", "picture")
    ungrouped = to_currency(phi, np.array([12.0]), names)
    assert drivers.amounts[0] == pytest.approx(
        [
            ungrouped.amounts[0, :2].sum(),
            ungrouped.amounts[0, 2],
            ungrouped.amounts[0, 3:].sum(),
        ]
    )
    assert [name for name, _ in drivers.of(0)] == ["area_m2", "picture", "location"]


def test_comparable_sales_are_one_driver() -> None:
    names = ["area_m2", "comparable_price_near_5", "comparable_price_alike"]
    groups = driver_groups((), names[1:])
    drivers = to_currency(np.array([[0.1, 0.2, -0.05]]), np.array([12.0]), names, groups)
    assert drivers.names == ("area_m2", "comparable sales")


def test_shapes_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ModelError, match="do not fit 2 houses and 3 names"):
        to_currency(np.zeros((2, 2)), np.zeros(2), ["a", "b", "c"])
