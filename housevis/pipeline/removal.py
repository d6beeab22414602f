"""`housevis remove`: a house leaves the market, and a receipt says what remains.

The order lets a killed removal be finished by the next one: first the list of
removed houses (so that nothing brings the house back), then the marks of the
runs, then files, then the database's rows, last the receipt.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.frames import tile_keys_needed
from data_pipeline.geocoding import forget_addresses
from data_pipeline.steps import listings_section
from data_pipeline.tiles import tiles_of_keys
from db.removal_store import (
    FINISHED,
    begin_removal,
    count_house_rows,
    delete_houses,
    erase_freed_space,
    finish_removal,
    house_places,
    lonely_image_keys,
    read_removals,
)
from db.store import read_houses
from housevis.core.errors import UsageError
from housevis.pipeline.learned_weights import learned_weights
from housevis.pipeline.project import Project
from housevis.pipeline.removal_files import (
    fitted_with,
    remove_features,
    remove_from_exports,
    remove_from_pool,
    remove_from_run,
    remove_imagery,
    remove_training_caches,
)
from housevis.pipeline.results import StepResult
from housevis.runs import Run, list_runs, withdraw, write_json

RECEIPTS = "removals"
"""Folder of the receipts in the workspace."""

_WORK = "to_do"
"""Key of an unfinished receipt: what has to be known after the rows are gone."""


@dataclass
class Removal:
    """A removal on its way.

    Attributes:
        house_ids: The houses.
        began: When they were put on the list.
        image_keys: Contents of pictures that only they have.
        tiles: Tiles that only they need.
        addresses: Addresses that only they have.
        removed: What was taken out so far, by kind.
        runs: Ids of the runs that were fitted with them.
    """

    house_ids: list[str]
    began: datetime
    image_keys: list[str] = field(default_factory=list)
    tiles: list[mercantile.Tile] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    removed: Counter[str] = field(default_factory=Counter)
    runs: list[str] = field(default_factory=list)

    def unfinished_receipt(self) -> dict[str, Any]:
        """What the list of removed houses keeps until the removal is finished."""
        return {
            "removed": dict(self.removed),
            "runs": self.runs,
            FINISHED: None,
            _WORK: {
                "image_keys": self.image_keys,
                "tiles": [list(tile) for tile in self.tiles],
                "addresses": self.addresses,
            },
        }


def plan_removal(project: Project, house_ids: Sequence[str]) -> StepResult:
    """Say what :func:`remove` would take out; nothing is changed.

    Raises:
        UsageError: A house is not known.
    """
    removal, resumed = _planned(project, house_ids)
    runs = [run.run_id for run in list_runs(project.workspace) if fitted_with(run, removal.house_ids)]
    counts = Counter(count_house_rows(project.engine, removal.house_ids))
    counts |= Counter({"features": len(removal.image_keys), "tiles": len(removal.tiles)})
    lines = _also(resumed)
    lines.append(f"would be removed: {', '.join(removal.house_ids)}")
    lines += [f"  {name}: {count:,}" for name, count in sorted(counts.items()) if count]
    lines += [f"run {run_id} was fitted with it and could not be current any more" for run_id in runs]
    return StepResult("remove", lines, {"house_ids": removal.house_ids, "runs": runs, **counts})


def remove(project: Project, house_ids: Sequence[str]) -> StepResult:
    """Remove houses for good: rows, features, grad-weights, maps, tiles, and their place in exports.

    Runs that were fitted with them are marked, can no longer be promoted and
    are no longer current; their models remain. Removals that were stopped
    earlier are finished too.

    Args:
        project: An open project.
        house_ids: The houses.

    Returns:
        Figures ``house_ids``, ``removed`` (counts by kind), ``runs`` (marked
        ones), ``remains`` (sentences) and ``receipt`` (its file).

    Raises:
        UsageError: A house is not known; nothing is changed.
        DatabaseError: The database refuses; the next call goes on from there.
        StorageError: A file cannot be written; the next call goes on from there.
    """
    started = time.perf_counter()
    removal, resumed = _planned(project, house_ids)
    removal.removed |= Counter(count_house_rows(project.engine, removal.house_ids))
    _note(project, removal)
    for run in list_runs(project.workspace):
        _clean_run(project, run, removal)
    removal.removed["features"] += remove_features(project.workspace, removal.image_keys)
    removal.removed["files of fine-tuning"] += remove_training_caches(project.workspace)
    _note(project, removal)
    removal.removed += remove_imagery(project.workspace, removal.house_ids, removal.tiles)
    removal.removed["geocoded addresses"] += forget_addresses(project.workspace.folder, removal.addresses)
    rows, unseen = remove_from_exports(project.workspace, removal.house_ids)
    removal.removed["rows of exports"] += rows
    _delete_rows(project, removal)
    remains = _remains(project, removal, unseen)
    receipt = _receipt(removal, remains)
    path = _write_receipt(project, removal, receipt)
    finish_removal(project.engine, dict.fromkeys(removal.house_ids, receipt))
    lines = _also(resumed)
    lines.append(f"removed: {', '.join(removal.house_ids)}")
    lines += [f"  {name}: {count:,}" for name, count in sorted(removal.removed.items()) if count]
    lines.append("what remains:")
    lines += [f"  {sentence}" for sentence in remains]
    lines.append(f"receipt: {path}")
    figures = {"house_ids": removal.house_ids, "receipt": str(path), **receipt}
    return StepResult("remove", lines, figures, time.perf_counter() - started)


def _planned(project: Project, house_ids: Sequence[str]) -> tuple[Removal, list[str]]:
    """The removal of these houses and of those whose removal was stopped; the latter by id."""
    receipts = read_removals(project.engine)
    resumed = [house_id for house_id, receipt in receipts.items() if not receipt.get(FINISHED)]
    houses = read_houses(project.engine)
    _check_known(project, house_ids, set(receipts), houses["house_id"])
    wanted = list(dict.fromkeys([*house_ids, *resumed]))
    removal = Removal(wanted, datetime.now(UTC))
    keys = lonely_image_keys(project.engine, wanted)
    tiles = _lonely_tiles(project, wanted, houses)
    addresses = _lonely_addresses(wanted, houses)
    for house_id in wanted:
        earlier = receipts.get(house_id, {})
        work = earlier.get(_WORK, {})
        keys.update(work.get("image_keys", ()))
        tiles.update(mercantile.Tile(x, y, z) for x, y, z in work.get("tiles", ()))
        addresses.update(work.get("addresses", ()))
        removal.removed |= Counter(earlier.get("removed", {}))
        removal.runs = list(dict.fromkeys([*removal.runs, *earlier.get("runs", ())]))
    removal.image_keys, removal.tiles, removal.addresses = sorted(keys), sorted(tiles), sorted(addresses)
    return removal, [house_id for house_id in resumed if house_id not in house_ids]


def _check_known(project: Project, house_ids: Sequence[str], listed: set[str], stored: pd.Series) -> None:
    unknown = set(house_ids) - listed - set(stored)
    for house_id in sorted(unknown):
        if any(count_house_rows(project.engine, [house_id]).values()):
            continue
        if any(fitted_with(run, [house_id]) for run in list_runs(project.workspace)):
            continue
        near = get_close_matches(house_id, stored.tolist(), n=1)
        raise UsageError(
            f"there is no house {house_id!r}",
            where=project.config.name,
            remedy=f"Did you mean {near[0]!r}?" if near else "Give the id as it stands in the listings.",
        )


def _lonely_tiles(project: Project, house_ids: Sequence[str], houses: pd.DataFrame) -> set[mercantile.Tile]:
    """The tiles of every zoom in the archive that these houses need and no other."""
    gone = house_places(project.engine, house_ids)
    if gone.empty or not project.workspace.archive.is_file():
        return set()
    with TileArchive(project.workspace.archive) as archive:
        zooms = archive.zooms()
    size = project.config.vision.image_size
    others = houses[~houses["house_id"].isin(house_ids)]
    lonely: set[mercantile.Tile] = set()
    for zoom in zooms:
        section = project.config.imagery.model_copy(update={"zoom": zoom})
        keys = np.setdiff1d(tile_keys_needed(gone, section, size), tile_keys_needed(others, section, size))
        lonely.update(tiles_of_keys(keys, zoom))
    return lonely


def _lonely_addresses(house_ids: Sequence[str], houses: pd.DataFrame) -> set[str]:
    """The addresses that only these houses have."""
    gone = houses["house_id"].isin(house_ids)
    return set(houses.loc[gone, "address"].dropna()) - set(houses.loc[~gone, "address"].dropna())


def _note(project: Project, removal: Removal) -> None:
    """Keep on the list of removed houses how far the removal is."""
    begin_removal(project.engine, dict.fromkeys(removal.house_ids, removal.unfinished_receipt()))


def _clean_run(project: Project, run: Run, removal: Removal) -> None:
    fitted = fitted_with(run, removal.house_ids)
    if fitted:
        if run.run_id not in removal.runs:
            removal.runs.append(run.run_id)
        withdraw(project.workspace, run, fitted, removal.began)
    removal.removed += remove_from_run(run, removal.house_ids, removal.tiles)
    removal.removed["pictures of neighbourhoods"] += remove_from_pool(run, removal.image_keys)
    _note(project, removal)


def _delete_rows(project: Project, removal: Removal) -> None:
    bare = {"removed": dict(removal.removed), "runs": removal.runs, FINISHED: None}
    tiles = [(tile.z, tile.x, tile.y) for tile in removal.tiles]
    delete_houses(project.engine, dict.fromkeys(removal.house_ids, bare), tiles)
    erase_freed_space(project.engine)


def _remains(project: Project, removal: Removal, unseen: Sequence[str]) -> list[str]:
    workspace = project.workspace
    sentences = [
        f"the models of run {run_id} were fitted with it, and figures in its metrics.json and report.html "
        "were counted with it; `housevis run CONFIG` fits a new run, then the folder can be deleted"
        for run_id in removal.runs
    ]
    listings = listings_section(project.config, workspace)
    source = listings.path or "the source of the listings"
    sentences.append(f"{source} is left as it is; `housevis ingest` keeps the house out (removed_house)")
    if project.config.sample_market is not None:
        sentences.append(f"the true drivers of the sample market in {workspace.sample_market}")
    parcels = project.config.atlas.parcels
    if parcels is not None:
        named = "the lots of the sample market" if parcels == "sample-market" else parcels
        sentences.append(
            f"{named}: left as they are; a map that is built anew draws a parcel again where it lies in the "
            "picture of another house"
        )
    aside = sorted(path.name for path in workspace.folder.glob("tiles-*.mbtiles"))
    if aside:
        sentences.append(f"tiles of other sources that were put aside: {', '.join(aside)}")
    sentences += [
        f"{path} has learned from pictures and prices of sales; delete it, then run `housevis finetune` again"
        for path in learned_weights(project.config.name)
    ]
    sentences += [f"{path} was exported and is not there or cannot be read" for path in unseen]
    sentences.append(
        "copies of exports, results of `housevis estimate` and `housevis explain`, "
        "printed pages and backups, which housevis does not know of"
    )
    if project.engine.dialect.name == "postgresql":
        sentences.append(
            "PostgreSQL keeps deleted rows in its files until it reuses their space, "
            "and in its write-ahead log and backups"
        )
    sentences.append("its id in the list of removed houses, in the marks of the runs and in the receipt")
    return sentences


def _receipt(removal: Removal, remains: list[str]) -> dict[str, Any]:
    return {
        "removed": {name: count for name, count in sorted(removal.removed.items()) if count},
        "runs": removal.runs,
        "remains": remains,
        FINISHED: datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write_receipt(project: Project, removal: Removal, receipt: dict[str, Any]) -> Path:
    folder = project.workspace.folder / RECEIPTS
    stem = f"{removal.began:%Y%m%d-%H%M%S}"
    path, number = folder / f"{stem}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.json"
    write_json(path, {"house_ids": removal.house_ids, **receipt})
    return path


def _also(resumed: Sequence[str]) -> list[str]:
    return [f"a removal that was stopped is finished too: {', '.join(resumed)}"] if resumed else []
