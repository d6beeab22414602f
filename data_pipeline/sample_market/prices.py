"""What a house of the sample market is sold for, when, and how its listing is spoilt.

The logarithm of a price is the sum of the attributes, a location gradient, the
market's trend, the planted visual drivers and a noise of 7 %.
"""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Mapping
from typing import Literal, get_args

from data_pipeline.sample_market.house import Dwelling

Trend = Literal["steady", "flat", "falling", "turning"]
TRENDS: tuple[Trend, ...] = get_args(Trend)
DRIVERS = ("pool", "water", "canopy", "arterial")
"""The planted visual price drivers, in the order of every mask and table."""
FULL_EFFECTS = {
    "pool": math.log(1.06),
    "water": math.log(1.20),
    "canopy": math.log(1.08),
    "arterial": math.log(0.90),
}
"""Change of the log price by each driver; canopy is the most it can reach."""
LEAST_SHARE = 0.01
"""Part of the centred picture that a driver must cover to count."""
FULL_CANOPY_SHARE = 0.08
"""Part of the centred picture from which canopy has its full effect."""
NOISE = 0.07
FIRST_SALE = datetime.date(2024, 1, 1)
SALE_DAYS = 851
"""Days from the first possible sale to the last: 28 months."""
BASE_PRICE = 320_000.0


def driver_effects(shares: Mapping[str, float]) -> dict[str, float]:
    """Change of the log price by each driver, from its share of the centred picture (0..1)."""
    effects = {}
    for driver in DRIVERS:
        share = shares[driver]
        strength = min(1.0, share / FULL_CANOPY_SHARE) if driver == "canopy" else 1.0
        effects[driver] = FULL_EFFECTS[driver] * strength if share >= LEAST_SHARE else 0.0
    return effects


def market_level(
    trend: Trend, day: int, monthly_change: float | None = None, turn_at: float | None = None
) -> float:
    """Log of the market's level `day` days after the first possible sale.

    Args:
        trend: A named trend; counts only without `monthly_change`.
        day: Days after :data:`FIRST_SALE`.
        monthly_change: Percent that prices change in a month, compounded.
        turn_at: Share of :data:`SALE_DAYS` after which prices fall as fast as
            they rose, or rise as fast as they fell; None never turns.
    """
    years = day / 365.25
    if monthly_change is not None:
        turn = math.inf if turn_at is None else turn_at * SALE_DAYS / 365.25
        return 12.0 * math.log1p(monthly_change / 100.0) * (min(years, turn) - max(years - turn, 0.0))
    if trend == "flat":
        return 0.0
    if trend == "turning":
        peak = 1.4
        return 0.05 * years if years <= peak else 0.05 * peak - 0.05 * (years - peak)
    return (0.03 if trend == "steady" else -0.04) * years


def location_level(east: float, north: float) -> float:
    """Log of the location's level; `east` and `north` run from -1 to 1 over the town."""
    return 0.04 * east + 0.025 * north - 0.02 * (east * east + north * north)


def attribute_level(dwelling: Dwelling) -> float:
    """Log of what the listed attributes are worth."""
    return (
        0.16 * math.log(dwelling.area_m2 / 175.0)
        + 0.006 * (dwelling.bedrooms - 3)
        + 0.010 * (dwelling.bathrooms - 2.0)
    )


def sale_of(seed: int, house_id: str) -> tuple[int, float]:
    """Day of the sale (counted from :data:`FIRST_SALE`) and the noise of its log price."""
    stream = random.Random(f"{seed}/sale/{house_id}")
    return stream.randrange(SALE_DAYS), stream.gauss(0.0, NOISE)


LISTING_COLUMNS = (
    "id",
    "date",
    "price",
    "latitude",
    "longitude",
    "bedrooms",
    "bathrooms",
    "area_m2",
)
MISSING_SHARE = 0.025
WRONG_SHARE = 0.012


def spoil(seed: int, row: dict[str, str]) -> list[dict[str, str]]:
    """Listing rows of one house as a careless office would type them.

    About 2.5 % of bedrooms, bathrooms and areas are left out, and about 1.2 %
    of the rows are wrong in a way that a reader must notice.

    Args:
        seed: The town's seed.
        row: The true row, column name to text.

    Returns:
        One row, or two where the office entered a sale twice.
    """
    stream = random.Random(f"{seed}/listing/{row['id']}")
    row = dict(row)
    for column in ("bedrooms", "bathrooms", "area_m2"):
        if stream.random() < MISSING_SHARE:
            row[column] = ""
    if stream.random() >= WRONG_SHARE:
        return [row]
    kind = stream.randrange(7)
    if kind == 0:
        row["latitude"] = "95.0"
    elif kind == 1:
        row["price"] = "n/a"
    elif kind == 2:
        row["price"] = f"-{row['price']}"
    elif kind == 3:
        row["bedrooms"] = "40"
    elif kind == 4:
        row["date"] = "2099-06-30"
    elif kind == 5:
        row["price"] = ""
    else:
        return [row, dict(row)]
    return [row]
