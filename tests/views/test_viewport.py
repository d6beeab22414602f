"""Houses by viewport, against the plain way of finding them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housevis.core.errors import DataError, UsageError
from housevis.views.viewport import ALWAYS_HOUSES, DEEPEST_ZOOM, MOST_HOUSES, Viewport, Wanted


def make_houses(count: int = 4_000) -> pd.DataFrame:
    random = np.random.default_rng(5)
    middle = np.array([47.5, -122.2]) + random.normal(0, 0.2, (30, 2))
    near = random.integers(0, 30, count)
    price = np.exp(random.normal(13, 0.5, count))
    return pd.DataFrame(
        {
            "house_id": [f"H{number}" for number in range(count)],
            "latitude": middle[near, 0] + random.normal(0, 0.02, count),
            "longitude": middle[near, 1] + random.normal(0, 0.03, count),
            "price": price,
            "estimate": price * np.exp(random.normal(0, 0.15, count)),
            "low": price * 0.8,
            "high": price * 1.2,
            "sale_date": pd.Timestamp("2014-05-01") + pd.to_timedelta(random.integers(0, 365, count), "D"),
            "bedrooms": np.where(random.random(count) < 0.1, np.nan, random.integers(1, 6, count)),
            "confidence": random.choice(np.array(["high", "medium", "low", None], dtype=object), count),
            "effect": np.where(random.random(count) < 0.1, np.nan, random.normal(0, 9000, count)),
        }
    )


@pytest.fixture(scope="module")
def houses() -> pd.DataFrame:
    return make_houses()


@pytest.fixture(scope="module")
def viewport(houses: pd.DataFrame) -> Viewport:
    return Viewport(houses)


def plainly(houses: pd.DataFrame, box: tuple[float, ...], wanted: Wanted) -> pd.DataFrame:
    west, south, east, north = box
    found = houses[
        (houses["longitude"] >= west)
        & (houses["longitude"] < east)
        & (houses["latitude"] > south)
        & (houses["latitude"] <= north)
    ]
    for column, least, highest in (
        ("price", wanted.price_from, wanted.price_to),
        ("bedrooms", wanted.bedrooms_from, wanted.bedrooms_to),
        ("sale_date", wanted.sold_from, wanted.sold_to),
    ):
        found = found if least is None else found[found[column] >= least]
        found = found if highest is None else found[found[column] <= highest]
    return found[found["confidence"].isin(wanted.confidence)] if wanted.confidence else found


WANTED = st.sampled_from(
    [
        Wanted(),
        Wanted(price_from=400_000, price_to=900_000),
        Wanted(bedrooms_from=3),
        Wanted(bedrooms_to=2, sold_from="2014-08-01"),
        Wanted(sold_to="2014-12-31", confidence=("high", "medium")),
        Wanted(price_from=1e11),
    ]
)


@settings(max_examples=80, deadline=None)
@given(
    west=st.floats(-123.2, -121.5),
    south=st.floats(46.8, 48.2),
    wide=st.floats(0.001, 2),
    high=st.floats(0.001, 1.5),
    zoom=st.integers(0, DEEPEST_ZOOM),
    wanted=WANTED,
)
def test_a_view_holds_what_the_plain_way_finds(houses, viewport, west, south, wide, high, zoom, wanted):
    asked = (west, south, west + wide, south + high)
    view = viewport.look(asked, zoom, wanted)
    assert view.box[0] <= asked[0] + 1e-9
    assert view.box[1] <= asked[1] + 1e-9
    assert view.box[2] >= asked[2] - 1e-9
    assert view.box[3] >= asked[3] - 1e-9
    found = plainly(houses, view.box, wanted)
    assert view.count == len(found)
    if view.cells is None:
        assert {viewport.house_id[row].decode() for row in view.houses} == set(found["house_id"])
    else:
        assert view.houses is None
        assert view.cells.count.sum() == len(found) > MOST_HOUSES
        if len(view.cells.count) == 1:
            error = found["estimate"] / found["price"] - 1
            for name, values in (("price", found["price"]), ("error", error), ("effect", found["effect"])):
                assert getattr(view.cells, name)[0] == pytest.approx(values.median())


def test_the_pyramid_says_what_the_rows_say(viewport):
    box = (-123, 47, -121.4, 48)
    view = viewport.look(box, 9)
    from_rows = viewport.look(box, 9, Wanted(price_from=0))
    assert len(view.cells.count) > 3
    for name in ("count", "latitude", "longitude", "price", "error", "effect"):
        assert getattr(view.cells, name) == pytest.approx(getattr(from_rows.cells, name), nan_ok=True)


def test_houses_on_one_spot_are_listed_at_the_closest_zooms():
    stacked = make_houses(900).assign(latitude=47.6, longitude=-122.3)
    viewport = Viewport(stacked)
    assert viewport.look((-122.31, 47.59, -122.29, 47.61), 18).cells.count.tolist() == [900]
    assert len(viewport.look((-122.3001, 47.5999, -122.2999, 47.6001), ALWAYS_HOUSES).houses) == 900


def test_a_house_is_found_by_its_id(houses, viewport):
    row = viewport.row_of("H17")
    assert viewport.price[row] == houses["price"][17]
    assert viewport.confidence(row) == houses["confidence"][17]
    assert viewport.row_of("H") is None
    assert viewport.row_of("Ω\ud800") is None


def test_a_house_is_found_by_a_part_of_its_id_the_very_id_first(viewport):
    names = [viewport.house_id[row].decode() for row in viewport.find("H17")]
    assert names[0] == "H17"
    assert len(names) == 8
    assert all(name.startswith("H17") for name in names)
    assert viewport.find("h3999") == [viewport.row_of("H3999")]


@pytest.mark.parametrize("place", [(47.51, -122.21), (47.9, -122.9), (-80.0, 100.0), (90.0, 180.0)])
def test_the_nearest_houses_are_found_wherever_the_place_is(houses, viewport, place):
    latitude, longitude = place
    wide = max(np.cos(np.radians(latitude)), 0.01)
    away = np.hypot(houses["latitude"] - latitude, (houses["longitude"] - longitude) * wide)
    found = [viewport.house_id[row].decode() for row in viewport.nearest(latitude, longitude, 4)]
    assert found == houses["house_id"][np.argsort(away)[:4]].tolist()


def test_what_the_map_says_of_a_house_is_kept(houses):
    more = houses.head(3).assign(address=["1 Lane", None, "2 Lane"], sample="later sale", map_row=[7, 8, -1])
    viewport = Viewport(more, {"price": [1.0]})
    first, last = viewport.row_of("H0"), viewport.row_of("H2")
    assert (viewport.address(first), viewport.sample(first), viewport.map_row(first)) == (
        "1 Lane",
        "later sale",
        7,
    )
    assert viewport.map_row(last) is None
    assert viewport.find("2 lane") == [last]
    assert "address" in viewport.known
    assert viewport.digest != Viewport(more.assign(map_row=0), {"price": [1.0]}).digest
    assert Viewport(houses).sample(0) is None


@pytest.mark.parametrize(
    ("box", "zoom"),
    [
        ((1, 1, 0, 2), 5),
        ((0, 2, 1, 1), 5),
        ((0, 0, 200, 1), 5),
        ((float("nan"), 0, 1, 1), 5),
        ((0, 0, 1, 1), 23),
    ],
)
def test_what_is_no_area_is_refused(viewport, box, zoom):
    with pytest.raises(UsageError):
        viewport.look(box, zoom)


def test_a_place_that_is_none_is_refused(houses):
    with pytest.raises(DataError, match="latitude"):
        Viewport(houses.assign(latitude=np.nan))


def test_one_content_has_one_digest(houses, viewport):
    assert Viewport(houses).digest == viewport.digest
    assert Viewport(houses.assign(price=houses["price"] + 1)).digest != viewport.digest
