"""The files of a fitted price model: JSON, LightGBM text and the table of comparable sales; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lightgbm
import numpy as np

from housevis.core.errors import ModelError
from housevis.pricing.boosted import Boosted
from housevis.pricing.boosters import damaged, read_artefact, write_artefact
from housevis.pricing.comparables import ComparableSales
from housevis.pricing.linear_base import LinearBase
from housevis.pricing.market_index import MarketIndex

if TYPE_CHECKING:
    from housevis.pricing.model import HousePriceModel


_KIND: Final = "house-price-model"
_PLAIN: Final = ("data_fingerprint", "n_features_in", "sales", "sales_with_picture", "typical_log_price")
"""Fitted attributes that JSON holds as they are, without their trailing underscore."""
_GROUPS: Final = ("with_picture", "without_picture")


def write_model(model: HousePriceModel, folder: Path) -> None:
    """Write a fitted model; ``model.json`` comes last.

    Raises:
        ModelError: The folder cannot be written to.
    """
    facts: dict[str, Any] = {"parameters": model.parameters()}
    facts |= {name: getattr(model, f"{name}_") for name in _PLAIN}
    facts |= {
        "attributes": list(model.attributes_),
        "feature_names_in": list(getattr(model, "feature_names_in_", ())),
        "market_index": None if model.market_index_ is None else model.market_index_.to_dict(),
        "comparables": model.comparables_ is not None,
    }
    if model.comparables_ is not None:
        model.comparables_.save(folder)
    boosters: dict[str, lightgbm.Booster | None] = {}
    bases = {}
    for group in _GROUPS:
        side: Boosted | None = getattr(model, f"{group}_")
        if side is not None:
            bases[group] = None if side.base is None else side.base.to_dict()
            boosters |= {_file_name(group, number): booster for number, booster in enumerate(side.boosters)}
    facts["linear_base"] = bases
    write_artefact(folder, "model", _KIND, facts, boosters)


def read_model(kind: type[HousePriceModel], folder: Path, num_threads: int) -> HousePriceModel:
    """Read what :func:`write_model` wrote.

    Raises:
        ModelError: A file is missing, damaged or no house-price model.
    """
    facts, boosters = read_artefact(folder, "model", _KIND)
    try:
        parameters = {name: _unlisted(value) for name, value in facts["parameters"].items()}
        model = kind(**{**parameters, "num_threads": num_threads})
        model.check_parameters()
        for name in _PLAIN:
            setattr(model, f"{name}_", facts[name])
        model.attributes_ = tuple(facts["attributes"])
        if facts["feature_names_in"]:
            model.feature_names_in_ = np.asarray(facts["feature_names_in"], dtype=object)
        index = facts["market_index"]
        model.market_index_ = None if index is None else MarketIndex.from_dict(index)
        model.comparables_ = ComparableSales.load(folder) if facts["comparables"] else None
        for group in _GROUPS:
            setattr(model, f"{group}_", _side(group, boosters, facts["linear_base"]))
    except (KeyError, TypeError, AttributeError):
        raise damaged(folder / "model.json", _KIND) from None
    except ModelError as problem:
        if problem.where is None:
            raise damaged(folder / "model.json", _KIND) from None
        raise
    return model


def _side(
    group: str, boosters: Mapping[str, lightgbm.Booster | None], bases: Mapping[str, Any]
) -> Boosted | None:
    if group not in bases:
        return None
    found: list[lightgbm.Booster] = []
    while (booster := boosters.get(_file_name(group, len(found)))) is not None:
        found.append(booster)
    base = bases[group]
    return Boosted(None if base is None else LinearBase.from_dict(base), tuple(found))


def _file_name(group: str, number: int) -> str:
    return group if number == 0 else f"{group}_{number + 1}"


def _unlisted(value: Any) -> Any:
    """Lists of JSON as the tuples they were."""
    return tuple(value) if isinstance(value, list) else value
