"""A real run behind the server: what-if, new houses, tiles, removed houses."""

from __future__ import annotations

from datetime import date
from typing import Any

import mercantile
import pandas as pd
import pytest

from housevis import pipeline
from housevis.core.errors import RunError, StorageError, UsageError
from housevis.pipeline.comparables import read_supporting_sales
from housevis.pipeline.serving import SoldDesk, open_run, shelve, shown_houses
from housevis.runs import read_parquet
from housevis.views.data import SAMPLES
from housevis.views.map_table import TABLE, MapTable, read_map_table, view_settings
from housevis.views.served import NewHouse, ServedRun


@pytest.fixture(scope="module")
def served(town: Any) -> ServedRun:
    return open_run(town.run)


def some_house(served: ServedRun, row: int = 5) -> str:
    return str(served.viewport.house_id[row].decode())


def new_house(served: ServedRun, **changes: float | None) -> NewHouse:
    row = 5
    attributes = {"bedrooms": 3.0, "bathrooms": 2.0, "area_m2": 150.0, **changes}
    place = float(served.viewport.latitude[row]), float(served.viewport.longitude[row])
    return NewHouse(*place, date(2025, 3, 1), attributes)


def check_rows_of_map(served: ServedRun, table: MapTable) -> None:
    sale_of = table.sales.set_index("map_row")
    for row in range(len(served.viewport)):
        sale = sale_of.loc[served.viewport.map_row(row)]
        assert sale["house_id"] == served.viewport.house_id[row].decode()
        assert (sale["sale_date"] - pd.Timestamp(1970, 1, 1)).days == served.viewport.sale_day[row]
        assert served.viewport.sample(row) in SAMPLES


def test_what_is_shown_is_the_last_sale_of_every_house_out_of_sample(town, served):
    judged = read_parquet(town.run.estimates)
    assert len(served.viewport) == judged["house_id"].nunique()
    house_id = some_house(served)
    last = judged[judged["house_id"] == house_id].sort_values("sale_date").iloc[-1]
    row = served.viewport.row_of(house_id)
    assert served.viewport.estimate[row] == last["estimate"]
    assert served.details(house_id)["sale_id"] == last["sale_id"]


def test_houses_know_their_row_in_the_files_of_the_map(town, served):
    table = read_map_table(town.run.atlas)
    check_rows_of_map(served, table)
    assert served.viewport.limits == table.limits
    settings = view_settings(served.map_settings, served.viewport)
    assert settings["currency"] == served.currency
    assert settings["view"]["houses"] == len(served.viewport)
    assert settings["price"] == []
    assert settings["address"] is None


def test_a_damaged_table_of_the_map_is_told(town_copy):
    run = town_copy.run
    (run.atlas / TABLE).write_text('housevis.houses={"runId":"x","house":[')
    with pytest.raises(StorageError, match="table"):
        open_run(run)


def test_what_if_starts_from_the_estimate_that_is_shown(town, served):
    sales = read_supporting_sales(town.run)
    desk = SoldDesk(town.run, town.config, sales, shown_houses(town.run, sales))
    house_id = some_house(served)
    row = served.viewport.row_of(house_id)
    stands = desk.house(house_id).as_they_stand.iloc[0]
    for name in ("estimate", "low", "high"):
        assert stands[name] == pytest.approx(getattr(served.viewport, name)[row], rel=1e-9)
    larger = served.what_if(house_id, {"area_m2": 300.0})
    assert larger["estimate"] == pytest.approx(stands["estimate"] + larger["difference"])
    assert larger["low"] < larger["estimate"] < larger["high"]
    assert "association" in larger["meaning"]
    assert served.what_if(house_id, {"area_m2": 5000.0})["outside_training"]["area_m2"][1] < 5000
    for change in ({"latitude": 1.0}, {"sale_month": 3.0}, {"pool": 1.0}, {"bedrooms": -1.0}):
        with pytest.raises(UsageError):
            served.what_if(house_id, change)


