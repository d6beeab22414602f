"""Houses that leave the database for good, on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from db import removal_store as removals
from db import store
from db.session import open_database, read_transaction
from housevis.core.errors import DatabaseError


def fill(engine: Engine, count: int = 6) -> None:
    """Houses h0, h1, ... with a sale, a picture and an estimate each; h0 and h1 share a picture."""
    ids = [f"h{number}" for number in range(count)]
    houses = pd.DataFrame(
        {
            "house_id": ids,
            "latitude": np.linspace(47, 48, count),
            "longitude": -122.0,
            "address": [f"{number} Zanzibar Mews" for number in range(count)],
            "listing_url": None,
        }
    )
    sales = houses[["house_id", "latitude", "longitude", "address"]].assign(
        sale_id=[f"{house_id}@2014-05-02" for house_id in ids],
        sale_date=pd.Timestamp(2014, 5, 2),
        price=100_000.0,
        bedrooms=3.0,
        bathrooms=2.0,
        area_m2=100.0,
        source_row=range(2, count + 2),
    )
    rejects = pd.DataFrame(
        [("sales.csv", 99, "h0", "future_date", "2099-01-01"), ("sales.csv", 100, "h2", "future_date", "")],
        columns=["source", "row", "house_id", "reason", "detail"],
    )
    store.replace_listings(engine, houses, sales, rejects)
    keys = ["aa" * 32, "aa" * 32, *(f"{number:02x}" * 32 for number in range(2, count))]
    store.save_images(
        engine, pd.DataFrame({"house_id": ids, "framing": "centred", "zoom": 18, "image_key": keys})
    )
    estimates = pd.DataFrame(
        {"sale_id": sales["sale_id"], "model_id": "m", "estimate": 1.0, "low": 0.5, "high": 2.0}
    )
    for run_id in ("one", "two"):
        store.save_estimates(engine, run_id, estimates)
    store.finish_step(engine, "ingest", "f", {})
    tiles = [
        {
            "zoom": 18,
            "x": x,
            "y": 7,
            "provider": "p",
            "status": "ok",
            "attempts": 1,
            "bytes": 1,
            "fetched_at": datetime.now(UTC),
        }
        for x in range(3)
    ]
    store.save_tiles(engine, tiles)


def test_all_rows_of_a_house_go(engine: Engine) -> None:
    fill(engine)
    expected = {"houses": 1, "sales": 1, "rejects": 1, "images": 1, "estimates": 2}
    assert removals.count_house_rows(engine, ["h0"]) == expected
    removals.begin_removal(engine, {"h0": {}})
    removals.delete_houses(engine, {"h0": {}}, [(18, 1, 7)])
    removals.erase_freed_space(engine)
    assert set(removals.count_house_rows(engine, ["h0"]).values()) == {0}
    assert store.count_rows(engine)["houses"] == store.count_rows(engine)["sales"] == 5
    assert len(store.read_estimates(engine, "one")) == 5
    assert store.read_tile_statuses(engine, 18) == {(0, 7): "ok", (2, 7): "ok"}
    assert store.finished_step(engine, "ingest", "f") is None


def test_only_pictures_of_no_other_house_go(engine: Engine) -> None:
    fill(engine)
    assert removals.lonely_image_keys(engine, ["h0", "h2"]) == {"02" * 32}
    assert removals.lonely_image_keys(engine, ["h0", "h1"]) == {"aa" * 32}
    assert removals.house_places(engine, ["h0", "nobody"])["house_id"].tolist() == ["h0"]


def test_a_removal_is_on_the_list_before_it_is_finished(engine: Engine) -> None:
    fill(engine)
    removals.begin_removal(engine, {"h0": {"removed": {}}})
    assert store.removed_houses(engine) == {"h0"}
    removals.begin_removal(engine, {"h0": {"removed": {"tiles": 3}}, "h1": {}})
    assert removals.read_removals(engine) == {"h0": {"removed": {"tiles": 3}}, "h1": {}}
    removals.finish_removal(engine, {"h0": {removals.FINISHED: "now"}})
    assert removals.read_removals(engine) == {"h0": {removals.FINISHED: "now"}, "h1": {}}
    assert store.count_rows(engine)["removals"] == 2


def test_not_a_byte_of_the_rows_is_left_in_the_files(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "a.sqlite")
    fill(engine, 3000)
    fill(engine, 2000)
    house_id = "h1234"
    removals.begin_removal(engine, {house_id: {}})
    removals.delete_houses(engine, {house_id: {}}, [])
    removals.erase_freed_space(engine)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"1234 Zanzibar" not in content
    assert b"1235 Zanzibar" in content
    assert b"h1234@2014" not in content


def test_a_reader_that_stays_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    engine = open_database(path)
    fill(engine)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM houses").fetchone()
    removals.begin_removal(engine, {"h0": {}})
    removals.delete_houses(engine, {"h0": {}}, [])
    with read_transaction(engine) as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")
    with pytest.raises(DatabaseError, match="another program"):
        removals.erase_freed_space(engine)
    reader.close()
    removals.erase_freed_space(engine)
