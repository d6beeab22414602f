from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from housevis.pricing.miss_diagnosis import NOTHING_FOUND, TOO_HIGH, TOO_LOW, Wording, biggest_misses

ATTRIBUTES = ["latitude", "longitude", "bedrooms", "area_m2"]


def market(count: int, seed: int, prefix: str, day: str) -> pd.DataFrame:
    """Houses of 100 to 120 m² and 2,000 per m² in one town, estimated within 5 %."""
    random = np.random.default_rng(seed)
    area = random.uniform(100, 120, count)
    price = 2000 * area * np.exp(random.normal(0, 0.03, count))
    estimate = price * np.exp(random.uniform(-0.05, 0.05, count))
    houses = [f"{prefix}{number}" for number in range(count)]
    return pd.DataFrame(
        {
            "sale_id": [f"{house}@{day}" for house in houses],
            "house_id": houses,
            "sale_date": pd.Timestamp(day),
            "latitude": 45 + random.uniform(0, 0.02, count),
            "longitude": -75 + random.uniform(0, 0.02, count),
            "price": price,
            "bedrooms": 3.0,
            "area_m2": area,
            "lot": 400.0 + random.uniform(-20, 20, count),
            "estimate": estimate,
            "without_picture": estimate,
            "low": estimate * 0.85,
            "high": estimate * 1.15,
            "used_picture": True,
        }
    )


@pytest.fixture
def known() -> pd.DataFrame:
    return market(300, 1, "K", "2024-01-10")


@pytest.fixture
def judged() -> pd.DataFrame:
    return market(200, 2, "J", "2024-09-10")


def reasons_of(judged: pd.DataFrame, known: pd.DataFrame, row: int = 0, **changes) -> str:
    """What is said of the first house when it is changed and missed by far."""
    for name, value in changes.items():
        judged.loc[row, name] = value
    table = biggest_misses(judged, known, ATTRIBUTES, count=1)
    found = table[table["sale_id"] == judged.loc[row, "sale_id"]]
    assert len(found) == 1
    return str(found["reasons"].iloc[0])


def missed(judged: pd.DataFrame, factor: float) -> dict[str, float]:
    price = float(judged.loc[0, "price"])
    return {
        "estimate": price * factor,
        "without_picture": price * factor,
        "low": price * factor * 0.9,
        "high": price * factor * 1.1,
    }


def test_ten_of_each_direction_the_worst_first(judged, known):
    table = biggest_misses(judged, known, ATTRIBUTES)
    for direction, sign in ((TOO_HIGH, 1), (TOO_LOW, -1)):
        rows = table[table["direction"] == direction]
        assert rows["rank"].tolist() == list(range(1, 11))
        assert (sign * rows["error"] > 0).all()
        assert (np.diff(sign * rows["error"]) <= 0).all()
    expected = judged["estimate"] / judged["price"] - 1
    assert table["error"].max() == expected.max()
    assert table["error"].min() == expected.min()


def test_a_house_is_named_once(judged, known):
    judged.loc[:3, "estimate"] = judged.loc[:3, "price"] * 3
    judged.loc[:3, "house_id"] = "twice"
    table = biggest_misses(judged, known, ATTRIBUTES)
    assert (table["house_id"] == "twice").sum() == 1


def test_an_ordinary_house_is_said_to_be_so(judged, known):
    said = reasons_of(judged, known, **missed(judged, 1.6))
    assert said == f"{NOTHING_FOUND}; the price lies outside the range"


def test_a_price_far_below_its_surroundings_is_perhaps_no_ordinary_sale(judged, known):
    judged.loc[0, "price"] = 60_000.0
    said = reasons_of(judged, known, estimate=220_000.0, without_picture=220_000.0, low=2e5, high=2.4e5)
    assert "perhaps not an ordinary sale" in said
    assert "30 nearest sales brought USD 2,0" in said


def test_an_unusual_house_is_told_with_the_numbers(judged, known):
    said = reasons_of(judged, known, **missed(judged, 0.5), bedrooms=9.0)
    assert "unlike its neighbours: bedrooms 9, around it 3" in said
    assert "not told" not in said


def test_what_the_model_is_not_told_is_said(judged, known):
    said = reasons_of(judged, known, **missed(judged, 0.5), lot=9000.0)
    assert "lot 9,000, around it 39" in said
    assert "which the model is not told" in said


def test_a_lonely_house_has_few_sales_near(judged, known):
    said = reasons_of(judged, known, **missed(judged, 2.0), latitude=45.6)
    assert "few sales near: the tenth nearest is" in said
    assert " km away" in said


def test_missing_attributes_and_pictures_are_told(judged, known):
    said = reasons_of(judged, known, **missed(judged, 2.0), area_m2=np.nan, used_picture=False)
    assert "not stated: living area" in said
    assert "no aerial picture" in said


def test_a_run_without_pictures_says_nothing_of_them(judged, known):
    judged["used_picture"] = False
    table = biggest_misses(judged, known, ATTRIBUTES, uses_pictures=False)
    assert not table["reasons"].str.contains("picture").any()


def test_a_picture_that_pulled_the_wrong_way_is_told(judged, known):
    changes = missed(judged, 1.6)
    changes["without_picture"] = float(judged.loc[0, "price"]) * 1.1
    assert "the picture pulled the wrong way: from attributes alone the miss is +10 %" in reasons_of(
        judged, known, **changes
    )


def test_a_house_that_changed_since_its_last_sale(judged, known):
    known.loc[0, ["house_id", "price", "area_m2"]] = ["J0", 100_000.0, 60.0]
    said = reasons_of(judged, known, **missed(judged, 0.5))
    assert "much changed since its sale in January 2024: living area 60 m² before" in said
    assert "sold for USD 100,000 in January 2024" in said


def test_its_own_earlier_sale_is_no_neighbour(judged, known):
    known["house_id"] = "J0"
    said = reasons_of(judged, known, **missed(judged, 2.0))
    assert "fewer than ten" in said
    assert "around it" not in said


def test_a_range_that_held_is_told(judged, known):
    changes = missed(judged, 1.6) | {"low": 1000.0}
    table_reasons = reasons_of(judged, known, **changes)
    assert "the price lies inside the range" in table_reasons


def test_amounts_and_areas_are_written_as_asked(judged, known):
    judged.loc[0, "price"] = 60_000.0
    judged.loc[0, "estimate"] = 220_000.0
    table = biggest_misses(judged, known, ATTRIBUTES, count=1, wording=Wording("CAD", "ft2"))
    assert "sold for CAD " in table["reasons"].iloc[0]
    assert " per ft²" in table["reasons"].iloc[0]
    assert Wording(area_unit="ft2").value("area_m2", 100.0) == "1,076 ft²"
    assert Wording().value("yr_renovated", 0.0) == "none"


def test_what_the_model_made_of_a_house_is_no_attribute_of_it(judged, known):
    for table in (judged, known):
        table["picture_effect"] = 0.0
        table["driver picture"] = 0.0
    said = reasons_of(judged, known, **missed(judged, 2.0), picture_effect=5.0, **{"driver picture": 9e9})
    assert said.startswith(NOTHING_FOUND)
