from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from data_pipeline.parcels import read_parcels, surroundings_of
from data_pipeline.sample_market import SampleMarket
from data_pipeline.sample_market.lots import lot_areas
from housevis.core.errors import ConfigError, DataError

WEST, SOUTH = -122.3, 47.6
LOT = 0.0004
HOME = surroundings_of([SOUTH + LOT / 2], [WEST + LOT / 2], 10.0)


def lots(columns: int = 8, rows: int = 4) -> geopandas.GeoDataFrame:
    """A grid of lots whose owners are named; the house stands on the first."""
    shapes = [
        shapely.box(WEST + x * LOT, SOUTH + y * LOT, WEST + (x + 1) * LOT, SOUTH + (y + 1) * LOT)
        for y in range(rows)
        for x in range(columns)
    ]
    return geopandas.GeoDataFrame({"owner": ["Jane Doe"] * len(shapes)}, geometry=shapes, crs="EPSG:4326")


@pytest.mark.parametrize("name", ["lots.gpkg", "lots.geojson", "lots.shp.zip", "lots.parquet"])
def test_parcels_of_any_format_near_the_houses_are_read(tmp_path: Path, name: str) -> None:
    frame = lots() if name.endswith("json") else lots().to_crs("EPSG:2926")
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
    found = read_parcels(path, HOME)
    assert len(found.areas) == 1
    assert shapely.bounds(found.areas[0]) == pytest.approx([WEST, SOUTH, WEST + LOT, SOUTH + LOT], abs=3e-6)
    assert found.words() == "parcels: 1 near the houses"
    coordinates = shapely.get_coordinates(found.areas)
    assert (np.round(coordinates, 6) == coordinates).all()


def test_what_lies_within_a_third_of_a_metre_of_a_line_is_no_corner(tmp_path: Path) -> None:
    corner = shapely.get_coordinates(lots().geometry[0])
    middle = (corner[0] + corner[1]) / 2 + [1.5e-6, 0]
    bent = shapely.Polygon(np.insert(corner, 1, middle, axis=0))
    geopandas.GeoDataFrame(geometry=[bent], crs="EPSG:4326").to_file(tmp_path / "bent.gpkg")
    assert shapely.get_num_coordinates(read_parcels(tmp_path / "bent.gpkg", HOME).areas[0]) == 5


def test_broken_parcels_are_mended_others_counted_and_each_drawn_once(tmp_path: Path) -> None:
    west, south, east, north = HOME[0]
    bow_tie = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    lot = lots().geometry[0]
    flats = [lot, shapely.reverse(lot), lot]
    line = shapely.LineString([(west, south), (east, north)])
    frame = geopandas.GeoDataFrame(geometry=[bow_tie, *flats, line, None], crs="EPSG:4326")
    frame.to_file(tmp_path / "lots.gpkg")
    found = read_parcels(tmp_path / "lots.gpkg", HOME)
    assert (len(found.areas), found.mended, found.skipped, found.alike) == (2, 1, 1, 2)
    assert shapely.is_valid(found.areas).all()
    assert "1 broken ones mended; 1 shapes skipped" in found.words()


def test_a_bad_file_is_one_error_with_the_key_and_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as absent:
        read_parcels(tmp_path / "absent.gpkg", HOME)
    assert "atlas.parcels" in str(absent.value.where)
    nowhere = tmp_path / "nowhere.shp"
    lots().set_crs(None, allow_override=True).to_file(nowhere)
    with pytest.raises(DataError, match="coordinate system"):
        read_parcels(nowhere, HOME)
    points = tmp_path / "points.geojson"
    geopandas.GeoDataFrame(geometry=shapely.centroid(lots().geometry.to_numpy()), crs="EPSG:4326").to_file(
        points
    )
    with pytest.raises(DataError, match="no parcel"):
        read_parcels(points, HOME)
    lots().to_file(tmp_path / "lots.gpkg")
    with pytest.raises(DataError, match="near a house"):
        read_parcels(tmp_path / "lots.gpkg", surroundings_of([10.0], [10.0]))


def test_every_house_of_the_town_stands_on_a_lot_of_its_own() -> None:
    houses = SampleMarket(houses=150, seed=3).houses()
    areas = lot_areas(150, 3)
    standing = shapely.STRtree(areas).query(
        shapely.points(houses["longitude"], houses["latitude"]), predicate="within"
    )
    assert standing.shape[1] == len(houses) == len(set(standing[1]))
