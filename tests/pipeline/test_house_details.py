"""The details of the houses of a run: complete, out of sample, as the run has them, and gone when removed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from housevis.core.errors import LeakError, StorageError
from housevis.pipeline import atlas
from housevis.pipeline.attention import load_parts
from housevis.pipeline.comparables import COMPARABLES, read_comparables
from housevis.pipeline.house_details import stored_house_details
from housevis.pipeline.house_page_facts import sliders
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.removal_files import remove_from_run
from housevis.pipeline.sold import load_sold_houses
from housevis.runs import read_json, read_parquet, write_parquet
from housevis.views.house_chunks import FOLDER

KEYS = {
    "house_id", "sale_id", "model_id", "address", "place", "sale_date", "price", "estimate", "low", "high",
    "interval", "currency", "sample", "confidence", "confidence_reasons", "attributes", "base", "drivers",
    "without_picture", "used_picture", "picture", "attention", "value_map", "surroundings", "explained_by",
    "under", "comparables",
}  # fmt: skip


@pytest.fixture
def project(town_copy) -> Iterator[Project]:
    with open_project(town_copy.config, town_copy.runs) as opened:
        yield opened


def shown(town) -> list[str]:
    return read_parquet(town.run.estimates)["house_id"].unique().tolist()


def test_every_house_is_there_with_every_key(town):
    judged = read_parquet(town.run.estimates).drop_duplicates("house_id", keep="last").set_index("house_id")
    for house_id in judged.index[:40]:
        house = stored_house_details(town.run, house_id)
        assert house is not None
        assert set(house) == KEYS
        record = judged.loc[house_id]
        assert house["estimate"] == pytest.approx(record["estimate"], abs=0.01)
        assert house["base"] + sum(each["amount"] for each in house["drivers"]) == pytest.approx(
            house["estimate"], abs=0.2
        )
        assert house["low"] <= house["estimate"] <= house["high"]
        json.dumps(house, allow_nan=False)
    assert stored_house_details(town.run, "nobody") is None


def test_the_maps_are_those_of_the_run(town):
    maps = load_parts(town.run.maps)
    for row in range(0, len(maps.houses), 37):
        house = stored_house_details(town.run, str(maps.houses["house_id"].iloc[row]))
        assert house is not None
        for name, values in (("attention", maps.heats[row]), ("value_map", maps.values[row])):
            kept = house[name]
            if kept["note"]:
                assert kept["values"] == []
                continue
            wanted = np.clip(values, -kept["scale"], kept["scale"])
            assert np.abs(np.array(kept["values"]) - wanted).max() < 0.01 * kept["scale"]
        west, south, east, north = house["picture"]["bounds"]
        latitude, longitude = house["place"]
        assert west < longitude < east
        assert south < latitude < north
        assert (town.run.atlas / house["picture"]["file"]).is_file()


def test_comparables_are_those_of_the_run_and_can_be_followed(town):
    table = read_comparables(town.run)
    assert table is not None
    for house_id in shown(town)[:20]:
        house = stored_house_details(town.run, house_id)
        assert house is not None
        rows = table[table["sale_id"] == house["sale_id"]].sort_values("rank")
        assert [each["house_id"] for each in house["comparables"]] == rows["comparable_house_id"].tolist()
        assert [each["rank"] for each in house["comparables"]] == list(range(1, len(rows) + 1))
        for each in house["comparables"]:
            assert stored_house_details(town.run, each["house_id"]) is not None
            assert each["after"] == (each["sale_date"] > house["sale_date"])


def test_a_removed_house_is_named_by_no_page(project, town_copy):
    gone = shown(town_copy)[0]
    removed = remove_from_run(town_copy.run, {gone})
    assert removed["house pages"] == 1
    assert stored_house_details(town_copy.run, gone) is None
    for path in (town_copy.run.atlas / FOLDER).iterdir():
        assert f'"{gone}"' not in path.read_text()
    named = read_json(town_copy.run.atlas / "manifest.json")["files"]
    assert f"{FOLDER}/run.js" in named


def test_a_map_without_house_pages_is_built_again(project, town_copy):
    shutil.rmtree(town_copy.run.atlas / FOLDER)
    (town_copy.run.atlas / "house.html").unlink()
    with pytest.raises(StorageError, match="not built"):
        stored_house_details(town_copy.run, "x")
    (town_copy.run.folder / COMPARABLES).unlink()
    assert not atlas(project).skipped
    house = stored_house_details(town_copy.run, shown(town_copy)[0])
    assert house is not None
    assert house["comparables"] is None


def test_an_estimate_by_a_model_that_has_seen_the_house_is_not_shown(project, town_copy):
    judged = read_parquet(town_copy.run.estimates)
    row = judged.loc[judged["sample"] == "later sale", ["sale_id", "house_id"]].iloc[[0]]
    file = town_copy.run.evaluation / "earlier" / "training.parquet"
    training = read_parquet(file)
    training.loc[0, ["sale_id", "house_id"]] = row.to_numpy()[0]
    write_parquet(training, file)
    (town_copy.run.atlas / "house.html").unlink()
    with pytest.raises(LeakError, match="cannot be shown"):
        atlas(project)
    assert not (town_copy.run.atlas / "house.html").exists()


def test_sliders_span_what_was_sold_in_even_steps(project):
    found = {each.name: each for each in sliders(project.config, load_sold_houses(project).sales)}
    assert set(found) == {"bedrooms", "bathrooms", "area_m2"}
    assert found["bedrooms"].step == 1
    assert all(each.low < each.high for each in found.values())
