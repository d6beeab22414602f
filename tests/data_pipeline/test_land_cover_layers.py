from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.land_cover_layers import read_buildings, read_roads
from housevis.core.errors import ConfigError, DataError

WEST, SOUTH = -122.3, 47.6
SIDE = 0.001
"""Degrees of a picture's side from west to east."""
BOUNDS = (WEST, SOUTH, WEST + SIDE, SOUTH + SIDE)
ROOF, ROAD, LAWN = (np.uint8(LAND_COVERS.index(name)) for name in ("roof", "road", "lawn"))


def lawn(cells: int = 100) -> np.ndarray:
    return np.full((cells, cells), LAWN)


def footprints(**columns: list[object]) -> geopandas.GeoDataFrame:
    """The western half of the picture, and a house elsewhere."""
    shapes = [shapely.box(WEST, SOUTH, WEST + SIDE / 2, SOUTH + SIDE), shapely.box(10, 10, 10.001, 10.001)]
    return geopandas.GeoDataFrame(columns, geometry=shapes, crs="EPSG:4326")


@pytest.mark.parametrize(
    "name", ["houses.gpkg", "houses.geojson", "houses.shp", "houses.fgb", "houses.parquet"]
)
def test_buildings_of_any_format_and_coordinate_system_are_drawn(tmp_path: Path, name: str) -> None:
    frame = footprints(name=["one", "far"])
    if not name.endswith("json"):
        frame = frame.to_crs("EPSG:32610")
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_file(path)
    covers = lawn()
    read_buildings(path).draw(covers, BOUNDS)
    assert (covers[:, :49] == ROOF).mean() > 0.97
    assert (covers[:, 51:] == LAWN).all()


def test_a_picture_without_buildings_stays_as_it_is(tmp_path: Path) -> None:
    footprints().to_file(tmp_path / "houses.gpkg")
    covers = lawn()
    read_buildings(tmp_path / "houses.gpkg").draw(covers, (5.0, 5.0, 5.001, 5.001))
    assert (covers == LAWN).all()


def test_roads_are_as_wide_on_the_ground_as_their_kind(tmp_path: Path) -> None:
    middle = WEST + SIDE / 2
    line = shapely.LineString([(middle, SOUTH - SIDE), (middle, SOUTH + 2 * SIDE)])
    metres = 111_320 * np.cos(np.radians(SOUTH)) * SIDE
    for kind, width in (("residential", 8.0), ("motorway_link", 22.0), ("goat_track", 7.0)):
        frame = geopandas.GeoDataFrame({"highway": [kind]}, geometry=[line], crs="EPSG:4326")
        frame.to_file(tmp_path / f"{kind}.gpkg")
        covers = lawn(400)
        read_roads(tmp_path / f"{kind}.gpkg").draw(covers, BOUNDS)
        assert (covers == ROAD).mean() * metres == pytest.approx(width, abs=0.4)


def test_roads_without_a_kind_and_squares_are_drawn(tmp_path: Path) -> None:
    shapes = [
        shapely.LineString([(WEST, SOUTH + SIDE / 2), (WEST + SIDE, SOUTH + SIDE / 2)]),
        shapely.box(WEST, SOUTH, WEST + SIDE / 4, SOUTH + SIDE / 4),
        shapely.Point(WEST, SOUTH),
    ]
    geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:4326").to_file(tmp_path / "roads.gpkg")
    covers = lawn()
    read_roads(tmp_path / "roads.gpkg").draw(covers, BOUNDS)
    assert covers[50, 60] == ROAD
    assert covers[90, 10] == ROAD
    assert covers[10, 10] == LAWN


def test_a_bad_file_is_one_error_with_the_key_and_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as absent:
        read_buildings(tmp_path / "absent.gpkg")
    assert "land_cover.buildings" in str(absent.value.where)
    broken = tmp_path / "broken.gpkg"
    broken.write_bytes(b"this is no GeoPackage")
    with pytest.raises(DataError, match="cannot be read"):
        read_roads(broken)
    broken_table = tmp_path / "broken.parquet"
    broken_table.write_bytes(b"this is no Parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_roads(broken_table)
    nowhere = tmp_path / "nowhere.shp"
    footprints(name=["one", "two"]).set_crs(None, allow_override=True).to_file(nowhere)
    with pytest.raises(DataError, match="coordinate system"):
        read_buildings(nowhere)
    points = tmp_path / "points.geojson"
    geopandas.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs="EPSG:4326").to_file(points)
    with pytest.raises(DataError, match="no building"):
        read_buildings(points)
    with pytest.raises(DataError, match="no road"):
        read_roads(points)
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"no geometry|cannot be read"):
        read_roads(table)
