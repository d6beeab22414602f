"""Repeated sales of one house: linked to each other, and recognised where one is recorded twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

NONE = -1


def previous_positions(house: npt.NDArray[np.int64], *keys: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """Where the row before each row is, among the rows of the same house.

    Args:
        house: A number for each house, (n,).
        keys: What orders the rows of a house, the most important first.

    Returns:
        Positions, (n,); -1 for the first row of a house.
    """
    order = np.lexsort((*reversed(keys), house))
    before = np.full(len(house), NONE, dtype=np.int64)
    same = house[order][1:] == house[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    return before


def previous_sales(sales: pd.DataFrame) -> pd.Series:
    """The `sale_id` of the same house's sale before, missing where there is none.

    Args:
        sales: `sale_id`, `house_id` and `sale_date`, in any order.
    """
    house = pd.factorize(sales["house_id"])[0]
    before = previous_positions(house, sales["sale_date"].to_numpy())
    values = sales["sale_id"].array.take(before, allow_fill=True)
    return pd.Series(values, index=sales.index, dtype="str")


def repeats_at_the_same_price(sales: pd.DataFrame, days: int) -> pd.Series:
    """Sales of a house at the price of an earlier one, so many days after it at most.

    A deed is often recorded a second time, for a correction or a trust; the
    price tells. Cook County's sales validation leaves such a sale out too.

    Args:
        sales: `house_id`, `price`, `sale_date`, `source_row`; no two rows of
            a house on one day.
        days: The latest is a sale of its own after more days than this.

    Returns:
        The index of the repeated sales -> a sentence that names the earlier row.
    """
    house = pd.factorize(sales["house_id"])[0]
    day = sales["sale_date"].to_numpy().astype("datetime64[D]")
    price = sales["price"].to_numpy(dtype=np.float64)
    before = previous_positions(house, price, day)
    there = before != NONE
    again = there & (price[before] == price) & ((day - day[before]).astype(np.int64) <= days)
    positions = np.flatnonzero(again)
    rows = sales["source_row"].to_numpy()[before[positions]]
    dates = np.datetime_as_string(day[before[positions]])
    texts = [f"same house and price as row {row} of {date}" for row, date in zip(rows, dates, strict=True)]
    return pd.Series(texts, index=sales.index[positions], dtype=object)
