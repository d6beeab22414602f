"""The pictures of the houses as files beside the map, each content written once."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from data_pipeline.frames import HouseImage
from data_pipeline.house_tiles import HouseTile
from housevis.core.progress import progress_bar
from housevis.core.storage import write_file
from housevis.views.base_map import BaseFolder, tile_file

FOLDER: Final = "pictures"
"""The folder beside the map that holds the pictures that are no tiles."""

JPEG_QUALITY = 82
WORKERS = 4


@dataclass(frozen=True)
class Picture:
    """One house's picture as the page needs it.

    Attributes:
        file: Path relative to the page.
        bounds: West, south, east, north in degrees (EPSG:4326).
        house: Position of the house as fractions of width and height from the
            upper left corner.
        missing_tiles: Tiles that were missing and filled by reflection.
        attribution: Whose imagery it is.
    """

    file: str
    bounds: tuple[float, float, float, float]
    house: tuple[float, float]
    missing_tiles: int
    attribution: str


@dataclass(frozen=True)
class PictureFolder:
    """What :func:`write_pictures` did.

    Attributes:
        pictures: House id -> its picture; houses without imagery are absent.
        written: Files written by this call.
        kept: Files that an earlier call had written.
        bytes_written: Size of the files written.
    """

    pictures: dict[str, Picture]
    written: int
    kept: int
    bytes_written: int


NO_PICTURES = PictureFolder(pictures={}, written=0, kept=0, bytes_written=0)
"""The folder of a map without pictures, which does not exist."""


def write_pictures(
    house_ids: Sequence[str],
    picture: Callable[[str], HouseImage | HouseTile | None],
    page_folder: Path,
    base: BaseFolder,
) -> PictureFolder:
    """Write every house's picture, and take those of an earlier call away that are nobody's any more.

    A picture that is a tile goes to the tiles of the base map, as the archive
    has it; any other under ``pictures/``, named by its content. A file that is
    there already is kept, so an interrupted build goes on where it stopped,
    and houses that share a picture share a file.

    Args:
        house_ids: The houses, each once.
        picture: House id -> picture or None; called from several threads.
        page_folder: The folder of the page.
        base: Where pictures go that are tiles.
    """
    lock = threading.Lock()
    claimed: set[str] = set()
    sizes: list[int] = []

    def is_first(name: str) -> bool:
        with lock:
            first = name not in claimed
            claimed.add(name)
        return first

    def write(house_id: str) -> Picture | None:
        image = picture(house_id)
        if image is None:
            return None
        if isinstance(image, HouseTile):
            name = tile_file(image.tile, image.kind)
            if is_first(name) and base.put(image.tile, image.kind, image.data):
                sizes.append(len(image.data))
            return Picture(name, image.bounds, image.house, 0, image.attribution)
        name = f"{FOLDER}/{image.key[:2]}/{image.key[:24]}.jpg"
        if is_first(name) and not (page_folder / name).is_file():
            sizes.append(write_file(page_folder / name, _jpeg(image)))
        height, width = image.pixels.shape[:2]
        x, y = image.house_pixel
        return Picture(
            name, image.bounds, (x / width, y / height), int(image.missing_tiles), image.attribution
        )

    found: dict[str, Picture] = {}
    executor = ThreadPoolExecutor(WORKERS)
    try:
        with progress_bar("pictures", len(house_ids)) as bar:
            for house_id, result in zip(house_ids, executor.map(write, house_ids), strict=True):
                if result is not None:
                    found[house_id] = result
                bar.advance()
    finally:
        executor.shutdown(cancel_futures=True)
    for path in (page_folder / FOLDER).glob("*/*.jpg"):
        if path.relative_to(page_folder).as_posix() not in claimed:
            path.unlink()
    written = len(sizes)
    return PictureFolder(found, written, len(claimed) - written, sum(sizes))


def picture_uri(image: HouseImage) -> str:
    """A picture as an address that holds it, for a house that has no file beside the pages."""
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(image)).decode()


def _jpeg(image: HouseImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=False)
    return buffer.getvalue()
