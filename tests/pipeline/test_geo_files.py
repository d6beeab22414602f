"""Exported files after their user has worked with them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import geopandas
import pandas as pd
import pytest

from housevis.core.errors import StorageError
from housevis.pipeline.geo_files import GeoTable, drop_houses, write_geo_table

WORDS = {"a": "ASTERSTREET", "b": "BIRCHSTREET", "o'c": "CEDARSTREET"}


def exported(path: Path) -> Path:
    frame = geopandas.GeoDataFrame(
        {"house_id": list(WORDS), "address": list(WORDS.values())},
        geometry=geopandas.points_from_xy([11.1, 11.2, 11.3], [48.1, 48.2, 48.3]),
        crs=4326,
    )
    write_geo_table(GeoTable(frame, "houses", {"title": "Town"}), path)
    return path


def parks() -> geopandas.GeoDataFrame:
    points = geopandas.points_from_xy([11], [48])
    return geopandas.GeoDataFrame({"name": ["Park"]}, geometry=points, crs=4326)


@pytest.mark.parametrize("name", ["houses.gpkg", "houses.parquet"])
def test_houses_go_byte_for_byte(tmp_path: Path, name: str) -> None:
    path = exported(tmp_path / name)
    assert drop_houses(path, ["a", "o'c", "never there"]) == 2
    read = geopandas.read_file if path.suffix == ".gpkg" else geopandas.read_parquet
    assert read(path)["house_id"].tolist() == ["b"]
    content = path.read_bytes()
    assert not any(WORDS[house_id].encode() in content for house_id in ("a", "o'c"))
    assert drop_houses(path, ["a"]) == 0


def test_styles_and_layers_of_the_user_stay(tmp_path: Path) -> None:
    path = exported(tmp_path / "houses.gpkg")
    parks = geopandas.GeoDataFrame(
        {"name": ["Park"]}, geometry=geopandas.points_from_xy([11], [48]), crs=4326
    )
    parks.to_file(path, layer='my "parks"')
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE layer_styles (style TEXT)")
        connection.execute("INSERT INTO layer_styles VALUES ('red')")
        connection.commit()
    assert drop_houses(path, ["a"]) == 1
    assert geopandas.read_file(path, layer='my "parks"')["name"].tolist() == ["Park"]
    assert geopandas.read_file(path, layer="houses", bbox=(11.15, 48, 12, 49))["house_id"].tolist() == [
        "b",
        "o'c",
    ]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT style FROM layer_styles").fetchall() == [("red",)]


@pytest.mark.parametrize("name", ["houses.gpkg", "houses.parquet"])
def test_another_file_in_its_place_is_told_and_left(tmp_path: Path, name: str) -> None:
    folder, path = tmp_path / ("folder-" + name), tmp_path / name
    folder.mkdir()
    parks = geopandas.GeoDataFrame(
        {"name": ["Park"]}, geometry=geopandas.points_from_xy([11], [48]), crs=4326
    )
    if path.suffix == ".gpkg":
        parks.to_file(path)
    else:
        pd.DataFrame({"name": ["Park"]}).to_parquet(path)
    before = path.read_bytes()
    broken = tmp_path / ("broken-" + name)
    broken.write_bytes(b"no table")
    for other in (path, folder, broken, tmp_path / ("absent-" + name)):
        with pytest.raises(StorageError, match="cannot be read as a table of places"):
            drop_houses(other, ["a"])
    assert path.read_bytes() == before
    assert not (tmp_path / ("absent-" + name)).exists()
