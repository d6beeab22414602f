"""The ETL as named steps over a database; each can be run again and does only what is left."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import FetchReport, fetch_tiles, unsettled_tiles
from data_pipeline.frames import tiles_needed
from data_pipeline.listings import Listings, read_listings
from data_pipeline.providers import Provider, check_rights, find_provider
from data_pipeline.tile_server import TileServer
from db.store import finish_step, finished_step, forget_tiles, read_houses, replace_listings
from housevis.core.config import Config, ImagerySection, ListingsSection, LocalServerSection
from housevis.core.engine import ShardRunner
from housevis.core.errors import ConfigError, ImageryError, ListingsError
from housevis.core.storage import write_file
from housevis.core.workspace import Workspace

_LISTINGS_RULES = "listings 1"
"""Part of the fingerprint of `ingest`; changes with the rules of validation."""


@dataclass(frozen=True)
class IngestReport:
    """What `ingest` did.

    Attributes:
        rows: Data rows in the file, ``sales + sum(rejected.values())``.
        houses: Houses stored.
        sales: Sales stored.
        rejected: Rejected rows by reason code.
        unreadable: Optional values that were no numbers, by column.
        column_mapping: Our name -> the file's name of each column.
        seconds: Wall-clock time, the making of the town's listings included.
        skipped: The same file with the same settings was stored before.
    """

    rows: int
    houses: int
    sales: int
    rejected: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    column_mapping: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: bool = False


@dataclass(frozen=True)
class TilesReport:
    """What `tiles` did.

    Attributes:
        needed: Distinct tiles behind all pictures.
        fetched: Tiles that got an answer this time.
        ok: Tiles with imagery; with `blank`, `missing` and `failed` they add
            up to `needed`.
        seconds: Wall-clock time of fetching.
        skipped: There was nothing left to fetch.
        provider: Name of the provider record.
        attribution: Credit of the imagery.
        rights_reference: The licence that opened the rights gate, if one was needed.
        errors: Failed tiles by cause.
    """

    needed: int
    fetched: int
    ok: int
    blank: int
    missing: int
    failed: int
    seconds: float
    skipped: bool
    provider: str = ""
    attribution: str = ""
    rights_reference: str | None = None
    errors: dict[str, int] = field(default_factory=dict)


def ingest(
    config: Config, workspace: Workspace, engine: Engine, runner: ShardRunner | None = None
) -> IngestReport:
    """Read, validate and store the listings; the town's are made first if it is configured.

    Raises:
        ListingsError: The file cannot be read, or no row of it can be kept.
            What was stored stays.
        DatabaseError: The database refuses.
    """
    started = time.perf_counter()
    if config.sample_market is not None:
        _write_sample_market(config, workspace)
    section = listings_section(config, workspace)
    fingerprint = _listings_fingerprint(section)
    stored = finished_step(engine, "ingest", fingerprint)
    if stored is not None:
        return IngestReport(**{**stored, "skipped": True})
    listings = read_listings(section)
    if listings.sales.empty:
        raise _nothing_kept(listings, section)
    replace_listings(engine, listings.houses, listings.sales, listings.rejects)
    report = IngestReport(
        rows=listings.rows,
        houses=len(listings.houses),
        sales=len(listings.sales),
        rejected=listings.reasons,
        unreadable=listings.unreadable,
        column_mapping=listings.column_mapping,
        seconds=round(time.perf_counter() - started, 2),
    )
    finish_step(engine, "ingest", fingerprint, asdict(report))
    return report


def tiles(
    config: Config, workspace: Workspace, engine: Engine, runner: ShardRunner | None = None
) -> TilesReport:
    """Fetch the tiles behind the houses' pictures into the archive of the workspace.

    Tiles that failed are counted and asked for again the next time. Where the
    source of the imagery changed, the old archive is put aside under the name
    of its provider.

    Raises:
        RightsError: The imagery's terms do not allow it, and no licence is recorded.
        ImageryError: The server cannot be reached, or not one tile could be fetched.
        ListingsError: There are no houses yet.
    """
    imagery = imagery_section(config)
    provider = find_provider(imagery)
    reference = check_rights(provider, imagery.rights_reference)
    houses = read_houses(engine)
    if houses.empty:
        raise ListingsError("there are no houses yet", remedy="Run the ingest step first.")
    needed = tiles_needed(houses, imagery, config.vision.image_size)
    identity = _source_identity(config, imagery, provider)
    _put_other_source_aside(workspace, engine, identity)
    metadata = _archive_metadata(imagery, provider, identity, reference)
    with TileArchive.create(workspace.archive, metadata) as archive:
        report = FetchReport(needed=len(needed), rights_reference=reference)
        skipped = not unsettled_tiles(needed, provider, archive, engine, report)
        if not skipped:
            with _tile_address(config, imagery, provider) as at_address:
                report = fetch_tiles(
                    needed,
                    at_address,
                    archive,
                    engine,
                    connections=imagery.connections or provider.connections,
                    requests_per_second=imagery.requests_per_second,
                    rights_reference=reference,
                )
        result = TilesReport(
            needed=report.needed,
            fetched=report.fetched,
            ok=report.ok,
            blank=report.blank,
            missing=report.missing,
            failed=report.failed,
            seconds=report.seconds,
            skipped=skipped,
            provider=provider.name,
            attribution=archive.attribution,
            rights_reference=reference,
            errors=report.errors,
        )
    if result.failed and result.failed == result.needed:
        raise ImageryError(
            f"not one of {result.needed} tiles could be fetched ({', '.join(sorted(result.errors))})",
            where=provider.address or provider.name,
            remedy="Check that the server runs and that the address is right, then run the command again.",
        )
    if not skipped and not result.failed:
        finish_step(engine, "tiles", identity, asdict(result))
    return result


def listings_section(config: Config, workspace: Workspace) -> ListingsSection:
    """The section that describes the listings: the town's own where it is configured."""
    if config.sample_market is None:
        return config.listings
    path = workspace.sample_market / "listings.csv"
    return ListingsSection(path=path, area_unit="m2", currency=config.listings.currency)


