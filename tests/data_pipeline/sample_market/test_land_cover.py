from __future__ import annotations

import numpy as np
import pytest

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.sample_market import DRIVERS, SampleMarket
from data_pipeline.sample_market.geometry import world_pixel

SIZE = 224


@pytest.fixture(scope="module")
def town() -> SampleMarket:
    return SampleMarket(300, seed=5)


def covers_of(town: SampleMarket, latitude: float, longitude: float) -> np.ndarray:
    x, y = world_pixel(latitude, longitude)
    return town.land_cover(round(float(x) - SIZE / 2), round(float(y) - SIZE / 2), SIZE, SIZE)


def test_pool_and_water_lie_where_the_driver_masks_say(town: SampleMarket) -> None:
    houses = town.houses()
    above = [LAND_COVERS.index(name) for name in ("tree", "roof")]
    for driver in ("pool", "water"):
        counted = houses[houses[f"{driver}_effect"] != 0].head(12)
        assert len(counted) == 12
        for house in counted.itertuples():
            mask = town.driver_masks(house.id, SIZE)[0, DRIVERS.index(driver)]
            covers = covers_of(town, house.latitude, house.longitude)
            inside = covers[mask]
            hidden = np.isin(inside, above)
            right = inside == LAND_COVERS.index(driver)
            # A driver's mask is that of the ground; crowns and roofs may hide it, and so may a chair.
            assert (right | hidden).mean() > 0.98
            assert right.any()
            if driver == "water":
                assert mask[covers == LAND_COVERS.index("water")].all()


def test_canopy_is_tree_and_an_arterial_is_road_or_what_stands_on_it(town: SampleMarket) -> None:
    houses = town.houses()
    canopy = houses[houses["canopy_effect"] != 0].head(6)
    for house in canopy.itertuples():
        mask = town.driver_masks(house.id, SIZE)[0, DRIVERS.index("canopy")]
        assert (covers_of(town, house.latitude, house.longitude)[mask] == LAND_COVERS.index("tree")).all()
    arterial = houses[houses["arterial_effect"] != 0].head(6)
    for house in arterial.itertuples():
        mask = town.driver_masks(house.id, SIZE)[0, DRIVERS.index("arterial")]
        found = covers_of(town, house.latitude, house.longitude)[mask]
        assert (found == LAND_COVERS.index("road")).mean() > 0.75


def test_every_window_shows_the_same_cover(town: SampleMarket) -> None:
    house = town.houses().iloc[40]
    x, y = (round(float(place)) for place in world_pixel(house["latitude"], house["longitude"]))
    whole = town.land_cover(x - 112, y - 112, 224, 224)
    assert whole.dtype == np.uint8
    assert set(np.unique(whole)) <= set(range(len(LAND_COVERS)))
    np.testing.assert_array_equal(town.land_cover(x - 40, y - 20, 100, 60), whole[92:152, 72:172])


def test_the_house_stands_under_a_roof(town: SampleMarket) -> None:
    places = town.houses().head(30)[["latitude", "longitude"]].to_numpy()
    middles = [covers_of(town, *place)[SIZE // 2, SIZE // 2] for place in places]
    names = [LAND_COVERS[number] for number in middles]
    assert set(names) <= {"roof", "tree"}
    assert names.count("roof") >= 25


def test_all_classes_occur(town: SampleMarket) -> None:
    places = town.houses()[["latitude", "longitude"]].to_numpy()[::6]
    seen = {name for place in places for name in np.unique(covers_of(town, *place))}
    assert seen == set(range(len(LAND_COVERS)))
