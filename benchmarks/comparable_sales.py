"""Comparable sales as features of the attributes-only model, on King County.

Estimates of later sales, and of held-out folds of the earlier sales, from the
paper's five attributes and from all, without and with comparable sales. The
figures are aggregate; nothing that belongs to one house is written.

    python benchmarks/comparable_sales.py --out docs/results/comparable-sales.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from king_county import read_king_county
from numpy.typing import NDArray

from housevis.core.machine import machine_facts
from housevis.core.progress import console
from housevis.pricing import metrics
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import grouped_folds
from housevis.runs import package_versions, write_json

PROJECT: Final = Path(__file__).resolve().parents[1]
FOLDS: Final = 5
COMPARABLES: Final = 60
BOOSTINGS: Final[dict[str, dict[str, Any]]] = {
    "as shipped": {},
    "800 rounds, subsamples": {
        "rounds": 800,
        "learning_rate": 0.03,
        "feature_fraction": 0.6,
        "row_fraction": 0.8,
    },
}


def estimates(
    train: pd.DataFrame,
    test: pd.DataFrame,
    attributes: Sequence[str],
    comparables: int,
    boosting: dict[str, Any],
) -> NDArray[np.float64]:
    """Prices of `test` by a model fitted on `train`."""
    model = HousePriceModel(attributes=attributes, comparables=comparables, num_threads=1, **boosting)
    return np.asarray(model.fit(train, train["price"]).predict(test))


def cross_validated(
    sales: pd.DataFrame, attributes: Sequence[str], comparables: int, boosting: dict[str, Any]
) -> NDArray[np.float64]:
    """Prices of `sales`, each by a model fitted on the folds that the house is not in."""
    fold = grouped_folds(sales["house_id"], FOLDS, seed=1)
    result = np.zeros(len(sales))
    for number in range(FOLDS):
        held_out = fold == number
        result[held_out] = estimates(sales[~held_out], sales[held_out], attributes, comparables, boosting)
    return result


def compared(
    without: NDArray[np.float64], with_comparables: NDArray[np.float64], price: NDArray[np.float64]
) -> dict[str, Any]:
    """Shares within ±10 %, their paired difference, and both median errors."""
    gain = metrics.paired_bootstrap_difference(
        metrics.hit(without, price), metrics.hit(with_comparables, price), repeats=2000, seed=1
    )
    return {
        "sales": len(price),
        "share_without": float(metrics.pe(without, price)),
        "share_with": float(metrics.pe(with_comparables, price)),
        "gain": gain.to_dict(),
        "mdape_without": float(metrics.mdape(without, price)),
        "mdape_with": float(metrics.mdape(with_comparables, price)),
    }


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "comparable-sales.json")
    options = parser.parse_args()
    market = read_king_county()
    sales, is_earlier, cutoff = market.sales, market.is_earlier, market.cutoff
    later = sales[~is_earlier]
    earlier = sales[is_earlier & ~sales["house_id"].isin(later["house_id"])]
    rows = []
    for name, attributes in market.sets.items():
        for title, boosting in BOOSTINGS.items():
            judged = [estimates(earlier, later, attributes, count, boosting) for count in (0, COMPARABLES)]
            folds = [cross_validated(earlier, attributes, count, boosting) for count in (0, COMPARABLES)]
            rows.append(
                {
                    "attributes": name,
                    "boosting": title,
                    "later": compared(*judged, later["price"].to_numpy()),
                    "cross-validated": compared(*folds, earlier["price"].to_numpy()),
                }
            )
            console.print_json(data=rows[-1])
    found = {
        "command": "python benchmarks/comparable_sales.py",
        "machine": machine_facts(),
        "versions": package_versions(),
        "cutoff": f"{cutoff:%Y-%m-%d}",
        "comparables": COMPARABLES,
        "rows": rows,
    }
    write_json(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
