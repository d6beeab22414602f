"""`housevis publish`: a run's pages as a folder for a static host."""

from __future__ import annotations

from pathlib import Path

from data_pipeline.archive import TileArchive
from housevis.core.workspace import Workspace
from housevis.pipeline.results import StepResult
from housevis.runs import Run, find_run_with_map
from housevis.views.site import write_site


def publish(runs_folder: Path, run_name: str, out: Path) -> StepResult:
    """Write a run's map, house pages and report as a folder that any static host can serve.

    Args:
        runs_folder: Where the runs lie.
        run_name: The run's name or id.
        out: The folder to write; a site that is there already is replaced as a whole.

    Returns:
        Figures ``files`` and ``bytes``.

    Raises:
        RunError: There is no such run, or its map is not built.
        UsageError: `out` holds something else than such a site.
        StorageError: A file of the map is damaged, or the disk refuses.
    """
    run = find_run_with_map(runs_folder, run_name)
    written = write_site(run.folder, run.run_id, out)
    lines = [
        f"site of run {run.run_id}: {out}, {written.files:,} files, {written.bytes / 1e6:,.0f} MB",
        "It shows every sold house with its price and estimate to whoever can open it.",
        *_imagery_lines(run),
    ]
    return StepResult("publish", lines, {"files": written.files, "bytes": written.bytes})


def _imagery_lines(run: Run) -> list[str]:
    """Whose imagery is published, and by what right."""
    config = run.config()
    archive = Workspace(run.folder.parent).archive
    if not config.uses_pictures or not archive.is_file():
        return []
    with TileArchive(archive) as opened:
        credit = f"It holds imagery: {opened.attribution}."
    if config.imagery.rights_reference:
        return [
            f"{credit} It was stored under your own licence ({config.imagery.rights_reference}); whether "
            "that covers showing it to others is for you to check."
        ]
    return [f"{credit} Keep the credit on the pages."]
