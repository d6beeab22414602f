"""What kind of imagery a path is, and how it is opened."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from data_pipeline.archive import TileArchive
from data_pipeline.frames import PictureSource
from housevis.core.config_sections import ImagerySection
from housevis.core.errors import ImageryError

Kind = Literal["mbtiles", "pmtiles", "geotiff", "pictures"]
RASTERS = frozenset({".tif", ".tiff", ".vrt", ".jp2"})
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"SQLite format 3\0", "mbtiles"),
    (b"PMTiles", "pmtiles"),
    (b"II*\0", "geotiff"),
    (b"MM\0*", "geotiff"),
    (b"II+\0", "geotiff"),
)
_WILDCARDS = "*?["
_WAYS_OUT = (
    "Give an MBTiles or PMTiles file, a GeoTIFF, a pattern like naip/*.tif, "
    "or a folder of GeoTIFFs or of pictures."
)


class LocalTiles(PictureSource, Protocol):
    """A tile source on this machine, closed when it is no longer needed."""

    def close(self) -> None:
        """Let go of the files."""


@dataclass(frozen=True)
class Source:
    """Imagery on this machine.

    Attributes:
        kind: What it is.
        path: The path as it was given; for GeoTIFFs it may be a pattern.
        pixels: Pixels per side of the tiles that are made of a GeoTIFF.
    """

    kind: Kind
    path: Path
    pixels: int = 256

    def open(self) -> LocalTiles:
        """Open a source of tiles; close it afterwards.

        Raises:
            ImageryError: The files cannot be read.
        """
        if self.kind == "mbtiles":
            return TileArchive(self.path)
        if self.kind == "pmtiles":
            from data_pipeline.sources.pmtiles import PMTilesSource

            return PMTilesSource(self.path)
        from data_pipeline.sources.geotiff import GeoTiffSource

        return GeoTiffSource(raster_files(self.path), pixels=self.pixels)

    def size_and_time(self) -> list[tuple[str, int, int]]:
        """Name, bytes and time of change of the source's files: they tell whether it changed."""
        if self.kind == "pictures":
            return []
        files = raster_files(self.path) if self.kind == "geotiff" else [self.path]
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def local_source(imagery: ImagerySection) -> Source | None:
    """The source that ``imagery.source`` means, None where it is not set.

    Raises:
        ImageryError: There is nothing at that path, or nothing that can be read.
    """
    if imagery.source is None:
        return None
    return source_at(imagery.source, pixels=512 if imagery.retina else 256)


def source_at(path: Path, pixels: int = 256) -> Source:
    """The imagery at a path; see :func:`local_source`."""
    if path.is_dir():
        return Source(_kind_of_folder(path), path, pixels)
    if path.is_file():
        return Source(_kind_of_file(path), path, pixels)
    if any(sign in str(path) for sign in _WILDCARDS):
        raster_files(path)
        return Source("geotiff", path, pixels)
    raise ImageryError(
        "there is no such imagery", where=str(path), remedy=f"Check the path. {_WAYS_OUT}"
    ) from None


def raster_files(path: Path) -> list[Path]:
    """The GeoTIFFs of a path: a file, a pattern, or a folder with subfolders.

    Raises:
        ImageryError: There is none.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(_files_of(path, RASTERS))
    else:
        found = sorted(
            file
            for file in map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207 - a whole path may be a pattern
            if file.suffix.lower() in RASTERS and file.is_file()
        )
    if not found:
        raise ImageryError("there is no GeoTIFF here", where=str(path), remedy=_WAYS_OUT)
    return found


def _files_of(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file():
            yield file


def _kind_of_folder(folder: Path) -> Kind:
    if next(_files_of(folder, RASTERS), None) is not None:
        return "geotiff"
    if next(_files_of(folder, PICTURES), None) is not None:
        return "pictures"
    raise ImageryError("the folder holds neither GeoTIFFs nor pictures", where=str(folder), remedy=_WAYS_OUT)


def _kind_of_file(path: Path) -> Kind:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as problem:
        raise ImageryError(
            f"the imagery cannot be read ({problem.strerror})", where=str(path), remedy="Check its rights."
        ) from None
    found = next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
    if found is not None:
        return found
    if path.suffix.lower() in RASTERS:
        return "geotiff"
    if path.suffix.lower() == ".mbtiles":
        return "mbtiles"
    raise ImageryError("this is no imagery that housevis reads", where=str(path), remedy=_WAYS_OUT)
