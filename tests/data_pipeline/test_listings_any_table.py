"""Any table at all: every row is kept or rejected, and nothing else happens."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.listings import read_listings, read_new_listings
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError

TODAY = date(2020, 1, 1)

cell = st.one_of(
    st.sampled_from(
        ["", "NA", "-1", "0", "33", "1e400", "47.5", "47,5", "450.000,50", "3/4/2016", "12-Mar-2016"]
    ),
    st.sampled_from(
        ["42441", "1457740800000", "€ 1.200.000", "80°09'22\" W", "2016-03", "3 bed", "120 m²", "\0"]
    ),
    st.floats(allow_nan=True).map(str),
    st.integers(-(10**20), 10**20).map(str),
    st.dates(date(1, 1, 1), date(9999, 1, 1)).map(str),
    st.text(max_size=12),
)
setting = st.fixed_dictionaries(
    {},
    optional={
        "decimal": st.sampled_from([".", ","]),
        "date_format": st.sampled_from(["%d/%m/%Y", "%Y", "nonsense", "%m"]),
        "crs": st.sampled_from(["EPSG:2056", "EPSG:4269"]),
        "bounds": st.just((-10.0, 30.0, 20.0, 60.0)),
        "arms_length": st.just({"Method": ["0", "33"]}),
        "minimum_price": st.floats(0, 1e9),
        "same_price_days": st.integers(0, 10_000),
        "extra_attributes": st.just(["Method"]),
        "area_unit": st.sampled_from(["m2", "ft2"]),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(rows=st.lists(st.lists(cell, min_size=6, max_size=11), max_size=12), changes=setting)
def test_whatever_the_table_and_the_rules_every_row_is_kept_or_rejected(
    tmp_path: Path, rows: list[list[str]], changes: dict[str, object]
) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)
    path = tmp_path / "any.csv"
    header = "id,date,price,lat,lon,Method,bedrooms,area,unit\n"
    path.write_text(header + buffer.getvalue(), encoding="utf-8", errors="replace", newline="")
    try:
        listings = read_listings(ListingsSection(path=path, **changes), today=TODAY)  # type: ignore[arg-type]
    except (ListingsError, ConfigError):
        return
    there = [row for row in rows if any(value.replace("\0", "").strip() for value in row)]
    assert len(listings.sales) + len(listings.rejects) == listings.rows
    assert len(there) <= listings.rows <= len(rows)
    assert listings.sales["sale_id"].is_unique
    assert set(listings.sales["house_id"]) == set(listings.houses["house_id"])
    assert np.isfinite(listings.sales[["price", "latitude", "longitude"]].to_numpy(dtype=float)).all()
    assert (listings.rejects["reason"] != "").all()
    houses, rejects = read_new_listings(path, ListingsSection(path=path, **changes))  # type: ignore[arg-type]
    assert len(houses) + len(rejects) == listings.rows
