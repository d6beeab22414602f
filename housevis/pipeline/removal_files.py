"""Taking houses out of the files of a workspace: runs, features, tiles, exports."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import mercantile

from data_pipeline.archive import TileArchive
from housevis.core.errors import StorageError
from housevis.core.workspace import Workspace
from housevis.explain.database import GradWeightDatabase
from housevis.pipeline.attention import drop_houses
from housevis.pipeline.comparables import drop_houses as drop_from_comparables
from housevis.pipeline.explaining import GRAD_WEIGHTS
from housevis.pipeline.exporting import known_exports
from housevis.pipeline.geo_files import drop_houses as drop_from_file
from housevis.pipeline.report_tables import drop_houses as drop_from_tables
from housevis.pipeline.report_tables import report_shows
from housevis.pipeline.sold import POOL
from housevis.pipeline.sold_contributions import CONTRIBUTIONS
from housevis.pipeline.validation_parts import PARTS
from housevis.pipeline.valuation import TRAINING
from housevis.pricing.comparables import ComparableSales
from housevis.pricing.confidence import PLACES
from housevis.runs import HOUSE_REPORTS, REMOVED, Run, read_json, read_parquet, write_parquet
from housevis.views.atlas_removal import remove_from_atlas
from housevis.views.house_chunks import FOLDER, remove_houses
from housevis.vision.neighbourhood import PicturePool
from housevis.vision.store import FeatureStore


def fitted_with(run: Run, house_ids: Collection[str]) -> set[str]:
    """Those of some houses that a run was fitted with or measured on."""
    found = set(read_json(run.folder / REMOVED)) & set(house_ids) if run.withdrawn else set()
    for path in [*run.folder.rglob(TRAINING), *run.folder.glob("evaluation/estimates.parquet")]:
        found.update(set(read_parquet(path)["house_id"]) & set(house_ids))
    return found


def remove_from_run(
    run: Run, house_ids: Collection[str], tiles: Collection[mercantile.Tile] = ()
) -> Counter[str]:
    """Take houses out of a run's tables, grad-weights, attention maps and map; its models stay.

    Args:
        run: The run.
        house_ids: The houses.
        tiles: Tiles that only they need.

    Returns:
        How much was taken out, by kind.
    """
    removed: Counter[str] = Counter()
    for path in run.folder.rglob(TRAINING):
        removed["training rows"] += _drop_rows(path, house_ids)
    for path in run.folder.rglob("comparables.json"):
        removed["comparable sales"] += _drop_comparables(path.parent, house_ids)
    for path in run.folder.rglob(CONTRIBUTIONS):
        removed["drivers in runs"] += _drop_rows(path, house_ids)
    for path in run.folder.rglob(PLACES):
        removed["places in runs"] += _drop_rows(path, house_ids)
    for path in (run.estimates, *run.folder.glob(f"{PARTS}/*.parquet")):
        if path.is_file():
            removed["estimates in runs"] += _drop_rows(path, house_ids)
    removed["comparables of estimates"] += drop_from_comparables(run, house_ids)
    removed["house reports"] += _delete_files(run.folder / HOUSE_REPORTS)
    for path in run.folder.rglob(GRAD_WEIGHTS):
        database = GradWeightDatabase.load(path)
        kept = database.without(house_ids)
        if len(kept) < len(database):
            kept.save(path)
            removed["grad-weights"] += len(database) - len(kept)
    if report_shows(run, house_ids):
        run.report.unlink(missing_ok=True)
        removed["reports that showed them"] += 1
    removed["rows of report tables"] += drop_from_tables(run, house_ids)
    removed["attention maps"] += drop_houses(run.maps, house_ids)
    removed["house pages"] += remove_houses(run.atlas / FOLDER, house_ids)
    shown = remove_from_atlas(run.atlas, house_ids, tiles)
    removed["houses on maps"] += shown.sales
    removed["pictures on maps"] += shown.pictures
    removed["tiles of base maps"] += shown.tiles
    return removed


def remove_from_pool(run: Run, image_keys: Collection[str]) -> int:
    """Take pictures out of those that a run makes neighbourhoods of; the number of them."""
    path = run.serving / POOL
    if not image_keys or not path.is_file():
        return 0
    pool = PicturePool.load(path)
    kept = pool.without(image_keys)
    if len(kept) < len(pool):
        kept.save(path)
    return len(pool) - len(kept)


def remove_features(workspace: Workspace, image_keys: Sequence[str]) -> int:
    """Take pooled features out, of every backbone; the number of them."""
    if not image_keys or not workspace.features.is_dir():
        return 0
    folders = [folder for folder in workspace.features.iterdir() if folder.is_dir()]
    return sum(FeatureStore(folder).remove(image_keys) for folder in folders)


def remove_training_caches(workspace: Workspace) -> int:
    """Delete what `finetune` keeps of pictures and sales, as it can be made again; the number of files."""
    return sum(map(_delete_files, (workspace.layer3_maps, workspace.finetuning)))


def remove_imagery(
    workspace: Workspace, house_ids: Collection[str], tiles: Sequence[mercantile.Tile]
) -> Counter[str]:
    """Take houses' own pictures and tiles out of the archive, overwriting them; how many there were."""
    if not workspace.archive.is_file():
        return Counter()
    with TileArchive(workspace.archive) as archive:
        there = [tile for tile in tiles if archive.read(tile.z, tile.x, tile.y) is not None]
        pictures = [house_id for house_id in house_ids if archive.house_pictures.read(house_id) is not None]
        metadata = archive.metadata
    if there or pictures:
        with TileArchive.create(workspace.archive, metadata) as archive:
            archive.remove(there)
            archive.house_pictures.remove(pictures)
    return Counter({"tiles": len(there), "pictures in the archive": len(pictures)})


def remove_from_exports(workspace: Workspace, house_ids: Collection[str]) -> tuple[int, list[str]]:
    """Take houses out of the files that were exported.

    Returns:
        How many rows were taken out, and the files that could not be looked at.
    """
    rows, unseen = 0, []
    for path in known_exports(workspace):
        try:
            rows += drop_from_file(path, house_ids)
        except StorageError:
            unseen.append(str(path))
    return rows, unseen


def _drop_comparables(folder: Path, house_ids: Collection[str]) -> int:
    """Take houses out of the sales that a model compares others with; how many sales there were."""
    comparables = ComparableSales.load(folder)
    known = comparables.sales_
    kept = known[~known["house_id"].isin(house_ids)]
    if len(kept) < len(known):
        comparables.fit(kept, kept["log_price"]).save(folder)
    return len(known) - len(kept)


def _delete_files(folder: Path) -> int:
    files = sum(path.is_file() for path in folder.rglob("*"))
    if folder.is_dir():
        shutil.rmtree(folder)
    return files


def _drop_rows(path: Path, house_ids: Collection[str]) -> int:
    table = read_parquet(path)
    kept = table[~table["house_id"].isin(house_ids)]
    if len(kept) < len(table):
        write_parquet(kept, path)
    return len(table) - len(kept)
