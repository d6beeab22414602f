"""The sales of King County for benchmarks that read no picture: ordered by date and split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.listings import read_listings
from housevis.core.config import load_config
from housevis.pricing.attributes import ATTRIBUTE_SETS
from housevis.pricing.splits import split_by_date

PROJECT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, eq=False)
class KingCounty:
    """All sales in order of date.

    Attributes:
        sales: Sale frame, n rows.
        is_earlier: True for the earlier sales ``(n,)``.
        cutoff: First day of the later sales.
        sets: ``five``, the attributes of the paper, and ``all``.
    """

    sales: pd.DataFrame
    is_earlier: NDArray[np.bool_]
    cutoff: pd.Timestamp
    sets: dict[str, tuple[str, ...]]


def read_king_county() -> KingCounty:
    """Read the listings of `examples/king-county.toml`; of its settings only the split is taken.

    Raises:
        ListingsError: The data is not at hand.
    """
    os.environ.setdefault("HOUSEVIS_RIGHTS", "no picture is read")
    config = load_config(PROJECT / "examples" / "king-county.toml")
    sales = read_listings(config.listings).sales
    sales = sales.sort_values(["sale_date", "sale_id"], kind="stable").reset_index(drop=True)
    is_earlier, cutoff = split_by_date(sales["sale_date"], config.pricing.train_share)
    five = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
    return KingCounty(
        sales, is_earlier, cutoff, {"five": five, "all": (*five, *config.listings.extra_attributes)}
    )
