"""Where a project's imagery comes from, ready to be used: record, rights, address, files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mercantile
import pandas as pd
from sqlalchemy import Engine

from data_pipeline.archive import NATIVE_ZOOM_ENTRY, TILE_SIZE_ENTRY, TileArchive
from data_pipeline.fetch import FetchReport, fetch_tiles, unsettled_tiles
from data_pipeline.frames import tiles_needed
from data_pipeline.providers import (
    PROVIDERS,
    UNKNOWN,
    Provider,
    as_files,
    check_rights,
    check_zoom,
    find_provider,
)
from data_pipeline.sources.kinds import Source, local_source
from data_pipeline.tile_server import TileServer
from data_pipeline.wmts import with_layer
from housevis.core.config_sections import ImagerySection, SampleMarketSection
from housevis.core.engine import ShardRunner

RIGHTS_ENTRY = "housevis_rights_reference"


@dataclass(frozen=True)
class Supply:
    """Imagery that may be used.

    Attributes:
        section: The ``[imagery]`` section.
        provider: The record it is used under.
        source: The files, where it lies on this machine.
        reference: The licence that opened the rights gate, if one was needed.
        attribution: Credit for the imagery.
        facts: Further metadata that the files tell.
        town: The sample market, where its tiles are used.
    """

    section: ImagerySection
    provider: Provider
    source: Source | None
    reference: str | None
    attribution: str
    facts: dict[str, str] = field(default_factory=dict)
    town: SampleMarketSection | None = None

    @property
    def zooms(self) -> list[int]:
        """All zooms whose tiles are wanted, the one of the pictures first."""
        return list(dict.fromkeys([self.section.zoom, *self.section.further_zooms]))

    @property
    def has_pictures(self) -> bool:
        """Whether the imagery is a picture of each house and no tiles."""
        return self.source is not None and self.source.kind == "pictures"

    @property
    def identity(self) -> str:
        """A fingerprint of where the imagery comes from; it holds no key."""
        local = self.section.local_server
        origin: dict[str, Any] = {"provider": self.provider.name, "zoom": self.section.zoom}
        if self.source is not None:
            origin |= {"source": str(self.source.path), "files": self.source.size_and_time()}
            origin["pixels"] = self.source.pixels
        elif local is None:
            origin["address"] = self.provider.address
        elif local.source == "sample-market" and self.town is not None:
            prices_alone = {"trend", "monthly_change", "turn_at"}
            origin["sample_market"] = self.town.model_dump(mode="json", exclude=prices_alone)
        else:
            origin["file"] = str(local.path)
        if self.provider.pixel_ratio != 1:
            origin["pixel_ratio"] = self.provider.pixel_ratio
        if self.provider.layer:
            origin["layer"] = self.provider.layer
        return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()

    def metadata(self) -> dict[str, str]:
        """What the archive is to say of its tiles."""
        provider = self.provider
        entries = {
            "name": f"housevis tiles, {provider.name}",
            "type": "baselayer",
            "version": "1",
            "attribution": self.attribution,
            "housevis_provider": provider.name,
            "housevis_source": self.identity,
            RIGHTS_ENTRY: self.reference or "",
        }
        if self.section.local_server is None and self.source is None:
            entries[TILE_SIZE_ENTRY] = str(provider.tile_size)
        if provider.zoom_native is not None:
            entries[NATIVE_ZOOM_ENTRY] = str(provider.zoom_native)
        return entries | self.facts

    def needed(self, houses: pd.DataFrame, size: int) -> Iterator[list[mercantile.Tile]]:
        """The tiles behind the houses' pictures, zoom by zoom."""
        for zoom in self.zooms:
            yield tiles_needed(houses, self.section.model_copy(update={"zoom": zoom}), size)


def open_supply(
    section: ImagerySection,
    *,
    cache: Path | None = None,
    town: SampleMarketSection | None = None,
) -> Supply:
    """Find the imagery that a configuration means, and pass the rights gate.

    Args:
        section: The ``[imagery]`` section.
        cache: Folder where WMTS capabilities are kept.
        town: The sample market, where there is one.

    Raises:
        ConfigError: The section cannot be used.
        RightsError: The imagery's terms do not allow it, and no licence is recorded.
        ImageryError: The files, or the WMTS, cannot be read.
    """
    supply = find_supply(section, town=town)
    reference = check_rights(supply.provider, supply.reference)
    provider = with_layer(supply.provider, cache)
    for zoom in supply.zooms:
        check_zoom(provider, zoom)
    return replace(supply, provider=provider, reference=reference)


