"""Estimates carried to the valuation date: sample markets with planted trends, and King County.

The towns' prices are generated without pictures. Two houses in five are sold a
second time, so that a repeat-sales index has pairs. In every month that is
judged, every house that no known sale is of is sold once more, so that luck with
the houses that happen to be sold counts little. Median ratios are of the estimate
to the sale price, and to the price without the noise of the single sale, over all
towns together.

King County is left out where its data are not at hand. There the kind of index
is chosen on forward splits inside the earlier sales; the later sales are only
judged. The figures are aggregate; nothing that belongs to one house is written.

    python benchmarks/market_index.py --out docs/results/market-index.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from market_index_king_county import SETS, measure_king_county

from data_pipeline.sample_market import SampleMarket
from data_pipeline.sample_market.prices import (
    BASE_PRICE,
    DRIVERS,
    FIRST_SALE,
    NOISE,
    SALE_DAYS,
    market_level,
    sale_of,
)
from housevis.core.machine import machine_facts
from housevis.pricing.market_index import KINDS
from housevis.pricing.model import HousePriceModel
from housevis.runs import package_versions, write_json

PROJECT: Final = Path(__file__).resolve().parents[1]
METHODS: Final = ("month", "no time", *KINDS)
TIMELESS: Final = ("latitude", "longitude", "bedrooms", "bathrooms", "area_m2")
TURN_AT: Final = 0.6
TRENDS: Final = (-1.0, 0.0, 1.5)
TURNS: Final = (0.4, 1.5)
MONTHS: Final = 3
SOLD_TWICE: Final = 5
"""Houses whose number, divided by five, leaves 0 or 1 are sold a second time."""
CUTOFF: Final = pd.Timestamp(FIRST_SALE) + pd.Timedelta(days=round(TURN_AT * SALE_DAYS))


def town_sales(houses: int, seed: int) -> pd.DataFrame:
    """Sale frame of a town without prices: their logs but for the market and for the noise in ``level``."""
    truth = SampleMarket(houses, seed).houses()
    fixed = truth["attributes_level"] + truth["location_level"]
    fixed += truth[[f"{driver}_effect" for driver in DRIVERS]].sum(axis=1)
    truth["fixed"] = fixed
    again = truth[truth.index % SOLD_TWICE < 2].copy()
    parts = []
    for part, sale_seed in ((truth, seed), (again, seed + 1_000_000)):
        drawn = [sale_of(sale_seed, house_id) for house_id in part["id"]]
        day, noise = (np.array(column) for column in zip(*drawn, strict=True))
        parts.append(part.assign(day=day, level=part["fixed"], noise=noise))
    sales = pd.concat(parts, ignore_index=True)
    sales["house_id"], sales["seed"] = sales["id"], seed
    sales["sale_date"] = pd.Timestamp(FIRST_SALE) + pd.to_timedelta(sales["day"], unit="D")
    return sales.drop_duplicates(["house_id", "sale_date"]).reset_index(drop=True)


def priced(sales: pd.DataFrame, monthly_change: float, turn_at: float | None) -> pd.DataFrame:
    """The same sales in a market that moves in this way."""
    market = [market_level("flat", int(day), monthly_change, turn_at) for day in sales["day"]]
    quiet = BASE_PRICE * np.exp(sales["level"] + market)
    return sales.assign(quiet_price=quiet, price=quiet * np.exp(sales["noise"]))


def sold_in(town: pd.DataFrame, known: pd.DataFrame, month: int) -> pd.DataFrame:
    """Every house that no known sale is of, sold on some day of a month after the cutoff."""
    random = np.random.default_rng([int(town["seed"].iloc[0]), month])
    houses, start = town.drop_duplicates("house_id"), pd.Timestamp(FIRST_SALE)
    first, end = ((CUTOFF + pd.DateOffset(months=step) - start).days for step in (month - 1, month))
    day = random.integers(first, end, len(houses))
    noise = random.normal(0.0, NOISE, len(houses))
    sold = houses.assign(day=day, noise=noise, sale_date=start + pd.to_timedelta(day, unit="D"))
    return sold[~sold["house_id"].isin(known["house_id"])]


def judge(
    town: pd.DataFrame,
    change: float,
    turn_at: float | None,
    method: str,
    known_until: int,
    months: Sequence[int],
) -> list[pd.DataFrame]:
    """Ratios in some months after the cutoff, by a model of the sales known so many months after it."""
    sales = priced(town, change, turn_at)
    known = sales[sales["sale_date"] < CUTOFF + pd.DateOffset(months=known_until)]
    attributes = TIMELESS if method == "no time" else (*TIMELESS, "sale_month")
    index = method if method in KINDS else "none"
    model = HousePriceModel(attributes=attributes, market_index=index, num_threads=1)
    model.fit(known, known["price"])
    found = []
    for month in months:
        judged = priced(sold_in(town, known, month), change, turn_at)
        estimate = model.predict(judged)
        found.append(
            pd.DataFrame({"sale": estimate / judged["price"], "quiet": estimate / judged["quiet_price"]})
        )
    return found


def measure_town(houses: int, seed: int) -> dict[tuple[str, float, str], list[pd.DataFrame]]:
    """Ratios by month, of steady markets without a refit and of turning ones with one every month."""
    town = town_sales(houses, seed)
    found = {}
    for method in METHODS:
        for change in TRENDS:
            found["steady", change, method] = judge(town, change, None, method, 0, range(1, MONTHS + 1))
        for change in TURNS:
            found["turning", change, method] = [
                judge(town, change, TURN_AT, method, month - 1, [month])[0] for month in range(1, MONTHS + 2)
            ]
    return found


def combined(
    houses: int, seeds: Sequence[int], by_town: Sequence[dict[tuple[str, float, str], list[pd.DataFrame]]]
) -> dict[str, Any]:
    """Median ratios over the sales of all towns of one size, and the lowest and highest of a town."""
    rows: dict[str, list[dict[str, Any]]] = {"steady": [], "turning": []}
    for market, change, method in by_town[0]:
        months = []
        for parts in zip(*(town[market, change, method] for town in by_town), strict=True):
            whole = pd.concat(parts)
            medians = [float(part["sale"].median()) for part in parts]
            months.append(
                {
                    "sales": len(whole),
                    "median_ratio": float(whole["sale"].median()),
                    "median_ratio_without_noise": float(whole["quiet"].median()),
                    "lowest_town": min(medians),
                    "highest_town": max(medians),
                }
            )
        rows[market].append({"monthly_change": change, "method": method, "months": months})
    return {"houses": houses, "towns": list(seeds), **rows}


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--houses", type=int, nargs="+", default=[4000, 1500], help="sizes of the towns")
    parser.add_argument("--towns", type=int, nargs="+", default=[31, 32, 33], help="seeds of the towns")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "market-index.json")
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        king_county = [pool.submit(measure_king_county, name) for name in SETS]
        towns = [
            [pool.submit(measure_town, houses, seed) for seed in options.towns] for houses in options.houses
        ]
        found = {
            "command": "python benchmarks/market_index.py",
            "machine": machine_facts(),
            "versions": package_versions(),
            "towns": [
                combined(houses, options.towns, [town.result() for town in size])
                for houses, size in zip(options.houses, towns, strict=True)
            ],
            "king_county": [part.result() for part in king_county],
        }
    write_json(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
