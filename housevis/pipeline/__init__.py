"""The steps from listings to map and report, over a database and a run's folder.

Each step is a Python call with the name of its command: it takes an open
project (:func:`housevis.pipeline.project.open_project`) and returns a
:class:`housevis.pipeline.results.StepResult`.
"""

from __future__ import annotations

from housevis.pipeline.data_steps import ingest, plan_tiles, tiles
from housevis.pipeline.embedding import embed
from housevis.pipeline.evaluating import evaluate
from housevis.pipeline.explaining import explain
from housevis.pipeline.new_houses import estimate, explain_listings
from housevis.pipeline.pages import atlas, report, serve
from housevis.pipeline.running import run
from housevis.pipeline.training import train

__all__ = [
    "atlas",
    "embed",
    "estimate",
    "evaluate",
    "explain",
    "explain_listings",
    "ingest",
    "plan_tiles",
    "report",
    "run",
    "serve",
    "tiles",
    "train",
]