def find_supply(section: ImagerySection, *, town: SampleMarketSection | None = None) -> Supply:
    """As :func:`open_supply`, but nothing is asked over the network and the rights gate is not passed.

    `reference` is then the licence that would be shown at the gate.
    """
    provider, source = find_provider(section), local_source(section)
    credit, named, facts = _told_by(source or _served_file(section))
    reference = section.rights_reference
    if source is not None and provider.name == UNKNOWN:
        reference = reference or facts.get(RIGHTS_ENTRY)
        if named in PROVIDERS:
            provider = as_files(PROVIDERS[named])
            if section.attribution:
                provider = replace(provider, attribution=section.attribution)
        elif named != UNKNOWN and reference:
            provider = replace(provider, name=named)
    facts.pop(RIGHTS_ENTRY, None)
    return Supply(section, provider, source, reference, provider.attribution or credit, facts, town)


def fill_archive(
    supply: Supply,
    needed: Sequence[list[mercantile.Tile]],
    archive: TileArchive,
    engine: Engine,
    runner: ShardRunner | None = None,
    *,
    refresh: bool = False,
    retry_failed: bool = False,
) -> FetchReport:
    """Fetch or copy tiles into an archive; those that are settled already are left alone.

    Args:
        supply: Where they come from.
        needed: The tiles, zoom by zoom.
        archive: Where they go.
        engine: The database with the manifest.
        runner: Who works on shards.
        refresh: Ask a server again for tiles that are there, on the
            condition that they changed.
        retry_failed: Ask only for tiles that failed before.

    Returns:
        Counts over all of them.

    Raises:
        ImageryError: The server cannot be reached, or the files cannot be read.
    """
    total = FetchReport(rights_reference=supply.reference)
    with ExitStack() as stack:
        at_address: Provider | None = None
        for tiles in needed:
            if supply.source is not None:
                from data_pipeline.sources.copying import copy_tiles

                total.add(copy_tiles(tiles, supply.source, supply.provider, archive, engine, runner))
                continue
            settled = FetchReport(needed=len(tiles))
            if not unsettled_tiles(tiles, supply.provider, archive, engine, settled) and not refresh:
                report = settled
            else:
                at_address = at_address or stack.enter_context(_address(supply))
                report = fetch_tiles(
                    tiles,
                    at_address,
                    archive,
                    engine,
                    connections=supply.section.connections or at_address.connections,
                    requests_per_second=supply.section.requests_per_second,
                    rights_reference=supply.reference,
                    refresh=refresh,
                    retry_failed=retry_failed,
                    runner=runner if supply.section.local_server is None else None,
                )
            total.add(report)
    return total


def _served_file(section: ImagerySection) -> Source | None:
    local = section.local_server
    if local is None or local.source != "mbtiles" or local.path is None:
        return None
    return Source("mbtiles", local.path)


def _told_by(source: Source | None) -> tuple[str, str, dict[str, str]]:
    """What files say of themselves: credit, name of their provider, metadata to keep."""
    if source is None or source.kind == "pictures":
        return "", UNKNOWN, {}
    opened = source.open()
    try:
        facts = {TILE_SIZE_ENTRY: str(opened.tile_size)}
        if opened.native_zoom is not None:
            facts[NATIVE_ZOOM_ENTRY] = str(opened.native_zoom)
        told: dict[str, Any] = getattr(opened, "metadata", {})
        facts |= {
            name: str(value)
            for name, value in told.items()
            if name in (RIGHTS_ENTRY, "housevis_made_of", "housevis_value_range") and value
        }
        return opened.attribution, opened.provider, facts
    finally:
        opened.close()


@contextmanager
def _address(supply: Supply) -> Iterator[Provider]:
    """The provider with an address that answers: its own, or that of a server started here."""
    local = supply.section.local_server
    if local is None:
        yield supply.provider
        return
    with ExitStack() as stack:
        if local.source == "mbtiles" and local.path is not None:
            server = stack.enter_context(TileServer(stack.enter_context(TileArchive(local.path))))
        else:
            from data_pipeline.sample_market import SampleMarket

            assert supply.town is not None
            market = SampleMarket(**supply.town.model_dump())
            server = stack.enter_context(TileServer(market.source()))
        yield replace(supply.provider, url=server.url)
