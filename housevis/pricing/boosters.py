"""LightGBM boosters: how they are fitted, applied, written and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray

import housevis
from housevis.core.config_sections import PricingSection
from housevis.core.errors import ModelError
from housevis.core.storage import write_file
from housevis.pricing.tree_shap import FEWEST_ROWS, MOST_FEATURES, contributions_of

Array = NDArray[np.float64]

OBJECTIVES: Final = {"squared": "regression", "absolute": "regression_l1", "fair": "fair"}
"""Our name of an objective -> LightGBM's."""

_ROWS_PER_THREAD: Final = 50_000
"""Threads wait for each other at every split: with fewer rows each, waiting costs more than it saves.

On a busy machine with two cores, 400 rounds on 10,000 sales took 0.7 s on one thread and 6 s on two.
"""


_FAIR_WIDTH: Final = 0.05
"""Fair's loss is squared well below this many log units and absolute well above."""


def threads_for(rows: int, num_threads: int) -> int:
    """Threads that a table of so many rows is worth, at most `num_threads`."""
    return min(num_threads, 1 + rows // _ROWS_PER_THREAD)


def fit_booster(
    section: PricingSection,
    table: Array,
    target: Array,
    seed: int,
    num_threads: int,
    *,
    random_splits: bool = False,
) -> lightgbm.Booster:
    """Fit one booster; the same input gives the same trees, whatever the threads.

    Args:
        section: Objective, rounds, learning rate, size of the trees, and what
            share of sales and features each is grown from.
        table: Features ``(n, F)``, NaN where missing.
        target: Targets ``(n,)``.
        seed: Seed of the boosting.
        num_threads: Threads to use at most; a small table is fitted on one.
        random_splits: Try one random threshold for each feature in place of
            all (Geurts, Ernst, Wehenkel, Extremely randomized trees, Machine
            Learning 2006): other errors than those of searched splits, so
            that the mean of both kinds is better than either.

    Returns:
        The fitted booster.
    """
    parameters = {
        "objective": OBJECTIVES[section.objective],
        "learning_rate": section.learning_rate,
        "num_leaves": section.leaves,
        "min_data_in_leaf": section.minimum_leaf,
        "feature_fraction": section.feature_fraction,
        "bagging_fraction": section.row_fraction,
        "bagging_freq": int(section.row_fraction < 1),
        "extra_trees": random_splits,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads_for(len(table), num_threads),
        "verbosity": -1,
    }
    if section.objective == "fair":
        parameters["fair_c"] = _FAIR_WIDTH
    data = lightgbm.Dataset(table, target, params=parameters)
    return lightgbm.train(parameters, data, num_boost_round=section.rounds)


def fit_boosters(
    section: PricingSection, table: Array, target: Array, seed: int, num_threads: int
) -> tuple[lightgbm.Booster, ...]:
    """Fit as many boosters as the section asks for, the first of the given seed, the next of the next."""
    return tuple(
        fit_booster(
            section, table, target, seed + number, num_threads, random_splits=number >= section.boosters
        )
        for number in range(section.boosters + section.random_boosters)
    )


def mean_prediction(boosters: Sequence[lightgbm.Booster], table: Array, num_threads: int) -> Array:
    """Mean prediction ``(n,)`` of boosters."""
    return np.asarray(np.mean([raw_prediction(one, table, num_threads) for one in boosters], axis=0))


def mean_contributions(boosters: Sequence[lightgbm.Booster], table: Array, num_threads: int) -> Array:
    """Exact TreeSHAP ``(n, F + 1)`` of the mean prediction: the mean of the boosters' own, the base last."""
    return np.asarray(np.mean([raw_contributions(one, table, num_threads) for one in boosters], axis=0))


def raw_prediction(booster: lightgbm.Booster, table: Array, num_threads: int) -> Array:
    """Predict ``(n,)`` targets from features ``(n, F)``."""
    if not len(table):
        return np.empty(0)
    return np.asarray(booster.predict(table, num_threads=num_threads))


def raw_contributions(booster: lightgbm.Booster, table: Array, num_threads: int) -> Array:
    """Exact TreeSHAP ``(n, F + 1)`` of the predicted targets, the base last.

    LightGBM's own for a few houses, :mod:`housevis.pricing.tree_shap` for many: the same values up to
    rounding.
    """
    if not len(table):
        return np.empty((0, booster.num_feature() + 1))
    if len(table) >= FEWEST_ROWS and booster.num_feature() <= MOST_FEATURES:
        return contributions_of(booster, table)
    return np.asarray(booster.predict(table, pred_contrib=True, num_threads=num_threads))


def write_artefact(
    folder: Path, name: str, kind: str, facts: dict[str, Any], boosters: Mapping[str, lightgbm.Booster | None]
) -> None:
    """Write ``<name>.json`` and the text of each booster beside it.

    Each file is replaced in one step, the JSON last; it holds the SHA-256 of
    the texts, so that a mixture of old and new files is noticed.

    Args:
        folder: Folder to write to; made where it does not exist.
        name: Name of the JSON file without its ending.
        kind: What it is, checked when it is read.
        facts: Everything else that is to be kept.
        boosters: Name of a text file without its ending -> booster, or None
            for a booster that the artefact does not have.

    Raises:
        ModelError: The folder cannot be written to.
    """
    texts = {part: booster.model_to_string() for part, booster in boosters.items() if booster is not None}
    document = {
        "kind": kind,
        "versions": {"housevis": housevis.__version__, "lightgbm": lightgbm.__version__},
        "boosters": {part: _sha256(texts[part]) if part in texts else None for part in boosters},
        **facts,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part, text in texts.items():
            write_file(folder / f"{part}.txt", text)
        write_file(folder / f"{name}.json", json.dumps(document, indent=2) + "\n")
    except OSError as problem:
        raise ModelError(
            f"the {kind} cannot be written ({problem.strerror})",
            where=str(folder),
            remedy="Check that the folder may be written to and that the disk is not full.",
        ) from None


def read_artefact(
    folder: Path, name: str, kind: str
) -> tuple[dict[str, Any], dict[str, lightgbm.Booster | None]]:
    """Read what :func:`write_artefact` wrote.

    Args:
        folder: The folder.
        name: Name of the JSON file without its ending.
        kind: What it must be.

    Returns:
        The facts, and the boosters by name.

    Raises:
        ModelError: A file is missing, damaged or of another kind.
    """
    file = folder / f"{name}.json"
    try:
        facts = json.loads(_read(file, kind))
    except json.JSONDecodeError:
        raise damaged(file, kind) from None
    if not isinstance(facts, dict) or facts.get("kind") != kind or "boosters" not in facts:
        raise damaged(file, kind)
    digests = facts["boosters"]
    if not isinstance(digests, dict):
        raise damaged(file, kind)
    boosters: dict[str, lightgbm.Booster | None] = {}
    for part, digest in digests.items():
        boosters[part] = None
        if digest is not None:
            text = _read(folder / f"{part}.txt", kind)
            if _sha256(text) != digest:
                raise damaged(folder / f"{part}.txt", kind)
            boosters[part] = lightgbm.Booster(model_str=text)
    return facts, boosters


def damaged(file: Path, kind: str) -> ModelError:
    """The error for a file that is not what it should be."""
    return ModelError(f"this is no {kind}, or it is damaged", where=str(file), remedy="Run `train` again.")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(file: Path, kind: str) -> str:
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        raise ModelError(
            f"there is no {kind} here", where=str(file), remedy="Check the path, or run `train` again."
        ) from None
    except (OSError, UnicodeDecodeError):
        raise damaged(file, kind) from None
