from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import ConfigError, ModelError
from housevis.pricing.attributes import (
    ATTRIBUTE_SETS,
    check_attributes,
    encode,
    known_attributes,
    present_attributes,
    visual_names,
    with_visual,
)


def test_sale_month_counts_months_since_january_2000() -> None:
    sales = pd.DataFrame({"sale_date": pd.to_datetime(["2000-01-31", "2014-05-02", None])})
    months = encode(sales, ["sale_month"])["sale_month"].to_numpy()
    np.testing.assert_array_equal(months, [0, 172, np.nan])


def test_order_index_and_missing_values_are_kept(market) -> None:
    sales = market[0].head(3).set_index(pd.Index([7, 8, 9])).copy()
    sales.loc[8, "bedrooms"] = np.nan
    table = encode(sales, ["area_m2", "bedrooms"])
    assert list(table.columns) == ["area_m2", "bedrooms"]
    assert list(table.index) == [7, 8, 9]
    assert (table.dtypes == "float64").all()
    assert np.isnan(table.loc[8, "bedrooms"])


def test_nullable_and_boolean_columns_become_floats() -> None:
    sales = pd.DataFrame({"floors": pd.array([1, None], dtype="Int64"), "corner": [True, False]})
    np.testing.assert_array_equal(encode(sales, ["floors", "corner"]), [[1, 1], [np.nan, 0]])


def test_every_set_of_the_paper_can_be_encoded(market) -> None:
    for attributes in ATTRIBUTE_SETS.values():
        assert encode(market[0], attributes).shape == (900, len(attributes))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (["bedroom"], "unknown attribute 'bedroom'. Did you mean 'bedrooms'? These sales have: area_m2,"),
        (["price"], "unknown attribute 'price'"),
        (["address"], "unknown attribute 'address'"),
        (["latitude", "latitude"], "'latitude' is named twice"),
        (["style"], "'style' holds text"),
        (["zzz"], "These sales have: area_m2, bathrooms"),
    ],
)
def test_an_attribute_that_cannot_be_used_is_an_error(market, attributes, words) -> None:
    with pytest.raises(ConfigError) as caught:
        encode(market[0].assign(style="loft"), attributes)
    assert words in str(caught.value)
    assert caught.value.where == "pricing.attributes"


def test_attributes_without_a_value_are_refused_with_the_line_to_write(market) -> None:
    sales = market[0].assign(bedrooms=np.nan)
    check_attributes(sales, ["latitude", "bathrooms"])
    with pytest.raises(ConfigError) as caught:
        check_attributes(sales, ["latitude", "bedrooms", "sale_month"])
    assert "no value of 'bedrooms'" in str(caught.value)
    assert 'attributes = ["latitude", "sale_month"]' in str(caught.value)
    assert "bedrooms" not in present_attributes(sales)
    assert "bedrooms" in known_attributes(sales)
    with pytest.raises(ConfigError, match="These sales have: area_m2, bathrooms, latitude"):
        check_attributes(sales, ["bedrooms"])


def test_one_value_is_enough(market) -> None:
    sales = market[0].assign(bedrooms=np.nan)
    sales.loc[17, "bedrooms"] = 2
    check_attributes(sales, ["bedrooms"])


def test_sale_month_needs_dates(market) -> None:
    assert "sale_month" not in known_attributes(market[0].drop(columns="sale_date"))
    with pytest.raises(ConfigError, match="unknown attribute 'sale_month'"):
        encode(market[0].drop(columns="sale_date"), ["sale_month"])


def test_visual_features_stand_beside_the_attributes(market) -> None:
    table = with_visual(encode(market[0], ["latitude"]), market[1])
    assert tuple(table.columns) == ("latitude", *visual_names(4))
    np.testing.assert_array_equal(table[list(visual_names(4))], market[1])


def test_visual_features_alone(market) -> None:
    assert with_visual(encode(market[0], []), market[1]).shape == (900, 4)


def test_visual_features_of_other_sales_are_refused(market) -> None:
    with pytest.raises(ModelError, match="do not fit 900 sales"):
        with_visual(encode(market[0], ["latitude"]), market[1][:5])
