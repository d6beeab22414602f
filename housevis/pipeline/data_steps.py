"""The ETL steps, as the pipeline shows them."""

from __future__ import annotations

from dataclasses import asdict

from data_pipeline import steps
from data_pipeline.ingest_text import describe_preview, mapping_line, remarks
from data_pipeline.plan import plan_tiles as tile_plan
from db.filled import typical_sale
from db.removal_store import unfinished_removals
from housevis.core.config import Config
from housevis.core.errors import ConfigError
from housevis.pipeline.picture_steps import for_pictures
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.pricing.attributes import check_attributes, encode


def ingest(project: Project) -> StepResult:
    """Read and validate the listings; see :func:`data_pipeline.steps.ingest`.

    Raises:
        ConfigError: ``pricing.attributes`` names what the listings do not have.
        ListingsError: The file cannot be read, or no row of it can be kept.
    """
    found = steps.ingest(project.config, project.workspace, project.engine, project.runner)
    encode(typical_sale(project.engine), project.config.pricing.attributes)
    rejected = sum(found.rejected.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.rejected.items()))
    lines = [mapping_line(found.column_mapping, found.column_sources)] if found.column_mapping else []
    lines += [
        f"listings: {found.rows:,} rows in, {found.sales:,} sales of {found.houses:,} houses kept, "
        f"{rejected:,} rejected" + (f" ({reasons})" if reasons else ""),
        *remarks(found),
    ]
    if stopped := unfinished_removals(project.engine):
        lines.append(
            f"the removal of {', '.join(stopped)} was stopped; "
            "finish it with `housevis remove CONFIG HOUSE_ID`"
        )
    try:
        check_stored_attributes(project)
    except ConfigError as problem:
        lines.append(f"before `housevis train CONFIG`: {problem}")
    return StepResult("ingest", lines, asdict(found), found.seconds, found.skipped)


def preview_ingest(config: Config) -> StepResult:
    """Say what `ingest` would understand, keep and reject; nothing is stored.

    Raises:
        ListingsError: The listings cannot be read.
        ConfigError: A setting of the listings is wrong.
    """
    listings, found = steps.preview(config)
    return StepResult("ingest", describe_preview(listings, found), asdict(found))


def check_stored_attributes(project: Project) -> None:
    """Refuse attributes of the configuration that no stored sale has a value of.

    Raises:
        ConfigError: There is such an attribute, or an unknown one.
    """
    check_attributes(typical_sale(project.engine), project.config.pricing.attributes)


@for_pictures("tiles")
def tiles(project: Project, *, refresh: bool = False, retry_failed: bool = False) -> StepResult:
    """Fetch the tiles that the houses need; see :func:`data_pipeline.steps.tiles`."""
    found = steps.tiles(
        project.config,
        project.workspace,
        project.engine,
        project.runner,
        refresh=refresh,
        retry_failed=retry_failed,
    )
    lines = [
        f"{found.unit}: {found.needed:,} needed, {found.fetched:,} fetched now; in the archive "
        f"{found.ok:,} ok, {found.blank:,} blank, {found.missing:,} missing, {found.failed:,} failed"
    ]
    if refresh:
        lines.append(
            f"asked again: {found.unchanged:,} unchanged, {found.changed:,} changed, "
            f"{found.kept:,} without an answer that could replace the picture, which is kept"
        )
    if found.errors:
        causes = sorted(found.errors.items(), key=lambda item: -item[1])
        lines.append(f"failed: {', '.join(f'{count:,} x {cause}' for cause, count in causes)}")
    if found.without:
        lines.append(f"houses without a picture: {', '.join(found.without)}" + _and_more(found))
    return StepResult("tiles", lines, asdict(found), found.seconds, found.skipped)


def _and_more(found: steps.TilesReport) -> str:
    more = found.needed - found.ok - len(found.without)
    return f" and {more:,} more" if more else ""


@for_pictures("tiles")
def plan_tiles(project: Project) -> StepResult:
    """Say what the `tiles` step would take: tiles, bytes, time and money; nothing is fetched.

    Raises:
        ListingsError: There are no houses yet.
        ConfigError: The configuration of the imagery cannot be used.
    """
    plan = tile_plan(project.config, project.workspace, project.engine)
    return StepResult("tiles", plan.lines(), asdict(plan))
