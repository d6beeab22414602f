"""Exports, read back by the libraries that QGIS and analysts use."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import pandas as pd
import pyarrow.parquet
import pyogrio
import pytest

from db.removal_store import begin_removal
from db.store import read_sales
from housevis.core.errors import UsageError
from housevis.pipeline.exporting import export
from housevis.pipeline.geo_files import read_geo_table
from housevis.pipeline.project import Project
from housevis.runs import find_run, read_parquet


def last_sales(project: Project) -> pd.DataFrame:
    return read_sales(project.engine).drop_duplicates("house_id", keep="last").set_index("house_id")


@pytest.mark.parametrize("name", ["houses.gpkg", "houses.parquet"])
def test_houses_come_back_with_their_estimates(project: Project, tmp_path: Path, name: str) -> None:
    result = export(project, tmp_path / name)
    path = tmp_path / name
    read = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    expected = last_sales(project)
    run = find_run(project.workspace.folder.parent, project.config.name)
    judged = read_parquet(run.estimates).set_index("sale_id")

    assert result.figures["rows"] == len(read) == len(expected)
    assert read.crs is not None
    assert read.crs.to_epsg() == 4326
    assert set(read.geom_type) == {"Point"}
    assert read["house_id"].is_unique
    houses = expected.loc[read["house_id"]]
    assert read.geometry.x.tolist() == pytest.approx(houses["longitude"].tolist())
    assert read.geometry.y.tolist() == pytest.approx(houses["latitude"].tolist())
    assert read["price"].tolist() == houses["price"].tolist()
    assert pd.to_datetime(read["sale_date"]).tolist() == houses["sale_date"].tolist()
    shown = judged.loc[read["sale_id"]]
    for column, source in {"estimate": "estimate", "estimate_low": "low", "estimate_high": "high"}.items():
        assert read[column].tolist() == pytest.approx(shown[source].tolist())
    assert read["model_id"].tolist() == shown["model_id"].tolist()
    assert set(read["sample"]) <= {"later sale", "cross-fitted"}
    assert set(read["currency"]) == {"USD"}
    assert set(read["picture"]) <= {"yes", "in part", "none"}
    drivers = [column for column in read.columns if column.startswith("driver_")]
    assert read[drivers].sum(axis=1).tolist() == pytest.approx(read["estimate"].tolist())
    assert pd.api.types.is_float_dtype(read["price"])
    assert not any(pd.api.types.is_object_dtype(read[column]) for column in ("house_id", "model_id"))


def test_the_files_say_what_they_are(project: Project, tmp_path: Path) -> None:
    export(project, tmp_path / "a.gpkg", every_sale=True)
    export(project, tmp_path / "a.parquet", every_sale=True)
    assert pyogrio.list_layers(tmp_path / "a.gpkg").tolist() == [["sales", "Point"]]
    packed = pyogrio.read_info(tmp_path / "a.gpkg", layer="sales")
    schema = pyarrow.parquet.read_schema(tmp_path / "a.parquet")
    metadata = json.loads(schema.metadata[b"housevis"])
    assert packed["layer_metadata"] == {name: text for name, text in metadata.items() if name != "layer"}
    assert metadata["notice"] == "estimate, not an appraisal"
    assert metadata["currency"] == "USD"
    assert metadata["attribution"].startswith("Sample market")
    assert "binary" not in {str(field.type) for field in schema if field.name != "geometry"}
    assert packed["features"] == len(read_sales(project.engine))


def test_without_a_current_run_there_are_houses_without_estimates(project: Project, tmp_path: Path) -> None:
    project.workspace.current.unlink()
    result = export(project, tmp_path / "a.parquet")
    read = geopandas.read_parquet(tmp_path / "a.parquet")
    assert result.figures["with_estimate"] == 0
    assert read["estimate"].isna().all()
    assert len(read) == len(last_sales(project))


def test_a_house_on_the_list_of_removed_ones_is_not_exported(project: Project, tmp_path: Path) -> None:
    house_id = str(last_sales(project).index[0])
    begin_removal(project.engine, {house_id: {}})
    export(project, tmp_path / "a.parquet")
    assert house_id not in set(geopandas.read_parquet(tmp_path / "a.parquet")["house_id"])


def test_an_export_replaces_the_one_before_as_a_whole(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.gpkg"
    export(project, path, every_sale=True)
    export(project, path)
    assert read_geo_table(path).layer == "houses"
    assert pyogrio.list_layers(path).tolist() == [["houses", "Point"]]
    assert [file.name for file in path.parent.iterdir()] == ["a.gpkg"]


@pytest.mark.parametrize("name", ["houses.csv", "houses", "folder.gpkg"])
def test_other_kinds_of_files_are_refused(project: Project, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.gpkg").mkdir()
    with pytest.raises(UsageError):
        export(project, tmp_path / name)
