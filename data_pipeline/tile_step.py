"""The `tiles` step: the imagery behind all houses, in the archive of the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import Engine

from data_pipeline.archive import TileArchive
from data_pipeline.fetch import FetchReport
from data_pipeline.sources.picture_folder import PictureFolder
from data_pipeline.supply import Supply, fill_archive, open_supply
from db.store import finish_step, forget_tiles, read_houses
from housevis.core.config import Config
from housevis.core.config_sections import ImagerySection, LocalServerSection
from housevis.core.engine import ShardRunner
from housevis.core.errors import ConfigError, ImageryError, ListingsError
from housevis.core.workspace import Workspace


@dataclass(frozen=True)
class TilesReport:
    """What `tiles` did.

    Attributes:
        needed: Distinct tiles behind all pictures; pictures, where the
            imagery is a folder of them.
        fetched: Tiles that got an answer this time.
        ok: Tiles with imagery; with `blank`, `missing` and `failed` they add
            up to `needed`.
        seconds: Wall-clock time of fetching.
        skipped: There was nothing left to fetch.
        provider: Name of the provider record.
        attribution: Credit of the imagery.
        rights_reference: The licence that opened the rights gate, if one was needed.
        errors: Failed tiles by cause.
        unit: What is counted, ``tiles`` or ``pictures``.
        without: The first few houses that have no picture, where pictures are counted.
        unchanged: Tiles that were asked for again and are the same.
        changed: Tiles that were asked for again and have another picture now.
        kept: Tiles that were asked for again in vain; the earlier picture is kept.
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
    unit: str = "tiles"
    without: list[str] = field(default_factory=list)
    unchanged: int = 0
    changed: int = 0
    kept: int = 0


def tiles(
    config: Config,
    workspace: Workspace,
    engine: Engine,
    runner: ShardRunner | None = None,
    *,
    refresh: bool = False,
    retry_failed: bool = False,
) -> TilesReport:
    """Bring the imagery behind the houses' pictures into the archive of the workspace.

    Tiles that failed are counted and asked for again the next time. Where the
    source of the imagery changed, the old archive is put aside under the name
    of its provider.

    Args:
        config: The configuration.
        workspace: Where the archive is.
        engine: The database with the houses and the manifest.
        runner: Who works on shards.
        refresh: Ask the server again for tiles that are there, on the
            condition that they changed.
        retry_failed: Ask only for tiles that failed before.

    Raises:
        RightsError: The imagery's terms do not allow it, and no licence is recorded.
        ImageryError: The server cannot be reached, the files cannot be read,
            or not one tile could be fetched.
        ListingsError: There are no houses yet.
    """
    supply = open_supply(imagery_section(config), cache=workspace.folder, town=config.sample_market)
    houses = read_houses(engine)
    if houses.empty:
        raise ListingsError("there are no houses yet", remedy="Run the ingest step first.")
    identity = supply.identity
    _put_other_source_aside(workspace, engine, identity)
    with TileArchive.create(workspace.archive, supply.metadata()) as archive:
        if supply.has_pictures:
            result = _copy_pictures(supply, houses["house_id"].astype(str).tolist(), archive)
        else:
            needed = list(supply.needed(houses, config.vision.image_size))
            report = fill_archive(
                supply, needed, archive, engine, runner, refresh=refresh, retry_failed=retry_failed
            )
            result = _result(supply, report, skipped=not report.fetched and not report.failed)
    if result.failed and result.failed == result.needed:
        raise ImageryError(
            f"not one of {result.needed} {result.unit} could be fetched ({', '.join(sorted(result.errors))})",
            where=supply.provider.address or supply.provider.name,
            remedy="Check that the server runs and that the address is right, then run the command again.",
        )
    if not result.skipped and not result.failed:
        finish_step(engine, "tiles", identity, asdict(result))
    return result


def imagery_section(config: Config) -> ImagerySection:
    """The section that describes the imagery: the town's own where it is configured and nothing else is.

    Raises:
        ConfigError: The local server lacks its file or its town.
    """
    imagery = config.imagery
    ways = (imagery.local_server, imagery.url, imagery.wmts, imagery.source, imagery.provider, imagery.record)
    if config.sample_market is not None and all(way is None for way in ways):
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


def _copy_pictures(supply: Supply, house_ids: list[str], archive: TileArchive) -> TilesReport:
    from data_pipeline.sources.copying import copy_pictures

    assert supply.source is not None
    folder = PictureFolder(supply.source.path, supply.section.metres_per_pixel)
    report, without = copy_pictures(house_ids, folder, archive)
    if not report.ok:
        raise ImageryError(
            f"not one of {len(house_ids)} houses has a picture in the folder",
            where=str(supply.source.path),
            remedy="Name each picture by the house's id in the listings, for example 4217.jpg.",
        )
    return _result(supply, report, skipped=not report.fetched, unit="pictures", without=without)


def _result(
    supply: Supply,
    report: FetchReport,
    *,
    skipped: bool,
    unit: str = "tiles",
    without: Sequence[str] = (),
) -> TilesReport:
    return TilesReport(
        needed=report.needed,
        fetched=report.fetched,
        ok=report.ok,
        blank=report.blank,
        missing=report.missing,
        failed=report.failed,
        seconds=report.seconds,
        skipped=skipped,
        provider=supply.provider.name,
        attribution=supply.attribution,
        rights_reference=supply.reference,
        errors=report.errors,
        unit=unit,
        without=list(without),
        unchanged=report.unchanged,
        changed=report.changed,
        kept=report.kept,
    )


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
