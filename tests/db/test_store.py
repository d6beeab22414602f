"""Bulk reading and writing, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from db import bulk, store
from housevis.core.errors import DatabaseError


def listings(count: int, *, price: float = 100_000.0) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    digits = max(4, len(str(count)))
    ids = [f"h{number:0{digits}d}" for number in range(count)]
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


def test_flags_and_units_are_kept_beside_the_sales(engine: Engine) -> None:
    houses, sales, rejects = listings(3)
    flagged = sales.assign(
        previous_sale_id=[None, "h0000@2014-05-02", None],
        outlier_reasons=[[], ["high_price", "short_ownership"], None],
        outlier_rules=[None, "rules 1", "rules 1"],
    )
    store.replace_listings(engine, houses.assign(unit=[None, "4b", None]), flagged, rejects)
    assert store.read_houses(engine)["unit"].tolist() == [None, "4b", None]
    assert list(store.read_sales(engine).columns) == [*store.SALE_COLUMNS, "grade"]
    flags = store.read_sale_flags(engine)
    assert flags.columns.tolist() == ["sale_id", *store.SALE_FLAGS]
    assert flags["outlier_reasons"].tolist() == [[], ["high_price", "short_ownership"], []]
    assert flags["previous_sale_id"].tolist() == [None, "h0000@2014-05-02", None]
    store.replace_listings(engine, houses, sales, rejects)
    assert store.read_sale_flags(engine)["outlier_reasons"].tolist() == [[], [], []]


def test_more_rows_than_a_batch_come_back_in_order(engine: Engine) -> None:
    count = 2 * bulk.BATCH + 17
    houses, sales, rejects = listings(count)
    shuffled = np.random.default_rng(0).permutation(count)
    store.replace_listings(engine, houses.iloc[shuffled], sales.iloc[shuffled], rejects)
    read = store.read_sales(engine)
    pd.testing.assert_frame_equal(read, sales[read.columns], check_dtype=False)
    images = pd.DataFrame({"house_id": houses["house_id"], "framing": "tile", "zoom": 18, "west": -122.5})
    store.save_images(engine, images)
    store.save_images(engine, images.assign(image_key="ab" * 32))
    assert store.read_images(engine, "tile", 18)["image_key"].tolist() == ["ab" * 32] * count
    estimates = pd.DataFrame(
        {"sale_id": sales["sale_id"], "model_id": "m", "estimate": np.arange(count) / 3, "low": 0, "high": 1}
    )
    store.save_estimates(engine, "a", estimates)
    assert store.read_estimates(engine, "a")["estimate"].tolist() == estimates["estimate"].tolist()


def test_ids_are_ordered_by_their_bytes_in_every_database(engine: Engine) -> None:
    houses, sales, rejects = listings(6)
    ids = ["a-1", "B2", "a1", "Z", "é", "_"]
    houses["house_id"] = sales["house_id"] = ids
    sales["sale_id"] = [f"{house_id}@2014-05-02" for house_id in ids]
    store.replace_listings(engine, houses, sales, rejects)
    expected = sorted(ids, key=str.encode)
    assert store.read_houses(engine)["house_id"].tolist() == expected
    assert store.read_sales(engine)["house_id"].tolist() == expected


def test_texts_that_databases_stumble_over(engine: Engine) -> None:
    texts = ["tab\there", "line\nbreak", "back\\slash", "\\N", "quote'\"", "nul\0gone", "%s ? :name", ""]
    houses, sales, rejects = listings(len(texts))
    store.replace_listings(engine, houses.assign(address=texts), sales, rejects)
    expected = [text.replace("\0", "") for text in texts]
    assert store.read_houses(engine)["address"].tolist() == expected


def test_an_address_that_is_refused_by_the_driver_leaves_the_old_listings(engine: Engine) -> None:
    houses, sales, rejects = listings(3)
    store.replace_listings(engine, houses, sales, rejects)
    with pytest.raises(DatabaseError):
        store.replace_listings(engine, houses, sales.assign(sale_id="twice@2014-05-02"), rejects)
    assert len(store.read_sales(engine)) == 3


def test_tiles_keep_what_the_server_said_of_their_version(engine: Engine) -> None:
    row = {"zoom": 18, "x": 1, "y": 2, "provider": "p", "status": "ok", "attempts": 1, "bytes": 5}
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    store.save_tiles(engine, [row | {"fetched_at": moment, "etag": '"v1"', "last_modified": "yesterday"}])
    store.save_tiles(engine, [])
    found = store.read_tile_rows(engine, 18)
    assert found[["x", "y", "etag", "last_modified"]].to_numpy().tolist() == [[1, 2, '"v1"', "yesterday"]]
    assert found["fetched_at"][0].replace(tzinfo=UTC) == moment
    assert len(store.read_tile_rows(engine, 17)) == 0
    many = [row | {"x": x, "fetched_at": moment} for x in range(3000)]
    store.save_tiles(engine, many)
    assert len(store.read_tile_statuses(engine, 18)) == 3000
    assert store.read_tile_rows(engine, 18)["etag"].isna().all()


def _image_columns() -> list[str]:
    return [
        *("house_id", "framing", "zoom", "image_key", "west", "south", "east", "north"),
        *("metres_per_pixel", "missing_tiles"),
    ]


def test_many_small_transactions_over_one_connection(engine: Engine) -> None:
    row = {
        "zoom": 18,
        "provider": "own",
        "status": "ok",
        "attempts": 1,
        "bytes": 5,
        "fetched_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    store.save_tiles(engine, [row | {"x": 1, "y": 1}])
    with store.open_manifest(engine) as manifest:
        manifest.save([row | {"x": 1, "y": 1, "status": "blank"}, row | {"x": 2, "y": 1}])
        assert store.read_tile_statuses(engine, 18) == {(1, 1): "blank", (2, 1): "ok"}
        manifest.save([row | {"x": 3, "y": 1}])
    frame = store.read_tile_rows(engine, 18)
    assert frame["x"].tolist() == [1, 2, 3]
    assert frame["fetched_at"].nunique() == 1
    with pytest.raises(DatabaseError), store.open_manifest(engine) as manifest:
        manifest.save([row | {"x": 4, "y": 1}, row | {"x": 5, "y": 1, "status": None}])
    assert len(store.read_tile_rows(engine, 18)) == 3
