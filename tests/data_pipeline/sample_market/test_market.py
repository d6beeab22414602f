from __future__ import annotations

import csv
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.sample_market import DRIVERS, SampleMarket
from data_pipeline.sample_market.geometry import place_of, world_pixel
from data_pipeline.sample_market.prices import FULL_EFFECTS, LEAST_SHARE
from housevis.core.errors import DataError, UsageError


@pytest.fixture(scope="module")
def town() -> SampleMarket:
    return SampleMarket(1500, seed=1)


@pytest.fixture(scope="module")
def truth(town: SampleMarket) -> pd.DataFrame:
    return town.houses()


def picture_window(latitude: float, longitude: float, size: int = 224) -> tuple[int, int]:
    x, y = world_pixel(latitude, longitude)
    return round(float(x) - size / 2), round(float(y) - size / 2)


def test_the_same_seed_gives_the_same_town_and_another_seed_another_one(tmp_path: Path) -> None:
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        SampleMarket(150, seed=seed).write_listings(tmp_path / f"{name}.csv")
    first, again, other = ((tmp_path / f"{name}.csv").read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other


def test_it_lists_as_many_houses_as_asked_for(truth: pd.DataFrame) -> None:
    assert len(truth) == 1500
    assert truth["id"].is_unique
    assert len(SampleMarket(1, seed=2).houses()) == 1
    assert len(SampleMarket(137, seed=2).houses()) == 137


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_the_drivers_are_as_common_as_they_should_be(seed: int, truth: pd.DataFrame) -> None:
    houses = truth if seed == 1 else SampleMarket(1500, seed=seed).houses()
    share = {driver: float((houses[f"{driver}_effect"] != 0).mean()) for driver in DRIVERS}
    assert 0.20 <= share["pool"] <= 0.30
    assert 0.12 <= share["water"] <= 0.18
    assert 0.15 <= share["arterial"] <= 0.20
    assert 0.30 <= share["canopy"] <= 0.60


def test_a_driver_counts_only_from_one_percent_of_the_picture(truth: pd.DataFrame) -> None:
    for driver in DRIVERS:
        counts = truth[f"{driver}_effect"] != 0
        pd.testing.assert_series_equal(counts, truth[f"{driver}_share"] >= LEAST_SHARE, check_names=False)
    for driver in ("pool", "water", "arterial"):
        effects = truth.loc[truth[f"{driver}_effect"] != 0, f"{driver}_effect"]
        assert np.allclose(effects, FULL_EFFECTS[driver])
    assert truth["canopy_effect"].between(0.0, FULL_EFFECTS["canopy"]).all()
    assert truth["canopy_effect"].nunique() > 50
    assert FULL_EFFECTS["pool"] == pytest.approx(np.log(1.06))
    assert FULL_EFFECTS["water"] == pytest.approx(np.log(1.20))
    assert FULL_EFFECTS["canopy"] == pytest.approx(np.log(1.08))
    assert FULL_EFFECTS["arterial"] == pytest.approx(np.log(0.90))


def test_a_price_is_the_product_of_its_parts(truth: pd.DataFrame) -> None:
    parts = [f"{driver}_effect" for driver in DRIVERS]
    parts += ["attributes_level", "location_level", "market_level", "noise_level"]
    expected = 320_000 * np.exp(truth[parts].sum(axis=1))
    assert (truth["price"] - expected).abs().max() <= 250
    assert truth["noise_level"].std() == pytest.approx(0.07, rel=0.08)


def test_attributes_do_not_know_the_drivers(truth: pd.DataFrame) -> None:
    visual = truth[[f"{driver}_effect" for driver in DRIVERS]].sum(axis=1)
    for column in ("bedrooms", "bathrooms", "area_m2", "latitude", "longitude"):
        assert abs(np.corrcoef(visual, truth[column])[0, 1]) < 0.12


def test_masks_match_the_shares_and_stay_empty_where_nothing_counts(
    town: SampleMarket, truth: pd.DataFrame
) -> None:
    some = truth.iloc[::25]
    masks = town.driver_masks(list(some["id"]))
    assert masks.shape == (len(some), 4, 224, 224)
    assert masks.dtype == bool
    for number, driver in enumerate(DRIVERS):
        covered = masks[:, number].mean(axis=(1, 2))
        counts = (some[f"{driver}_effect"] != 0).to_numpy()
        np.testing.assert_allclose(covered[counts], some.loc[counts, f"{driver}_share"])
        assert not masks[~counts, number].any()


def test_masks_of_another_size_are_centred_on_the_same_place(town: SampleMarket, truth: pd.DataFrame) -> None:
    house_id = str(truth.loc[truth["water_effect"] > 0, "id"].iloc[0])
    large = town.driver_masks(house_id, size=300)[0]
    small = town.driver_masks(house_id)[0]
    assert np.array_equal(large[:, 38:-38, 38:-38], small)


def test_the_mask_of_a_pool_lies_on_the_pool_in_the_picture(town: SampleMarket, truth: pd.DataFrame) -> None:
    houses = truth[truth["pool_effect"] > 0].head(12)
    for house in houses.itertuples():
        left, top = picture_window(house.latitude, house.longitude)
        picture = town.render(left, top, 224, 224).astype(float)
        mask = town.driver_masks(str(house.id))[0, 0]
        blueness = picture[..., 2] - picture[..., 0]
        assert blueness[mask].mean() > blueness[~mask].mean() + 30


def test_a_window_of_tiles_is_the_window_drawn_at_once(town: SampleMarket, truth: pd.DataFrame) -> None:
    house = truth.iloc[700]
    x, y = (int(value) // 256 for value in world_pixel(house["latitude"], house["longitude"]))
    tiles = [[town.tile(18, x + east, y + south) for east in range(3)] for south in range(3)]
    stitched = np.concatenate([np.concatenate(line, axis=1) for line in tiles])  # type: ignore[arg-type]
    direct = town.render(x * 256 + 71, y * 256 + 133, 500, 400)
    part = stitched[133:533, 71:571]
    difference = np.abs(part.astype(int) - direct.astype(int)).max(axis=2)
    assert (difference > 8).mean() < 0.001


def test_a_tile_drawn_alone_is_the_tile_drawn_among_others(town: SampleMarket, truth: pd.DataFrame) -> None:
    x, y = (int(value) // 256 for value in world_pixel(truth["latitude"][90], truth["longitude"][90]))
    alone = SampleMarket(1500, seed=1).tile(18, x, y)
    assert alone is not None
    assert alone.shape == (256, 256, 3)
    assert np.array_equal(alone, town.tile(18, x, y))
    assert alone.std() > 8


def test_tiles_end_where_the_town_ends(town: SampleMarket) -> None:
    assert town.tile(18, 0, 0) is None
    assert town.tile(19, 0, 0) is None
    x, y = next(iter(town.tiles()))
    assert town.tile(18, x, y) is not None


def test_a_lower_zoom_is_the_average_of_the_higher_one(town: SampleMarket, truth: pd.DataFrame) -> None:
    x, y = (int(value) // 512 for value in world_pixel(truth["latitude"][700], truth["longitude"][700]))
    tile = town.tile(17, x, y)
    quarter = town.tile(18, 2 * x, 2 * y)
    assert tile is not None
    assert quarter is not None
    assert tile.shape == (256, 256, 3)
    assert abs(tile[:128, :128].mean() - quarter.mean()) < 1.5


@pytest.mark.parametrize(
    ("trend", "middle", "end"), [("flat", 0, 0), ("steady", 1, 1), ("falling", -1, -1), ("turning", 1, -1)]
)
def test_the_market_moves_as_the_trend_says(trend: str, middle: int, end: int) -> None:
    houses = SampleMarket(300, seed=1, trend=trend).houses().sort_values("sale_date")  # type: ignore[arg-type]
    level = houses["market_level"].to_numpy()
    half = int((houses["sale_date"] < "2025-05-25").sum())
    assert np.sign(level[half - 1] - level[0]) == middle
    assert np.sign(level[-1] - level[half]) == end


def test_sales_cover_28_months(truth: pd.DataFrame) -> None:
    months = truth["sale_date"].dt.to_period("M")
    assert months.nunique() == 28
    assert months.max().ordinal - months.min().ordinal == 27


def test_listings_hold_missing_and_wrong_values(
    town: SampleMarket, truth: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "listings.csv"
    town.write_listings(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "id",
        "date",
        "price",
        "latitude",
        "longitude",
        "bedrooms",
        "bathrooms",
        "area_m2",
    ]
    wrong = [
        row
        for row in rows
        if row["latitude"] == "95.0"
        or row["price"] in ("n/a", "")
        or row["price"].startswith("-")
        or row["bedrooms"] == "40"
        or row["date"] > "2026-11"
    ]
    assert 5 <= len(wrong) + len(rows) - len(truth) <= 40
    for column in ("bedrooms", "bathrooms", "area_m2"):
        assert 0.01 < np.mean([row[column] == "" for row in rows]) < 0.045
    assert not list(path.parent.glob(".*"))
    wrong_ids = {row["id"] for row in wrong}
    prices = dict(zip(truth["id"], truth["price"], strict=True))
    assert all(float(row["price"]) == prices[row["id"]] for row in rows if row["id"] not in wrong_ids)


def test_unknown_houses_trends_and_sizes_are_refused(town: SampleMarket) -> None:
    with pytest.raises(DataError, match="no house 'h999-000-00'"):
        town.driver_masks("h999-000-00")
    with pytest.raises(DataError, match="no house 'nonsense'"):
        town.driver_masks(["nonsense"])
    with pytest.raises(UsageError, match="trend"):
        SampleMarket(100, seed=1, trend="rising")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="0 houses"):
        SampleMarket(0, seed=1)
    with pytest.raises(UsageError, match="not 17"):
        town.driver_masks([], zoom=17)


def _peak_memory(houses: int, read: int) -> int:
    tracemalloc.start()
    market = SampleMarket(houses, seed=1)
    for _ in itertools.islice(market.house_records(), read):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_a_large_town_needs_no_more_memory_to_list(tmp_path: Path) -> None:
    assert _peak_memory(1_000_000, 300) < 1.5 * _peak_memory(3_000, 300) + 2**20


def test_a_tile_of_a_million_houses_is_drawn_alone() -> None:
    market = SampleMarket(1_000_000, seed=1)
    house = next(market.house_records())
    x, y = world_pixel(house["latitude"], house["longitude"])
    tile = market.tile(18, int(x) // 256, int(y) // 256)
    assert tile is not None
    assert tile.std() > 5


@pytest.mark.slow
def test_thousands_of_houses_stream_to_a_file(tmp_path: Path) -> None:
    market = SampleMarket(5_000, seed=1)
    tracemalloc.start()
    market.write_listings(tmp_path / "listings.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 * 2**20
    with (tmp_path / "listings.csv").open(encoding="utf-8") as file:
        assert sum(1 for _ in file) > 5_000


def test_places_and_pixels_are_inverse() -> None:
    latitude, longitude = place_of(*world_pixel(60.0123, -23.987))
    assert float(latitude) == pytest.approx(60.0123, abs=1e-9)
    assert float(longitude) == pytest.approx(-23.987, abs=1e-9)
