"""Files as offices and portals of several countries really publish them, and files that are broken."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from data_pipeline.listings import Listings, read_listings
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError


def read(path: Path, content: str, **changes: object) -> Listings:
    path.write_text(content, encoding="utf-8")
    return read_listings(ListingsSection.model_validate({"path": path, **changes}))


def reasons(listings: Listings) -> list[str]:
    return [str(reason) for reason in listings.rejects["reason"]]


def test_a_file_that_holds_nothing_but_a_byte_order_mark(tmp_path: Path) -> None:
    with pytest.raises(ListingsError, match="first line is empty"):
        read(tmp_path / "sales.csv", "\ufeff")


def test_commas_in_a_file_named_tsv(tmp_path: Path) -> None:
    listings = read(tmp_path / "sales.tsv", "id,date,price,lat,lon\n1,2020-01-02,300000,47.61,-122.32\n")
    assert listings.sales["price"].tolist() == [300_000]


def test_titles_above_the_columns_of_a_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Sales of 2020"])
    sheet.merge_cells("A1:E1")
    sheet.append([])
    sheet.append(["id", "date", "price", "lat", "lon"])
    sheet.append([1, "2020-01-02", 300000, 47.61, -122.32])
    book.create_sheet("Empty")
    book.save(tmp_path / "sales.xlsx")
    listings = read_listings(ListingsSection(path=tmp_path / "sales.xlsx"))
    assert listings.sales["source_row"].tolist() == [4]
    assert any("columns named in row 3" in note for note in listings.notes)
    with pytest.raises(ListingsError, match=r"'Empty' is empty\. Set listings\.sheet to one of: Sheet\."):
        read_listings(ListingsSection(path=tmp_path / "sales.xlsx", sheet="Empty"))


@pytest.mark.parametrize(
    "place",
    [
        "POINT (-122.32 47.61)",
        "Point(-122.32 47.61 12.5)",
        "SRID=4326;POINT(-122.32 47.61)",
        '"(47.61, -122.32)"',
        '"47.61,-122.32"',
        '"1 Main St (rear)\nSeattle\n(47.61, -122.32)"',
        '"{""type"": ""Point"", ""coordinates"": [-122.32, 47.61]}"',
    ],
)
def test_latitude_and_longitude_in_one_column(tmp_path: Path, place: str) -> None:
    listings = read(tmp_path / "sales.csv", f"id,date,price,location\n1,2020-01-02,300000,{place}\n")
    assert listings.sales[["latitude", "longitude"]].to_numpy().tolist() == [[47.61, -122.32]]


def test_a_place_that_is_no_pair_of_numbers_is_rejected_as_it_is(tmp_path: Path) -> None:
    rows = ["1,2020-01-02,300000,Main St 12", "2,2020-01-02,300000,", "3,2020-01-02,300000,POINT EMPTY"]
    listings = read(tmp_path / "sales.csv", "\n".join(["id,date,price,location", *rows]))
    assert reasons(listings) == ["impossible_coordinate", "missing_coordinate", "impossible_coordinate"]
    assert "Main St 12" in listings.rejects["detail"].iloc[0]


def test_prices_of_japan(tmp_path: Path) -> None:
    rows = ["1,2020/03/14,3000万円,35.61,139.71,60㎡", "2,2020/03/15,1.2億円,35.62,139.72,90㎡"]
    listings = read(tmp_path / "sales.csv", "\n".join(["id,date,price,lat,lon,area", *rows]), area_unit="m2")
    assert listings.sales["price"].tolist() == [30_000_000, 120_000_000]
    assert listings.sales["area_m2"].tolist() == [60, 90]


@pytest.mark.parametrize("price", ["TRUE", "no", "1e308", "1e400", "inf", "9" * 40])
def test_what_is_no_price(tmp_path: Path, price: str) -> None:
    listings = read(tmp_path / "sales.csv", f"id,date,price,lat,lon\n1,2020-01-02,{price},47.61,-122.32\n")
    assert reasons(listings) == ["invalid_price"]


def test_degrees_where_metres_are_declared(tmp_path: Path) -> None:
    content = "id,date,price,lat,lon\n1,2020-01-02,300000,48.1,11.5\n"
    listings = read(tmp_path / "sales.csv", content, crs="EPSG:25832")
    assert reasons(listings) == ["impossible_coordinate"]
    assert "degrees, and listings.crs is EPSG:25832" in listings.rejects["detail"].iloc[0]


@pytest.mark.parametrize("crs", ["EPSG:4978", "EPSG:5773"])
def test_systems_without_a_map_are_refused(tmp_path: Path, crs: str) -> None:
    with pytest.raises(ConfigError, match="no coordinates on a map"):
        read(tmp_path / "sales.csv", "id,date,price,x,y\n1,2020-01-02,300000,1,2\n", crs=crs)


def test_a_column_that_stands_twice_is_said(tmp_path: Path) -> None:
    content = "id,date,price,price,lat,lon\n1,2020-01-02,300000,5,47.61,-122.32\n"
    listings = read(tmp_path / "sales.csv", content)
    assert listings.sales["price"].tolist() == [300_000]
    assert any("several columns 'price'" in warning for warning in listings.warnings)


def test_a_first_line_of_values_is_told(tmp_path: Path) -> None:
    rows = '"{A1}","100000","2020-01-03 00:00","SW1A 1AA"\n"{A2}","110000","2020-01-03 00:00","SW1A 1AA"\n'
    with pytest.raises(ListingsError, match="seems to hold values, such as '100000'"):
        read(tmp_path / "sales.csv", rows)


def test_addresses_alone_are_told_before_a_missing_id(tmp_path: Path) -> None:
    with pytest.raises(ListingsError, match=r"have addresses \('address'\) and no coordinates"):
        read(tmp_path / "sales.csv", "address,price,date\n1 Main St,300000,2020-01-02\n")


@pytest.mark.parametrize("written", ["%Q", "%"])
def test_a_format_of_dates_that_is_none(tmp_path: Path, written: str) -> None:
    content = "id,date,price,lat,lon\n1,2020-01-02,300000,47.61,-122.32\n"
    with pytest.raises(ConfigError, match="is no format of dates"):
        read(tmp_path / "sales.csv", content, date_format=written)


def test_a_workbook_of_charts_alone(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_chartsheet("Chart")
    book.remove(book.worksheets[0])
    book.save(tmp_path / "sales.xlsx")
    with pytest.raises(ListingsError, match=r"no Excel file, or it is damaged|no sheet of cells"):
        read_listings(ListingsSection(path=tmp_path / "sales.xlsx"))


@pytest.mark.parametrize("price", ["CHF 1'250'000.-", "1.250.000,- €", "1.250.000,-"])
def test_prices_that_end_in_a_dash(tmp_path: Path, price: str) -> None:
    content = f"id;date;price;lat;lon\n1;2020-01-02;{price};47.61;-122.32\n"
    assert read(tmp_path / "sales.csv", content).sales["price"].tolist() == [1_250_000]


def test_stray_cells_far_away_in_a_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["id", "date", "price", "lat", "lon"])
    sheet.append(["1", "2020-01-02", 300000, 47.61, -122.32])
    sheet["XFD5"], sheet["A20000"] = "far", "far"
    book.save(tmp_path / "sales.xlsx")
    listings = read_listings(ListingsSection(path=tmp_path / "sales.xlsx"))
    assert listings.sales["source_row"].tolist() == [2]
    assert listings.rejects["row"].tolist() == [5, 20_000]
