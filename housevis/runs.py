"""The registry of runs: one folder per trained model, with a record of how it was made."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pydantic import ValidationError

from housevis.core.config import Config
from housevis.core.errors import RunError
from housevis.core.storage import new_file, write_file
from housevis.core.workspace import Workspace

RECORD = "run.json"
STEPS = "steps.json"
METRICS = "metrics.json"
LEAKAGE = "leakage.json"
"""The leakage checks of a run and their results."""
HOUSE_REPORTS = "houses"
"""Folder of the reports of single houses."""
REMOVED = "removed.json"
"""Marks a run that was fitted with houses that have been removed since."""

_PACKAGES = ("housevis", "torch", "torchvision", "openvino", "lightgbm", "faiss-cpu", "numpy", "pandas")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON; the file appears whole or not at all."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet; the file appears whole or not at all."""
    with new_file(path) as stream:
        table.to_parquet(stream, index=False)


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            "this file of the run is missing", where=str(path), remedy="Run `housevis run CONFIG` again."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise _damaged(path) from None


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table of a run.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise RunError(
            "this file of the run is missing", where=str(path), remedy="Run `housevis run CONFIG` again."
        ) from None
    except (pyarrow.ArrowException, ValueError):
        raise _damaged(path) from None


def _damaged(path: Path) -> RunError:
    return RunError(
        "this file of the run is damaged",
        where=str(path),
        remedy="Delete the run's folder and run `housevis run CONFIG` again.",
    )


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide a run's figures."""
    return {name: metadata.version(name) for name in _PACKAGES}


@dataclass(frozen=True)
class Run:
    """One run: its folder and its record.

    Attributes:
        folder: ``runs/<name>/<run id>/``.
        record: What ``run.json`` holds: run id, name, fingerprint, the
            configuration, backbone, versions and data fingerprints.
    """

    folder: Path
    record: Mapping[str, Any]

    @property
    def run_id(self) -> str:
        """The run's id: the time of its creation and the start of its fingerprint."""
        return str(self.record["run_id"])

    @property
    def withdrawn(self) -> bool:
        """Whether it was fitted with a house that has been removed since: it may not be promoted."""
        return (self.folder / REMOVED).is_file()

    @property
    def stopped_by(self) -> str | None:
        """Name of the leakage check that stopped it; None where none did."""
        file = self.folder / LEAKAGE
        checks = read_json(file)["checks"] if file.is_file() else []
        return next((str(check["name"]) for check in checks if check["result"] == "stopped"), None)

    @property
    def evaluation(self) -> Path:
        """Models fitted on the earlier sales and on folds, used for sold houses."""
        return self.folder / "evaluation"

    @property
    def serving(self) -> Path:
        """The model fitted on all sales, used for unsold and new houses."""
        return self.folder / "serving"

    @property
    def maps(self) -> Path:
        """The attention maps of sold houses."""
        return self.folder / "evaluation" / "maps"

    @property
    def estimates(self) -> Path:
        """Out-of-sample estimates of sold houses, as Parquet."""
        return self.folder / "evaluation" / "estimates.parquet"

    @property
    def atlas(self) -> Path:
        """The folder of the map."""
        return self.folder / "atlas"

    @property
    def report(self) -> Path:
        """The report of price drivers."""
        return self.folder / "report.html"

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run in a folder.

        Raises:
            RunError: Its record is missing or damaged.
        """
        record = read_json(folder / RECORD)
        if not isinstance(record, dict) or not {"run_id", "fingerprint", "config", "backbone"} <= set(record):
            raise _damaged(folder / RECORD)
        return cls(folder, record)

    def config(self) -> Config:
        """The configuration that the run was made with, without its database.

        Raises:
            RunError: Another version of housevis made the run.
        """
        try:
            return Config.model_validate(self.record["config"])
        except ValidationError:
            made_by = dict(self.record.get("versions", {})).get("housevis", "unknown")
            raise RunError(
                f"this version of housevis does not know the run's settings (made with version {made_by})",
                where=str(self.folder / RECORD),
                remedy="Make the run anew with `housevis run CONFIG`.",
            ) from None

    def metrics(self) -> dict[str, Any]:
        """The figures that `evaluate` wrote.

        Raises:
            RunError: They are missing or damaged.
        """
        figures = read_json(self.folder / METRICS)
        if not isinstance(figures, dict) or not {"headline", "ratio_study"} <= set(figures):
            raise _damaged(self.folder / METRICS)
        return figures

    def steps(self) -> dict[str, dict[str, Any]]:
        """The finished steps of this run, by name."""
        path = self.folder / STEPS
        return dict(read_json(path)) if path.is_file() else {}

    def finish(self, step: str, seconds: float, figures: Mapping[str, Any]) -> None:
        """Record that `step` is finished."""
        steps = self.steps()
        steps[step] = {
            "seconds": round(seconds, 2),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "figures": dict(figures),
        }
        write_json(self.folder / STEPS, steps)


def open_or_create_run(workspace: Workspace, fingerprint: str, record: Mapping[str, Any]) -> Run:
    """Find the run with this fingerprint, or start it.

    Args:
        workspace: The folder of the configuration's runs.
        fingerprint: Hex SHA-256 over everything that decides the result.
        record: What to keep in ``run.json`` of a new run.
    """
    for run in list_runs(workspace):
        if run.record["fingerprint"] == fingerprint:
            return run
    created = datetime.now(UTC)
    run_id = f"{created:%Y%m%d-%H%M%S}-{fingerprint[:8]}"
    full = {
        "run_id": run_id,
        "fingerprint": fingerprint,
        "created_at": created.isoformat(timespec="seconds"),
        "versions": package_versions(),
        **record,
    }
    write_json(workspace.run(run_id) / RECORD, full)
    return Run(workspace.run(run_id), full)


def list_runs(workspace: Workspace) -> list[Run]:
    """All runs of one configuration, the oldest first."""
    records = sorted(workspace.folder.glob(f"*/{RECORD}"))
    return [Run.read(path.parent) for path in records]


def promote(workspace: Workspace, run: Run) -> None:
    """Make `run` the one that its name stands for.

    Raises:
        RunError: It was fitted with a house that has been removed since.
    """
    if run.withdrawn:
        raise _withdrawn(run.run_id, run.folder)
    before = current_run_id(workspace)
    if before is not None and before != run.run_id:
        write_json(workspace.promoted_before, [*_promoted_before(workspace), before])
    write_file(workspace.current, run.run_id + "\n")


def current_run_id(workspace: Workspace) -> str | None:
    """Id of the run that the configuration's name stands for; None where there is none."""
    return workspace.current.read_text(encoding="utf-8").strip() if workspace.current.is_file() else None


