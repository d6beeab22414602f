"""A project: one configuration, its folder and its open database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from db.markets import claim_market
from db.session import open_database
from housevis.core.config import Config
from housevis.core.engine import LocalRunner, ShardRunner, open_runner
from housevis.core.storage import explained_disk_errors, sole_writer
from housevis.core.workspace import Workspace


@dataclass(frozen=True)
class Project:
    """What every step works on.

    Attributes:
        config: The configuration.
        workspace: The folder ``runs/<name>/``.
        engine: The open database.
        runner: Who works on shards of a step.
    """

    config: Config
    workspace: Workspace
    engine: Engine
    runner: ShardRunner = field(default_factory=LocalRunner)


@contextmanager
def open_project(config: Config, runs_folder: Path, *, reads_only: bool = False) -> Iterator[Project]:
    """Open the database of a configuration and close it afterwards.

    Args:
        config: The configuration.
        runs_folder: The folder that holds ``<name>/`` for every configuration.
        reads_only: The block writes nothing, so another process may write.

    Raises:
        DatabaseError: The database cannot be opened, or holds another market.
        StorageError: The folder cannot be made, another command is writing
            to it, or a step finds the disk full.
    """
    workspace = Workspace(runs_folder / config.name)
    with explained_disk_errors(workspace.folder), ExitStack() as stack:
        workspace.folder.mkdir(parents=True, exist_ok=True)
        if not reads_only:
            stack.enter_context(sole_writer(workspace.folder))
        engine = open_database(config.database or workspace.database)
        try:
            claim_market(engine, config.name)
            with open_runner(config) as runner:
                yield Project(config, workspace, engine, runner)
        finally:
            engine.dispose()


def fingerprint(**parts: Any) -> str:
    """Hex SHA-256 over named parts that can be written as JSON."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def frame_digest(frame: pd.DataFrame) -> str:
    """Hex SHA-256 over the content of a data frame, its row order included."""
    text_columns = {
        name: frame[name].astype(str)
        for name in frame.columns
        if not pd.api.types.is_numeric_dtype(frame[name])
    }
    hashes = pd.util.hash_pandas_object(frame.assign(**text_columns), index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes() + "|".join(frame.columns).encode()).hexdigest()
