"""Reading and judging listings."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import geopandas
import pandas as pd
import pytest

from data_pipeline.listings import read_listings, read_new_listings
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError

HEADER = "id,date,price,latitude,longitude,bedrooms,bathrooms,area_m2,address,pool\n"
TODAY = date(2020, 1, 1)


def section(path: Path, **changes: object) -> ListingsSection:
    return ListingsSection(path=path, **changes)  # type: ignore[arg-type]


def written(folder: Path, *rows: str, header: str = HEADER, name: str = "sales.csv") -> Path:
    path = folder / name
    path.write_text(header + "".join(row + "\n" for row in rows), encoding="utf-8")
    return path


GOOD = "a,2014-05-02,500000,47.5,-122.1,3,2.25,150,1 Main Street,1"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",2014-05-02,500000,47.5,-122.1,3,2,150,,", "missing_id"),
        ("b,2014-05-02,500000,,-122.1,3,2,150,,", "missing_coordinate"),
        ("b,2014-05-02,500000,NA,NA,3,2,150,,", "missing_coordinate"),
        ("b,2014-05-02,500000,-122.1,47.5,3,2,150,,", "impossible_coordinate"),
        ("b,2014-05-02,500000,47.5,-200,3,2,150,,", "impossible_coordinate"),
        ("b,2014-05-02,500000,north,-122.1,3,2,150,,", "impossible_coordinate"),
        ("b,2014-05-02,500000,0,0,3,2,150,,", "impossible_coordinate"),
        ("b,2014-05-02,500000,89,0,3,2,150,,", "impossible_coordinate"),
        ("b,2014-05-02,,47.5,-122.1,3,2,150,,", "missing_price"),
        ("b,2014-05-02,n/a,47.5,-122.1,3,2,150,,", "invalid_price"),
        ('b,2014-05-02,"450000,50",47.5,-122.1,3,2,150,,', "invalid_price"),
        ("b,2014-05-02,inf,47.5,-122.1,3,2,150,,", "invalid_price"),
        ("b,2014-05-02,0,47.5,-122.1,3,2,150,,", "nonpositive_price"),
        ("b,2014-05-02,-5,47.5,-122.1,3,2,150,,", "nonpositive_price"),
        ("b,,500000,47.5,-122.1,3,2,150,,", "missing_date"),
        ("b,3/4/2014,500000,47.5,-122.1,3,2,150,,", "invalid_date"),
        ("b,2014-02-30,500000,47.5,-122.1,3,2,150,,", "invalid_date"),
        ("b,2021-01-01,500000,47.5,-122.1,3,2,150,,", "future_date"),
        ("b,2014-05-02,500000,47.5,-122.1,33,2,150,,", "impossible_room_count"),
        ("b,2014-05-02,500000,47.5,-122.1,-1,2,150,,", "impossible_room_count"),
        ("b,2014-05-02,500000,47.5,-122.1,3,2,-5,,", "impossible_area"),
        ("b,2014-05-02,500000,47.5,-122.1,3,2,0,,", "impossible_area"),
        ("a,2014-05-02,500000,47.5,-122.1,3,2,150,,", "duplicate_sale"),
        ("b,2014-05-02,500000,47.5", "malformed_row"),
        ("b,2014-05-02,500000,47.5,-122.1,3,2,150,,,,", "malformed_row"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    listings = read_listings(section(written(tmp_path, GOOD, row)), today=TODAY)
    assert listings.rows == 2
    assert listings.reasons == {reason: 1}
    reject = listings.rejects.iloc[0]
    assert (reject["source"], reject["row"]) == ("sales.csv", 3)
    assert listings.sales["source_row"].tolist() == [2]


@pytest.mark.parametrize(
    ("row", "price", "day"),
    [
        ("b,20141013T000000,500000,47.5,-122.1,0,2,150,,", 500_000, "2014-10-13"),
        ("b,2014-10-13T23:59:00-05:00,500000,47.5,-122.1,3,2,150,,", 500_000, "2014-10-13"),
        ('b,2014-10,"$1,234,567",47.5,-122.1,3,2,150,,', 1_234_567, "2014-10-01"),
        (" b ,2014-10-13, 5e5 ,47.5,-122.1,3,2,150,,", 500_000, "2014-10-13"),
    ],
)
def test_values_that_can_be_read(tmp_path: Path, row: str, price: float, day: str) -> None:
    sale = read_listings(section(written(tmp_path, row)), today=TODAY).sales.iloc[0]
    assert sale["price"] == price
    assert sale["sale_id"] == f"b@{day}"


def test_missing_rooms_and_areas_stay_missing(tmp_path: Path) -> None:
    path = written(tmp_path, "b,2014-05-02,500000,47.5,-122.1,,studio,,,yes", GOOD)
    listings = read_listings(section(path, extra_attributes=["pool"]), today=TODAY)
    assert listings.reasons == {}
    assert listings.unreadable == {"bathrooms": 1}
    assert listings.sales.loc[0, ["bedrooms", "bathrooms", "area_m2"]].isna().all()
    assert listings.sales["pool"].tolist() == [1.0, 1.0]


def test_square_feet_become_square_metres(tmp_path: Path) -> None:
    header = HEADER.replace("area_m2", "sqft_living")
    listings = read_listings(section(written(tmp_path, GOOD, header=header), area_unit="ft2"), today=TODAY)
    assert listings.sales["area_m2"][0] == pytest.approx(150 * 0.09290304)
    assert listings.column_mapping["area"] == "sqft_living"


def test_a_house_that_sold_twice_is_where_its_latest_sale_is(tmp_path: Path) -> None:
    rows = ("a,2015-01-01,500000,47.6,-122.2,3,2,150,New,", "a,2014-01-01,400000,47.5,-122.1,3,2,150,Old,")
    listings = read_listings(section(written(tmp_path, *rows)), today=TODAY)
    assert listings.houses[["latitude", "address"]].to_numpy().tolist() == [[47.6, "New"]]
    assert listings.sales["latitude"].tolist() == [47.6, 47.6]


def test_rows_are_numbered_by_line_even_with_empty_lines_and_broken_values(tmp_path: Path) -> None:
    rows = ("", GOOD.replace("1 Main Street", '"1 Main\nStreet"'), "", ",,,,,,,,x,")
    listings = read_listings(section(written(tmp_path, *rows)), today=TODAY)
    assert listings.rows == 2
    assert listings.sales["source_row"].tolist() == [3]
    assert listings.rejects["row"].tolist() == [6]


def test_a_wrong_column_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, header=HEADER.replace("price", "sale_prize"))
    with pytest.raises(ListingsError, match=r"no column 'price'.*'sale_prize'"):
        read_listings(section(path))
    with pytest.raises(ListingsError, match=r"no column 'sale_price'.*listings\.columns\.price"):
        read_listings(section(path, columns={"price": "sale_price"}))
    with pytest.raises(ListingsError, match=r"no column 'pol'.*'pool'"):
        read_listings(section(path, columns={"price": "sale_prize"}, extra_attributes=["pol"]))
    with pytest.raises(ConfigError, match="Did you mean 'price'"):
        read_listings(section(path, columns={"pricee": "sale_prize"}))
    with pytest.raises(ConfigError, match="column of housevis itself"):
        read_listings(section(path, columns={"price": "sale_prize"}, extra_attributes=["bedrooms"]))


def test_a_latin_1_file_names_the_line_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes((HEADER + GOOD + "\n" + GOOD.replace("Main", "Königs") + "\n").encode("latin-1"))
    with pytest.raises(ListingsError) as caught:
        read_listings(section(path))
    assert caught.value.where == f"{path}, line 3"
    assert 'encoding = "latin-1"' in str(caught.value)
    listings = read_listings(section(path, encoding="latin-1"), today=TODAY)
    assert listings.rejects["detail"].tolist() == ["same house and date as row 2"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n", "first line is empty"),
        (b"Export of sales;;\n\nid;date;price\n", "names one column only .*titles above it"),
        ((HEADER + GOOD).encode("utf-16"), 'encoding = "utf-16"'),
        (b"\x00\x01\x02\x03", "null byte"),
        ((HEADER + GOOD + '\nb,"2014\n' + GOOD + "\n").encode(), "never closed"),
        (b"PK\x03\x04\xff\xfe\x00", "not valid utf-8"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes(content)
    with pytest.raises(ListingsError, match=message):
        read_listings(section(path))


@pytest.mark.parametrize("name", ["sales.xlsx", "sales.parquet", "sales.geojson", "sales.gpkg"])
def test_files_of_a_wrong_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"neither this nor that")
    with pytest.raises(ListingsError, match="sales"):
        read_listings(section(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ListingsError, match="no such listings file"):
        read_listings(section(tmp_path / "none.csv"))
    with pytest.raises(ListingsError, match="folder"):
        read_listings(section(tmp_path))
    with pytest.raises(ConfigError, match="encoding"):
        read_listings(section(written(tmp_path, GOOD), encoding="klingon"))


def test_the_same_table_in_every_format(tmp_path: Path) -> None:
    expected = read_listings(section(written(tmp_path, GOOD)), today=TODAY).sales
    row = {
        "id": ["a"],
        "date": pd.to_datetime(["2014-05-02"]),
        "price": [500_000],
        "latitude": [47.5],
        "longitude": [-122.1],
        "bedrooms": [3.0],
        "bathrooms": [2.25],
        "area_m2": [150],
        "address": ["1 Main Street"],
    }
    table = pd.DataFrame(row)
    table.to_csv(tmp_path / "s.tsv", sep="\t", index=False)
    table.to_csv(tmp_path / "semicolon.csv", sep=";", index=False, encoding="utf-8-sig")
    table.to_parquet(tmp_path / "s.parquet")
    places = geopandas.GeoDataFrame(
        table.drop(columns=["latitude", "longitude"]),
        geometry=geopandas.points_from_xy([-122.1], [47.5]),
        crs=4326,
    )
    places.to_crs(3857).to_file(tmp_path / "s.gpkg")
    places.to_file(tmp_path / "s.geojson")
    for name in ("s.tsv", "semicolon.csv", "s.parquet", "s.gpkg", "s.geojson"):
        found = read_listings(section(tmp_path / name), today=TODAY).sales
        pd.testing.assert_frame_equal(found, expected, check_exact=False, check_dtype=False)


def test_a_date_format_is_obeyed(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("2014-05-02", "3/12/16"))
    listings = read_listings(section(path, date_format="%d/%m/%y"), today=TODAY)
    assert listings.sales["sale_id"].tolist() == ["a@2016-12-03"]


def test_ids_that_a_spreadsheet_shortened_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, *[GOOD.replace("a,", "6.2228E+11,", 1)] * 5)
    with pytest.raises(ListingsError, match=r"shortened the ids \(6.2228E\+11\)"):
        read_listings(section(path))
    listings = read_listings(section(path, columns={"id": "latitude, longitude"}), today=TODAY)
    assert listings.houses["house_id"].tolist() == ["47.5, -122.1"]


def test_new_listings_need_no_price(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,latitude,longitude,bedrooms,pool\nn1,47.5,-122.1,3,1\nn2,,-122.1,3,0\n")
    houses, rejects = read_new_listings(path, section(path), attributes=["pool", "grade"])
    assert houses["sale_id"].tolist() == houses["house_id"].tolist() == ["n1"]
    assert "price" not in houses.columns
    assert houses["sale_date"].isna().all()
    assert houses["pool"].tolist() == [1.0]
    assert houses[["grade", "area_m2"]].isna().all(axis=None)
    assert rejects[["row", "house_id", "reason"]].to_numpy().tolist() == [[3, "n2", "missing_coordinate"]]


@pytest.mark.shared
def test_king_county(shared_data: Path) -> None:
    extra = ["sqft_lot", "floors", "waterfront", "view", "condition", "grade", "yr_built"]
    path = shared_data / "data" / "king-county" / "sales.csv"
    listings = read_listings(section(path, area_unit="ft2", extra_attributes=extra))
    assert (listings.rows, len(listings.sales)) == (16_861, 16_858)
    assert listings.reasons == {"impossible_room_count": 1, "same_price_resale": 2}
    assert listings.rejects["detail"][0] == "33 bedrooms"
    assert listings.unreadable == {}
    assert (listings.sales["bedrooms"] == 0).any()
