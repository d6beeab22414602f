"""What `ingest` and its preview say, as lines for a reader."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from data_pipeline.listings import Listings
from data_pipeline.steps import IngestReport

_SHOWN_ROWS = 5
_SHOWN_COLUMNS = 30
_SHOWN_REJECTS = 3


def mapping_line(names: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Which column is which of ours, in one line: ``price = SALE_PRC (guessed)``."""
    return "columns: " + "; ".join(
        f"{ours} = {name} ({sources.get(ours, 'guessed')})" for ours, name in names.items()
    )


def remarks(report: IngestReport) -> list[str]:
    """How values were understood, what was flagged, and what looks wrong."""
    lines = ["understood: " + "; ".join(report.notes)] if report.notes else []
    if report.unreadable:
        counts = ", ".join(f"{count:,} in {name}" for name, count in sorted(report.unreadable.items()))
        lines.append(f"unreadable values, counted as missing: {counts}")
    if report.resales:
        lines.append(f"resales: {report.resales:,} sales follow an earlier sale of the same house")
    if report.flagged:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(report.outliers.items()))
        lines.append(f"outliers: {report.flagged:,} sales are flagged and kept ({counts})")
    return lines + [f"warning: {warning}" for warning in report.warnings]


def describe_ingest(report: IngestReport) -> str:
    """The counts of `ingest`, as lines for a reader."""
    rejected = sum(report.rejected.values())
    lines = [mapping_line(report.column_mapping, report.column_sources)] if report.column_mapping else []
    lines.append(
        f"ingest: {report.rows} rows = {report.sales} sales + {rejected} rejected, {report.houses} houses"
        + (" (unchanged)" if report.skipped else "")
    )
    lines += [f"  rejected {reason}: {count}" for reason, count in sorted(report.rejected.items())]
    return "\n".join(lines + [f"  {line}" for line in remarks(report)])


def describe_preview(listings: Listings, report: IngestReport) -> list[str]:
    """All that is to be known before listings are stored."""
    mapping = listings.mapping
    width = max((len(ours) for ours in mapping.names), default=0)
    file_width = max((len(name) for name in mapping.names.values()), default=0)
    lines = ["columns:"]
    lines += [
        f"  {ours:<{width}}  {name:<{file_width}}  {mapping.sources[ours]}"
        for ours, name in mapping.names.items()
    ]
    if mapping.people:
        lines.append(f"never read, as they name people: {', '.join(mapping.people)}")
    if mapping.unused:
        more = len(mapping.unused) - _SHOWN_COLUMNS
        shown = ", ".join(mapping.unused[:_SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"not read: {shown}; numeric ones can be named in listings.extra_attributes")
    lines += ["", "first rows as understood:", *_first_rows(listings.sales), ""]
    rejected = sum(report.rejected.values())
    lines.append(
        f"{report.rows:,} rows = {report.sales:,} sales of {report.houses:,} houses that would be kept "
        f"+ {rejected:,} that would be rejected"
    )
    for reason, count in sorted(report.rejected.items()):
        lines.append(f"  {reason}: {count:,}")
        some = listings.rejects[listings.rejects["reason"] == reason].head(_SHOWN_REJECTS)
        for line, detail in zip(some["row"].tolist(), some["detail"].tolist(), strict=True):
            lines.append(f"    line {line}: {detail}" if detail else f"    line {line}")
    return [*lines, *remarks(report), "nothing was stored"]


def _first_rows(sales: pd.DataFrame) -> list[str]:
    if sales.empty:
        return ["  none"]
    hidden = ["sale_id", "previous_sale_id", "outlier_reasons", "outlier_rules"]
    shown = sales.head(_SHOWN_ROWS).drop(columns=hidden)
    shown = shown.assign(sale_date=shown["sale_date"].dt.strftime("%Y-%m-%d"))
    shown = shown.loc[:, shown.notna().any()]
    text = shown.T.to_string(header=False, na_rep="missing", float_format=lambda value: f"{value:.10g}")
    return [f"  {line.rstrip()}" for line in text.splitlines()]
