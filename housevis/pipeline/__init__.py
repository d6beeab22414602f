"""The steps from listings to map and report, over a database and a run's folder.

Each step is a Python call with the name of its command: it takes an open
project (:func:`housevis.pipeline.project.open_project`) and returns a
:class:`housevis.pipeline.results.StepResult`. Names load on first use, so that
a mistake in a configuration is told before networks are imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from housevis.pipeline.archive_steps import archive_export, archive_import, verify_tiles
    from housevis.pipeline.data_steps import ingest, plan_tiles, preview_ingest, tiles
    from housevis.pipeline.embedding import embed
    from housevis.pipeline.evaluating import evaluate
    from housevis.pipeline.explaining import explain
    from housevis.pipeline.exporting import export
    from housevis.pipeline.finetuning import finetune
    from housevis.pipeline.gallery_page import gallery
    from housevis.pipeline.house_pages import house_report
    from housevis.pipeline.new_houses import estimate, explain_listings
    from housevis.pipeline.pages import atlas
    from housevis.pipeline.publishing import publish
    from housevis.pipeline.ratio_studies import export_ratio_studies
    from housevis.pipeline.removal import plan_removal, remove
    from housevis.pipeline.report_page import report
    from housevis.pipeline.run_records import runs
    from housevis.pipeline.running import run
    from housevis.pipeline.serving import serve
    from housevis.pipeline.training import train
    from housevis.pipeline.validating import validate

_MODULES = {
    "archive_export": "archive_steps",
    "archive_import": "archive_steps",
    "atlas": "pages",
    "embed": "embedding",
    "estimate": "new_houses",
    "evaluate": "evaluating",
    "explain": "explaining",
    "explain_listings": "new_houses",
    "export": "exporting",
    "export_ratio_studies": "ratio_studies",
    "export_report_tables": "report_page",
    "finetune": "finetuning",
    "gallery": "gallery_page",
    "house_report": "house_pages",
    "ingest": "data_steps",
    "plan_tiles": "data_steps",
    "plan_removal": "removal",
    "preview_ingest": "data_steps",
    "publish": "publishing",
    "remove": "removal",
    "report": "report_page",
    "run": "running",
    "runs": "run_records",
    "serve": "serving",
    "tiles": "data_steps",
    "train": "training",
    "validate": "validating",
    "verify_tiles": "archive_steps",
}

__all__ = [
    "archive_export",
    "archive_import",
    "atlas",
    "embed",
    "estimate",
    "evaluate",
    "explain",
    "explain_listings",
    "export",
    "export_ratio_studies",
    "export_report_tables",
    "finetune",
    "gallery",
    "house_report",
    "ingest",
    "plan_removal",
    "plan_tiles",
    "preview_ingest",
    "publish",
    "remove",
    "report",
    "run",
    "runs",
    "serve",
    "tiles",
    "train",
    "validate",
    "verify_tiles",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
