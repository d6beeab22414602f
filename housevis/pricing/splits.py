"""Which sales a model is fitted on, and which it is judged on."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from housevis.core.earth import KILOMETRES_PER_DEGREE
from housevis.core.errors import ModelError


def split_by_date(
    sale_dates: pd.Series[Any] | ArrayLike, train_share: float
) -> tuple[NDArray[np.bool_], pd.Timestamp]:
    """Split sales into earlier and later ones (C section 4: sorted by date, 6:4).

    All sales of one day fall on one side. Of all days the cut is taken whose
    share of earlier sales comes nearest to `train_share`.

    Args:
        sale_dates: Dates of n sales.
        train_share: Wanted share of earlier sales, between 0 and 1.

    Returns:
        Mask ``(n,)``, True for the earlier sales, and the cutoff: the first
        day of the later sales.

    Raises:
        ModelError: A date is missing, or all sales are of one day.
    """
    days = pd.DatetimeIndex(pd.to_datetime(np.asarray(sale_dates))).normalize()
    missing = int(np.isnat(days.to_numpy()).sum())
    if missing:
        raise ModelError(
            f"{missing} of {len(days)} sales have no date",
            remedy="Sales without a date cannot be split by date; leave them out.",
        )
    distinct, counts = np.unique(days.to_numpy(), return_counts=True)
    if len(distinct) < 2:
        date = f"{pd.Timestamp(distinct[0]):%Y-%m-%d}" if len(distinct) else "none"
        raise ModelError(
            f"all {len(days)} sales have the same date ({date}), so they cannot be split by date",
            where="listings.columns.date",
            remedy="Models learn from earlier sales and are measured on later ones: "
            "give sales of more than one date, or map the column that holds it.",
        )
    earlier_share = np.cumsum(counts)[:-1] / len(days)
    cutoff = pd.Timestamp(distinct[1 + int(np.argmin(np.abs(earlier_share - train_share)))])
    return np.asarray(days < cutoff), cutoff


def rolling_origins(
    sale_dates: pd.Series[Any] | ArrayLike, train_share: float, origins: int
) -> list[pd.Timestamp]:
    """The days from which on a model of an expanding window is judged.

    The first is the cutoff of :func:`split_by_date`, the others cut the later
    sales into parts of about equally many: a model of the sales before an
    origin is judged on those until the next one, and all parts together are
    the later sales.

    Args:
        sale_dates: Dates of n sales.
        train_share: Share of the sales before the first origin, between 0 and 1.
        origins: How many.

    Returns:
        The origins, the earliest first.

    Raises:
        ModelError: As for :func:`split_by_date`, or the later sales are of
            fewer days than there are origins.
    """
    is_earlier, _ = split_by_date(sale_dates, train_share)
    days = pd.DatetimeIndex(pd.to_datetime(np.asarray(sale_dates))).normalize()
    distinct, counts = np.unique(days[~is_earlier].to_numpy(), return_counts=True)
    if len(distinct) < origins:
        raise ModelError(
            f"{origins} origins are too many: the later sales are of {len(distinct)} days",
            where="--origins",
            remedy=f"Take at most {len(distinct)}.",
        )
    before = np.cumsum(counts) - counts
    chosen = [0]
    for number in range(1, origins):
        nearest = int(np.argmin(np.abs(before - counts.sum() * number / origins)))
        chosen.append(min(max(nearest, chosen[-1] + 1), len(distinct) - origins + number))
    return [pd.Timestamp(distinct[position]) for position in chosen]


def grouped_folds(groups: pd.Series[Any] | ArrayLike, folds: int, seed: int) -> NDArray[np.int64]:
    """Deal sales into folds of about equal size that keep groups together.

    Groups are shuffled by `seed`, then dealt, the largest first, each to the
    fold that is smallest so far. The fold of a group does not depend on the
    order of the rows.

    Args:
        groups: Group of each of n sales, such as its house id or the key of
            its picture. A missing value (None, NaN) is a group of its own.
        folds: Number of folds.
        seed: Seed of the shuffle.

    Returns:
        Fold numbers ``(n,)`` from 0 to ``folds - 1``.

    Raises:
        ModelError: There are fewer groups than folds.
    """
    codes, distinct = pd.factorize(pd.Series(groups).to_numpy(), sort=True)
    missing = codes < 0
    codes[missing] = len(distinct) + np.arange(int(missing.sum()))
    count = len(distinct) + int(missing.sum())
    if count < folds:
        raise ModelError(
            f"{count} groups of sales are too few for {folds} folds",
            where="pricing.folds",
            remedy="Lower the number of folds, or give more sales.",
        )
    sizes = np.bincount(codes, minlength=count)
    shuffled = np.random.default_rng(seed).permutation(count)
    fold_of_group = np.empty(count, dtype=np.int64)
    filled = [(0, fold) for fold in range(folds)]
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        size, fold = heapq.heappop(filled)
        fold_of_group[group] = fold
        heapq.heappush(filled, (size + int(sizes[group]), fold))
    return fold_of_group[codes]


def spatial_blocks(
    latitude: ArrayLike, longitude: ArrayLike, groups: ArrayLike, *, kilometres: float = 1.0
) -> NDArray[np.str_]:
    """The square block of land that each sale lies in, for folds that keep places apart.

    Sales of one group, such as those that share a picture, all lie in the
    block of the group's middle, so that no group is torn apart.

    Args:
        latitude: Degrees north ``(n,)``, EPSG:4326.
        longitude: Degrees east ``(n,)``.
        groups: Group of each sale ``(n,)``.
        kilometres: Side of a block.

    Returns:
        Name of the block of each sale ``(n,)``, for :func:`grouped_folds`.
    """
    places = pd.DataFrame({"north": np.asarray(latitude), "east": np.asarray(longitude)}, dtype="float64")
    middle = places.groupby(np.asarray(groups)).transform("mean").to_numpy()
    row = np.floor(middle[:, 0] * KILOMETRES_PER_DEGREE / kilometres).astype(np.int64)
    # A row of blocks has one width in degrees, that of its southern edge.
    parallel = np.cos(np.radians(row * kilometres / KILOMETRES_PER_DEGREE))
    column = np.floor(middle[:, 1] * parallel * KILOMETRES_PER_DEGREE / kilometres).astype(np.int64)
    return np.char.add(np.char.add(row.astype(str), "/"), column.astype(str))
