"""The tile that is a house's picture, as the archive holds it: no pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import mercantile

from data_pipeline.frames import PictureSource
from data_pipeline.pictures import picture_kind
from data_pipeline.tiles import TILE_PIXELS, pixel_of, tile_of


@dataclass(frozen=True)
class HouseTile:
    """The tile that contains a house.

    Attributes:
        tile: Which one.
        data: Its bytes.
        kind: ``jpg``, ``png`` or ``webp``.
        house: Position of the house as fractions of width and height from
            the north-west corner.
        attribution: Credit that has to be shown with it.
    """

    tile: mercantile.Tile
    data: bytes
    kind: str
    house: tuple[float, float]
    attribution: str

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of its outer edges, degrees in EPSG:4326."""
        west, south, east, north = mercantile.bounds(self.tile)
        return west, south, east, north


def house_tile(archive: PictureSource, latitude: float, longitude: float, zoom: int) -> HouseTile | None:
    """The tile that contains a place.

    Args:
        archive: Where the tiles are.
        latitude: Degrees.
        longitude: Degrees.
        zoom: Zoom of the tiles.

    Returns:
        The tile, whatever it shows; None where there is none, or one that
        browsers cannot be trusted to draw.
    """
    tile = tile_of(latitude, longitude, zoom)
    data = archive.read(tile.z, tile.x, tile.y)
    kind = None if data is None else picture_kind(data)
    if data is None or kind is None:
        return None
    x, y = pixel_of(latitude, longitude, zoom)
    house = (x / TILE_PIXELS - tile.x, y / TILE_PIXELS - tile.y)
    return HouseTile(tile, data, kind, house, archive.attribution)
