"""Taking houses out of a map that is already built."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
from numpy.typing import NDArray

from data_pipeline.parcels import surroundings_of
from housevis.core.errors import StorageError
from housevis.core.storage import write_file
from housevis.views.atlas_data import CHUNK_SIZE, chunk_script
from housevis.views.atlas_manifest import changed_files, write_manifest
from housevis.views.atlas_parcels import INDEX as PARCELS
from housevis.views.atlas_parcels import parcels_without, read_parcels, write_parcels
from housevis.views.base_map import INDEX, remove_from_base_map
from housevis.views.words import script_json

_COLUMNS = (
    "latitude", "longitude", "house", "day", "price", "estimate", "address",
    "bedrooms", "effect", "confidence",
)  # fmt: skip
_COUNT = re.compile(r"(<dt>sold houses</dt><dd>)[\d,]+(</dd>)")


@dataclass(frozen=True)
class AtlasRemoval:
    """What :func:`remove_from_atlas` took out.

    Attributes:
        sales: Sales on the map.
        pictures: Picture files that no other house shares.
        tiles: Tiles of the base map.
    """

    sales: int
    pictures: int
    tiles: int = 0


def remove_from_atlas(
    folder: Path, house_ids: Collection[str], tiles: Collection[mercantile.Tile] = ()
) -> AtlasRemoval:
    """Take houses out of a map: their rows, details and pictures, and their names as neighbours.

    Tiles that only they need leave the base map, and its overviews are drawn without them.

    A process that is killed meanwhile leaves a map with or without the
    houses; a second call finishes it.

    Args:
        folder: The folder of the map. Nothing happens where there is none.
        house_ids: The houses.
        tiles: Tiles that only they need.

    Raises:
        StorageError: The data of the map are damaged.
    """
    data, new, old = folder / "data", folder / "data-new", folder / "data-old"
    if not data.is_dir():
        if not new.is_dir():
            return AtlasRemoval(0, 0)
        new.rename(data)
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    if not (data / "houses.js").is_file():
        return AtlasRemoval(0, 0)
    view = _read(data / "houses.js")
    details = [detail for chunk in _chunks(data, len(view["house"])) for detail in chunk]
    kept = [row for row, house_id in enumerate(view["house"]) if house_id not in house_ids]
    gone = [row for row, house_id in enumerate(view["house"]) if house_id in house_ids]
    named = any(detail.get("neighbour") in house_ids for detail in details)
    unwanted = _unwanted_pictures([details[row] for row in gone], [details[row] for row in kept])
    on_base = remove_from_base_map(folder, data, tiles, unwanted)
    if not gone and not named:
        _finish(folder, view)
        return AtlasRemoval(0, 0, on_base)
    overlays = _overlays(data, len(details))
    parcels = _parcels_left(data, view, details, kept, gone)
    for name in unwanted:
        (folder / name).unlink(missing_ok=True)
    _write(new, _shortened(view, kept), _renumbered(details, kept, house_ids))
    _write_chunks(new, "overlays", "receiveOverlays", [overlays[row] for row in kept] if overlays else [])
    if (data / INDEX).is_file():
        shutil.copyfile(data / INDEX, new / INDEX)
    write_parcels(new, parcels)
    data.rename(old)
    new.rename(data)
    shutil.rmtree(old)
    _finish(folder, _read(data / "houses.js"))
    return AtlasRemoval(len(gone), len(unwanted), on_base)


def _finish(folder: Path, view: dict[str, Any]) -> None:
    """Bring the number on the page and the manifest to what the data are."""
    page = folder / "index.html"
    if page.is_file():
        words = page.read_text(encoding="utf-8")
        counted = _COUNT.sub(rf"\g<1>{len(view['house']):,}\g<2>", words)
        if counted != words:
            write_file(page, counted)
    if changed_files(folder):
        write_manifest(folder, view["runId"])


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        start = text.index("=") + 1 if path.name == "houses.js" else text.index(",") + 1
        return json.loads(text[start:].rstrip().rstrip(";").removesuffix(")"))
    except (OSError, ValueError):
        raise _damaged(path) from None


def _chunks(data: Path, sales: int) -> Iterator[list[dict[str, Any]]]:
    for number in range(-(-sales // CHUNK_SIZE)):
        yield _read(data / f"details-{number}.js")


def _shortened(view: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    columns = {name: [view[name][row] for row in kept] for name in _COLUMNS if view[name] is not None}
    if "address" in columns and not any(columns["address"]):
        columns["address"] = None  # type: ignore[assignment]
    return view | columns | {"sample": "".join(view["sample"][row] for row in kept)}


def _renumbered(
    details: list[dict[str, Any]], kept: list[int], house_ids: Collection[str]
) -> list[dict[str, Any]]:
    place_of = {row: place for place, row in enumerate(kept)}
    remaining = []
    for row in kept:
        detail = dict(details[row])
        if "neighbour" in detail:
            detail["neighbourRow"] = place_of.get(detail["neighbourRow"])
            if detail["neighbour"] in house_ids:
                detail["neighbour"] = None
        remaining.append(detail)
    return remaining


def _unwanted_pictures(gone: list[dict[str, Any]], kept: list[dict[str, Any]]) -> set[str]:
    needed = {detail["picture"]["file"] for detail in kept if detail.get("picture")}
    return {detail["picture"]["file"] for detail in gone if detail.get("picture")} - needed


def _parcels_left(
    data: Path, view: dict[str, Any], details: list[dict[str, Any]], kept: list[int], gone: list[int]
) -> NDArray[np.object_]:
    try:
        areas = read_parcels(data)
    except (OSError, ValueError):
        raise _damaged(data / PARCELS) from None
    latitude, longitude = (
        origin + np.array(view[name], dtype=np.float64) * view["unit"]
        for name, origin in zip(("latitude", "longitude"), view["origin"], strict=True)
    )
    surroundings = surroundings_of(latitude, longitude)
    for row in kept:
        if details[row].get("picture"):
            surroundings[row] = details[row]["picture"]["bounds"]
    places = np.stack([longitude, latitude], axis=1)
    return parcels_without(areas, places[gone], places[kept], surroundings[kept])


def _damaged(path: Path) -> StorageError:
    return StorageError(
        "the data of this map are damaged",
        where=str(path),
        remedy="Delete the folder of the map and run the command again.",
    )


def _overlays(data: Path, sales: int) -> list[Any]:
    """The overlays of all sales; none in a map without pictures."""
    if not (data / "overlays-0.js").is_file():
        return []
    numbers = range(-(-sales // CHUNK_SIZE))
    return [overlay for number in numbers for overlay in _read(data / f"overlays-{number}.js")]


def _write(data: Path, view: dict[str, Any], details: list[dict[str, Any]]) -> None:
    data.mkdir()
    _write_chunks(data, "details", "receive", details)
    write_file(data / "houses.js", f"housevis.houses={script_json(view)};\n")


def _write_chunks(data: Path, name: str, receiver: str, content: list[Any]) -> None:
    for number, start in enumerate(range(0, len(content), CHUNK_SIZE)):
        chunk = content[start : start + CHUNK_SIZE]
        write_file(data / f"{name}-{number}.js", chunk_script(receiver, number, chunk))
