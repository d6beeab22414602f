"""The biggest misses of the estimates, each with what the data say of it, in plain words.

The reasons are rules, not causes: each compares one fact of the house with
the sales around it, says the numbers, and leaves the judgement to the reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.parsing import SQUARE_METRES
from housevis.pricing.attributes import in_words
from housevis.pricing.nearest_sales import NearestSales, positions

Array = NDArray[np.float64]

TOO_HIGH, TOO_LOW = "too high", "too low"
"""Whether the estimate lies above or below the price."""

NOTHING_FOUND: Final = "nothing in the data sets this sale apart"

NEIGHBOURS: Final = 30
"""So many earlier sales of other houses around are compared with."""

_NEAR: Final = 10
_FAR_QUANTILE: Final = 0.95
_UNUSUAL: Final = 3.0
_NOT_ORDINARY: Final = 0.35
_MUCH_CHANGED: Final = 0.15
_RESOLD_MOVE: Final = 0.35
_PICTURE_PULL: Final = 0.05
_MAD: Final = 1.4826
_MOST_UNUSUAL: Final = 2

_SKIPPED: Final = (
    "latitude",
    "longitude",
    "sale_month",
    "price",
    "house_id",
    "sale_id",
    "sale_date",
    "address",
)

_ESTIMATED: Final = (
    "estimate", "without_picture", "low", "high", "base", "used_picture", "picture_effect", "picture_score",
    "confidence", "error", "in_range",
)  # fmt: skip


@dataclass(frozen=True)
class Wording:
    """How amounts and areas are written.

    Attributes:
        currency: ISO 4217 code of all amounts.
        area_unit: ``"m2"`` or ``"ft2"``; areas are m² in the data.
    """

    currency: str = "USD"
    area_unit: str = "m2"

    @property
    def areas_in_feet(self) -> bool:
        """Whether areas are shown in square feet."""
        return self.area_unit == "ft2"

    def value(self, attribute: str, value: float) -> str:
        """A value of an attribute with its unit."""
        if attribute == "area_m2":
            return f"{value / SQUARE_METRES['ft2']:,.0f} ft²" if self.areas_in_feet else f"{value:,.0f} m²"
        if attribute.startswith("yr_") or "year" in attribute:
            return f"{value:.0f}" if value else "none"
        whole = float(value).is_integer() or abs(value) >= 100
        return f"{value:,.0f}" if whole else f"{value:,.2f}"

    def per_area(self, price_per_m2: float) -> str:
        """A price per area with its unit."""
        if self.areas_in_feet:
            return f"{self.currency} {price_per_m2 * SQUARE_METRES['ft2']:,.0f} per ft²"
        return f"{self.currency} {price_per_m2:,.0f} per m²"


def biggest_misses(
    judged: pd.DataFrame,
    known: pd.DataFrame,
    attributes: Sequence[str],
    *,
    count: int = 10,
    wording: Wording | None = None,
    uses_pictures: bool = True,
) -> pd.DataFrame:
    """The sales whose estimates lie furthest above and below the price, with a diagnosis.

    Args:
        judged: The judged sales, n rows: ``sale_id``, ``house_id``,
            ``sale_date``, ``price``, ``estimate``, ``low``, ``high``,
            ``without_picture``, ``used_picture``, ``latitude``,
            ``longitude`` and attributes.
        known: The sales that were known before, with the same columns but the
            estimates: the neighbours that houses are compared with.
        attributes: What the model uses, of which a missing value is told.
        count: How many of each direction; of a house its worst sale.
        wording: How amounts and areas are written.
        uses_pictures: Whether the model uses pictures.

    Returns:
        One row per miss, the worst of each direction first: ``direction``
        (:data:`TOO_HIGH`, :data:`TOO_LOW`), ``rank`` from 1, ``sale_id``,
        ``house_id``, ``sale_date``, ``price``, ``estimate``,
        ``without_picture``, ``low``, ``high``, ``error`` (estimate / price
        less 1, a fraction), ``in_range`` (whether the price lies in the
        range), ``reasons`` (sentences joined by ``"; "``).
    """
    wording = wording or Wording()
    chosen = _worst(judged, count)
    facts = Surroundings.of(judged, known, chosen.index.to_numpy())
    names = [
        name for name in judged.columns if name not in _SKIPPED and _is_attribute(judged, known, str(name))
    ]
    reasons = []
    for position, row in enumerate(chosen.to_dict("records")):
        found = list(_reasons(row, facts, position, known, attributes, names, wording, uses_pictures))
        found.append(_range_sentence(row))
        reasons.append("; ".join(found if len(found) > 1 else [NOTHING_FOUND, *found]))
    columns = [
        "direction", "rank", "sale_id", "house_id", "sale_date", "price", "estimate", "without_picture",
        "low", "high", "error", "in_range",
    ]  # fmt: skip
    return chosen[columns].assign(reasons=reasons).reset_index(drop=True)


@dataclass(frozen=True)
class Surroundings:
    """The earlier sales around the houses that were missed.

    Attributes:
        neighbours: Rows of the known sales around each miss ``(m, k)``, -1 where there are fewer.
        near: Metres to the tenth nearest sale ``(m,)``; infinite where there are fewer.
        usual_near: The median of that over all judged sales, metres.
        far: What 95 of 100 judged sales are nearer than, metres.
    """

    neighbours: NDArray[np.int64]
    near: Array
    usual_near: float
    far: float

    @classmethod
    def of(cls, judged: pd.DataFrame, known: pd.DataFrame, rows: NDArray[np.int64]) -> Surroundings:
        """Look around the judged sales in `rows`; distances are compared over all of them."""
        numbers = pd.factorize(pd.concat([known["house_id"], judged["house_id"]]))[0].astype(np.int64)
        search = NearestSales(positions(known), numbers[: len(known)])
        own = numbers[len(known) :][:, None]
        places = positions(judged)
        metres = np.concatenate([found.metres for found in search.search(places, own, _NEAR)])[:, -1]
        around = np.concatenate([f.sales for f in search.search(places[rows], own[rows], NEIGHBOURS)])
        finite = metres[np.isfinite(metres)]
        usual, far = np.quantile(finite, [0.5, _FAR_QUANTILE]) if len(finite) else (np.nan, np.inf)
        return cls(around, metres[rows], float(usual), float(far))


def _worst(judged: pd.DataFrame, count: int) -> pd.DataFrame:
    table = judged.reset_index(drop=True)
    table["error"] = table["estimate"] / table["price"] - 1
    table["in_range"] = (table["low"] <= table["price"]) & (table["price"] <= table["high"])
    parts = []
    for direction, ascending in ((TOO_HIGH, False), (TOO_LOW, True)):
        side = table[table["error"] > 0] if direction == TOO_HIGH else table[table["error"] < 0]
        side = side.sort_values(["error", "sale_id"], ascending=[ascending, True])
        side = side.drop_duplicates("house_id").head(count)
        parts.append(side.assign(direction=direction, rank=np.arange(1, len(side) + 1)))
    return pd.concat(parts)


def _is_attribute(judged: pd.DataFrame, known: pd.DataFrame, name: str) -> bool:
    """Whether a column says something of the house that can be compared with its neighbours."""
    if name not in known or name.startswith("driver "):
        return False
    if name in _ESTIMATED:
        return False
    return pd.api.types.is_numeric_dtype(judged[name]) and pd.api.types.is_numeric_dtype(known[name])


def _reasons(
    row: dict[Any, Any],
    facts: Surroundings,
    position: int,
    known: pd.DataFrame,
    attributes: Sequence[str],
    names: Sequence[str],
    wording: Wording,
    uses_pictures: bool,
) -> Iterator[str]:
    around = known.iloc[facts.neighbours[position][facts.neighbours[position] >= 0]]
    unusual = list(_unusual(row, around, names, attributes, wording))
    yield from _price_reasons(row, around, wording, explained=bool(unusual))
    yield from _resale_reasons(row, known, names, wording)
    yield from unusual
    if facts.near[position] > facts.far:
        distance = facts.near[position]
        told = (
            f"the tenth nearest is {_distance(distance)} away" if np.isfinite(distance) else "fewer than ten"
        )
        yield f"few sales near: {told}, for the middle house it is {_distance(facts.usual_near)}"
    missing = [in_words(name) for name in attributes if name in row and _is_missing(row[name])]
    if missing:
        yield f"not stated: {', '.join(missing)}"
    if uses_pictures and not row.get("used_picture", True):
        yield "no aerial picture: estimated from attributes alone"
    elif uses_pictures:
        alone = row["without_picture"] / row["price"] - 1
        if abs(row["error"]) - abs(alone) > _PICTURE_PULL:
            yield f"the picture pulled the wrong way: from attributes alone the miss is {_signed(alone)}"


def _price_reasons(
    row: dict[Any, Any], around: pd.DataFrame, wording: Wording, *, explained: bool
) -> Iterator[str]:
    """A price far from what area costs around here; a dear house unlike the others may be worth it."""
    area = row.get("area_m2")
    if area is None or _is_missing(area) or area <= 0 or "area_m2" not in around:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = (around["price"] / around["area_m2"]).to_numpy(np.float64)
    rates = rates[np.isfinite(rates) & (rates > 0)]
    if len(rates) < _NEAR:
        return
    rate = row["price"] / area
    middle, spread = _middle_and_spread(np.log(rates))
    apart = np.log(rate) - middle
    if abs(apart) > _NOT_ORDINARY and abs(apart) > _UNUSUAL * max(spread, 0.05):
        doubt = "" if apart > 0 and explained else ": perhaps not an ordinary sale"
        yield (
            f"sold for {wording.per_area(rate)} where the {len(rates)} nearest sales brought "
            f"{wording.per_area(float(np.exp(middle)))}{doubt}"
        )


def _resale_reasons(
    row: dict[Any, Any], known: pd.DataFrame, names: Sequence[str], wording: Wording
) -> Iterator[str]:
    """What the house's own earlier sale says: other attributes, or quite another price."""
    before = known[(known["house_id"] == row["house_id"]) & (known["sale_date"] < row["sale_date"])]
    if before.empty:
        return
    last = before.sort_values("sale_date").iloc[-1]
    for name in names:
        old, new = float(last[name]), float(row[name])
        if np.isfinite(old) and np.isfinite(new) and abs(new - old) > _MUCH_CHANGED * max(abs(old), 1e-9):
            change = f"{wording.value(name, old)} before, {wording.value(name, new)} now"
            yield f"much changed since its sale in {last['sale_date']:%B %Y}: {in_words(name)} {change}"
            break
    move = row["price"] / float(last["price"]) - 1
    if abs(np.log1p(move)) > _RESOLD_MOVE:
        yield (
            f"sold for {wording.currency} {last['price']:,.0f} in {last['sale_date']:%B %Y} ({_signed(move)} "
            "since): perhaps rebuilt, or one of the two not an ordinary sale"
        )


