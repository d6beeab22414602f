"""Rules that need all sales at once: what stands twice, where a house is, where an address is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.judging import DEGREES, Judge, Rules, judge_place, rejected_rows
from data_pipeline.plausibility import SAME_PLACE_DEGREES
from data_pipeline.resales import repeats_at_the_same_price
from db.store import SALE_COLUMNS

HOUSE_COLUMNS = ("house_id", "latitude", "longitude", "address", "unit", "listing_url")

Geocode = Callable[[Sequence[str]], dict[str, tuple[float, float] | None]]
"""Addresses -> latitude and longitude, None where an address is not found."""


def located(frame: pd.DataFrame, rules: Rules, geocode: Geocode | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give the rows the places of their addresses; without a geocoder they have none."""
    judge = Judge(len(frame))
    address = frame["address"]
    judge.reject(address.isna(), "missing_coordinate", "no address to look up")
    if geocode is None:
        judge.reject(address.notna(), "missing_coordinate", "to be looked up: " + address)
        return frame.iloc[:0], rejected_rows(frame, judge)
    found = geocode(sorted(set(address.dropna())))
    places = address.map(lambda text: found.get(text), na_action="ignore")
    unknown = np.array([not isinstance(place, tuple) for place in places], dtype=bool)
    judge.reject(unknown, "address_not_found", address)
    pairs = [place if isinstance(place, tuple) else (np.nan, np.nan) for place in places]
    located = frame.assign(latitude=[pair[0] for pair in pairs], longitude=[pair[1] for pair in pairs])
    judge_place(located, judge, replace(rules, crs=DEGREES), address.fillna(""))
    return located.loc[judge.passed].reset_index(drop=True), rejected_rows(located, judge)


def without_repeats(frame: pd.DataFrame, same_price_days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take out what stands twice: the same house and day, then the same house and price."""
    judge = Judge(len(frame))
    again = frame["sale_id"].duplicated().to_numpy(dtype=bool)
    if again.any():
        repeated = frame.loc[again]
        same = frame.loc[frame["sale_id"].isin(repeated["sale_id"])]
        first = same.drop_duplicates("sale_id").set_index("sale_id")
        detail = "same house and date as row " + repeated["sale_id"].map(first["source_row"]).astype(str)
        if "price" in frame.columns:
            other = repeated["price"].to_numpy() != repeated["sale_id"].map(first["price"]).to_numpy()
            detail = detail + np.where(other, ", other price", "")
        judge.reject(again, "duplicate_sale", detail.reindex(frame.index))
    if same_price_days and "price" in frame.columns:
        resold = repeats_at_the_same_price(frame.loc[judge.passed], same_price_days)
        if len(resold):
            mask = np.zeros(len(frame), dtype=bool)
            mask[resold.index] = True
            judge.reject(mask, "same_price_resale", resold.reindex(frame.index))
    rejects = rejected_rows(frame, judge)
    if rejects.empty:
        return frame, rejects
    return frame.loc[judge.passed].reset_index(drop=True), rejects


def houses_of(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Houses by id, sales with the place of their house, and how many houses lie in several places."""
    order = np.lexsort((frame["source_row"].to_numpy(), frame["sale_date"].to_numpy()))
    codes = pd.factorize(frame["house_id"])[0]
    latest: npt.NDArray[np.int64] = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    latest[codes[order]] = order
    houses = frame.iloc[latest][list(HOUSE_COLUMNS)].sort_values("house_id", ignore_index=True)
    sales = frame.drop(columns=["listing_url", "unit"])
    far = np.zeros(len(frame), dtype=bool)
    for name in ("latitude", "longitude", "address"):
        sales[name] = frame[name].take(latest[codes]).array
        if name != "address":
            apart = sales[name].to_numpy(dtype=np.float64) - frame[name].to_numpy(dtype=np.float64)
            far |= np.abs(apart) > SAME_PLACE_DEGREES
    ordered = [*SALE_COLUMNS, *(name for name in sales.columns if name not in SALE_COLUMNS)]
    return houses, sales[ordered], len(np.unique(codes[far]))
