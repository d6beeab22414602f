"""Houses that are removed: what goes, what remains, and that a stopped removal is finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import geopandas
import mercantile
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from data_pipeline.archive import TileArchive
from data_pipeline.frames import tiles_needed
from db.models import House
from db.removal_store import read_removals, unfinished_removals
from db.session import write_transaction
from db.store import (
    read_estimates,
    read_houses,
    read_images,
    read_rejects,
    read_sales,
    read_tile_statuses,
    removed_houses,
)
from housevis.cli import app
from housevis.core.errors import RunError, UsageError
from housevis.explain.database import GradWeightDatabase
from housevis.pipeline import removal, removal_files
from housevis.pipeline.attention import load_parts
from housevis.pipeline.data_steps import ingest
from housevis.pipeline.explaining import GRAD_WEIGHTS
from housevis.pipeline.exporting import export
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.removal import plan_removal, remove
from housevis.pipeline.valuation import TRAINING
from housevis.runs import Run, find_run, list_runs, promote, read_parquet
from housevis.vision.store import FeatureStore

CONFIGURATION = "town.toml"


def shown_house(project: Project) -> str:
    """A house whose picture no other house has, and that lends its weights to others."""
    images = read_images(project.engine, "centred", 18)
    alone = set(images.loc[~images["image_key"].duplicated(keep=False), "house_id"])
    lenders = load_parts(the_run(project).maps).houses["neighbour_house_id"].dropna()
    return next(house_id for house_id in lenders.value_counts().index if house_id in alone)


def the_run(project: Project) -> Run:
    return list_runs(project.workspace)[0]


def traces(project: Project, house_id: str) -> list[str]:
    """Where a house is still to be found."""
    run, engine = the_run(project), project.engine
    maps = load_parts(run.maps).houses
    found = {
        "houses": house_id in set(read_houses(engine)["house_id"]),
        "sales": house_id in set(read_sales(engine)["house_id"]),
        "images": house_id in set(read_images(engine, "centred", 18)["house_id"]),
        "estimates": read_estimates(engine, run.run_id)["sale_id"].str.startswith(f"{house_id}@").any(),
        "estimates of the run": house_id in set(read_parquet(run.estimates)["house_id"]),
        "maps": house_id in set(maps["house_id"]) | set(maps["neighbour_house_id"]),
    }
    for path in run.folder.rglob(TRAINING):
        found[f"{path}"] = house_id in set(read_parquet(path)["house_id"])
    for path in run.folder.rglob(GRAD_WEIGHTS):
        found[f"{path}"] = house_id in GradWeightDatabase.load(path).house_ids
    for path in (run.atlas / "data").iterdir():
        found[f"{path}"] = f'"{house_id}"' in path.read_text()
    return [place for place, there in found.items() if there]


def test_nothing_of_a_removed_house_is_left_but_what_the_receipt_names(
    project: Project, tmp_path: Path
) -> None:
    house_id = shown_house(project)
    houses, sales = len(read_houses(project.engine)), len(read_sales(project.engine))
    images = read_images(project.engine, "centred", 18).set_index("house_id")
    key = str(images.at[house_id, "image_key"])
    pictures = len(list(the_run(project).atlas.glob("pictures/*/*.jpg")))
    export(project, tmp_path / "a.gpkg")
    export(project, tmp_path / "b.parquet", every_sale=True)
    assert traces(project, house_id)

    result = remove(project, [house_id])

    assert traces(project, house_id) == []
    assert len(read_houses(project.engine)) == houses - 1
    sold = sales - len(read_sales(project.engine))
    assert result.figures["removed"]["houses"] == 1
    assert result.figures["removed"]["sales"] == sold > 0
    assert result.figures["removed"]["features"] == 1
    for folder in project.workspace.features.iterdir():
        assert key not in set(FeatureStore(folder).keys())
    assert len(list(the_run(project).atlas.glob("pictures/*/*.jpg"))) == pictures - 1
    assert house_id not in set(geopandas.read_file(tmp_path / "a.gpkg")["house_id"])
    assert house_id not in set(geopandas.read_parquet(tmp_path / "b.parquet")["house_id"])

    holding = set(files_with(project.workspace.folder, house_id))
    receipt = Path(result.figures["receipt"])
    listings = project.workspace.sample_market / "listings.csv"
    mark = the_run(project).folder / "removed.json"
    journal = project.workspace.database.with_name("housevis.sqlite-wal")
    assert holding - {journal} == {receipt, mark, listings, project.workspace.database}
    assert removed_houses(project.engine) == {house_id}
    stored = read_removals(project.engine)[house_id]
    written = json.loads(receipt.read_text())
    assert written.pop("house_ids") == [house_id]
    assert written == stored
    assert any(str(listings) in sentence for sentence in stored["remains"])
    assert the_run(project).run_id in stored["runs"]


def test_not_a_byte_of_its_address_is_left_in_the_workspace(project: Project) -> None:
    house_id, address = shown_house(project), "17 Zanzibar Mews"
    with write_transaction(project.engine) as connection:
        statement = update(House).where(House.id == house_id).values(address=address, unit=address)
        connection.execute(statement)
    cache = project.workspace.folder / "geocoded.json"
    cache.write_text(json.dumps({"http://127.0.0.1": {address: [1.0, 2.0], "elsewhere": None}}))
    export(project, project.workspace.folder / "a.gpkg")
    files = list(files_with(project.workspace.folder, address))
    assert {path.name for path in files} >= {"geocoded.json", "a.gpkg"}
    remove(project, [house_id])
    assert list(files_with(project.workspace.folder, address)) == []
    assert json.loads(cache.read_text()) == {"http://127.0.0.1": {"elsewhere": None}}


def test_an_ingest_after_a_killed_removal_hides_no_address_from_the_next_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    house_id, address = shown_house(project), "17 Zanzibar Mews"
    other = next(known for known in read_houses(project.engine)["house_id"] if known != house_id)
    with write_transaction(project.engine) as connection:
        connection.execute(update(House).where(House.id == house_id).values(address=address))
    cache = project.workspace.folder / "geocoded.json"
    cache.write_text(json.dumps({"http://127.0.0.1": {address: [1.0, 2.0]}}))

    def dies(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(removal, "forget_addresses", dies)
        with pytest.raises(KeyboardInterrupt):
            remove(project, [house_id])
    ingest(project)
    assert house_id not in set(read_houses(project.engine)["house_id"])
    remove(project, [other])
    assert list(files_with(project.workspace.folder, address)) == []


def files_with(folder: Path, text: str) -> Iterator[Path]:
    """The files that hold a text."""
    for path in folder.rglob("*"):
        if path.is_file() and text.encode() in path.read_bytes():
            yield path


def test_its_run_is_neither_current_nor_to_be_promoted(project: Project) -> None:
    remove(project, [shown_house(project)])
    run = the_run(project)
    with pytest.raises(RunError, match=r"removed since.*housevis run"):
        promote(project.workspace, run)
    with pytest.raises(RunError, match=r"removed since.*housevis run"):
        find_run(project.workspace.folder.parent, project.config.name)
    assert find_run(project.workspace.folder.parent, run.run_id).withdrawn


def test_the_map_stays_whole(project: Project) -> None:
    house_id = shown_house(project)
    data = the_run(project).atlas / "data"

    def read() -> tuple[dict, list[dict]]:
        view = json.loads((data / "houses.js").read_text().split("=", 1)[1].rstrip(";\n"))
        chunks = [
            json.loads((data / f"details-{number}.js").read_text().split(",", 1)[1].rstrip(";\n)"))
            for number in range(len(list(data.glob("details-*.js"))))
        ]
        return view, [detail for chunk in chunks for detail in chunk]

    view, details = read()
    expected = {
        house: (price, detail["base"], detail["neighbour"] if detail["neighbour"] != house_id else None)
        for house, price, detail in zip(view["house"], view["price"], details, strict=True)
    }
    expected.pop(house_id)
    remove(project, [house_id])
    view, details = read()
    assert {
        house: (price, detail["base"], detail["neighbour"])
        for house, price, detail in zip(view["house"], view["price"], details, strict=True)
    } == expected
    assert len(view["sample"]) == len(view["latitude"]) == len(details)
    for detail in details:
        row = detail["neighbourRow"]
        assert row is None or view["house"][row] == detail["neighbour"]
    page = (data.parent / "index.html").read_text()
    assert f"<dt>sold houses</dt><dd>{len(details):,}</dd>" in page


def test_ingest_keeps_it_out(project: Project) -> None:
    house_id = shown_house(project)
    remove(project, [house_id])
    result = ingest(project)
    assert not result.skipped
    assert house_id not in set(read_houses(project.engine)["house_id"])
    rejects = read_rejects(project.engine)
    assert rejects.loc[rejects["reason"] == "removed_house", "house_id"].tolist() == [house_id]
    assert result.figures["rows"] == result.figures["sales"] + sum(result.figures["rejected"].values())


def base_map_tiles(project: Project) -> set[mercantile.Tile]:
    """The tiles of zoom 18 that lie beside the map."""
    files = (the_run(project).atlas / "base" / "18").glob("*/*.*")
    return {mercantile.Tile(int(path.parent.name), int(path.stem), 18) for path in files}


def test_its_tiles_go_where_no_other_house_needs_them(project: Project) -> None:
    houses = read_houses(project.engine)
    with TileArchive(project.workspace.archive) as archive:
        before = set(archive.tiles(18))
    assert base_map_tiles(project) == before
    result = remove(project, houses.sort_values("longitude")["house_id"].tolist()[: len(houses) // 2])
    with TileArchive(project.workspace.archive) as archive:
        after = set(archive.tiles(18))
    needed = set(tiles_needed(read_houses(project.engine), project.config.imagery, 224))
    assert after == base_map_tiles(project) == before & needed
    assert result.figures["removed"]["tiles"] == len(before) - len(after) > 0
    assert set(read_tile_statuses(project.engine, 18)) == {(tile.x, tile.y) for tile in needed}


def test_a_shared_picture_keeps_its_feature(project: Project) -> None:
    images = read_images(project.engine, "centred", 18)
    first, second = images["house_id"].iloc[:2]
    key = str(images["image_key"].iloc[0])
    with project.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE images SET image_key = '{key}' WHERE house_id = '{second}'")
    result = remove(project, [first])
    assert "features" not in result.figures["removed"]


BEFORE = (
    (removal, "list_runs"),
    (removal, "withdraw"),
    (removal, "remove_from_run"),
    (removal, "remove_features"),
    (removal, "remove_imagery"),
    (removal, "delete_houses"),
    (removal, "erase_freed_space"),
    (removal, "write_json"),
)
AFTER = (
    (removal, "withdraw"),
    (removal_files, "_drop_rows"),
    (removal_files, "drop_houses"),
    (removal_files, "remove_from_atlas"),
    (removal, "remove_from_exports"),
    (removal, "delete_houses"),
    (removal, "finish_removal"),
)


@pytest.mark.parametrize(
    ("module", "stage", "after"),
    [
        *(pytest.param(*place, False, id=f"before {place[1]}") for place in BEFORE),
        *(pytest.param(*place, True, id=f"after {place[1]}") for place in AFTER),
    ],
)
def test_a_removal_that_is_killed_is_finished_by_the_next_one(
    project: Project, monkeypatch: pytest.MonkeyPatch, module: ModuleType, stage: str, after: bool
) -> None:
    house_id = shown_house(project)
    other = next(known for known in read_houses(project.engine)["house_id"] if known != house_id)
    original: Callable = getattr(module, stage)

    def dies(*arguments: object, **options: object) -> object:
        if after:
            original(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, stage, dies)
        with pytest.raises(KeyboardInterrupt):
            remove(project, [house_id])
    assert house_id in removed_houses(project.engine)
    killed = [] if (stage, after) == ("finish_removal", True) else [house_id]
    assert unfinished_removals(project.engine) == killed
    said = " ".join(ingest(project).lines)
    assert (f"the removal of {house_id} was stopped" in said) == bool(killed)

    result = remove(project, [other])
    assert unfinished_removals(project.engine) == []
    assert traces(project, house_id) == traces(project, other) == []
    receipts = read_removals(project.engine)
    assert receipts[house_id]["runs"] == [the_run(project).run_id]
    assert set(result.figures["house_ids"]) == {other, *killed}
    assert "to_do" not in receipts[house_id]
    assert the_run(project).withdrawn


def test_an_unknown_house_changes_nothing(project: Project) -> None:
    known = read_houses(project.engine)["house_id"][0]
    with pytest.raises(UsageError, match=f"no house '{known}x'.*Did you mean '{known}'"):
        remove(project, [known, f"{known}x"])
    assert removed_houses(project.engine) == set()
    assert known in set(read_houses(project.engine)["house_id"])


def test_planning_changes_nothing(project: Project) -> None:
    house_id = shown_house(project)
    result = plan_removal(project, [house_id])
    assert result.figures["houses"] == result.figures["features"] == 1
    assert result.figures["runs"] == [the_run(project).run_id]
    assert removed_houses(project.engine) == set()
    assert traces(project, house_id)


def test_the_command_asks_first(town_copy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(town_copy.folder)
    with open_project(town_copy.config, town_copy.runs) as project:
        house_id = shown_house(project)
    runner = CliRunner()
    planned = runner.invoke(app, ["remove", CONFIGURATION, house_id, "--dry-run"])
    assert planned.exit_code == 0
    assert "would be removed" in planned.output
    assert runner.invoke(app, ["remove", CONFIGURATION, house_id], input="n\n").exit_code == 1
    with open_project(town_copy.config, town_copy.runs) as project:
        assert removed_houses(project.engine) == set()
    done = runner.invoke(app, ["remove", CONFIGURATION, house_id, "--yes"])
    assert done.exit_code == 0
    assert "what remains:" in done.output
    again = runner.invoke(app, ["remove", CONFIGURATION, house_id, "--yes"])
    assert again.exit_code == 0
    shutil.rmtree(town_copy.folder)
