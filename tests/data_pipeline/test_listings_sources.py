"""Where listings come from: workbooks, layers, queries, other coordinate systems; and what stays secret."""

from __future__ import annotations

import datetime
import logging
import sqlite3
from pathlib import Path

import geopandas
import openpyxl
import pandas as pd
import pytest
from pydantic import SecretStr

from data_pipeline.listings import Listings, read_listings, read_new_listings
from data_pipeline.steps import ingest
from db.session import open_database
from housevis.core.config import parse_config
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, HousevisError, ListingsError
from housevis.core.workspace import Workspace

TODAY = datetime.date(2020, 1, 1)
SECRET = "correct-horse-battery"


def read(**changes: object) -> Listings:
    return read_listings(ListingsSection(**changes), today=TODAY)  # type: ignore[arg-type]


def places(crs: str | int) -> geopandas.GeoDataFrame:
    frame = pd.DataFrame(
        {"id": ["a", "b"], "date": ["2014-05-02", "2014-05-03"], "price": [500_000, 600_000]}
    )
    points = geopandas.points_from_xy([8.54, 8.55], [47.37, 47.38])
    return geopandas.GeoDataFrame(frame, geometry=points, crs=4326).to_crs(crs)


def test_a_workbook_with_sheets_typed_cells_and_a_title(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "About"  # type: ignore[union-attr]
    sheet = book.create_sheet("Sales")
    sheet.append([])
    sheet.append(["id", "date", "price", "lat", "lon", "bedrooms", None])
    sheet.append([1001, datetime.datetime(2014, 5, 2, 12, 30), 500000, 47.5, -122.1, 3, None])
    sheet.append([None] * 7)
    sheet.append(["x-7", "2014-05-03", "n/a", 47.5, -122.1, None, None])
    path = tmp_path / "sales.xlsx"
    book.save(path)
    listings = read(path=path, sheet="Sales")
    assert listings.sales["sale_id"].tolist() == ["1001@2014-05-02"]
    assert listings.sales["source_row"].tolist() == [3]
    assert listings.rejects[["row", "reason"]].to_numpy().tolist() == [[5, "invalid_price"]]
    assert any("sheet 'Sales'" in note for note in listings.notes)
    with pytest.raises(ListingsError, match=r"listings\.sheet to one of: About, Sales"):
        read(path=path, sheet="sales")
    with pytest.raises(ListingsError, match="'About' is empty"):
        read(path=path)


def test_a_layer_of_a_geopackage_and_its_own_coordinate_system(tmp_path: Path) -> None:
    path = tmp_path / "sales.gpkg"
    places(25832).to_file(path, layer="sales")
    places(25832).iloc[:1].to_file(path, layer="other")
    listings = read(path=path, sheet="sales", crs="EPSG:2056")
    assert listings.sales["latitude"].tolist() == pytest.approx([47.37, 47.38])
    assert listings.sales["longitude"].tolist() == pytest.approx([8.54, 8.55])
    with pytest.raises(ListingsError, match=r"listings\.sheet to one of"):
        read(path=path, sheet="none")


def test_geoparquet(tmp_path: Path) -> None:
    path = tmp_path / "sales.parquet"
    places(2056).to_parquet(path)
    assert read(path=path).sales["longitude"].tolist() == pytest.approx([8.54, 8.55])


def test_coordinates_of_a_table_in_metres(tmp_path: Path) -> None:
    projected = places(2056)
    table = pd.DataFrame(projected.drop(columns="geometry"))
    table["E"], table["N"] = projected.geometry.x.round(2), projected.geometry.y.round(2)
    path = tmp_path / "sales.csv"
    table.to_csv(path, index=False)
    section: dict[str, object] = {"path": path, "crs": "EPSG:2056", "columns": {"x": "E", "y": "N"}}
    listings = read(**section)
    assert listings.sales["latitude"].tolist() == pytest.approx([47.37, 47.38], abs=1e-6)
    assert any("EPSG:2056, stored in EPSG:4326" in note for note in listings.notes)
    houses, _ = read_new_listings(path, ListingsSection(**section))  # type: ignore[arg-type]
    assert houses["longitude"].tolist() == pytest.approx([8.54, 8.55], abs=1e-6)
    with pytest.raises(ConfigError, match="no known coordinate reference system"):
        read(path=path, crs="EPSG:1")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / f"{SECRET}.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sold (id, day, price, lat, lon, seller)")
        rows = [(f"h{number}", "2014-05-02", 500_000 + number, 47.5, 8.5, "Biggin") for number in range(7)]
        connection.executemany("INSERT INTO sold VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute("INSERT INTO sold VALUES ('bad', '2014-05-02', NULL, 47.5, 8.5, 'Biggin')")
    connection.close()
    return path


def test_a_query(database: Path) -> None:
    query = "SELECT *, '12:30' AS time FROM sold WHERE id LIKE '%' ORDER BY id"
    section = ListingsSection(
        query=query, database=SecretStr(f"sqlite:///{database}"), columns={"date": "day"}
    )
    listings = read_listings(section, today=TODAY, part_rows=3)
    assert listings.rows == 8
    assert listings.reasons == {"missing_price": 1}
    assert listings.sales["price"].tolist() == [500_000 + number for number in range(7)]
    assert listings.rejects["source"].tolist() == ["query"]
    assert listings.mapping.people == ["seller"]


@pytest.mark.parametrize(
    ("query", "message"),
    [("SELECT * FROM nowhere", "the query fails"), ("DELETE FROM sold", "gives no rows"), ("SELEC", "fails")],
)
def test_a_query_that_fails_changes_nothing(database: Path, query: str, message: str) -> None:
    with pytest.raises(ListingsError, match=message):
        read(query=query, database=f"sqlite:///{database}")
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM sold").fetchone() == (8,)
    connection.close()


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ListingsError, match="no such SQLite file"):
        read(query="SELECT 1", database=f"sqlite:///{tmp_path}/none.sqlite")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="no database to send it to"):
        read(query="SELECT 1")


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/sales?connect_timeout=2",
        f"postgresql://127.0.0.1:1/sales?connect_timeout=2&user=me&password={SECRET}",
        f"nonsense://user:{SECRET}@127.0.0.1/sales",
        f"postgresql://user:{SECRET}@127.0.0.1:port/sales",
        f"postgresql://user:an@{SECRET}@127.0.0.1:1/sales",
    ],
)
def test_the_address_of_a_database_is_in_no_message(
    address: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    section = ListingsSection(query="SELECT 1", database=SecretStr(address))
    with pytest.raises(HousevisError) as caught:
        read_listings(section)
    output = capfd.readouterr()
    for text in (str(caught.value), repr(caught.value), repr(section), str(section), caplog.text):
        assert SECRET not in text
    assert SECRET not in output.out + output.err
    assert caught.value.__cause__ is None


def test_the_address_is_in_no_dump_and_in_nothing_that_is_stored(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTINGS_DATABASE", f"sqlite:///{database}")
    listings = {"query": "SELECT * FROM sold", "database": "${LISTINGS_DATABASE}", "columns": {"date": "day"}}
    config = parse_config({"name": "sql", "listings": listings}, where="test", directory=tmp_path)
    workspace = Workspace(tmp_path / "runs" / "sql")
    engine = open_database(workspace.database)
    report = ingest(config, workspace, engine)
    assert report.sales == 7
    assert not ingest(config, workspace, engine).skipped
    engine.dispose()
    for text in (config.model_dump_json(), repr(config), str(config.model_dump()), repr(report)):
        assert SECRET not in text
    stored = [path for path in workspace.folder.rglob("*") if path.is_file()]
    assert stored
    for path in stored:
        assert SECRET.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "listings",
    [
        {"query": "SELECT 1", "database": [f"x://{SECRET}"]},
        {"query": "SELECT 1", "path": "sales.csv", "database": f"x://{SECRET}"},
        {"query": "SELECT 1", "database": f"x://{SECRET}", "bounds": [1, 2, 3]},
        {"query": "SELECT 1", "database": f"x://{SECRET}", "quer": 1},
    ],
)
def test_a_mistake_in_the_configuration_shows_no_address(tmp_path: Path, listings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"name": "sql", "listings": listings}, where="test", directory=tmp_path)
    assert SECRET not in str(caught.value)


def test_names_of_sellers_are_never_stored(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text(
        "id,date,price,lat,lon,address,SellerG,grantee_name\n"
        "a,2014-05-02,500000,47.5,8.5,1 Main Street,Zebedee,Quentin\n"
        "b,2014-05-02,n/a,47.5,8.5,2 Main Street,Zebedee,Quentin\n"
    )
    config = parse_config({"name": "people", "listings": {"path": str(path)}}, where="t", directory=tmp_path)
    workspace = Workspace(tmp_path / "runs" / "people")
    engine = open_database(workspace.database)
    ingest(config, workspace, engine)
    engine.dispose()
    for stored in workspace.folder.rglob("*"):
        if stored.is_file():
            assert b"Zebedee" not in stored.read_bytes()
            assert b"Quentin" not in stored.read_bytes()