def imagery_section(config: Config) -> ImagerySection:
    """The section that describes the imagery: the town's own where it is configured and nothing else is.

    Raises:
        ConfigError: The local server lacks its file or its town.
    """
    imagery = config.imagery
    unset = imagery.local_server is None and imagery.url is None and imagery.provider is None
    if config.sample_market is not None and unset:
        imagery = imagery.model_copy(update={"local_server": LocalServerSection(source="sample-market")})
    local = imagery.local_server
    if local is not None and local.source == "sample-market" and config.sample_market is None:
        raise ConfigError(
            "the local server is to show the sample market, and there is none",
            where="imagery.local_server",
            remedy="Add a [sample_market] section.",
        )
    if local is not None and local.source == "mbtiles" and local.path is None:
        raise ConfigError(
            "the local server needs its MBTiles file",
            where="imagery.local_server.path",
            remedy='Set path = "tiles.mbtiles".',
        )
    return imagery


def _nothing_kept(listings: Listings, section: ListingsSection) -> ListingsError:
    if not listings.rows:
        return ListingsError(
            "the listings have no rows", where=str(section.path), remedy="Export them again."
        )
    reason, count = max(listings.reasons.items(), key=lambda item: item[1])
    first = listings.rejects[listings.rejects["reason"] == reason].iloc[0]
    remedy = (
        'Set listings.date_format, for example "%d/%m/%Y".'
        if reason == "invalid_date"
        else "Check listings.columns."
    )
    return ListingsError(
        f"none of {listings.rows} rows can be kept; {count} of them: {reason} ({first['detail']})",
        where=f"{section.path}, line {first['row']}",
        remedy=f"{remedy} What was stored before stays.",
    )


def _write_sample_market(config: Config, workspace: Workspace) -> None:
    from data_pipeline.sample_market import SampleMarket

    assert config.sample_market is not None
    folder = workspace.sample_market
    settings = config.sample_market.model_dump_json()
    record = folder / "settings.json"
    listings = folder / "listings.csv"
    if listings.is_file() and record.is_file() and record.read_text(encoding="utf-8") == settings:
        return
    record.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    market = SampleMarket(**config.sample_market.model_dump())
    market.write_listings(listings)
    market.export_truth(folder)
    write_file(record, settings)


def _listings_fingerprint(section: ListingsSection) -> str:
    digest = hashlib.sha256(_LISTINGS_RULES.encode())
    digest.update(section.model_dump_json(exclude={"path"}).encode())
    if section.path is not None:
        path = Path(section.path)
        digest.update(path.name.encode())
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _source_identity(config: Config, imagery: ImagerySection, provider: Provider) -> str:
    """A fingerprint of where tiles come from; it holds no key."""
    local = imagery.local_server
    source: dict[str, Any] = {"provider": provider.name, "zoom": imagery.zoom}
    if local is None:
        source["address"] = provider.address
    elif local.source == "sample-market" and config.sample_market is not None:
        source["sample_market"] = config.sample_market.model_dump(mode="json", exclude={"trend"})
    else:
        source["file"] = str(local.path)
    return hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()


def _put_other_source_aside(workspace: Workspace, engine: Engine, identity: str) -> None:
    if not workspace.archive.is_file():
        forget_tiles(engine)
        return
    with TileArchive(workspace.archive) as archive:
        other = archive.metadata.get("housevis_source")
    if other in (identity, None):
        return
    aside = workspace.archive.with_name(f"{workspace.archive.stem}-{str(other)[:12]}.mbtiles")
    workspace.archive.replace(aside)
    forget_tiles(engine)


def _archive_metadata(
    imagery: ImagerySection, provider: Provider, identity: str, reference: str | None
) -> dict[str, str]:
    attribution = provider.attribution
    local = imagery.local_server
    if not attribution and local is not None and local.path is not None:
        with TileArchive(local.path) as source:
            attribution = source.attribution
    return {
        "name": f"housevis tiles, {provider.name}",
        "type": "baselayer",
        "version": "1",
        "attribution": attribution,
        "housevis_provider": provider.name,
        "housevis_source": identity,
        "housevis_rights_reference": reference or "",
    }


@contextmanager
def _tile_address(config: Config, imagery: ImagerySection, provider: Provider) -> Iterator[Provider]:
    """The provider with an address that answers: its own, or that of a server started here."""
    local = imagery.local_server
    if local is None:
        yield provider
        return
    with ExitStack() as stack:
        if local.source == "mbtiles" and local.path is not None:
            server = stack.enter_context(TileServer(stack.enter_context(TileArchive(local.path))))
        else:
            from data_pipeline.sample_market import SampleMarket

            assert config.sample_market is not None
            market = SampleMarket(**config.sample_market.model_dump())
            server = stack.enter_context(TileServer(market.source()))
        yield replace(provider, url=server.url)