def _unusual(
    row: dict[Any, Any],
    around: pd.DataFrame,
    names: Sequence[str],
    attributes: Sequence[str],
    wording: Wording,
) -> Iterator[str]:
    """The attributes in which the house is least like those around it."""
    found = []
    for name in names:
        value = row[name]
        others = around[name].to_numpy(np.float64, na_value=np.nan)
        others = others[np.isfinite(others)]
        if _is_missing(value) or len(others) < _NEAR:
            continue
        middle, spread = _middle_and_spread(others)
        least = max(0.15 * abs(middle), np.std(others) / 2, 1e-9)
        distance = abs(value - middle) / max(spread, least)
        if distance > _UNUSUAL:
            found.append((distance, name, float(value), middle))
    for _, name, value, middle in sorted(found, reverse=True)[:_MOST_UNUSUAL]:
        unknown = "" if name in attributes else ", which the model is not told"
        yield (
            f"unlike its neighbours: {in_words(name)} {wording.value(name, value)}, "
            f"around it {wording.value(name, middle)}{unknown}"
        )


def _range_sentence(row: dict[Any, Any]) -> str:
    width = row["high"] / row["low"] - 1
    if row["in_range"]:
        return f"the price lies inside the range, whose upper end is {_signed(width)} above the lower"
    return "the price lies outside the range"


def _middle_and_spread(values: Array) -> tuple[float, float]:
    """Median, and the standard deviation that the median absolute deviation stands for."""
    middle = float(np.median(values))
    return middle, _MAD * float(np.median(np.abs(values - middle)))


def _is_missing(value: Any) -> bool:
    return value is None or value != value


def _distance(metres: float) -> str:
    return f"{metres / 1000:,.1f} km" if metres >= 1000 else f"{metres:,.0f} m"


def _signed(share: float) -> str:
    return f"{share * 100:+,.0f} %".replace("-", "−")
