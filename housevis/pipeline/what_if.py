"""What if a house were otherwise: its estimate with some attributes changed, all else as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.one_value import AREA, read_value
from housevis.core.config import Config
from housevis.core.errors import UsageError
from housevis.pipeline.judging import interval_features
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.attributes import LOCATION, model_table
from housevis.pricing.intervals import Calibration

MEANING: Final = (
    "The difference is association in past sales, not what a renovation would bring: houses that differ in "
    "this attribute differ in others too."
)
"""What is to be said beside every changed estimate."""

CHANGED_COLUMNS: Final = (
    "changed_estimate", "changed_low", "changed_high", "difference", "difference_percent", "change",
)  # fmt: skip
"""What a changed estimate adds to a table of estimates."""

_DATES: Final = ("sale_month", "sale_date", "date")


def read_changes(settings: Sequence[str], config: Config) -> dict[str, float]:
    """Read settings such as ``bathrooms=3`` for the model of a run.

    Args:
        settings: One text per attribute, ``NAME=VALUE``. The name is that of
            an attribute, ``area`` (in the unit of the listings), or what the
            listings' own column is called.
        config: The run's configuration.

    Returns:
        Attribute of the model -> value; areas in square metres.

    Raises:
        UsageError: A setting is not of this form, names an attribute twice or one that the model does
            not use, or its value is one that the listings would be refused with.
    """
    changes: dict[str, float] = {}
    for setting in settings:
        written, equals, text = setting.partition("=")
        if not equals or not written.strip() or not text.strip():
            raise UsageError(
                f"{setting!r} changes nothing", where="--set", remedy="Write it so: --set bathrooms=3."
            )
        name, unit = _attribute(written.strip(), config)
        if name in changes:
            raise UsageError(f"{name!r} is set twice", where="--set", remedy="Set each attribute once.")
        changes[name] = read_value(name, text, area_unit=unit)
    return changes


def _attribute(written: str, config: Config) -> tuple[str, str]:
    """The model's attribute behind a name, and the unit of an area without one."""
    used = [name for name in config.pricing.attributes if name not in (*LOCATION, "sale_month")]
    if written in used:
        return written, "m2"
    ours_of = {column: ours for ours, column in config.listings.columns.items()}
    ours = ours_of.get(written, written)
    unit = "m2"
    if ours == "area":
        ours, unit = AREA, config.listings.area_unit
    if ours in used:
        return ours, unit
    if ours in LOCATION:
        raise UsageError(
            "a house does not move, and its picture would stay behind",
            where=f"--set {written}",
            remedy="Add a row with the other place to the listings.",
        )
    if ours in _DATES:
        raise UsageError(
            "the valuation date is no attribute of the house",
            where=f"--set {written}",
            remedy="Use --as-of, or a column with the date in the listings.",
        )
    uses = f"It uses: {', '.join(used)}." if used else "It uses none that can be changed."
    known = {"bedrooms", "bathrooms", AREA, "price", *config.listings.extra_attributes}
    if ours in known:
        raise UsageError(
            f"the model of this run does not use {written!r}", where=f"--set {written}", remedy=uses
        )
    columns = [column for column, ours in ours_of.items() if (AREA if ours == "area" else ours) in used]
    named = [*used, *columns]
    nearest = get_close_matches(written, named, n=1, cutoff=0.5)
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    raise UsageError(f"unknown attribute {written!r}", where="--set", remedy=f"{guess}{uses}")


