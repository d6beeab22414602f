"""What steps and runs leave in the database: finished steps, estimates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from sqlalchemy import Engine, delete, func, select
from sqlalchemy import insert as insert_into

from db.bulk import batches, floats, in_byte_order, insert, read_frame, texts
from db.models import Base, Estimate, Step
from db.session import read_transaction, write_transaction

_ESTIMATE_COLUMNS = (
    ("run_id", texts),
    ("sale_id", texts),
    ("model_id", texts),
    ("estimate", floats),
    ("low", floats),
    ("high", floats),
)


def finished_step(engine: Engine, name: str, fingerprint: str) -> dict[str, Any] | None:
    """The figures of a step that finished on exactly this input, else None."""
    statement = select(Step.figures).where(Step.name == name, Step.fingerprint == fingerprint)
    with read_transaction(engine) as connection:
        return connection.scalar(statement)


def last_step(engine: Engine, name: str) -> dict[str, Any] | None:
    """The figures of a step's last finish, whatever its input was, else None."""
    with read_transaction(engine) as connection:
        return connection.scalar(select(Step.figures).where(Step.name == name))


def finish_step(engine: Engine, name: str, fingerprint: str, figures: Mapping[str, Any]) -> None:
    """Record that a step finished on this input, with its figures (JSON values)."""
    row = {
        "name": name,
        "fingerprint": fingerprint,
        "finished_at": datetime.now(UTC),
        "figures": dict(figures),
    }
    with write_transaction(engine) as connection:
        connection.execute(delete(Step).where(Step.name == name))
        connection.execute(insert_into(Step).values(row))


def save_estimates(engine: Engine, run_id: str, frame: pd.DataFrame) -> None:
    """Replace the estimates of a run: `sale_id`, `model_id`, `estimate`, `low`, `high`."""
    rows = frame[["sale_id", "model_id", "estimate", "low", "high"]].assign(run_id=run_id)
    with write_transaction(engine) as connection:
        connection.execute(delete(Estimate).where(Estimate.run_id == run_id))
        names = [name for name, _ in _ESTIMATE_COLUMNS]
        insert(connection, "estimates", names, batches(rows, _ESTIMATE_COLUMNS))


def read_estimates(engine: Engine, run_id: str) -> pd.DataFrame:
    """The estimates of a run by sale: `sale_id`, `model_id`, `estimate`, `low`, `high`."""
    statement = select(
        Estimate.sale_id, Estimate.model_id, Estimate.estimate, Estimate.low, Estimate.high
    ).where(Estimate.run_id == run_id)
    kinds = {
        **dict.fromkeys(("sale_id", "model_id"), "str"),
        **dict.fromkeys(("estimate", "low", "high"), "float64"),
    }
    with read_transaction(engine) as connection:
        ordered = statement.order_by(in_byte_order(Estimate.sale_id, engine.dialect.name))
        return read_frame(connection, ordered, kinds)


def count_rows(engine: Engine) -> dict[str, int]:
    """Rows per table name."""
    with read_transaction(engine) as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }
