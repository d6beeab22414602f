"""The sample market as its users see it: listings, tiles, houses and the truth about them."""

from __future__ import annotations

import csv
import datetime
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from data_pipeline.sample_market.blocks import Block
from data_pipeline.sample_market.geometry import TOWN_PIXEL, ZOOM, Warp, place_of, world_pixel
from data_pipeline.sample_market.house import House
from data_pipeline.sample_market.paint import crown_mask, paint, paint_cover, shape_mask
from data_pipeline.sample_market.plan import BLOCK_HEIGHT, BLOCK_WIDTH, Plan
from data_pipeline.sample_market.prices import (
    BASE_PRICE,
    DRIVERS,
    FIRST_SALE,
    LISTING_COLUMNS,
    TRENDS,
    Trend,
    attribute_level,
    driver_effects,
    location_level,
    market_level,
    sale_of,
    spoil,
)
from data_pipeline.sample_market.shapes import Scene, Shape
from data_pipeline.sample_market.source import TileSource
from data_pipeline.sample_market.truth import write_truth
from housevis.core.errors import DataError, UsageError

TILE_SIZE = 256
CHUNK_TILES = 2
"""Tiles per side that are drawn together."""
LOWEST_ZOOM = 14
PICTURE_SIZE = 224
DEGREE_DIGITS = 7
"""Decimals of the listed coordinates; the pictures and masks are centred on the rounded place."""


def _shares(masks: NDArray[np.bool_]) -> dict[str, float]:
    covered = masks.sum(axis=(1, 2)) / masks[0].size
    return {driver: float(share) for driver, share in zip(DRIVERS, covered, strict=True)}


