"""Numbers, dates, rooms, areas and coordinates as people and programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.dates import DateRules, dates
from data_pipeline.listings import read_listings
from data_pipeline.parsing import areas, coordinates, numbers, prices, rooms
from housevis.core.config_sections import ListingsSection

HEADER = "id;date;price;lat;lon;area_m2\n"


def text(*values: str | None) -> pd.Series:
    return pd.Series(list(values), dtype="str")


@pytest.mark.parametrize(
    ("written", "decimal", "value"),
    [
        ("450000", ".", 450_000),
        ("1,234,567", ".", 1_234_567),
        ("1.234.567", ".", 1_234_567),
        ("1 234 567", ".", 1_234_567),
        ("1'234'567", ".", 1_234_567),
        ("CHF 1'234'567.50", ".", 1_234_567.5),
        ("$1,200.50", ".", 1200.5),
        ("A$ 850000", ".", 850_000),
        ("450000 €", ".", 450_000),
        ("450k", ".", 450_000),
        ("1.2m", ".", 1_200_000),
        ("5e5", ".", 500_000),
        ("450.000,50", ",", 450_000.5),
        ("450.000", ",", 450_000),
        ("1.234.567,5 EUR", ",", 1_234_567.5),
        ("€ 450.000,-", ",", 450_000),
        ("450000,5", ",", 450_000.5),
        ("1,5 mio", ",", 1_500_000),
        ("450000", ",", 450_000),
        ("4 500 000 kr", ",", 4_500_000),
    ],
)
def test_prices(written: str, decimal: str, value: float) -> None:
    values, odd = prices(text(written), decimal)  # type: ignore[arg-type]
    assert values[0] == pytest.approx(value)
    assert not odd[0]


@pytest.mark.parametrize(
    ("written", "decimal"), [("450000,50", "."), ("450.5", ","), ("n/a", "."), ("inf", "."), ("1.2.3", ".")]
)
def test_what_is_no_number(written: str, decimal: str) -> None:
    values, odd = numbers(text(written), decimal)  # type: ignore[arg-type]
    assert np.isnan(values[0])
    assert odd[0]


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2016-03-12", "2016-03-12"),
        ("2016-3-5", "2016-03-05"),
        ("2016/03/12", "2016-03-12"),
        ("20160312", "2016-03-12"),
        ("20160312T000000", "2016-03-12"),
        ("2016-03-12T23:59:00-05:00", "2016-03-12"),
        ("12.03.2016", "2016-03-12"),
        ("12.3.16", "2016-03-12"),
        ("12-Mar-2016", "2016-03-12"),
        ("12-mar-16", "2016-03-12"),
        ("12 March 2016", "2016-03-12"),
        ("March 12, 2016", "2016-03-12"),
        ("Mar 12, 2016", "2016-03-12"),
        ("12. März 2016", "2016-03-12"),
        ("1er", None),
        ("12 août 2016", "2016-08-12"),
        ("12 mei 2016", "2016-05-12"),
        ("12 ene 2016", "2016-01-12"),
        ("2016-03", "2016-03-01"),
        ("3/12/2016", None),
        ("30.02.2016", None),
        ("2016", None),
        ("42441", None),
        ("12-Foo-2016", None),
    ],
)
def test_dates_that_have_one_meaning(written: str, day: str | None) -> None:
    read, odd, month_only = dates(text(written), DateRules())
    assert odd[0] == (day is None)
    assert (None if read.isna()[0] else str(read[0].date())) == day
    assert month_only == (1 if written == "2016-03" else 0)


@pytest.mark.parametrize(
    ("rules", "written", "day"),
    [
        (DateRules(order="day first"), "3/12/16", "2016-12-03"),
        (DateRules(order="month first"), "3/12/2016 10:00", "2016-03-12"),
        (DateRules(order="month first"), "3-12-1999", "1999-03-12"),
        (DateRules(counting="days since 1900"), "42441", "2016-03-12"),
        (DateRules(counting="milliseconds since 1970"), "1457740800000", "2016-03-12"),
        (DateRules(format="%Y/%d/%m"), "2016/12/03", "2016-03-12"),
    ],
)
def test_dates_that_the_column_explains(rules: DateRules, written: str, day: str) -> None:
    read, odd, _ = dates(text(written), rules)
    assert not odd[0]
    assert str(read[0].date()) == day


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("47.5", 47.5),
        ("47,5", 47.5),
        ("47.5 N", 47.5),
        ("122.1° W", -122.1),
        ("S 33.9", -33.9),
        ("80°09'22\" W", -(80 + 9 / 60 + 22 / 3600)),
        ("47° 30' N", 47.5),
        ("north", None),
        ("inf", None),
    ],
)
def test_coordinates(written: str, value: float | None) -> None:
    values, odd = coordinates(text(written))
    if value is None:
        assert odd[0]
    else:
        assert values[0] == pytest.approx(value)


def test_rooms_and_areas_with_words() -> None:
    assert rooms(text("3 bed", "2½", "4 Zimmer", "2.5 ba"))[0].tolist() == [3, 2.5, 4, 2.5]
    assert rooms(text("studio"))[1].tolist() == [True]
    values, odd = areas(text("120 m²", "1,200 sqft", "90", "large"), "m2")
    assert values[:3] == pytest.approx([120, 1200 * 0.3048**2, 90])
    assert odd.tolist() == [False, False, False, True]


def read(folder: Path, *rows: str, header: str = HEADER, **changes: object):  # type: ignore[no-untyped-def]
    path = folder / "sales.csv"
    path.write_text(header + "".join(row + "\n" for row in rows), encoding="utf-8-sig")
    return read_listings(ListingsSection(path=path, **changes))  # type: ignore[arg-type]


def test_a_german_file_is_read_without_a_word_of_configuration(tmp_path: Path) -> None:
    listings = read(
        tmp_path,
        "a;12.03.2016;450.000,50;52,5163;13,3777;1.250,5",
        "b;13.03.2016;389.000;52,5164;13,3778;80",
        header="Kennung;Verkaufsdatum;Kaufpreis;Breitengrad;Längengrad;Wohnfläche\n",
        currency="EUR",
    )
    assert listings.reasons == {}
    assert listings.sales["price"].tolist() == [450_000.5, 389_000]
    assert listings.sales["area_m2"].tolist() == [1250.5, 80]
    assert listings.sales["latitude"].tolist() == [52.5163, 52.5164]
    assert any("decimal mark: ',' in area, price" in note for note in listings.notes)


def test_prices_with_points_between_thousands_beside_decimal_points(tmp_path: Path) -> None:
    rows = ("a;2016-03-12;450.000;52.5163;13.3777;80.5", "b;2016-03-13;389.000;52.5164;13.3778;75.25")
    assert read(tmp_path, *rows).sales["price"].tolist() == [450_000, 389_000]


def test_a_configured_decimal_mark_counts(tmp_path: Path) -> None:
    row = "a;2016-03-12;450.000;52.5163;13.3777;80"
    assert read(tmp_path, row, decimal=".").sales["price"].tolist() == [450]
    assert read(tmp_path, row, decimal=",").sales["price"].tolist() == [450_000]


def test_a_column_of_dates_decides_by_its_clear_ones(tmp_path: Path) -> None:
    rows = ["a;3/4/2016;1;47.5;8.5;", "b;25/4/2016;1;47.6;8.5;"]
    listings = read(tmp_path, *rows)
    assert listings.sales["sale_id"].tolist() == ["a@2016-04-03", "b@2016-04-25"]
    listings = read(tmp_path, rows[0], "b;4/25/2016;1;47.6;8.5;")
    assert listings.sales["sale_id"].tolist() == ["a@2016-03-04", "b@2016-04-25"]
    listings = read(tmp_path, rows[0], "b;5/4/2016;1;47.6;8.5;")
    assert listings.reasons == {"invalid_date": 2}
    assert "set listings.date_format" in listings.rejects["detail"][0]
    listings = read(tmp_path, *rows, "c;4/25/2016;1;47.6;8.5;")
    assert listings.reasons == {"invalid_date": 3}


def test_what_looks_wrong_is_said(tmp_path: Path) -> None:
    rows = [f"h{number};2016-03-12;€ 900;{47 + number / 1000:.4f};8.5;1900" for number in range(1, 9)]
    warnings = " ".join(read(tmp_path, *rows).warnings)
    assert "marked EUR, and listings.currency is USD" in warnings
    assert "half of the areas are above 1,900 m2" in warnings
    assert "half of the prices are below 900" in warnings
    rows = [f"h{number};2016-03-12;900000;{47.5};{8 + number / 100};150" for number in range(1, 9)]
    assert "two decimals" in " ".join(read(tmp_path, *rows).warnings)


def test_metres_that_are_taken_for_degrees_are_told(tmp_path: Path) -> None:
    listings = read(tmp_path, "a;2016-03-12;900000;5820000;392000;150")
    assert listings.reasons == {"impossible_coordinate": 1}
    assert "set listings.crs" in listings.rejects["detail"][0]


def test_one_id_for_several_places_is_told(tmp_path: Path) -> None:
    rows = [f"h;201{number}-03-12;90000{number};4{number}.123;8.5;150" for number in range(6)]
    assert "1 ids stand for places" in " ".join(read(tmp_path, *rows).warnings)


def test_a_dutch_file_in_metres(tmp_path: Path) -> None:
    rows = [f"{day};{day}-1-2019;€ 300.500,-;90 m²;136000;455000" for day in (12, 13)]
    header = "Object ID;Transactiedatum;Transactieprijs;Woonoppervlakte;X;Y\n"
    listings = read(
        tmp_path, *rows, header=header, currency="EUR", crs="EPSG:28992", columns={"id": "Object ID"}
    )
    assert listings.sales["sale_id"].tolist() == ["12@2019-01-12", "13@2019-01-13"]
    assert listings.sales[["price", "area_m2"]].to_numpy().tolist() == [[300_500, 90]] * 2
    assert listings.sales["latitude"].tolist() == pytest.approx([52.0829, 52.0829], abs=1e-3)


def test_a_file_of_a_map_server(tmp_path: Path) -> None:
    rows = [f"0001-{day};{1457740800000 + day * 86_400_000};$301,000;-122.1;47.56781" for day in range(3)]
    listings = read(tmp_path, *rows, header="PIN;SALE_DATE;SALE_AMT;X;Y\n")
    assert listings.sales["sale_id"].tolist()[:2] == ["0001-0@2016-03-12", "0001-1@2016-03-13"]
    assert listings.sales["price"].tolist() == [301_000] * 3
