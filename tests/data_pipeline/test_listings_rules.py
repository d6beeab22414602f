"""Rules of a market, rules that compare sales, and the same result however the work is cut."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.listings import Listings, read_listings, read_new_listings
from data_pipeline.steps import ingest
from db.session import open_database
from db.store import read_rejects, read_sale_flags
from housevis.core.config import parse_config
from housevis.core.config_sections import ListingsSection
from housevis.core.engine import LocalRunner
from housevis.core.errors import ListingsError
from housevis.core.workspace import Workspace

HEADER = "id,date,price,lat,lon,Method,year,month,unit\n"
TODAY = date(2020, 1, 1)


def read(folder: Path, *rows: str, removed: frozenset[str] = frozenset(), **changes: object) -> Listings:
    path = folder / "sales.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows), encoding="utf-8")
    section = ListingsSection(path=path, **changes)  # type: ignore[arg-type]
    return read_listings(section, today=TODAY, removed=removed)


def reasons(listings: Listings) -> list[tuple[int, str, str]]:
    return [tuple(row) for row in listings.rejects[["row", "reason", "detail"]].to_numpy().tolist()]


def test_only_accepted_values_are_at_arms_length(tmp_path: Path) -> None:
    rows = [
        f"h{number},2014-05-02,500000,47.5,8.5,{method},,,"
        for number, method in enumerate(["sold", "vendor bid", "", "sold"])
    ]
    listings = read(tmp_path, *rows, arms_length={"Method": ["sold", "auctioned"]})
    assert reasons(listings) == [
        (3, "not_arms_length", "Method: vendor bid"),
        (4, "not_arms_length", "Method: (empty)"),
    ]
    assert "'auctioned' of listings.arms_length never occurs in column 'Method'" in listings.warnings[0]
    with pytest.raises(ListingsError, match=r"no column 'Methd'.*'Method'"):
        read(tmp_path, *rows, arms_length={"Methd": ["sold"]})


def test_a_price_below_the_minimum_is_not_at_arms_length(tmp_path: Path) -> None:
    listings = read(
        tmp_path, "a,2014-05-02,1,47.5,8.5,,,,", "b,2014-05-02,10000,47.5,8.5,,,,", minimum_price=10_000
    )
    assert reasons(listings) == [(2, "not_arms_length", "1 (minimum 10,000)")]


def test_what_lies_outside_the_declared_area(tmp_path: Path) -> None:
    rows = ("a,2014-05-02,1,47.5,8.5,,,,", "b,2014-05-02,1,48.5,8.5,,,,", "c,2014-05-02,1,8.5,47.5,,,,")
    listings = read(tmp_path, *rows, bounds=(8.0, 47.0, 9.0, 48.0))
    assert reasons(listings) == [
        (3, "outside_area", "48.5, 8.5"),
        (4, "outside_area", "8.5, 47.5 (swapped?)"),
    ]
    path = tmp_path / "sales.csv"
    _, rejects = read_new_listings(path, ListingsSection(path=path, bounds=(8.0, 47.0, 9.0, 48.0)))
    assert rejects["reason"].tolist() == ["outside_area", "outside_area"]


def test_removed_houses_stay_out(tmp_path: Path) -> None:
    rows = ("a,2014-05-02,1,47.5,8.5,,,,", "b,2014-05-02,1,47.5,8.5,,,,")
    listings = read(tmp_path, *rows, removed=frozenset({"b", "z"}))
    assert [reason[:2] for reason in reasons(listings)] == [(3, "removed_house")]


def test_the_same_house_at_the_same_price_is_one_sale(tmp_path: Path) -> None:
    rows = (
        "a,2015-03-01,500000,47.5,8.5,,,,",
        "a,2014-05-02,500000,47.5,8.5,,,,",
        "a,2016-05-02,500000,47.5,8.5,,,,",
        "a,2014-06-02,510000,47.5,8.5,,,,",
        "b,2014-05-03,500000,47.5,8.5,,,,",
    )
    assert reasons(read(tmp_path, *rows)) == [
        (2, "same_price_resale", "same house and price as row 3 of 2014-05-02")
    ]
    assert reasons(read(tmp_path, *rows, same_price_days=30)) == []
    assert len(reasons(read(tmp_path, *rows, same_price_days=1000))) == 2


def test_the_same_house_and_day_is_one_sale(tmp_path: Path) -> None:
    rows = ("a,2014-05-02,500000,47.5,8.5,,,,", "a,2014-05-02,500001,47.5,8.5,,,,")
    assert reasons(read(tmp_path, *rows)) == [
        (3, "duplicate_sale", "same house and date as row 2, other price")
    ]


def test_dates_out_of_parts(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("id,price,lat,lon,m,y\na,1,47.5,8.5,12,2015\nb,1,47.5,8.5,13,2015\nc,1,47.5,8.5,,2015\n")
    columns = {"month": "m", "year": "y"}
    listings = read_listings(ListingsSection(path=path, columns=columns), today=TODAY)
    assert listings.sales["sale_id"].tolist() == ["a@2015-12-01"]
    assert reasons(listings) == [
        (3, "invalid_date", "month 13, year 2015 (set listings.date_format)"),
        (4, "missing_date", ""),
    ]
    assert "1 dates are known to the month only: stored as its first day" in listings.notes
    only_months = ListingsSection(path=path, columns={"month": "m"}, sale_year=2016)
    listings = read_listings(only_months, today=TODAY)
    assert listings.sales["sale_id"].tolist() == ["a@2016-12-01"]
    assert "1 dates are known to the month only of 2016: stored as its first day" in listings.notes


def test_the_number_of_a_flat_is_kept_with_the_house(tmp_path: Path) -> None:
    listings = read(tmp_path, "a,2014-05-02,1,47.5,8.5,,,,4b", "b,2014-05-02,1,47.5,8.5,,,,")
    assert listings.houses["unit"].fillna("").tolist() == ["4b", ""]
    assert "unit" not in listings.sales


def town(size: int) -> pd.DataFrame:
    generator = np.random.default_rng(5)
    house = generator.integers(0, size // 2, size)
    return pd.DataFrame(
        {
            "id": [f"h{number}" for number in house],
            "date": np.datetime64("2014-01-01") + generator.integers(0, 900, size),
            "price": (np.exp(generator.normal(12.8, 0.5, size)) / 1000).round() * 1000,
            "lat": 47 + house / size,
            "lon": 8 + (house * 7919 % size) / size,
            "bedrooms": generator.integers(0, 25, size),
            "area": generator.integers(-5, 300, size),
            "address": [f'{number} "Long"\nStreet' for number in range(size)],
            "grade": generator.integers(1, 12, size),
        }
    )


def assert_same(one: Listings, other: Listings) -> None:
    pd.testing.assert_frame_equal(one.sales, other.sales)
    pd.testing.assert_frame_equal(one.houses, other.houses)
    pd.testing.assert_frame_equal(one.rejects, other.rejects)
    assert (one.rows, one.notes, one.warnings) == (other.rows, other.notes, other.warnings)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx"])
def test_the_result_is_the_same_however_the_work_is_cut(tmp_path: Path, suffix: str) -> None:
    size = {".csv": 4_000, ".parquet": 1_500, ".xlsx": 1_000}[suffix]
    path = tmp_path / f"town{suffix}"
    frame = town(size)
    if suffix == ".csv":
        frame.to_csv(path, index=False)
        with path.open("a", encoding="utf-8") as file:
            file.write("too,few\n\nh1,2014-05-02,1000,47,8,2,100,x,3,too many\n")
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_excel(path, index=False)
    section = ListingsSection(path=path, extra_attributes=["grade"])
    whole = read_listings(section, today=TODAY, part_rows=10**6)
    assert whole.rows == size + (2 if suffix == ".csv" else 0)
    assert whole.reasons["impossible_room_count"] > 0
    assert whole.outliers
    assert_same(read_listings(section, today=TODAY, part_rows=500), whole)
    if suffix == ".xlsx":
        return
    with LocalRunner(2) as runner:
        assert_same(read_listings(section, today=TODAY, part_rows=400, runner=runner), whole)


def test_the_lines_of_broken_values_are_right_across_parts(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    rows = [f'h{number},2014-05-02,{number % 3},47.5,8.5,"a\n{"x" * 90}",,,' for number in range(3_000)]
    path.write_text(HEADER + "\n".join(rows) + "\nshort,row\n", encoding="utf-8")
    listings = read_listings(ListingsSection(path=path), today=TODAY, part_rows=100)
    expected = [2 * number + 2 for number in range(3_000) if number % 3 == 0]
    assert listings.rejects["row"].tolist() == [*expected, 6_002]


def test_ingest_stores_flags_and_rejects_and_runs_again_for_another_rule(tmp_path: Path) -> None:
    path = tmp_path / "town.csv"
    town(2_000).assign(address="x").to_csv(path, index=False)
    table = {"name": "town", "listings": {"path": str(path)}}
    config = parse_config(table, where="test", directory=tmp_path)
    workspace = Workspace(tmp_path / "runs" / "town")
    engine = open_database(workspace.database)
    report = ingest(config, workspace, engine)
    assert report.rows == report.sales + sum(report.rejected.values()) == 2_000
    flags = read_sale_flags(engine)
    assert (flags["outlier_reasons"].str.len() > 0).sum() == report.flagged > 0
    assert flags["previous_sale_id"].notna().sum() == report.resales > 0
    assert set(flags["outlier_rules"]) == {"1"}
    assert flags["outlier_reasons"].str.len().max() <= 3
    assert len(read_rejects(engine)) == sum(report.rejected.values())
    assert ingest(config, workspace, engine).skipped
    table["listings"]["minimum_price"] = 400_000  # type: ignore[index]
    stricter = ingest(parse_config(table, where="test", directory=tmp_path), workspace, engine)
    assert stricter.rejected["not_arms_length"] > 0
    engine.dispose()
