"""The ETL steps, as the pipeline shows them."""

from __future__ import annotations

from dataclasses import asdict

from data_pipeline import steps
from data_pipeline.frames import tiles_needed
from db.store import read_houses, read_sales
from housevis.core.errors import RunError
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.pricing.attributes import encode


def ingest(project: Project) -> StepResult:
    """Read and validate the listings; see :func:`data_pipeline.steps.ingest`.

    Raises:
        ConfigError: ``pricing.attributes`` names what the listings do not have.
        ListingsError: The file cannot be read, or no row of it can be kept.
    """
    found = steps.ingest(project.config, project.workspace, project.engine, project.runner)
    encode(read_sales(project.engine).head(1), project.config.pricing.attributes)
    rejected = sum(found.rejected.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.rejected.items()))
    lines = [
        f"listings: {found.rows:,} rows in, {found.sales:,} sales of {found.houses:,} houses kept, "
        f"{rejected:,} rejected" + (f" ({reasons})" if reasons else "")
    ]
    return StepResult("ingest", lines, asdict(found), found.seconds, found.skipped)


def tiles(project: Project) -> StepResult:
    """Fetch the tiles that the houses need; see :func:`data_pipeline.steps.tiles`."""
    found = steps.tiles(project.config, project.workspace, project.engine, project.runner)
    lines = [
        f"tiles: {found.needed:,} needed, {found.fetched:,} fetched now; in the archive {found.ok:,} ok, "
        f"{found.blank:,} blank, {found.missing:,} missing, {found.failed:,} failed"
    ]
    return StepResult("tiles", lines, asdict(found), found.seconds, found.skipped)


def plan_tiles(project: Project) -> StepResult:
    """Say how many tiles the houses need; nothing is fetched.

    Raises:
        RunError: There are no houses yet.
    """
    houses = read_houses(project.engine)
    if houses.empty:
        raise RunError("the database holds no houses", remedy="Run `housevis ingest CONFIG` first.")
    imagery = project.config.imagery
    needed = len(tiles_needed(houses, imagery, project.config.vision.image_size))
    return StepResult(
        "tiles",
        [f"tiles: {needed:,} distinct tiles of zoom {imagery.zoom} for {len(houses):,} houses"],
        {"needed": needed},
    )
