"""The base map: the run's own tiles as files beside the map, and overviews of them for zooms farther away.

Tiles of the run's zoom are the archive's own bytes. Overviews begin two zooms
above (the zoom between is drawn from the tiles) and go up until a few of them
hold the whole market; where tiles are missing they are transparent. Which
tiles exist stands in ``data/base.js``, so that a page asks for no other.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import mercantile
from PIL import Image

from data_pipeline.decoding import NO_PICTURE, in_colour, open_picture
from data_pipeline.pictures import picture_kind
from data_pipeline.tiles import TILE_PIXELS
from housevis.core.progress import progress_bar
from housevis.core.storage import write_file
from housevis.views.words import script_json

FOLDER: Final = "base"
"""The folder beside the map that holds the tiles."""

INDEX: Final = "base.js"
"""The script in ``data/`` that says which tiles there are."""

DENSE_SHARE: Final = 0.5
"""Share of the overviews' ground that tiles have to cover for a base map to be worth its place."""

_FIRST_OVERVIEW: Final = 2
_FEW: Final = 4
_OVERVIEW: Final = "webp"
_QUALITY: Final = 78
_METHOD: Final = 3
_WORKERS: Final = 4

Kinds = dict[mercantile.Tile, str]
"""Tile -> the suffix of its file."""


class StoredTiles(Protocol):
    """Where the tiles are, a tile archive."""

    def tiles(self, zoom: int) -> Iterator[mercantile.Tile]:
        """The tiles of a zoom."""

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """The bytes of a tile, or None if there is none."""


@dataclass(frozen=True)
class BaseMap:
    """What the base map is made of.

    Attributes:
        archive: The tiles.
        zoom: The zoom of those that are taken.
        choice: ``"auto"`` makes a base map where :func:`is_dense` says that it is worth its place.
    """

    archive: StoredTiles
    zoom: int
    choice: Literal["auto", "always", "never"] = "auto"

    def wanted(self) -> list[mercantile.Tile]:
        """The tiles of the base map; none where there is to be no base map."""
        tiles = [] if self.choice == "never" else list(self.archive.tiles(self.zoom))
        return [] if self.choice == "auto" and not is_dense(tiles) else tiles


def is_dense(tiles: Collection[mercantile.Tile]) -> bool:
    """Whether tiles of one zoom fill at least half of the tiles two zooms above them."""
    above = {_ancestor(tile, _FIRST_OVERVIEW) for tile in tiles}
    return bool(above) and len(tiles) >= DENSE_SHARE * 4**_FIRST_OVERVIEW * len(above)


def tile_file(tile: mercantile.Tile, kind: str) -> str:
    """The path of a tile, relative to the page."""
    return f"{FOLDER}/{tile.z}/{tile.x}/{tile.y}.{kind}"


def tile_of_file(name: str) -> mercantile.Tile | None:
    """The tile of a path relative to the page; None where it is the path of something else."""
    parts = name.removeprefix(f"{FOLDER}/").split("/")
    if not name.startswith(f"{FOLDER}/") or len(parts) != 3:
        return None
    return mercantile.Tile(int(parts[1]), int(parts[2].split(".")[0]), int(parts[0]))


