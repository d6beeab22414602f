"""Which columns of the sales hold a value, on SQLite and on PostgreSQL."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from db.filled import typical_sale
from db.store import read_sales, replace_listings


def test_a_value_of_every_column_that_some_sale_fills(engine: Engine) -> None:
    count = 2500
    ids = [f"h{number}" for number in range(count)]
    houses = pd.DataFrame(
        {"house_id": ids, "latitude": 47.5, "longitude": -122.0, "address": None, "listing_url": None}
    )
    sales = pd.DataFrame(
        {
            "sale_id": [f"{name}@2014-05-02" for name in ids],
            "house_id": ids,
            "latitude": 47.5,
            "longitude": -122.0,
            "sale_date": pd.Timestamp(2014, 5, 2),
            "price": 250_000.0,
            "bedrooms": np.nan,
            "bathrooms": [*([np.nan] * (count - 1)), 2.0],
            "area_m2": 120.5,
            "address": None,
            "grade": [*([np.nan] * (count - 1)), 7.0],
            "lot": np.nan,
            "source_row": range(2, count + 2),
        }
    )
    rejects = pd.DataFrame(columns=["source", "row", "house_id", "reason", "detail"])
    replace_listings(engine, houses, sales, rejects)
    typical = typical_sale(engine)
    assert len(typical) == 1
    stored = read_sales(engine)
    for name in typical.columns:
        assert typical[name].notna().all() == stored[name].notna().any(), name
    assert typical[["bathrooms", "grade"]].to_numpy().tolist() == [[2.0, 7.0]]
    assert pd.api.types.is_datetime64_any_dtype(typical["sale_date"])
    assert set(stored.columns) - set(typical.columns) == {"sale_id", "house_id", "address"}


def test_no_sales_give_no_row(engine: Engine) -> None:
    assert typical_sale(engine).empty
