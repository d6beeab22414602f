"""The map of sold houses: a folder that opens from disk, without any connection."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from housevis.core.storage import write_file
from housevis.views.atlas_data import CHUNK_SIZE, chunk_script, detail_chunks, first_view, spatial_order
from housevis.views.atlas_manifest import check_vendored, drop_damaged_pictures, write_manifest
from housevis.views.atlas_overlays import overlay_chunks, overlay_scales
from housevis.views.atlas_page import render_page
from housevis.views.atlas_parcels import write_parcels
from housevis.views.base_map import INDEX, BaseFolder, write_base_map
from housevis.views.data import AtlasData, check_out_of_sample
from housevis.views.pictures import NO_PICTURES, Picture, write_pictures
from housevis.views.words import script_json

_CHUNK_NAME = re.compile(r"(?:details|overlays)-(\d+)\.js")
_NO_AREAS = np.empty(0, dtype=object)

NO_SERVER = "housevis.server = null;\n"
"""What the pages find out about a server when there is none; one that serves them answers otherwise."""


@dataclass(frozen=True)
class AtlasReport:
    """What :func:`build_atlas` made.

    Attributes:
        page: The page to open.
        sales: Sales on the map.
        houses: Different houses among them.
        without_imagery: Houses without a picture, all of them in a run without pictures.
        pictures_written: Picture files written now.
        pictures_kept: Picture files that were there already.
        base_map_tiles: Tiles of the base map, without its overviews; 0 where there is none.
        first_view_bytes: Size of all files that the first view loads.
        seconds: Time it took.
    """

    page: Path
    sales: int
    houses: int
    without_imagery: int
    pictures_written: int
    pictures_kept: int
    base_map_tiles: int
    first_view_bytes: int
    seconds: float


def build_atlas(
    data: AtlasData, folder: Path, beside: Callable[[dict[str, Picture]], None] | None = None
) -> AtlasReport:
    """Build the map into a folder; a second call renews it and keeps its pictures.

    The folder holds ``index.html``, ``vendor/`` and ``atlas/`` (scripts and
    styles), ``data/`` (the houses), ``server.js`` and, with pictures,
    ``pictures/``; ``manifest.json`` names every file with its hash.

    Args:
        data: What to show.
        folder: Where to; made if it is not there.
        beside: Writes further pages into the folder; called with the picture of each house.

    Raises:
        LeakError: A record's estimate is not out of sample.
        StorageError: A script of the installation is not the one that it was released with.
    """
    started = time.monotonic()
    check_out_of_sample(data.records, data.training_sales, data.training_houses)
    folder.mkdir(parents=True, exist_ok=True)
    _copy_static(folder)

    order = spatial_order(
        data.records["latitude"].to_numpy(dtype=float), data.records["longitude"].to_numpy(dtype=float)
    )
    records = data.records.iloc[order].reset_index(drop=True)
    house_ids = list(dict.fromkeys(records["house_id"].astype(str)))
    data_folder = folder / "data"
    data_folder.mkdir(exist_ok=True)
    written, base_map_tiles = NO_PICTURES, 0
    if data.pictures is not None:
        drop_damaged_pictures(folder)
        made_of = data.pictures.base_map
        base = BaseFolder(folder, None if made_of is None else made_of.zoom)
        written = write_pictures(house_ids, data.pictures.picture, folder, base)
        shown = {picture.file for picture in written.pictures.values()}
        base_map_tiles = write_base_map(made_of, shown, base, data_folder)
    if beside is not None:
        beside(written.pictures)

    chunks = detail_chunks(data, records, order, written.pictures)
    for number, details in enumerate(chunks):
        write_file(data_folder / f"details-{number}.js", chunk_script("receive", number, details))
    scales, overlays = overlay_scales(data.pictures, records, order), 0
    for overlays, chunk in enumerate(
        overlay_chunks(data, records, order, written.pictures, scales, CHUNK_SIZE), start=1
    ):
        write_file(
            data_folder / f"overlays-{overlays - 1}.js", chunk_script("receiveOverlays", overlays - 1, chunk)
        )
    for path in data_folder.iterdir():
        match = _CHUNK_NAME.fullmatch(path.name)
        if match and int(match[1]) >= (len(chunks) if path.name.startswith("details") else overlays):
            path.unlink()
    write_parcels(data_folder, _NO_AREAS if data.parcels is None else data.parcels.areas)
    view = script_json(first_view(data, records, scales, base_map_tiles > 0))
    write_file(data_folder / "houses.js", f"housevis.houses={view};\n")
    write_file(folder / "server.js", NO_SERVER)
    page = folder / "index.html"
    write_file(page, render_page(data, len(records), base_map_tiles > 0))
    write_manifest(folder, data.run_id)
    return AtlasReport(
        page=page,
        sales=len(records),
        houses=len(house_ids),
        without_imagery=len(house_ids) - len(written.pictures),
        pictures_written=written.written,
        pictures_kept=written.kept,
        base_map_tiles=base_map_tiles,
        first_view_bytes=first_view_size(folder),
        seconds=time.monotonic() - started,
    )


def first_view_size(folder: Path) -> int:
    """Bytes of the files that the page of a map loads before anything is chosen, without its tiles."""
    page = folder / "index.html"
    loaded = re.findall(
        r'<(?:script src|link rel="stylesheet" href)="([^"]+)"', page.read_text(encoding="utf-8")
    )
    files = {
        page,
        *(folder / "data" / name for name in ("houses.js", INDEX)),
        *(folder / name for name in loaded),
    }
    return sum(path.stat().st_size for path in files if path.is_file())


def _copy_static(folder: Path) -> None:
    with as_file(files("housevis.views") / "static") as static:
        for part in ("vendor", "atlas"):
            shutil.copytree(static / part, folder / part, dirs_exist_ok=True)
    check_vendored(folder / "vendor")