class BaseFolder:
    """The tiles of one zoom beside a map, and their overviews.

    Whoever changes a tile first takes the overviews away that show it: after
    any interruption, an overview that is there shows what is there.

    Args:
        page_folder: The folder of the page.
        zoom: The zoom of the tiles; what an earlier build wrote of another
            zoom is taken away. None goes by what is there.
    """

    def __init__(self, page_folder: Path, zoom: int | None = None) -> None:
        self._page_folder = page_folder
        self._folder = page_folder / FOLDER
        there = sorted(int(path.name) for path in self._folder.glob("[0-9]*"))
        if zoom is not None and there and there[-1] != zoom:
            shutil.rmtree(self._folder)
            there = []
        self.zoom = zoom if zoom is not None else there[-1] if there else 0
        self._overviews = [level for level in there if level != self.zoom]

    def put(self, tile: mercantile.Tile, kind: str, data: bytes) -> bool:
        """Write a tile unless it is there already; from any thread, each tile from one.

        Returns:
            Whether it was written.
        """
        path = self._page_folder / tile_file(tile, kind)
        try:
            if path.stat().st_size == len(data) and path.read_bytes() == data:
                return False
        except FileNotFoundError:
            pass
        self.remove([tile])
        write_file(path, data)
        return True

    def write(self, tiles: Iterable[mercantile.Tile], archive: StoredTiles) -> set[str]:
        """Write tiles as an archive has them.

        Returns:
            Their paths relative to the page; tiles that browsers cannot be
            trusted to draw are left out.
        """
        names: set[str] = set()
        for tile in tiles:
            data = archive.read(tile.z, tile.x, tile.y)
            kind = None if data is None else picture_kind(data)
            if data is not None and kind is not None:
                self.put(tile, kind, data)
                names.add(tile_file(tile, kind))
        return names

    def keep_only(self, names: Collection[str]) -> None:
        """Take all tiles away but those with these paths."""
        unwanted = {
            tile: kind for tile, kind in self._tiles(self.zoom).items() if tile_file(tile, kind) not in names
        }
        self.remove(unwanted)

    def remove(self, tiles: Iterable[mercantile.Tile]) -> int:
        """Take tiles away, and the overviews that show them; how many there were."""
        removed = 0
        for tile in tiles:
            self._drop_overviews(tile)
            for path in (self._folder / str(tile.z) / str(tile.x)).glob(f"{tile.y}.*"):
                path.unlink()
                removed += 1
        return removed

    def drop_all_overviews(self) -> None:
        """Take all overviews away."""
        for level in self._overviews:
            shutil.rmtree(self._folder / str(level), ignore_errors=True)

    def index_script(self) -> str:
        """The text of ``data/base.js``, after drawing the overviews that are missing.

        It holds the zoom of the tiles, and by zoom and suffix the rows of tiles
        that there are, each a list ``[y, x, count, x, count, ...]``.
        """
        tiles = {
            str(zoom): {kind: _rows(kinds, kind) for kind in sorted(set(kinds.values()))}
            for zoom, kinds in sorted(self._draw_overviews().items())
        }
        return f"housevis.baseTiles={script_json({'zoom': self.zoom, 'tiles': tiles})};\n"

    def _draw_overviews(self) -> dict[int, Kinds]:
        """All tiles by zoom; overviews that are missing are drawn, those of nothing taken away."""
        levels = {self.zoom: self._tiles(self.zoom)}
        below, step = self.zoom, _FIRST_OVERVIEW
        while below >= step and levels[below] and (below == self.zoom or len(levels[below]) > _FEW):
            levels[below - step] = self._draw_level(levels[below], below, step)
            below, step = below - step, 1
        for level in self._overviews:
            if level not in levels:
                shutil.rmtree(self._folder / str(level), ignore_errors=True)
        return levels

    def _tiles(self, zoom: int) -> Kinds:
        found: Kinds = {}
        for column in (self._folder / str(zoom)).glob("[0-9]*"):
            for path in column.glob("[0-9]*.*"):
                found[mercantile.Tile(int(column.name), int(path.stem), zoom)] = path.suffix[1:]
        return found

    def _draw_level(self, children: Kinds, zoom: int, step: int) -> Kinds:
        parts: dict[mercantile.Tile, list[mercantile.Tile]] = {}
        for child in children:
            parts.setdefault(_ancestor(child, step), []).append(child)
        there = self._tiles(zoom - step)
        for tile, kind in there.items():
            if tile not in parts:
                (self._page_folder / tile_file(tile, kind)).unlink()

        def draw(tile: mercantile.Tile) -> None:
            files = [(part, self._page_folder / tile_file(part, children[part])) for part in parts[tile]]
            write_file(self._page_folder / tile_file(tile, _OVERVIEW), _overview(files, step))

        missing = [tile for tile in parts if tile not in there]
        executor = ThreadPoolExecutor(_WORKERS)
        try:
            with progress_bar(f"overviews, zoom {zoom - step}", len(missing)) as bar:
                for _ in executor.map(draw, missing):
                    bar.advance()
        finally:
            executor.shutdown(cancel_futures=True)
        return dict.fromkeys(parts, _OVERVIEW)

    def _drop_overviews(self, tile: mercantile.Tile) -> None:
        for level in self._overviews:
            above = _ancestor(tile, tile.z - level)
            (self._page_folder / tile_file(above, _OVERVIEW)).unlink(missing_ok=True)


