"""How sure an estimate is, in one word, and why.

The grade follows the forecast standard deviation (FSD) that lenders use for
automated valuations: the half width of the interval in log units, divided by
the normal quantile of its coverage. At most 0.13 is high, at most 0.20 medium.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from housevis.core.errors import ModelError
from housevis.core.storage import new_file, write_file
from housevis.pricing.attributes import LOCATION, in_words
from housevis.pricing.model import MARKET
from housevis.pricing.nearest_sales import NearestSales, positions

Array = NDArray[np.float64]

GRADES: Final = ("high", "medium", "low")
HIGH_DEVIATION: Final = 0.13
"""Largest forecast standard deviation of the grade high."""
MEDIUM_DEVIATION: Final = 0.20
"""Largest forecast standard deviation of the grade medium."""
OLD_PICTURE_YEARS: Final = 3
"""A picture taken longer before the valuation date may show another house."""

NOT_KNOWN: Final = "not known"
UNUSUAL: Final = "unusual"
FAR_FROM_SALES: Final = "few sales near"
FEW_SALES: Final = "few sales were learned from"
NO_PICTURE: Final = "no aerial picture"
MOVED_BY_PICTURE: Final = "the picture moves the estimate"
OLD_PICTURE: Final = "the picture is"
OFTEN_MISSED: Final = "houses like this one are often estimated far from their prices"
"""Words that tell the kind of a reason; every reason holds one of them."""

RULES: Final = "confidence.json"
PLACES: Final = "confidence_places.parquet"
"""Where the sales stand that a model learned from, beside its rules: house_id, latitude, longitude."""

_NEIGHBOUR: Final = 10
_USUAL: Final = 0.95
_RARE: Final = 0.01


@dataclass(frozen=True, eq=False)
class ConfidenceRules:
    """What is usual among the sales that a model learned from.

    Attributes:
        ranges: Attribute -> its 1st and 99th percentile.
        usual_metres: 95 % of the sales have their tenth nearest other house within so many metres;
            infinite where there are too few houses to say.
        usual_disagreement: 95 % of the estimates with and without the picture differ by at most so
            many log units; infinite without pictures.
        uses_pictures: Whether the model has visual features.
        places: ``house_id, latitude, longitude`` of the houses.
    """

    ranges: Mapping[str, tuple[float, float]]
    usual_metres: float
    usual_disagreement: float
    uses_pictures: bool
    places: pd.DataFrame

    @classmethod
    def fit(
        cls, sales: pd.DataFrame, attributes: pd.DataFrame, disagreement: Array, *, uses_pictures: bool
    ) -> ConfidenceRules:
        """Learn what is usual.

        Args:
            sales: The sales that a model learned from: ``house_id``, ``latitude``, ``longitude``.
            attributes: Their attributes as the model has them.
            disagreement: ``ln(estimate with / without picture)`` of estimates that are out of sample.
            uses_pictures: Whether the model has visual features.
        """
        ranges = {}
        for name in _described(attributes):
            values = attributes[name].to_numpy(dtype="float64", na_value=np.nan)
            if np.isfinite(values).any():
                low, high = np.nanquantile(values, [_RARE, 1 - _RARE])
                ranges[name] = (float(low), float(high))
        places = sales[["house_id", *LOCATION]].drop_duplicates("house_id").reset_index(drop=True)
        usual = float("inf")
        if len(places) > _NEIGHBOUR:
            usual = float(np.quantile(_Places(places).metres_to_tenth(places), _USUAL))
        apart = np.abs(disagreement[np.isfinite(disagreement)])
        allowed = float(np.quantile(apart, _USUAL)) if uses_pictures and len(apart) else float("inf")
        return cls(ranges, usual, allowed, uses_pictures, places)

    @cached_property
    def _houses_learned_from(self) -> _Places:
        return _Places(self.places)

    def grade(
        self,
        sales: pd.DataFrame,
        attributes: pd.DataFrame,
        estimates: pd.DataFrame,
        coverage: float,
        *,
        picture_taken: date | None = None,
    ) -> pd.DataFrame:
        """Grade estimates.

        What is missing, unusual or far from all sales takes the grade high away; low is only what
        has a wide range.

        Args:
            sales: n houses: ``house_id``, ``latitude``, ``longitude``, ``sale_date`` (the valuation date).
            attributes: Their attributes as the model has them.
            estimates: ``estimate``, ``low``, ``high``, ``without_picture`` and ``used_picture`` of them.
            coverage: Nominal coverage of the range.
            picture_taken: When the imagery was taken, where that is known.

        Returns:
            ``confidence``, one of :data:`GRADES`, and ``confidence_reasons``, texts joined by "; ".
        """
        deviation = forecast_deviation(estimates["low"].to_numpy(), estimates["high"].to_numpy(), coverage)
        reasons: list[list[str]] = [[] for _ in range(len(sales))]
        self._say_missing(attributes, reasons)
        self._say_unusual(attributes, reasons)
        self._say_far(sales, reasons)
        doubted = np.array([bool(each) for each in reasons])
        if self.uses_pictures:
            self._say_pictures(sales, estimates, picture_taken, reasons)
        number = np.where(deviation <= HIGH_DEVIATION, 0, np.where(deviation <= MEDIUM_DEVIATION, 1, 2))
        number = np.where(doubted, np.maximum(number, 1), number)
        for row in np.flatnonzero(number == 2):
            reasons[row].insert(0, OFTEN_MISSED)
        return pd.DataFrame(
            {
                "confidence": np.array(GRADES)[number],
                "confidence_reasons": ["; ".join(each) for each in reasons],
            },
            index=estimates.index,
        )

    def save(self, folder: Path) -> None:
        """Write the rules into a model's folder."""
        facts = {
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "usual_metres": self.usual_metres if np.isfinite(self.usual_metres) else None,
            "usual_disagreement": self.usual_disagreement if np.isfinite(self.usual_disagreement) else None,
            "uses_pictures": self.uses_pictures,
        }
        folder.mkdir(parents=True, exist_ok=True)
        with new_file(folder / PLACES) as stream:
            self.places.to_parquet(stream, index=False)
        write_file(folder / RULES, json.dumps(facts, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> ConfidenceRules | None:
        """Read the rules of a model; None of a model that was made before there were any.

        Raises:
            ModelError: The files are damaged.
        """
        if not (folder / RULES).is_file():
            return None
        try:
            facts: dict[str, Any] = json.loads((folder / RULES).read_text(encoding="utf-8"))
            metres, apart = facts["usual_metres"], facts["usual_disagreement"]
            return cls(
                ranges={name: (low, high) for name, (low, high) in facts["ranges"].items()},
                usual_metres=float("inf") if metres is None else metres,
                usual_disagreement=float("inf") if apart is None else apart,
                uses_pictures=facts["uses_pictures"],
                places=pd.read_parquet(folder / PLACES),
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelError(
                "the rules of confidence are damaged or incomplete",
                where=str(folder / RULES),
                remedy="Run `housevis run CONFIG` again.",
            ) from None

    def _say_missing(self, attributes: pd.DataFrame, reasons: list[list[str]]) -> None:
        for name in self.ranges:
            for row in np.flatnonzero(attributes[name].isna().to_numpy()):
                reasons[row].append(f"{in_words(name)} {NOT_KNOWN}")

    def _say_unusual(self, attributes: pd.DataFrame, reasons: list[list[str]]) -> None:
        for name, (low, high) in self.ranges.items():
            values = attributes[name].to_numpy(dtype="float64", na_value=np.nan)
            for row in np.flatnonzero(values < low):
                reasons[row].append(
                    f"{UNUSUAL}: {in_words(name)} below that of 99 % of the sales learned from"
                )
            for row in np.flatnonzero(values > high):
                reasons[row].append(
                    f"{UNUSUAL}: {in_words(name)} above that of 99 % of the sales learned from"
                )

    def _say_far(self, sales: pd.DataFrame, reasons: list[list[str]]) -> None:
        if not np.isfinite(self.usual_metres):
            for each in reasons:
                each.append(FEW_SALES)
            return
        metres = self._houses_learned_from.metres_to_tenth(sales)
        for row in np.flatnonzero(metres > self.usual_metres):
            reasons[row].append(f"{FAR_FROM_SALES}: the tenth nearest is {metres[row] / 1000:.1f} km away")

    def _say_pictures(
        self, sales: pd.DataFrame, estimates: pd.DataFrame, taken: date | None, reasons: list[list[str]]
    ) -> None:
        used = estimates["used_picture"].to_numpy(dtype=bool)
        for row in np.flatnonzero(~used):
            reasons[row].append(NO_PICTURE)
        apart = np.log(estimates["estimate"].to_numpy() / estimates["without_picture"].to_numpy())
        for row in np.flatnonzero(used & (np.abs(apart) > self.usual_disagreement)):
            moved = np.expm1(apart[row])
            reasons[row].append(f"{MOVED_BY_PICTURE} by {moved:+.0%}, which is rare")
        if taken is not None:
            years = (pd.to_datetime(sales["sale_date"]) - pd.Timestamp(taken)).dt.days.to_numpy() / 365.25
            for row in np.flatnonzero(used & (years > OLD_PICTURE_YEARS)):
                reasons[row].append(f"{OLD_PICTURE} {years[row]:.0f} years older than the valuation")


def forecast_deviation(low: Array, high: Array, coverage: float) -> Array:
    """Forecast standard deviation (FSD) ``(n,)``, log units, of intervals of a nominal coverage."""
    return np.asarray(np.log(high / low) / 2 / norm.ppf(0.5 + coverage / 2))


def _described(attributes: pd.DataFrame) -> list[str]:
    return [str(name) for name in attributes.columns if name not in (*LOCATION, MARKET)]


class _Places:
    """Where houses stand, each of them once."""

    def __init__(self, places: pd.DataFrame) -> None:
        self._ids = pd.Index(places["house_id"])
        self._nearest = NearestSales(positions(places), np.arange(len(places)))

    def metres_to_tenth(self, houses: pd.DataFrame) -> Array:
        """Metres ``(n,)`` from each house to the tenth nearest that is not the house itself."""
        own = self._ids.get_indexer(pd.Index(houses["house_id"]))[:, None]
        found = self._nearest.search(positions(houses), own, _NEIGHBOUR)
        return np.concatenate([each.metres[:, -1] for each in found])