class WhatIf:
    """Some houses, ready to be estimated with any changes.

    Visual features are made once, so that one house with a hundred changes
    takes a fraction of a second. Everything that depends on an attribute is
    reckoned again with it: comparable sales, the linear model, the interval.

    Args:
        model: The model.
        calibration: Its intervals.
        houses: Sale frame, n rows; no price is needed. ``sale_date`` is the valuation date.
        pooled: Pooled features ``(n, K)``, NaN rows where there is no picture.

    Attributes:
        as_they_stand: ``estimate``, ``low`` and ``high`` of the n houses without a change, currency.
    """

    def __init__(
        self,
        model: ValuationModel,
        calibration: Calibration,
        houses: pd.DataFrame,
        pooled: NDArray[np.float32],
    ) -> None:
        self._model = model
        self._calibration = calibration
        self._houses = houses.reset_index(drop=True)
        self._visual = model.visual_features(pooled)
        comparables = model.price_model.comparables_
        if comparables is not None:
            # A changed house stays the house it is, so that its own sales are never compared with it.
            self._houses = self._houses.assign(house_id=comparables.known_house_ids(self._houses))
        self.as_they_stand = self._estimates(self._houses, self._visual)
        self._ids = houses["house_id"].to_numpy(dtype=object)

    @classmethod
    def load(cls, folder: Path, houses: pd.DataFrame, pooled: NDArray[np.float32]) -> WhatIf:
        """The same with the model in a folder: a run's serving model, or one that has not seen a sold house.

        Raises:
            ModelError: The folder holds no complete model, or no calibration.
        """
        return cls.opened(folder)(houses, pooled)

    @classmethod
    def opened(cls, folder: Path) -> Callable[[pd.DataFrame, NDArray[np.float32]], WhatIf]:
        """The model in a folder, read once, to be asked for any houses.

        Raises:
            ModelError: The folder holds no complete model, or no calibration.
        """
        return partial(cls, ValuationModel.load(folder), Calibration.load(folder))

    def changed(self, changes: Sequence[Mapping[str, float]]) -> pd.DataFrame:
        """Estimate every house with every one of c changes.

        Args:
            changes: Attribute -> new value, in the unit of the model, each; see :func:`read_changes`.

        Returns:
            One row per house and change, house by house: ``house_id``,
            ``change`` (its number from 0), ``estimate``, ``low``, ``high``
            and ``difference`` to the house as it stands, currency, and
            ``difference_percent``.

        Raises:
            UsageError: The model does not use an attribute.
        """
        used = self._model.price_model.attributes_
        for name in dict.fromkeys(name for change in changes for name in change):
            if name not in used:
                raise UsageError(
                    f"the model does not use {name!r}", remedy=f"It uses: {', '.join(map(str, used))}."
                )
        count = len(changes)
        rows = np.repeat(np.arange(len(self._houses)), count)
        houses = self._houses.iloc[rows].reset_index(drop=True)
        for number, change in enumerate(changes):
            for name, value in change.items():
                column = houses[name].to_numpy(dtype="float64", na_value=np.nan).copy()
                column[number::count] = value
                houses[name] = column
        found = self._estimates(houses, self._visual[rows])
        before = self.as_they_stand["estimate"].to_numpy()[rows]
        found.insert(0, "house_id", self._ids[rows])
        found.insert(1, "change", np.tile(np.arange(count), len(self._houses)))
        found["difference"] = found["estimate"] - before
        found["difference_percent"] = 100 * found["difference"] / before
        return found

    def outside_training(self, change: Mapping[str, float]) -> dict[str, tuple[float, float]]:
        """Changed attributes beyond all training sales: the lowest and the highest value that there was."""
        ranges = self._model.price_model.attribute_ranges()
        return {
            name: ranges[name]
            for name, value in change.items()
            if name in ranges and not ranges[name][0] <= value <= ranges[name][1]
        }

    def _estimates(self, houses: pd.DataFrame, visual: NDArray[np.float32]) -> pd.DataFrame:
        prices = self._model.price_model
        estimate = prices.predict(model_table(houses, prices.attributes_, visual))
        low, high = self._calibration.interval(estimate, interval_features(self._model, houses))
        return pd.DataFrame({"estimate": estimate, "low": low, "high": high})


def changed_columns(result: pd.DataFrame, found: pd.DataFrame, change: str) -> pd.DataFrame:
    """A table of estimates with :data:`CHANGED_COLUMNS` behind it, to the cent.

    Args:
        result: ``estimate`` of n houses, to the cent.
        found: Of one change, see :meth:`WhatIf.changed`.
        change: The change in words.
    """
    changed = found["estimate"].round(2).to_numpy()
    difference = changed - result["estimate"].to_numpy()
    return result.assign(
        changed_estimate=changed,
        changed_low=found["low"].round(2).to_numpy(),
        changed_high=found["high"].round(2).to_numpy(),
        difference=difference.round(2),
        difference_percent=(100 * difference / result["estimate"].to_numpy()).round(2),
        change=change,
    )


def change_lines(what_if: WhatIf, found: pd.DataFrame, change: Mapping[str, float], text: str) -> list[str]:
    """What to say of one change of some houses."""
    percents = found["difference_percent"].to_numpy()
    middle, lowest, highest = np.median(percents), percents.min(), percents.max()
    spread = "" if len(percents) == 1 else f" in the middle, from {lowest:+.1f} % to {highest:+.1f} %"
    lines = [f"with {text} the estimates change by {middle:+.1f} %{spread}", MEANING]
    for name, (low, high) in what_if.outside_training(change).items():
        lines.append(
            f"{name}={change[name]:g} lies outside of the sales that the model learned from "
            f"({low:g} to {high:g}): it counts about as the nearest of them"
        )
    return lines