def test_a_new_house_is_estimated_and_explained(served):
    answer = served.estimate(new_house(served))
    assert answer["low"] < answer["estimate"] < answer["high"]
    amounts = sum(driver["amount"] for driver in answer["drivers"])
    assert answer["base"] + amounts == pytest.approx(answer["estimate"])
    assert answer["used_picture"]
    assert len(answer["attention"]["values"]) == 7
    assert answer["value_map"]["unit"] == "USD"
    assert answer["picture"]["attribution"]
    assert answer["picture"]["image"].startswith("data:image/jpeg;base64,")
    assert answer["picture"]["house"] == pytest.approx([0.5, 0.5], abs=0.01)
    for kind in ("attention", "value_map"):
        assert answer[kind]["image"].startswith("data:image/png;base64,")
    assert {"Living area", "Location"} <= {driver["label"] for driver in answer["drivers"]}
    assert [sale["rank"] for sale in answer["comparables"]] == list(range(1, 7))
    assert answer["unknown"] == []
    assert "not an appraisal" in answer["notes"][0]
    again = served.estimate(new_house(served))
    assert again["estimate"] == answer["estimate"]


def test_it_is_the_estimate_of_the_command(town, served, tmp_path):
    house = new_house(served)
    listings, out = tmp_path / "new.csv", tmp_path / "out.csv"
    names = ",".join(house.attributes)
    values = ",".join(str(value) for value in house.attributes.values())
    listings.write_text(f"id,latitude,longitude,{names}\na,{house.latitude},{house.longitude},{values}\n")
    pipeline.estimate(
        listings, town.runs, "small-town", imagery=str(town.archive), out=out, as_of=house.valuation_date
    )
    line = dict(zip(*(row.split(",") for row in out.read_text().splitlines()), strict=False))
    answer = served.estimate(house)
    assert float(line["estimate"]) == pytest.approx(answer["estimate"], rel=2e-3)
    assert float(line["low"]) == pytest.approx(answer["low"], rel=2e-3)
    assert line["confidence"] == answer["confidence"]


def test_what_is_not_known_is_said_and_never_filled_in(served):
    answer = served.estimate(new_house(served, bedrooms=None))
    assert answer["unknown"] == ["bedrooms"]
    assert any("bedrooms" in reason for reason in answer["confidence_reasons"])
    with pytest.raises(UsageError, match="bedrooms"):
        served.estimate(new_house(served, bedrooms=99.0))


def test_a_place_without_imagery_is_estimated_from_its_attributes_and_says_so(served):
    house = NewHouse(10.0, 20.0, date(2025, 3, 1), {"bedrooms": 3.0, "bathrooms": 2.0, "area_m2": 150.0})
    answer = served.estimate(house)
    assert not answer["used_picture"]
    assert answer["picture"] is answer["attention"] is None
    assert answer["estimate"] == pytest.approx(answer["without_picture"])
    assert any("no imagery" in note for note in answer["notes"])


def test_tiles_lie_where_the_houses_are(served):
    row = 5
    place = float(served.viewport.longitude[row]), float(served.viewport.latitude[row])
    tile = mercantile.tile(*place, 18)
    far = mercantile.tile(10, 20, 18)
    for maps in served.maps.values():
        assert len(maps.png(18, tile.x, tile.y)) > len(maps.png(18, far.x, far.y))


def test_a_removed_house_vanishes_while_the_server_runs(town_copy):
    shelved = shelve(town_copy.runs, "small-town")
    before = shelved.current()
    house_id = some_house(before)
    with pipeline_project(town_copy) as project:
        pipeline.remove(project, [house_id])
    shelved._looked = 0.0
    after = shelved.current()
    assert after.viewport.row_of(house_id) is None
    assert after.details(house_id) is None
    assert len(after.viewport) == len(before.viewport) - 1
    assert after.viewport.digest != before.viewport.digest
    assert after.viewport.find(house_id) == []
    check_rows_of_map(after, read_map_table(shelved.folder / "atlas"))


def pipeline_project(town: Any) -> Any:
    from housevis.pipeline.project import open_project

    return open_project(town.config, town.runs)


def test_a_run_that_is_not_there_or_has_no_map_is_refused(town_copy):
    with pytest.raises(RunError):
        shelve(town_copy.runs, "nowhere")
    (town_copy.run.atlas / "index.html").unlink()
    with pytest.raises(RunError, match="housevis atlas"):
        shelve(town_copy.runs, "small-town")
