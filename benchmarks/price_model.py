"""What each part of the strongest attributes-only price model brings on King County.

Takes the listings of `examples/king-county.toml`. Settings were chosen by the
columns "cross-validated" (by house) and "forward" (the last quarter by date),
both inside the earlier sales; the later sales were looked at once, at the end:

    python benchmarks/price_model.py --out docs/results/price-model.json
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
from housevis.core.progress import progress_bar
from housevis.pricing import metrics
from housevis.pricing.model import HousePriceModel
from housevis.pricing.splits import grouped_folds, split_by_date
from housevis.runs import package_versions, write_json

PROJECT: Final = Path(__file__).resolve().parents[1]
FOLDS: Final = 3
FORWARD_SHARE: Final = 0.75
BOOTSTRAP: Final = 2000

_SLOW: Final = {"rounds": 800, "learning_rate": 0.03, "feature_fraction": 0.6, "row_fraction": 0.8}
_COMPARABLES: Final = _SLOW | {"comparables": 60}
_STRAIGHT: Final = _COMPARABLES | {"linear_base": True}
_CARRIED: Final = _STRAIGHT | {"market_index": "hedonic"}
MODELS: Final[dict[str, dict[str, Any]]] = {
    "default settings": {},
    "squared error": {"objective": "squared"},
    "800 rounds of 0.03, subsamples": _SLOW,
    "and comparable sales": _COMPARABLES,
    "and a linear base": _STRAIGHT,
    "and a hedonic index": _CARRIED,
    "and three boosters": _CARRIED | {"boosters": 3},
}
"""Name -> parameters; "and" adds to the line before."""


def main() -> int:
    """Measure every model on both attribute sets and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "price-model.json")
    options = parser.parse_args()
    market = read_king_county()
    sales, is_earlier, cutoff = market.sales, market.is_earlier, market.cutoff
    sets = market.sets
    rows: list[dict[str, Any]] = []
    with progress_bar("price models", len(sets) * len(MODELS)) as bar:
        for name, attributes in sets.items():
            hits: dict[str, NDArray[np.bool_]] = {}
            for model, parameters in MODELS.items():
                row, hits[model] = measure(sales[is_earlier], sales[~is_earlier], attributes, parameters)
                gain = metrics.paired_bootstrap_difference(
                    hits["default settings"], hits[model], BOOTSTRAP, 1
                )
                rows.append({"attributes": name, "model": model, **row, "gain": gain.to_dict()})
                bar.advance()
    write_json(
        options.out,
        {
            "command": "python benchmarks/price_model.py",
            "machine": machine_facts(),
            "versions": package_versions(),
            "cutoff": f"{cutoff:%Y-%m-%d}",
            "earlier_sales": int(is_earlier.sum()),
            "later_sales": int((~is_earlier).sum()),
            "parameters": MODELS,
            "rows": rows,
        },
    )
    return 0


def measure(
    earlier: pd.DataFrame, later: pd.DataFrame, attributes: Sequence[str], parameters: dict[str, Any]
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Figures inside the earlier sales and on the later ones, and which later sales are hit."""

    def estimates(known: pd.DataFrame, judged: pd.DataFrame) -> NDArray[np.float64]:
        known = known[~known["house_id"].isin(judged["house_id"])]
        model = HousePriceModel(attributes=tuple(attributes), num_threads=1, **parameters)
        return model.fit(known, known["price"]).predict(judged)

    folds = grouped_folds(earlier["house_id"], FOLDS, 1)
    crossed = np.empty(len(earlier))
    for fold in range(FOLDS):
        crossed[folds == fold] = estimates(earlier[folds != fold], earlier[folds == fold])
    known, _ = split_by_date(earlier["sale_date"], FORWARD_SHARE)
    estimate = estimates(earlier, later)
    figures = {
        "cross_validated": _figures(crossed, earlier),
        "forward": _figures(estimates(earlier[known], earlier[~known]), earlier[~known]),
        "later": _figures(estimate, later),
    }
    return figures, metrics.hit(estimate, later["price"].to_numpy())


def _figures(estimate: NDArray[np.float64], sales: pd.DataFrame) -> dict[str, float]:
    price = sales["price"].to_numpy()
    return {
        "share": float(metrics.pe(estimate, price)),
        "mdape": float(metrics.mdape(estimate, price)),
        "median_ratio": float(metrics.median_ratio(estimate, price)),
    }


if __name__ == "__main__":
    sys.exit(main())