def write_base_map(base: BaseMap | None, pictures: Iterable[str], folder: BaseFolder, data: Path) -> int:
    """Write the base map, and take away what is left of an earlier one.

    Args:
        base: What it is made of; None makes none.
        pictures: Paths of the houses' pictures relative to the page, which stay.
        folder: Where its tiles go.
        data: The folder of the map's scripts of data.

    Returns:
        How many tiles it has, without its overviews; 0 where there is none.
    """
    names = folder.write(base.wanted(), base.archive) if base is not None else set()
    folder.keep_only(names.union(pictures))
    if not names:
        folder.drop_all_overviews()
        (data / INDEX).unlink(missing_ok=True)
    else:
        write_file(data / INDEX, folder.index_script())
    return len(names)


def remove_from_base_map(
    page_folder: Path, data: Path, tiles: Iterable[mercantile.Tile], pictures: Iterable[str]
) -> int:
    """Take tiles out of the base map, and draw the overviews that showed them without them.

    Args:
        page_folder: The folder of the page.
        data: The folder of the map's scripts of data.
        tiles: Tiles that nobody needs any more.
        pictures: Paths of pictures that nobody needs any more; those that are tiles go.

    Returns:
        How many tiles went beside the pictures.
    """
    folder = BaseFolder(page_folder)
    shown = {tile for tile in map(tile_of_file, pictures) if tile is not None}
    folder.remove(shown)
    removed = folder.remove(set(tiles) - shown)
    if (data / INDEX).is_file():
        write_file(data / INDEX, folder.index_script())
    return removed


def _rows(kinds: Kinds, kind: str) -> list[list[int]]:
    rows: dict[int, list[int]] = {}
    for y, x in sorted((tile.y, tile.x) for tile, found in kinds.items() if found == kind):
        row = rows.setdefault(y, [y])
        if len(row) > 1 and row[-2] + row[-1] == x:
            row[-1] += 1
        else:
            row += [x, 1]
    return list(rows.values())


def _ancestor(tile: mercantile.Tile, steps: int) -> mercantile.Tile:
    return mercantile.Tile(tile.x >> steps, tile.y >> steps, tile.z - steps)


def _overview(parts: Iterable[tuple[mercantile.Tile, Path]], step: int) -> bytes:
    """The picture of a tile, drawn from those `step` zooms below it."""
    side = TILE_PIXELS >> step
    canvas = Image.new("RGBA", (TILE_PIXELS, TILE_PIXELS))
    mask = (1 << step) - 1
    for part, path in parts:
        small = _small(path.read_bytes(), side)
        if small is not None:
            canvas.paste(small, ((part.x & mask) * side, (part.y & mask) * side))
    if canvas.getchannel("A").getextrema() == (255, 255):
        canvas = canvas.convert("RGB")
    file = io.BytesIO()
    canvas.save(file, "WEBP", quality=_QUALITY, method=_METHOD)
    return file.getvalue()


def _small(data: bytes, side: int) -> Image.Image | None:
    """A tile at a fraction of its size, as a JPEG decoded no larger than needed; None if it is no picture."""
    try:
        with open_picture(data) as picture:
            picture.draft("RGB", (side, side))
            drawn = picture.convert("RGBA") if picture.mode == "RGBA" else in_colour(picture)
    except NO_PICTURE:
        return None
    return drawn.resize((side, side), Image.Resampling.BOX) if drawn.size != (side, side) else drawn
