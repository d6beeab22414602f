"""What bringing in the imagery would take, in tiles, bytes, time and money; nothing is fetched."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, func, select

from data_pipeline.addresses import OWN_KEY_VARIABLE
from data_pipeline.archive import TileArchive
from data_pipeline.frames import tile_keys_needed
from data_pipeline.provider_records import USUAL_BYTES, Provider
from data_pipeline.providers import check_rights, check_zoom
from data_pipeline.sources.picture_folder import PictureFolder
from data_pipeline.supply import Supply, find_supply
from data_pipeline.tile_step import imagery_section
from data_pipeline.tiles import pack
from data_pipeline.wmts import capabilities_file, with_layer
from db.models import Tile
from db.store import read_houses
from housevis.core.config import Config
from housevis.core.errors import ListingsError, RightsError
from housevis.core.workspace import Workspace

_SETTLED = ("ok", "blank", "missing")
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class ZoomPlan:
    """The tiles of one zoom.

    Attributes:
        zoom: The zoom.
        needed: Distinct tiles behind all pictures.
        there: How many of them need not be asked for again.
    """

    zoom: int
    needed: int
    there: int


@dataclass(frozen=True)
class TilePlan:
    """What the `tiles` step would do.

    Attributes:
        houses: Houses in the database.
        unit: ``tiles``, or ``pictures`` where the imagery is a folder of them.
        zooms: What is needed, zoom by zoom; empty for pictures.
        needed: Tiles or pictures in all.
        there: How many of them are there already.
        bytes_each: Mean size.
        bytes_known_from: Where that is known from.
        allowed_rate: Requests per second that the record allows, None for no limit.
        rate: Requests per second of the configuration.
        cost: Price of the requests, None where none is known.
        currency: Of the cost.
        disk_free: Bytes free where the archive lies.
        provider: The record.
        rights: Whether the imagery may be used, in words.
        may_be_used: Whether the rights gate is open.
        key: What is to be said of the access key, empty where none is needed.
        notes: What else there is to know.
    """

    houses: int
    unit: str
    zooms: list[ZoomPlan]
    needed: int
    there: int
    bytes_each: int
    bytes_known_from: str
    allowed_rate: float | None
    rate: float | None
    cost: float | None
    currency: str
    disk_free: int
    provider: str
    rights: str
    may_be_used: bool
    key: str
    notes: list[str]

    @property
    def waiting(self) -> int:
        """Tiles or pictures that are still to be brought in."""
        return self.needed - self.there

    @property
    def bytes_waiting(self) -> int:
        """Bytes that they are likely to take."""
        return self.waiting * self.bytes_each

    def seconds_at(self, rate: float | None) -> float | None:
        """Time that the requests take at a rate; None where there is no limit."""
        return None if rate is None else self.waiting / rate

    def lines(self) -> list[str]:
        """The plan in words."""
        found = [f"plan for {self.houses:,} houses with imagery of {self.provider}; nothing is fetched"]
        found += [
            f"zoom {one.zoom}: {one.needed:,} distinct tiles, {one.there:,} of them there already"
            for one in self.zooms
        ]
        if not self.zooms:
            found.append(f"{self.needed:,} pictures for {self.houses:,} houses, {self.there:,} there already")
        size, each, free = (_bytes(n) for n in (self.bytes_waiting, self.bytes_each, self.disk_free))
        found.append(
            f"to bring in: {self.waiting:,} {self.unit}, about {size} "
            f"({each} each, {self.bytes_known_from}); {free} free on the disk"
        )
        found += self._times()
        if self.cost is not None:
            found.append(f"cost: about {self.cost:,.2f} {self.currency} at the price of the record")
        found.append(f"rights: {self.rights}")
        return found + ([self.key] if self.key else []) + self.notes

    def _times(self) -> list[str]:
        found = []
        for rate, whose in ((self.allowed_rate, "record allows"), (self.rate, "configuration asks for")):
            seconds = self.seconds_at(rate)
            if seconds is not None and not (whose.startswith("conf") and rate == self.allowed_rate):
                found.append(
                    f"time: about {_time(seconds)} at the {rate:g} requests a second that the {whose}"
                )
        return found


def plan_tiles(config: Config, workspace: Workspace, engine: Engine) -> TilePlan:
    """Say what the `tiles` step would do.

    Raises:
        ListingsError: There are no houses yet.
        ConfigError: The configuration of the imagery cannot be used.
        ImageryError: Imagery on this machine is not there or cannot be read.
    """
    houses = read_houses(engine)
    if houses.empty:
        raise ListingsError("there are no houses yet", remedy="Run `housevis ingest CONFIG` first.")
    supply = find_supply(imagery_section(config), town=config.sample_market)
    provider, notes = _described(supply, workspace)
    same_source = _is_of(workspace.archive, supply.identity)
    zooms: list[ZoomPlan] = []
    if supply.has_pictures:
        needed, there, each, known_from = _pictures(
            supply, houses["house_id"].astype(str).tolist(), workspace
        )
        if needed < len(houses):
            notes.append(f"{len(houses) - needed:,} houses have no picture in the folder")
    else:
        for zoom in supply.zooms:
            section = supply.section.model_copy(update={"zoom": zoom})
            keys = tile_keys_needed(houses[["latitude", "longitude"]], section, config.vision.image_size)
            settled = _settled_keys(engine, zoom) if same_source else np.empty(0, dtype=np.int64)
            zooms.append(ZoomPlan(zoom, len(keys), int(np.isin(keys, settled).sum())))
        needed, there = sum(one.needed for one in zooms), sum(one.there for one in zooms)
        each, known_from = _bytes_each(provider, engine if same_source else None)
    rights, may_be_used = _rights(supply)
    price = provider.price_per_thousand if supply.section.local_server is None else None
    plan = TilePlan(
        houses=len(houses),
        unit="pictures" if supply.has_pictures else "tiles",
        zooms=zooms,
        needed=needed,
        there=there,
        bytes_each=each,
        bytes_known_from=known_from,
        allowed_rate=provider.requests_per_second,
        rate=supply.section.requests_per_second or provider.requests_per_second,
        cost=None if price is None else round((needed - there) * price / 1000, 2),
        currency=provider.currency,
        disk_free=_disk_free(workspace.folder),
        provider=f"{provider.name} ({provider.region})" if provider.region else provider.name,
        rights=rights,
        may_be_used=may_be_used,
        key=_key(provider),
        notes=notes,
    )
    if plan.bytes_waiting > plan.disk_free:
        plan.notes.append("the disk is too small for that")
    if plan.rate is not None and plan.allowed_rate is not None and plan.rate > plan.allowed_rate:
        plan.notes.append("the configuration asks for more requests a second than the record allows")
    return plan


def _described(supply: Supply, workspace: Workspace) -> tuple[Provider, list[str]]:
    """The record, with what the WMTS says where its capabilities were read before."""
    provider = supply.provider
    if not provider.capabilities or provider.url:
        return provider, []
    if not capabilities_file(provider, workspace.folder).is_file():
        return provider, ["the WMTS has not been asked for its layers and zooms yet"]
    found = with_layer(provider, workspace.folder)
    for zoom in supply.zooms:
        check_zoom(found, zoom)
    return found, []


def _is_of(archive: Path, identity: str) -> bool:
    if not archive.is_file():
        return False
    with TileArchive(archive) as opened:
        return opened.metadata.get("housevis_source") == identity


def _settled_keys(engine: Engine, zoom: int) -> np.ndarray:
    """The tiles of a zoom that need not be asked for again, packed."""
    rows = select(Tile.x, Tile.y).where(Tile.zoom == zoom, Tile.status.in_(_SETTLED))
    parts = [np.empty(0, dtype=np.int64)]
    with engine.connect() as connection:
        for found in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(rows).partitions():
            pairs = np.array([tuple(row) for row in found], dtype=np.int64)
            parts.append(pack(pairs[:, 0], pairs[:, 1]))
    return np.concatenate(parts)


def _bytes_each(provider: Provider, engine: Engine | None) -> tuple[int, str]:
    if engine is not None:
        with engine.connect() as connection:
            stored, mean = connection.execute(
                select(func.count(), func.avg(Tile.bytes)).where(
                    Tile.status == "ok", Tile.provider == provider.name
                )
            ).one()
        if stored:
            return round(float(mean)), f"the mean of {stored:,} tiles that are there"
    if provider.bytes_per_tile is not None:
        larger = provider.tile_size == 512
        return provider.bytes_per_tile * (3 if larger else 1), "the record's usual size"
    return USUAL_BYTES, "a usual size, as nothing is known of this provider"


def _pictures(supply: Supply, house_ids: list[str], workspace: Workspace) -> tuple[int, int, int, str]:
    assert supply.source is not None
    folder = PictureFolder(supply.source.path, supply.section.metres_per_pixel)
    stored: dict[str, str] = {}
    if workspace.archive.is_file():
        with TileArchive(workspace.archive) as archive:
            stored = archive.house_pictures.stamps()
    sizes, there = [], 0
    for house_id in house_ids:
        file = folder.find(house_id)
        if file is not None:
            sizes.append(file.stat().st_size)
            there += stored.get(house_id) == folder.stamp(file)
    return len(sizes), there, round(sum(sizes) / max(len(sizes), 1)), "the mean of the folder's pictures"


def _rights(supply: Supply) -> tuple[str, bool]:
    provider = supply.provider
    try:
        reference = check_rights(provider, supply.reference)
    except RightsError as refusal:
        return f"not yet. {refusal}", False
    if reference is not None:
        return f"used by right of: {reference}", True
    return "open: " + ", ".join(filter(None, (provider.licence, provider.terms))), True


def _key(provider: Provider) -> str:
    if "{key}" not in provider.url + provider.capabilities:
        return ""
    variable = provider.key_variable or OWN_KEY_VARIABLE
    state = "is set" if os.environ.get(variable, "").strip() else "is not set yet"
    return f"key: needed to fetch; the environment variable {variable} {state}"


def _disk_free(folder: Path) -> int:
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _time(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"
