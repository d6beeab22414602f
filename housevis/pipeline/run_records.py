"""The runs of a configuration: listed, compared, and which of them its name stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from housevis.core.config import Config
from housevis.core.errors import RunError, UsageError
from housevis.core.storage import explained_disk_errors, sole_writer
from housevis.core.workspace import Workspace
from housevis.pipeline.results import StepResult, percent, points
from housevis.pricing import metrics
from housevis.runs import METRICS, Run, current_run_id, list_runs, promote, read_parquet, restore

FINISHED: Final = "evaluate"
"""The step after which a run can serve new houses."""

_FINGERPRINT_LETTERS = 8
_UNKNOWN = "–"


def runs(
    config: Config,
    runs_folder: Path,
    *,
    compare: tuple[str, str] | None = None,
    promoted: str | None = None,
    restored: bool = False,
) -> StepResult:
    """List the runs of a configuration, compare two, or change which one its name stands for.

    Args:
        config: The configuration; its name is the folder of the runs.
        runs_folder: The folder that holds ``<name>/`` for every configuration.
        compare: Ids of two runs to compare, or the start of each.
        promoted: Id of the run that `estimate`, `explain --run`, `export` and
            `serve` are to use from now on.
        restored: Go back to the run that was used before.

    Returns:
        Figures ``runs`` (a table row each), the differences of
        :func:`compare_runs`, or ``run_id`` of the run used from now on.

    Raises:
        UsageError: More than one of these is asked for.
        RunError: There is no such run, it cannot be used, or there is none
            to go back to.
    """
    if (compare is not None) + (promoted is not None) + restored > 1:
        raise UsageError(
            "--compare, --promote and --restore exclude each other",
            where="housevis runs",
            remedy="Give one of them.",
        )
    workspace = Workspace(runs_folder / config.name)
    known = list_runs(workspace)
    if compare is not None:
        first, second = (_found(known, name, workspace) for name in compare)
        return compare_runs(first, second)
    if promoted is None and not restored:
        return _listed(workspace, known)
    if not workspace.folder.is_dir():
        raise _no_run(promoted or config.name, known, workspace)
    with explained_disk_errors(workspace.folder), sole_writer(workspace.folder):
        if promoted is None:
            run = restore(workspace)
        else:
            run = _found(known, promoted, workspace)
            _check_finished(run)
            promote(workspace, run)
    line = f"{config.name} stands for run {run.run_id} now"
    return StepResult("runs", [line], {"run_id": run.run_id})


def run_row(run: Run, *, current: bool) -> dict[str, Any]:
    """What a list of runs says of one; None where a run has no such figure.

    Returns:
        ``run_id``, ``created_at``, ``state``, ``share`` within ±10 % of the
        later sales with ``share_low`` and ``share_high``, ``mdape``, ``gain``
        of the pictures, ``sales_fingerprint`` (its start) and ``version``.
    """
    row: dict[str, Any] = dict.fromkeys(("share", "share_low", "share_high", "mdape", "gain"))
    if (run.folder / METRICS).is_file():
        figures = run.metrics()
        headline, study = figures["headline"], figures["ratio_study"]
        row["gain"] = headline["gain"]
        for name, value in _interval(study.get("pe10")).items():
            row[f"share{name}"] = value
        row["mdape"] = _interval(study.get("mdape"))[""]
    record = run.record
    return {
        "run_id": run.run_id,
        "created_at": str(record.get("created_at", "")),
        "state": _state(run, current),
        **row,
        "sales_fingerprint": str(record.get("sales_fingerprint", ""))[:_FINGERPRINT_LETTERS],
        "version": str(dict(record.get("versions", {})).get("housevis", "")),
    }


def compare_runs(first: Run, second: Run) -> StepResult:
    """Say in what two runs differ, and which comes nearer where both judged the same sales.

    Returns:
        Figures ``settings`` (key -> the two values), ``data`` (name -> the two
        values) and ``paired``: ``sales``, ``share`` and ``mdape`` of each, and
        ``difference`` of the shares within ±10 %, second less first, with its
        paired interval; None where no later sale was judged by both.
    """
    settings = _differences(first.record["config"], second.record["config"])
    data = _differences(_data_of(first), _data_of(second))
    paired = _paired(first, second)
    lines = [f"A: run {first.run_id}", f"B: run {second.run_id}"]
    for title, differences in (("settings", settings), ("data and code", data)):
        lines.append(f"{title}: {'they differ in' if differences else 'the same'}")
        lines += [f"  {name}: {a} -> {b}" for name, (a, b) in differences.items()]
    lines += _paired_lines(paired)
    figures = {"settings": settings, "data": data, "paired": paired}
    return StepResult("runs", lines, figures)


def _listed(workspace: Workspace, known: list[Run]) -> StepResult:
    if not known:
        return StepResult("runs", ["there is no run yet: `housevis run CONFIG` makes one"], {"runs": []})
    current = current_run_id(workspace)
    rows = [run_row(run, current=run.run_id == current) for run in known]
    table: list[tuple[str, ...]] = [
        ("run", "made", "state", "within ±10 %", "MdAPE", "gain of pictures", "sales", "version")
    ]
    table += [_cells(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    ]
    return StepResult("runs", lines, {"runs": rows})


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    share = _UNKNOWN
    if row["share"] is not None:
        share = f"{percent(row['share'])} ({percent(row['share_low'])} to {percent(row['share_high'])})"
    return (
        row["run_id"],
        row["created_at"][:16].replace("T", " "),
        row["state"],
        share,
        _UNKNOWN if row["mdape"] is None else percent(row["mdape"]),
        _UNKNOWN if row["gain"] is None else points(row["gain"]),
        row["sales_fingerprint"],
        row["version"],
    )


def _state(run: Run, current: bool) -> str:
    if run.withdrawn:
        return "withdrawn: a house was removed"
    if run.stopped_by is not None:
        return f"stopped: {run.stopped_by}"
    steps = run.steps()
    if FINISHED in steps:
        return "current" if current else "finished"
    return f"unfinished, after {list(steps)[-1]}" if steps else "unfinished"


def _interval(figure: Mapping[str, float] | None) -> dict[str, float | None]:
    if figure is None:
        return {"": None, "_low": None, "_high": None}
    return {"": figure["estimate"], "_low": figure["low"], "_high": figure["high"]}


def _found(known: list[Run], name: str, workspace: Workspace) -> Run:
    """The run of this id, or the only one whose id starts or ends so."""
    exact = [run for run in known if run.run_id == name]
    alike = exact or [run for run in known if run.run_id.startswith(name) or run.run_id.endswith(name)]
    if len(alike) == 1:
        return alike[0]
    raise _no_run(name, alike or known, workspace)


def _no_run(name: str, known: list[Run], workspace: Workspace) -> RunError:
    ids = ", ".join(run.run_id for run in known)
    return RunError(
        f"no run, or more than one, is called {name!r}",
        where=str(workspace.folder),
        remedy=f"Take one of: {ids}." if ids else "Make one with `housevis run CONFIG`.",
    )


def _check_finished(run: Run) -> None:
    if FINISHED not in run.steps():
        raise RunError(
            f"the run {run.run_id!r} is not finished, so it cannot serve",
            where=str(run.folder),
            remedy="Finish it with `housevis run CONFIG`.",
        )


def _data_of(run: Run) -> dict[str, Any]:
    record = run.record
    backbone = record["backbone"] or {}
    split = run.steps().get("train", {}).get("figures", {})
    return {
        "fingerprint of the sales": record.get("sales_fingerprint"),
        "sales": split.get("sales"),
        "later sales": split.get("later_sales"),
        "first day of the later sales": record.get("cutoff"),
        "backbone": backbone.get("fingerprint"),
        **{f"version of {name}": version for name, version in dict(record.get("versions", {})).items()},
    }


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    a, b = dict(_flat(first)), dict(_flat(second))
    return {
        name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)
    }


def _flat(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _paired(first: Run, second: Run) -> dict[str, Any] | None:
    """Figures over the later sales that both judged at the same price."""
    if not (first.estimates.is_file() and second.estimates.is_file()):
        return None
    both = _later(first).merge(_later(second), on=["sale_id", "price"], suffixes=("_a", "_b"))
    if both.empty:
        return None
    price = both["price"].to_numpy(dtype=np.float64)
    a, b = (both[f"estimate_{side}"].to_numpy(dtype=np.float64) for side in ("a", "b"))
    pricing = second.record["config"].get("pricing", {})
    difference = metrics.paired_bootstrap_difference(
        metrics.hit(a, price),
        metrics.hit(b, price),
        int(pricing.get("bootstrap", 2000)),
        int(second.record["config"].get("seed", 1)),
    )
    return {
        "sales": len(both),
        "share": [float(metrics.pe(a, price)), float(metrics.pe(b, price))],
        "mdape": [float(metrics.mdape(a, price)), float(metrics.mdape(b, price))],
        "difference": difference.to_dict(),
    }


def _later(run: Run) -> pd.DataFrame:
    judged = read_parquet(run.estimates)
    return judged.loc[judged["sample"] == "later sale", ["sale_id", "price", "estimate"]]


def _paired_lines(paired: dict[str, Any] | None) -> list[str]:
    if paired is None:
        return ["no later sale was judged by both, so their figures are not comparable"]
    difference = paired["difference"]
    return [
        f"{paired['sales']:,} later sales judged by both:",
        f"  within ±10 %: A {percent(paired['share'][0])}, B {percent(paired['share'][1])}; "
        f"B - A {points(difference['estimate'])}, "
        f"95 % interval {points(difference['low'])} to {points(difference['high'])}",
        f"  MdAPE: A {percent(paired['mdape'][0])}, B {percent(paired['mdape'][1])}",
    ]