class SampleMarket:
    """A fictional town with planted visual price drivers, generated from a seed.

    Every block is computed when it is needed and soon forgotten, so that a
    million houses need no more memory than a thousand. Reading is safe from
    several threads.

    Args:
        houses: How many houses are listed.
        seed: Any whole number; the same seed gives the same town, prices and pixels.
        trend: How the market moves over the 28 months: ``steady`` rises by 3 % a year,
            ``flat`` stays, ``falling`` drops by 4 % a year, ``turning`` rises by 5 % a
            year for 17 months and then falls at the same pace.
        monthly_change: Percent that prices change in a month, in place of `trend`.
        turn_at: Share of the 28 months after which `monthly_change` has the other sign.

    Raises:
        UsageError: If `houses` is not positive, the trend is unknown, or the market turns
            without a monthly change.
    """

    def __init__(
        self,
        houses: int = 1500,
        seed: int = 1,
        trend: Trend = "steady",
        monthly_change: float | None = None,
        turn_at: float | None = None,
    ) -> None:
        if houses < 1:
            raise UsageError(
                f"a town of {houses} houses cannot be built", remedy="Ask for at least one house."
            )
        if trend not in TRENDS:
            raise UsageError(f"unknown market trend {trend!r}", remedy=f"Choose one of: {', '.join(TRENDS)}.")
        self.house_count = houses
        self.seed = seed
        if monthly_change is not None and monthly_change <= -100.0:
            raise UsageError(
                f"prices cannot change by {monthly_change:g} % a month", remedy="Stay above -100 %."
            )
        if turn_at is not None and (monthly_change is None or not 0.0 <= turn_at <= 1.0):
            raise UsageError(
                f"the market cannot turn at {turn_at:g} of the sale period",
                remedy="Give a share from 0 to 1, together with the monthly change that turns.",
            )
        self.trend: Trend = trend
        self.monthly_change = monthly_change
        self.turn_at = turn_at
        self.plan = Plan(houses, seed)
        self._warp = Warp(seed)
        self._lock = threading.RLock()
        self._block = lru_cache(maxsize=192)(self._build_block)
        self._chunk = lru_cache(maxsize=96)(self._paint_chunk)
        corners = self._warp(
            [
                (side_u * self._half_width, side_v * self._half_height)
                for side_u in (-1, 1)
                for side_v in (-1, 1)
            ]
        )
        reach = self._warp.reach
        self._bounds = (*(corners.min(0) - reach), *(corners.max(0) + reach))

    @property
    def _half_width(self) -> float:
        return (self.plan.columns / 2.0 + 0.4) * BLOCK_WIDTH

    @property
    def _half_height(self) -> float:
        return (self.plan.rows / 2.0 + 3.0) * BLOCK_HEIGHT

    # -- the town -----------------------------------------------------------------

    def _build_block(self, column: int, row: int) -> Block:
        return Block(self.plan, self._warp, column, row)

    def _blocks_near(self, left: float, top: float, right: float, bottom: float) -> list[Block]:
        """Blocks whose drawing may reach into a box of town pixels."""
        u_from, v_from, u_to, v_to = self._warp.plan_bounds(left, top, right, bottom)
        columns = range(
            int((u_from - self.plan.left) // BLOCK_WIDTH) - 1, int((u_to - self.plan.left) // BLOCK_WIDTH) + 2
        )
        rows = range(
            int((v_from - self.plan.top) // BLOCK_HEIGHT) - 1, int((v_to - self.plan.top) // BLOCK_HEIGHT) + 3
        )
        near = []
        with self._lock:
            for row in rows:
                for column in columns:
                    block = self._block(column, row)
                    west, north, east, south = block.bounds
                    if west < right and east > left and north < bottom and south > top:
                        near.append(block)
        return near

    def render(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Draw any window of the town, RGB (height, width, 3).

        Args:
            left: World pixel at zoom 18 of the window's left edge.
            top: World pixel at zoom 18 of its upper edge.
            width: Pixels.
            height: Pixels.
        """
        return paint(
            self.scenes(left, top, width, height), left - TOWN_PIXEL[0], top - TOWN_PIXEL[1], width, height
        )

    def scenes(self, left: int, top: int, width: int, height: int) -> list[Scene]:
        """What may reach into a window of world pixels at zoom 18, in town pixels."""
        x, y = left - TOWN_PIXEL[0], top - TOWN_PIXEL[1]
        return [block.scene for block in self._blocks_near(x, y, x + width, y + height)]

    def land_cover(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """What covers the ground in any window of the town, the truth behind :meth:`render`.

        Args:
            left: World pixel at zoom 18 of the window's left edge.
            top: World pixel at zoom 18 of its upper edge.
            width: Pixels.
            height: Pixels.

        Returns:
            uint8 (height, width): number of the class in :data:`data_pipeline.land_cover.LAND_COVERS`.
        """
        scenes = self.scenes(left, top, width, height)
        return paint_cover(scenes, left - TOWN_PIXEL[0], top - TOWN_PIXEL[1], width, height)

    def _paint_chunk(self, column: int, row: int) -> NDArray[np.uint8]:
        side = CHUNK_TILES * TILE_SIZE
        return self.render(column * side, row * side, side, side)

    def _has_tile(self, x: int, y: int) -> bool:
        left, top = x * TILE_SIZE - TOWN_PIXEL[0], y * TILE_SIZE - TOWN_PIXEL[1]
        west, north, east, south = self._bounds
        return bool(left < east and left + TILE_SIZE > west and top < south and top + TILE_SIZE > north)

    def tile(self, z: int, x: int, y: int) -> NDArray[np.uint8] | None:
        """One XYZ tile in Web Mercator (EPSG:3857), RGB (256, 256, 3).

        Args:
            z: Zoom, 14 to 18; below 18 the tile is averaged from zoom 18.
            x: Tile column.
            y: Tile row, from the north.

        Returns:
            The tile, or None beyond the town and at other zooms.
        """
        if not LOWEST_ZOOM <= z <= ZOOM:
            return None
        if z < ZOOM:
            return self._smaller_tile(z, x, y)
        if not self._has_tile(x, y):
            return None
        with self._lock:
            chunk = self._chunk(x // CHUNK_TILES, y // CHUNK_TILES)
        left, top = x % CHUNK_TILES * TILE_SIZE, y % CHUNK_TILES * TILE_SIZE
        return chunk[top : top + TILE_SIZE, left : left + TILE_SIZE]

    def _smaller_tile(self, z: int, x: int, y: int) -> NDArray[np.uint8] | None:
        parts = [[self.tile(z + 1, 2 * x + east, 2 * y + south) for east in (0, 1)] for south in (0, 1)]
        if all(part is None for line in parts for part in line):
            return None
        blank = np.full((TILE_SIZE, TILE_SIZE, 3), (112, 124, 78), dtype=np.uint8)
        whole = np.concatenate(
            [np.concatenate([blank if part is None else part for part in line], axis=1) for line in parts]
        )
        return np.asarray(Image.fromarray(whole).reduce(2))

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Column and row of every zoom-18 tile of the town, in an order that is quick to draw."""
        west, north, east, south = (int(side) for side in self._bounds)
        span = TILE_SIZE * CHUNK_TILES
        first_x, last_x = (west + TOWN_PIXEL[0]) // span, (east + TOWN_PIXEL[0]) // span
        first_y, last_y = (north + TOWN_PIXEL[1]) // span, (south + TOWN_PIXEL[1]) // span
        for chunk_y in range(first_y, last_y + 1):
            for chunk_x in range(first_x, last_x + 1):
                for part in range(CHUNK_TILES * CHUNK_TILES):
                    x = chunk_x * CHUNK_TILES + part % CHUNK_TILES
                    y = chunk_y * CHUNK_TILES + part // CHUNK_TILES
                    if self._has_tile(x, y):
                        yield x, y

    def source(self, format: str = "jpg") -> TileSource:
        """The tiles as files, for a tile server or an archive.

        Args:
            format: ``jpg`` or ``png``.
        """
        return TileSource(self, format)

    # -- houses and truth ---------------------------------------------------------

    def _all_houses(self) -> Iterator[House]:
        def endless() -> Iterator[House]:
            for row in range(self.plan.rows + 2):
                for column in range(self.plan.columns):
                    with self._lock:
                        block = self._block(column, row)
                    yield from block.houses

        return islice(endless(), self.house_count)

    def _find(self, house_id: str) -> House:
        try:
            column, row, _ = house_id.removeprefix("h").split("-")
            with self._lock:
                block = self._block(int(column), int(row))
        except ValueError:
            block = None
        for house in block.houses if block is not None else ():
            if house.lot.house_id == house_id:
                return house
        raise DataError(
            f"no house {house_id!r} in this town",
            remedy="Check that the seed and the number of houses are the ones the listings were made with.",
        )

    def _place(self, house: House) -> tuple[float, float]:
        x, y = house.centre + TOWN_PIXEL
        latitude, longitude = place_of(x, y)
        return round(float(latitude), DEGREE_DIGITS), round(float(longitude), DEGREE_DIGITS)

    def _masks(self, house: House, size: int) -> NDArray[np.bool_]:
        """Masks (4, size, size) of what lies in the picture, whether or not it counts."""
        x, y = world_pixel(*self._place(house))
        left = round(float(x) - size / 2) - TOWN_PIXEL[0]
        top = round(float(y) - size / 2) - TOWN_PIXEL[1]
        masks = np.zeros((len(DRIVERS), size, size), dtype=bool)
        pools = [shape for shape in house.scene.shapes if shape.driver == "pool"]
        if pools:
            masks[0] = shape_mask(pools, left, top, size)
        if house.canopy:
            masks[2] = crown_mask(house.canopy, left, top, size)
        around: dict[str, list[Shape]] = {"water": [], "arterial": []}
        for block in self._blocks_near(left, top, left + size, top + size):
            for shape in block.drivers:
                if shape.driver in around:
                    around[shape.driver].append(shape)
        for number, driver in ((1, "water"), (3, "arterial")):
            if around[driver]:
                masks[number] = shape_mask(around[driver], left, top, size)
        return masks

    def driver_masks(
        self, house_ids: str | Sequence[str], size: int = PICTURE_SIZE, zoom: int = ZOOM
    ) -> NDArray[np.bool_]:
        """True masks of the drivers that count, in the pixels of the centred picture.

        The masks are those of the window of `size` x `size` whole world pixels at
        zoom 18 that lies nearest to the picture: its left column is
        ``round(x - size / 2)`` and its upper row ``round(y - size / 2)``, where
        ``(x, y)`` is the world pixel (float) of the listed latitude and longitude.
        The picture is cut at fractions of a pixel, so a mask may lie beside it by
        half a pixel, which is 0.15 m.

        Args:
            house_ids: One id or several.
            size: Pixels per side.
            zoom: Only 18 is drawn.

        Returns:
            Bool array (n, 4, size, size) in the order of :data:`DRIVERS`. A driver
            that covers less than 1 % of the 224-pixel picture has an empty mask.

        Raises:
            DataError: If an id belongs to no house of this town.
            UsageError: If `zoom` is not 18.
        """
        if zoom != ZOOM:
            raise UsageError(f"the true masks exist at zoom {ZOOM}, not {zoom}", remedy=f"Use zoom {ZOOM}.")
        ids = [house_ids] if isinstance(house_ids, str) else list(house_ids)
        result = np.zeros((len(ids), len(DRIVERS), size, size), dtype=bool)
        for number, house_id in enumerate(ids):
            house = self._find(house_id)
            masks = self._masks(house, size)
            reference = masks if size == PICTURE_SIZE else self._masks(house, PICTURE_SIZE)
            effects = driver_effects(_shares(reference))
            counts = np.array([effects[driver] != 0.0 for driver in DRIVERS])
            result[number] = masks & counts[:, None, None]
        return result

    def house_records(self) -> Iterator[dict[str, Any]]:
        """The truth about every listed house, one by one; see :meth:`houses`."""
        for record, _ in self._records_with_masks():
            yield record

    def _records_with_masks(self) -> Iterator[tuple[dict[str, Any], NDArray[np.bool_]]]:
        for house in self._all_houses():
            house_id = house.lot.house_id
            latitude, longitude = self._place(house)
            masks = self._masks(house, PICTURE_SIZE)
            shares = _shares(masks)
            effects = driver_effects(shares)
            counts = np.array([effects[driver] != 0.0 for driver in DRIVERS])
            day, noise = sale_of(self.seed, house_id)
            east = ((house.lot.left + house.lot.right) / 2.0) / (self.plan.columns * BLOCK_WIDTH / 2.0)
            north = -house.lot.front / (self.plan.rows * BLOCK_HEIGHT / 2.0)
            levels = {
                "attributes": attribute_level(house.dwelling),
                "location": location_level(east, north),
                "market": market_level(self.trend, day, self.monthly_change, self.turn_at),
                "noise": noise,
            }
            total = sum(levels.values()) + sum(effects.values())
            record: dict[str, Any] = {
                "id": house_id,
                "latitude": latitude,
                "longitude": longitude,
                "bedrooms": house.dwelling.bedrooms,
                "bathrooms": house.dwelling.bathrooms,
                "area_m2": house.dwelling.area_m2,
                "sale_date": FIRST_SALE + datetime.timedelta(days=day),
                "price": float(round(BASE_PRICE * float(np.exp(total)) / 500.0) * 500),
                **{f"{driver}_effect": effects[driver] for driver in DRIVERS},
                **{f"{driver}_share": shares[driver] for driver in DRIVERS},
                **{f"{name}_level": level for name, level in levels.items()},
            }
            yield record, masks & counts[:, None, None]

    def houses(self) -> pd.DataFrame:
        """The truth about every listed house.

        Returns:
            One row per house: ``id, latitude, longitude`` (degrees, EPSG:4326), the true
            ``bedrooms, bathrooms, area_m2, sale_date, price``; per driver the log effect
            ``<driver>_effect`` (0 where it does not count) and the part of the centred
            picture that it covers ``<driver>_share`` (0..1); and the logs of the other
            parts of the price ``attributes_level, location_level, market_level,
            noise_level``.
        """
        frame = pd.DataFrame(list(self.house_records()))
        frame["sale_date"] = pd.to_datetime(frame["sale_date"])
        return frame

    def write_listings(self, path: Path | str) -> None:
        """Write the listings as an office would deliver them: CSV, some values missing, some wrong.

        Rows stream to the file, which replaces an older one only when it is complete.

        Args:
            path: The CSV file; its folder is created.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, LISTING_COLUMNS, lineterminator="\n")
            writer.writeheader()
            for record in self.house_records():
                writer.writerows(self._listing_rows(record))
        partial.replace(path)

    def export_truth(self, folder: Path | str) -> None:
        """Write what only the town's maker knows: effects, shares and masks of the drivers.

        ``drivers.parquet`` holds the columns of :meth:`houses`, ``masks.parquet`` the masks
        of :meth:`driver_masks` as one-bit PNG (read them with `truth.read_masks`), and
        ``truth.json`` the settings.

        Args:
            folder: Where to write; created if absent.
        """
        settings = {
            "houses": self.house_count,
            "seed": self.seed,
            "trend": self.trend,
            "monthly_change": self.monthly_change,
            "turn_at": self.turn_at,
            "size": PICTURE_SIZE,
            "zoom": ZOOM,
        }
        write_truth(Path(folder), self._records_with_masks(), settings)

    def _listing_rows(self, record: dict[str, Any]) -> list[dict[str, str]]:
        row = {
            "id": record["id"],
            "date": record["sale_date"].isoformat(),
            "price": f"{record['price']:.0f}",
            "latitude": f"{record['latitude']:.{DEGREE_DIGITS}f}",
            "longitude": f"{record['longitude']:.{DEGREE_DIGITS}f}",
            "bedrooms": str(record["bedrooms"]),
            "bathrooms": f"{record['bathrooms']:g}",
            "area_m2": f"{record['area_m2']:.0f}",
        }
        return spoil(self.seed, row)
