"""How the picture's effect on the estimates depends on where a house stands.

Three things are told apart:

- *effect*: the Shapley value of the house's own picture. It differs between
  places also because other pictures are found there.
- *swing*: how far the estimate moves when the house, all else as it is, gets
  the pictures of other houses, the same ones for every house: the standard
  deviation of the log estimate over them. It differs between places only as
  far as the model treats a picture otherwise there.
- *interaction*: what is left when the place is exchanged too,
  ``f(L, P) - f(L', P) - f(L, P') + f(L', P')``, `f` the log estimate, the
  mean over other houses that lend place and picture; 0 where the effects of
  both just add up.

Swing and interaction are counted with estimates of the model for houses that
are put together from two (a place brings its comparable sales along). They
are no SHAP interaction values, which LightGBM does not give, and they say
what the model does, not what buyers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.pricing.attributes import LOCATION
from housevis.pricing.driver_tables import ALL, SaleDrivers
from housevis.pricing.drivers import COMPARABLE_SALES, PICTURE
from housevis.pricing.model import HousePriceModel
from housevis.pricing.sale_groups import by_decile

Array = NDArray[np.float64]

PLACE: Final = "location"
TENTH: Final = "tenth of the location's effect"

COLUMNS: Final = {
    "by": "what the houses are grouped by; `all` over all of them",
    "group": "the group, the places that lower estimates most first",
    "position": "number of the tenth, 1 to 10; 0 for all houses",
    "sales": "sales with a picture",
    "location_log": "mean effect of the location with its comparable sales, log units",
    "location_amount": "the same, currency by the log-mean rule; depends on the base",
    "picture_log": "mean effect of the picture, log units, with its sign",
    "picture_log_low": "lower end of its 95 % bootstrap interval",
    "picture_log_high": "upper end of it",
    "picture_amount": "mean effect of the picture, currency by the log-mean rule, with its sign",
    "picture_amount_low": "lower end of its 95 % bootstrap interval",
    "picture_amount_high": "upper end of it",
    "picture_absolute_log": "mean size of the picture's effect, log units",
    "picture_absolute_amount": "the same, currency by the log-mean rule; depends on the base",
    "tried": "houses drawn to be given other pictures and places",
    "swing_log": "mean standard deviation of the log estimate over the same other pictures, log units",
    "swing_log_low": "lower end of its 95 % bootstrap interval",
    "swing_log_high": "upper end of it",
    "swing_amount": "the same times the estimate, currency",
    "interaction_absolute_log": "mean size of the interaction of location and picture, log units",
    "interaction_absolute_amount": "the same times the estimate, currency",
}
"""Columns of :func:`location_and_picture` and what they mean."""

_LEVEL: Final = 0.95


@dataclass(frozen=True)
class Exchanged:
    """What estimates do when pictures and places are exchanged.

    Attributes:
        rows: The houses that were drawn ``(m,)``.
        swing: Standard deviation of their log estimates over other pictures ``(m,)``.
        interaction: Interaction of location and picture ``(m,)``, log units, with its sign.
    """

    rows: NDArray[np.int64]
    swing: Array
    interaction: Array


def exchange(
    model: HousePriceModel, features: pd.DataFrame, *, houses: int = 500, lenders: int = 24, seed: int = 1
) -> Exchanged:
    """Give houses the pictures and the places of others.

    Args:
        model: A fitted model with visual features and the location among its attributes.
        features: n houses with a picture, as for :meth:`HousePriceModel.predict`; none of them among
            the sales that the model was fitted on.
        houses: How many are drawn, at most.
        lenders: How many others lend picture and place, the same for all, at most.
        seed: Seed of the draws.
    """
    random = np.random.default_rng(seed)
    drawn = np.sort(random.permutation(len(features))[:houses])
    lent = random.permutation(len(features))[:lenders]
    visual = list(model.visual_names)
    place = list(LOCATION)
    own = features.iloc[drawn].reset_index(drop=True)
    others = features.iloc[lent]

    def log_estimates(*taken: list[str]) -> Array:
        """Log estimates ``(m, k)`` of the houses with these columns of the lenders."""
        table = own.loc[own.index.repeat(len(lent))].reset_index(drop=True)
        for name in (name for names in taken for name in names):
            table[name] = np.tile(others[name].to_numpy(), len(own))
        return np.log(model.predict(table)).reshape(len(own), len(lent))

    other_picture = log_estimates(visual)
    first = np.log(model.predict(own))[:, None]
    differences = first - log_estimates(place) - other_picture + log_estimates(place, visual)
    return Exchanged(drawn, other_picture.std(axis=1), differences.mean(axis=1))


def location_and_picture(
    drivers: SaleDrivers, exchanged: Exchanged, *, repeats: int = 500, seed: int = 1
) -> pd.DataFrame:
    """The picture's effect by tenths of the location's effect.

    The location's effect is that of the coordinates and, where the model has
    them, of the comparable sales, which say what houses nearby sold for.

    Args:
        drivers: Effects of n sales with a picture, ``picture`` and ``location`` among them.
        exchanged: What other pictures and places do to some of them.
        repeats: Draws of the bootstrap over sales.
        seed: Seed of the draws.

    Returns:
        One row for all sales and one per tenth, :data:`COLUMNS`; NaN where
        no house of a tenth was drawn.
    """
    place = [name for name in (PLACE, COMPARABLE_SALES) if name in drivers.names]
    place_log, place_amount = drivers.of(place)
    picture_log, picture_amount = drivers.of([PICTURE])
    drawn = np.zeros(len(place_log), dtype=bool)
    drawn[exchanged.rows] = True
    swing = np.full(len(place_log), np.nan)
    interaction = swing.copy()
    swing[exchanged.rows] = exchanged.swing
    interaction[exchanged.rows] = np.abs(exchanged.interaction)
    tenths = by_decile(pd.Series(place_log), TENTH)
    random = np.random.default_rng(seed)

    def row(by: str, group: str, position: int, members: NDArray[np.int64]) -> dict[str, object]:
        tried = members[drawn[members]]
        estimate = drivers.estimate[tried]
        found: dict[str, object] = {"by": by, "group": group, "position": position, "sales": len(members)}
        found |= {
            "location_log": _mean(place_log[members]),
            "location_amount": _mean(place_amount[members]),
            "picture_absolute_log": _mean(np.abs(picture_log[members])),
            "picture_absolute_amount": _mean(np.abs(picture_amount[members])),
            "tried": len(tried),
            "swing_amount": _mean(swing[tried] * estimate),
            "interaction_absolute_log": _mean(interaction[tried]),
            "interaction_absolute_amount": _mean(interaction[tried] * estimate),
        }
        for name, values in (
            ("picture_log", picture_log[members]),
            ("picture_amount", picture_amount[members]),
            ("swing_log", swing[tried]),
        ):
            low, high = _interval(values, repeats, random)
            found |= {name: _mean(values), f"{name}_low": low, f"{name}_high": high}
        return found

    rows = [row(ALL, "all houses", 0, np.arange(len(place_log)))]
    for position in range(10):
        members = np.flatnonzero(tenths.group == position)
        if len(members):
            rows.append(row(TENTH, f"tenth {position + 1}", position + 1, members))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _interval(values: Array, repeats: int, random: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean."""
    if not len(values):
        return float("nan"), float("nan")
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(repeats)]
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
