"""The pictures of the houses as files beside the map, each content written once."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from housevis.core.progress import progress_bar
from housevis.core.storage import write_file

if TYPE_CHECKING:
    from data_pipeline.frames import HouseImage

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
        metres_per_pixel: Ground sample distance.
        missing_tiles: Tiles that were missing and filled by reflection.
        attribution: Whose imagery it is.
    """

    file: str
    bounds: tuple[float, float, float, float]
    house: tuple[float, float]
    metres_per_pixel: float
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
    house_ids: Sequence[str], picture: Callable[[str], HouseImage | None], page_folder: Path
) -> PictureFolder:
    """Write every house's picture under ``pictures/``, named by its content.

    A file that is there already is kept, so an interrupted build goes on where
    it stopped, and houses that share a picture share a file.

    Args:
        house_ids: The houses, each once.
        picture: House id -> picture or None; called from several threads.
        page_folder: The folder of the page.
    """
    lock = threading.Lock()
    claimed: dict[str, bool] = {}
    sizes: list[int] = []
    for prefix in range(256):
        (page_folder / "pictures" / f"{prefix:02x}").mkdir(parents=True, exist_ok=True)

    def write(house_id: str) -> Picture | None:
        image = picture(house_id)
        if image is None:
            return None
        key = image.key
        name = f"pictures/{key[:2]}/{key[:24]}.jpg"
        with lock:
            first = name not in claimed
            if first:
                claimed[name] = not (page_folder / name).is_file()
        if first and claimed[name]:
            sizes.append(write_file(page_folder / name, _jpeg(image)))
        height, width = image.pixels.shape[:2]
        x, y = image.house_pixel
        west, south, east, north = image.bounds
        return Picture(
            file=name,
            bounds=(west, south, east, north),
            house=(x / width, y / height),
            metres_per_pixel=image.metres_per_pixel,
            missing_tiles=int(image.missing_tiles),
            attribution=image.attribution,
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
    written = len(sizes)
    return PictureFolder(found, written, len(claimed) - written, sum(sizes))


def picture_uri(image: HouseImage) -> str:
    """A picture as an address that holds it, for a house that has no file beside the pages."""
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(image)).decode()


def _jpeg(image: HouseImage) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=False)
    return buffer.getvalue()
