"""The ETL as named steps over a database; each can be run again and does only what is left."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

from data_pipeline.geocoding import open_geocoder
from data_pipeline.listings import Listings, read_listings
from data_pipeline.tile_step import TilesReport, imagery_section, tiles
from db.store import finish_step, finished_step, removed_houses, replace_listings
from housevis.core.config import Config
from housevis.core.config_sections import ListingsSection
from housevis.core.engine import ShardRunner
from housevis.core.errors import ListingsError
from housevis.core.storage import write_file
from housevis.core.workspace import Workspace

__all__ = ["IngestReport", "TilesReport", "imagery_section", "ingest", "listings_section", "tiles"]

_LISTINGS_RULES = "listings 3"
"""Part of the fingerprint of `ingest`; changes with the rules of validation."""

_REMEDIES = {
    "invalid_date": 'Set listings.date_format, for example "%d/%m/%Y".',
    "invalid_price": "Check listings.columns.price and listings.decimal.",
    "impossible_coordinate": "Check listings.columns and listings.crs.",
    "outside_area": "Check listings.bounds: west, south, east, north in degrees.",
    "not_arms_length": "Check listings.arms_length and listings.minimum_price.",
}


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
        column_sources: Our name -> ``configured`` or ``guessed``.
        outliers: Flagged sales by reason; one sale may have several.
        flagged: Sales with a flag.
        resales: Sales of a house that had sold before.
        notes: How values were understood, as sentences.
        warnings: What looks wrong, as sentences.
        seconds: Wall-clock time, the making of the town's listings included.
        skipped: The same file with the same settings was stored before.
    """

    rows: int
    houses: int
    sales: int
    rejected: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    column_mapping: dict[str, str] = field(default_factory=dict)
    column_sources: dict[str, str] = field(default_factory=dict)
    outliers: dict[str, int] = field(default_factory=dict)
    flagged: int = 0
    resales: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: bool = False


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
    removed = removed_houses(engine)
    fingerprint = _listings_fingerprint(section, removed)
    stored = finished_step(engine, "ingest", fingerprint) if section.query is None else None
    if stored is not None:
        return IngestReport(**{**stored, "skipped": True})
    geocode = open_geocoder(section, workspace.folder) if section.geocoder is not None else None
    listings = read_listings(section, runner=runner, removed=removed, geocode=geocode)
    if listings.sales.empty:
        raise _nothing_kept(listings, section)
    replace_listings(engine, listings.houses, listings.sales, listings.rejects)
    report = report_of(listings, seconds=round(time.perf_counter() - started, 2))
    finish_step(engine, "ingest", fingerprint, asdict(report))
    return report


def preview(config: Config) -> tuple[Listings, IngestReport]:
    """Read and judge the listings as `ingest` would, and store nothing.

    Raises:
        ListingsError: The source cannot be read.
        ConfigError: A setting is wrong.
    """
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        if config.sample_market is not None:
            _write_sample_market(config, workspace)
        listings = read_listings(listings_section(config, workspace))
    return listings, report_of(listings)


def report_of(listings: Listings, *, seconds: float = 0.0) -> IngestReport:
    """The counts of listings that were read."""
    return IngestReport(
        rows=listings.rows,
        houses=len(listings.houses),
        sales=len(listings.sales),
        rejected=listings.reasons,
        unreadable=listings.unreadable,
        column_mapping=listings.mapping.names,
        column_sources=listings.mapping.sources,
        outliers=listings.outliers,
        flagged=int((listings.sales["outlier_reasons"].str.len() > 0).sum()),
        resales=int(listings.sales["previous_sale_id"].notna().sum()),
        notes=listings.notes,
        warnings=listings.warnings,
        seconds=seconds,
    )


def listings_section(config: Config, workspace: Workspace) -> ListingsSection:
    """The section that describes the listings: the town's own where it is configured."""
    if config.sample_market is None:
        return config.listings
    path = workspace.sample_market / "listings.csv"
    return ListingsSection(path=path, area_unit="m2", currency=config.listings.currency)


def _nothing_kept(listings: Listings, section: ListingsSection) -> ListingsError:
    source = str(section.path) if section.query is None else "listings.query"
    if not listings.rows:
        return ListingsError("the listings have no rows", where=source, remedy="Export them again.")
    reason, count = max(listings.reasons.items(), key=lambda item: item[1])
    first = listings.rejects[listings.rejects["reason"] == reason].iloc[0]
    remedy = _REMEDIES.get(reason, "Check listings.columns.")
    return ListingsError(
        f"none of {listings.rows} rows can be kept; {count} of them: {reason} ({first['detail']})",
        where=f"{source}, line {first['row']}",
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


def _listings_fingerprint(section: ListingsSection, removed: set[str]) -> str:
    digest = hashlib.sha256(_LISTINGS_RULES.encode())
    digest.update(section.model_dump_json(exclude={"path"}).encode())
    digest.update(json.dumps(sorted(removed)).encode() if removed else b"")
    if section.path is not None:
        path = Path(section.path)
        digest.update(path.name.encode())
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