def restore(workspace: Workspace) -> Run:
    """Make the run current that was so before, and forget the one that is; runs that cannot be are skipped.

    Raises:
        RunError: There is none to go back to.
    """
    earlier = _promoted_before(workspace)
    current = current_run_id(workspace)
    usable = {run.run_id: run for run in list_runs(workspace) if not run.withdrawn}
    while earlier:
        run_id = earlier.pop()
        if run_id in usable and run_id != current:
            write_file(workspace.current, run_id + "\n")
            write_json(workspace.promoted_before, earlier)
            return usable[run_id]
    raise RunError(
        "there is no earlier run to go back to",
        where=str(workspace.folder),
        remedy="`housevis runs CONFIG` lists the runs; --promote ID chooses one.",
    )


def _promoted_before(workspace: Workspace) -> list[str]:
    file = workspace.promoted_before
    return [str(run_id) for run_id in read_json(file)] if file.is_file() else []


def withdraw(workspace: Workspace, run: Run, house_ids: Collection[str], removed_at: datetime) -> None:
    """Mark a run as fitted with houses that are removed; its name no longer stands for it.

    Args:
        workspace: The run's workspace.
        run: The run.
        house_ids: Houses that it was fitted with.
        removed_at: When they were removed.
    """
    record = run.folder / REMOVED
    marks = read_json(record) if record.is_file() else {}
    moment = removed_at.isoformat(timespec="seconds")
    write_json(record, marks | {house_id: moment for house_id in sorted(house_ids) if house_id not in marks})
    current = workspace.current
    if current.is_file() and current.read_text(encoding="utf-8").strip() == run.run_id:
        current.unlink()


def _withdrawn(name: str, folder: Path) -> RunError:
    return RunError(
        f"the run {name!r} was fitted with a house that has been removed since",
        where=str(folder),
        remedy="Fit a new one without it: `housevis run CONFIG`.",
    )


def find_run(runs_folder: Path, name_or_id: str) -> Run:
    """Find a run by its configuration's name (the promoted one) or by its id.

    Args:
        runs_folder: The folder that holds ``<name>/<run id>/``.
        name_or_id: A run's name or id.

    Raises:
        RunError: There is no such run (the message lists those that exist), or its record is damaged.
    """
    run_id = name_or_id
    current = runs_folder / name_or_id / "current"
    if current.is_file():
        run_id = current.read_text(encoding="utf-8").strip()
    for path in sorted(runs_folder.glob(f"*/*/{RECORD}")):
        if path.parent.name == run_id:
            return Run.read(path.parent)
    if any((runs_folder / name_or_id).glob(f"*/{REMOVED}")):
        raise _withdrawn(name_or_id, runs_folder / name_or_id)
    known = sorted({path.parent.name for path in runs_folder.glob("*/current")})
    raise RunError(
        f"there is no finished run {name_or_id!r}",
        where=str(runs_folder),
        remedy=f"Known names: {', '.join(known)}." if known else "Make one with `housevis run CONFIG`.",
    )


def find_run_with_map(runs_folder: Path, name_or_id: str) -> Run:
    """Find a run as :func:`find_run` does, whose map is built.

    Raises:
        RunError: As for :func:`find_run`, or its map is not built.
    """
    run = find_run(runs_folder, name_or_id)
    if not (run.atlas / "index.html").is_file():
        raise RunError(
            "the map of this run is not built", where=run.run_id, remedy="Run `housevis atlas CONFIG` first."
        )
    return run
