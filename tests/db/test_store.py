"""Bulk reading and writing, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from db import store
from housevis.core.errors import DatabaseError


def listings(count: int, *, price: float = 100_000.0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    ids = [f"h{number:04d}" for number in range(count)]
    houses = pd.DataFrame(
        {
            "house_id": ids,
            "latitude": np.linspace(47.0, 48.0, count),
            "longitude": np.linspace(-122.5, -121.5, count),
            "address": pd.Series([None, *(f"{n} Main Street" for n in range(1, count))], dtype=object),
            "listing_url": None,
        }
    )
    sales = pd.DataFrame(
        {
            "sale_id": [f"{name}@2014-05-02" for name in ids],
            "house_id": ids,
            "latitude": houses["latitude"],
            "longitude": houses["longitude"],
            "sale_date": pd.Timestamp(2014, 5, 2),
            "price": price,
            "bedrooms": [np.nan, *([3.0] * (count - 1))],
            "bathrooms": 2.25,
            "area_m2": 120.5,
            "address": houses["address"],
            "grade": [np.nan, *([7.0] * (count - 1))],
            "source_row": range(2, count + 2),
        }
    )
    rejects = pd.DataFrame(
        [("sales.csv", 99, None, "missing_id", ""), ("sales.csv", 7, "x", "invalid_price", "n/a")],
        columns=["source", "row", "house_id", "reason", "detail"],
    )
    return houses, sales, rejects


def test_listings_come_back_as_they_were(engine: Engine) -> None:
    houses, sales, rejects = listings(5)
    store.replace_listings(engine, houses, sales, rejects)
    read = store.read_sales(engine)
    expected = sales.drop(columns="source_row")
    assert list(read.columns) == [*store.SALE_COLUMNS, "grade"]
    pd.testing.assert_frame_equal(read, expected[read.columns], check_dtype=False)
    assert read["address"][0] is None
    assert read["sale_date"].dtype.kind == "M"
    assert all(read[name].dtype == np.float64 for name in ("latitude", "price", "bedrooms", "grade"))
    assert store.read_houses(engine)["house_id"].tolist() == houses["house_id"].tolist()
    assert store.read_rejects(engine)["row"].tolist() == [7, 99]


def test_an_empty_database_reads_as_empty_frames(engine: Engine) -> None:
    assert list(store.read_sales(engine).columns) == list(store.SALE_COLUMNS)
    assert len(store.read_sales(engine)) == len(store.read_houses(engine)) == 0
    assert len(store.read_rejects(engine)) == len(store.read_images(engine, "tile", 18)) == 0


def test_replacing_removes_what_is_gone_and_keeps_what_hangs_on_the_rest(engine: Engine) -> None:
    houses, sales, rejects = listings(4)
    store.replace_listings(engine, houses, sales, rejects)
    images = [
        {"house_id": name, "framing": "tile", "zoom": 18, "image_key": "ab" * 32, "west": -122.0}
        for name in houses["house_id"]
    ]
    store.save_images(engine, [dict.fromkeys(_image_columns()) | image for image in images])
    estimates = pd.DataFrame(
        {"sale_id": sales["sale_id"], "model_id": "m", "estimate": 1.0, "low": np.nan, "high": 2.0}
    )
    store.save_estimates(engine, "run1", estimates)

    moved = houses.iloc[:3].copy()
    moved.loc[0, "latitude"] = 50.0
    store.replace_listings(engine, moved, sales.iloc[:3].assign(price=5.0), rejects.iloc[:1])

    assert store.read_sales(engine)["price"].tolist() == [5.0, 5.0, 5.0]
    assert store.read_images(engine, "tile", 18)["house_id"].tolist() == ["h0001", "h0002"]
    assert len(store.read_estimates(engine, "run1")) == 3
    assert len(store.read_rejects(engine)) == 1


def test_a_failing_replacement_leaves_the_old_listings(engine: Engine) -> None:
    houses, sales, rejects = listings(3)
    store.replace_listings(engine, houses, sales, rejects)
    stranger = sales.assign(price=1.0)
    stranger.loc[2, ["sale_id", "house_id"]] = ["nobody@2014-05-02", "nobody"]
    with pytest.raises(DatabaseError):
        store.replace_listings(engine, houses, stranger, rejects.iloc[:0])
    assert store.read_sales(engine)["price"].tolist() == [100_000.0] * 3
    assert len(store.read_rejects(engine)) == 2


def test_steps_are_finished_for_one_fingerprint_only(engine: Engine) -> None:
    assert store.finished_step(engine, "ingest", "a") is None
    store.finish_step(engine, "ingest", "a", {"rows": 3, "rejected": {"missing_id": 1}})
    assert store.finished_step(engine, "ingest", "a") == {"rows": 3, "rejected": {"missing_id": 1}}
    store.finish_step(engine, "ingest", "b", {"rows": 4})
    assert store.finished_step(engine, "ingest", "a") is None
    assert store.finished_step(engine, "ingest", "b") == {"rows": 4}


def test_images_are_updated_in_place(engine: Engine) -> None:
    houses, sales, rejects = listings(2)
    store.replace_listings(engine, houses, sales, rejects)
    empty = dict.fromkeys(_image_columns())
    row = empty | {"house_id": "h0000", "framing": "centred", "zoom": 18}
    store.save_images(engine, [row])
    assert store.read_images(engine, "centred", 18)["image_key"].tolist() == [None]
    frame = pd.DataFrame([row | {"image_key": "cd" * 32, "missing_tiles": 2, "metres_per_pixel": 0.4}])
    store.save_images(engine, frame)
    read = store.read_images(engine, "centred", 18)
    assert read[["image_key", "missing_tiles"]].to_numpy().tolist() == [["cd" * 32, 2]]
    assert len(store.read_images(engine, "tile", 18)) == 0


def test_estimates_of_a_run_are_replaced(engine: Engine) -> None:
    houses, sales, rejects = listings(3)
    store.replace_listings(engine, houses, sales, rejects)
    frame = pd.DataFrame(
        {"sale_id": sales["sale_id"], "model_id": "m", "estimate": [1.0, 2.0, 3.0], "low": 0.5, "high": 4.0}
    )
    store.save_estimates(engine, "a", frame)
    store.save_estimates(engine, "b", frame)
    store.save_estimates(engine, "a", frame.iloc[:1])
    assert store.read_estimates(engine, "a")["estimate"].tolist() == [1.0]
    assert store.read_estimates(engine, "b")["estimate"].tolist() == [1.0, 2.0, 3.0]


def test_the_tile_manifest(engine: Engine) -> None:
    row = {
        "zoom": 18,
        "x": 41_000,
        "y": 91_000,
        "provider": "p",
        "status": "failed",
        "http_status": 500,
        "attempts": 5,
        "bytes": 0,
        "sha256": None,
        "fetched_at": datetime.now(UTC),
        "error": "HTTP 500",
    }
    store.save_tiles(engine, [row])
    store.save_tiles(engine, [row | {"status": "ok", "error": None}, row | {"x": 1, "status": "missing"}])
    assert store.read_tile_statuses(engine, 18) == {(41_000, 91_000): "ok", (1, 91_000): "missing"}
    assert store.read_tile_statuses(engine, 17) == {}
    assert store.count_rows(engine)["tiles"] == 2
    store.forget_tiles(engine)
    assert store.read_tile_statuses(engine, 18) == {}


def _image_columns() -> list[str]:
    return [
        *("house_id", "framing", "zoom", "image_key", "west", "south", "east", "north"),
        *("metres_per_pixel", "missing_tiles"),
    ]
