"""The ETL as named steps over a database; each can be run again and does only what is left."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from data_pipeline.listings import Listings, read_listings
from data_pipeline.tile_step import TilesReport, imagery_section, tiles
from db.store import finish_step, finished_step, replace_listings
from housevis.core.config import Config, ListingsSection
from housevis.core.engine import ShardRunner
from housevis.core.errors import ListingsError
from housevis.core.storage import write_file
from housevis.core.workspace import Workspace

__all__ = ["IngestReport", "TilesReport", "imagery_section", "ingest", "listings_section", "tiles"]

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


def listings_section(config: Config, workspace: Workspace) -> ListingsSection:
    """The section that describes the listings: the town's own where it is configured."""
    if config.sample_market is None:
        return config.listings
    path = workspace.sample_market / "listings.csv"
    return ListingsSection(path=path, area_unit="m2", currency=config.listings.currency)


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
