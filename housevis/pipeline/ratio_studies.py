"""The ratio studies of a run: by tenths of the values, quarters, areas and kinds of houses."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pandas as pd

from housevis.core.config import Config
from housevis.core.errors import RunError, UsageError
from housevis.core.storage import new_file
from housevis.pipeline.project import Project
from housevis.pipeline.result_files import write_csv
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import SoldHouses, stored_estimates
from housevis.pricing.ratio_groups import ALL, ratio_groups
from housevis.runs import Run, find_run, read_parquet, write_parquet

RATIO_STUDIES: Final = "ratio_studies.parquet"
"""The table in a run's folder, see :func:`housevis.pricing.ratio_groups.ratio_groups`."""

_MOST_REPEATS: Final = 500
_SUFFIXES: Final = (".csv", ".parquet")


def studies_of(config: Config, sold: SoldHouses, judged: pd.DataFrame) -> pd.DataFrame:
    """Ratio studies of the later sales.

    Args:
        config: The configuration.
        sold: The sales.
        judged: The out-of-sample estimates of the sales, in their order.

    Raises:
        ConfigError: ``ratio_studies.area`` or ``kind`` is no attribute of the sales.
    """
    extra = [name for name in sold.sales.columns if name not in judged.columns]
    table = pd.concat([judged.reset_index(drop=True), sold.sales[extra].reset_index(drop=True)], axis=1)
    studies = ratio_groups(
        table[~sold.is_earlier],
        area=config.ratio_studies.area,
        kind=config.ratio_studies.kind,
        nominal=config.pricing.interval,
        repeats=min(config.pricing.bootstrap, _MOST_REPEATS),
        seed=config.seed,
    )
    studies.attrs["settings"] = config.ratio_studies.model_dump(mode="json")
    return studies


def keep_ratio_studies(
    config: Config, run: Run, sold: SoldHouses, judged: pd.DataFrame | None = None
) -> None:
    """Write the ratio studies into a run's folder, unless they are there for these settings.

    Args:
        config: The configuration.
        run: The run, whose sales are judged.
        sold: The sales.
        judged: Their out-of-sample estimates where they have just been made; None reads those of the run.
    """
    if judged is None:
        stored = read_ratio_studies(run)
        wanted = config.ratio_studies.model_dump(mode="json")
        if stored is not None and stored.attrs.get("settings") == wanted:
            return
        judged = stored_estimates(run, sold)
        if judged is None:
            return
    write_parquet(studies_of(config, sold, judged), run.folder / RATIO_STUDIES)


def read_ratio_studies(run: Run) -> pd.DataFrame | None:
    """The ratio studies of a run; None of a run that was evaluated before there were any.

    Raises:
        RunError: The file is damaged.
    """
    path = run.folder / RATIO_STUDIES
    return read_parquet(path) if path.is_file() else None


def export_ratio_studies(project: Project, out: Path) -> StepResult:
    """Write the ratio studies of the current run as CSV or Parquet.

    Args:
        project: An open project.
        out: The file; its name ends in ``.csv`` or ``.parquet``.

    Returns:
        Figures ``rows``, ``groups``, ``sales``, ``run_id``, ``file``.

    Raises:
        UsageError: The name is of another kind of file.
        RunError: There is no current run, or it has no ratio studies.
        StorageError: The file cannot be written.
    """
    started = time.perf_counter()
    if out.suffix.lower() not in _SUFFIXES or out.is_dir():
        raise UsageError(
            "ratio studies are written as CSV or Parquet",
            where=str(out),
            remedy="Give --out a name that ends in .csv or .parquet.",
        )
    run = find_run(project.workspace.folder.parent, project.config.name)
    studies = read_ratio_studies(run)
    if studies is None:
        raise RunError(
            "this run has no ratio studies", where=run.run_id, remedy="Run `housevis evaluate CONFIG` first."
        )
    if out.suffix.lower() == ".csv":
        write_csv(studies, out)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        with new_file(out) as stream:
            studies.to_parquet(stream, index=False)
    groups = len(studies[["by", "group"]].drop_duplicates())
    sales = int(studies.loc[studies["by"] == ALL, "sales"].iloc[0])
    lines = [f"exported ratio studies of {groups:,} groups over {sales:,} later sales: {out}"]
    figures = {
        "rows": len(studies),
        "groups": groups,
        "sales": sales,
        "run_id": run.run_id,
        "file": str(out),
    }
    return StepResult("export", lines, figures, time.perf_counter() - started)
