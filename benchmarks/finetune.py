"""What a trained layer4 is worth on King County: rank accuracy on later sales, and gains over attributes.

Takes the table of cross-fitted scores that `housevis finetune CONFIG --folds N`
writes, with columns `sale_id`, `fold` (-1: judged by a network that learned
from no fold with the sale) and `score_…`. Figures are aggregate; nothing that
belongs to one house is written.

    housevis finetune examples/king-county.toml --folds 2
    python benchmarks/finetune.py --scores runs/king-county/finetune/…/scores.parquet
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from king_county import read_king_county
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection
from housevis.core.machine import machine_facts
from housevis.core.progress import console
from housevis.pricing import metrics
from housevis.pricing.attributes import ATTRIBUTE_SETS, encode
from housevis.pricing.boosters import fit_booster, raw_prediction
from housevis.runs import package_versions, write_json
from housevis.vision.ranking import comparable, draw_pairs, ordered_share

PROJECT: Final = Path(__file__).resolve().parents[1]
PAIRS: Final = 200_000
FIVE: Final = ATTRIBUTE_SETS["G, Bed, Bath, T, A"]
SECTION: Final = PricingSection(objective="absolute")


def rank_accuracies(sales: pd.DataFrame, scores: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Of every score: over all pairs of later sales, and over comparable ones."""
    price = sales["price"].to_numpy(np.float64)
    near = comparable(
        sales["latitude"].to_numpy(np.float64),
        sales["longitude"].to_numpy(np.float64),
        sales["area_m2"].to_numpy(np.float64),
    )
    pairs = {
        "all pairs": draw_pairs(price, pairs=PAIRS, seed=1),
        "comparable pairs": draw_pairs(price, pairs=PAIRS, seed=1, keep=near),
    }
    return {
        str(name): {
            kind: ordered_share(scores[name].to_numpy(), price, drawn) for kind, drawn in pairs.items()
        }
        for name in scores.columns
    }


def estimates(
    earlier: tuple[NDArray[np.float64], NDArray[np.float64]], later: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Prices of later sales by a booster, or the median price where there is nothing to go by."""
    table, log_price = earlier
    if table.shape[1] == 0:
        return np.full(len(later), np.exp(np.median(log_price)))
    booster = fit_booster(SECTION, table, log_price, seed=1, num_threads=1)
    return np.asarray(np.exp(raw_prediction(booster, later, 1)))


def gains(
    earlier: pd.DataFrame, later: pd.DataFrame, sets: dict[str, Sequence[str]], features: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """One row per attribute set and set of scores: shares within ±10 %, paired difference, median errors."""
    price = later["price"].to_numpy(np.float64)
    log_price = np.log(earlier["price"].to_numpy(np.float64))
    rows = []
    for name, attributes in sets.items():
        plain = [encode(part, attributes).to_numpy(np.float64) for part in (earlier, later)]
        without = estimates((plain[0], log_price), plain[1])
        for title, columns in features.items():
            joined = [
                np.hstack([table, part[columns].to_numpy(np.float64)])
                for table, part in zip(plain, (earlier, later), strict=True)
            ]
            with_scores = estimates((joined[0], log_price), joined[1])
            gain = metrics.paired_bootstrap_difference(
                metrics.hit(without, price), metrics.hit(with_scores, price), repeats=2000, seed=1
            )
            rows.append(
                {
                    "attributes": name,
                    "scores": title,
                    "share_without": float(metrics.pe(without, price)),
                    "share_with": float(metrics.pe(with_scores, price)),
                    "gain": gain.to_dict(),
                    "mdape_without": float(metrics.mdape(without, price)),
                    "mdape_with": float(metrics.mdape(with_scores, price)),
                }
            )
            console.print_json(data=rows[-1])
    return rows


def main() -> int:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scores", type=Path, required=True, help="table of cross-fitted scores")
    parser.add_argument("--training", type=Path, help="JSON on how the networks were trained, kept as it is")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "finetune.json")
    options = parser.parse_args()
    market = read_king_county()
    sales, is_earlier, cutoff = market.sales, market.is_earlier, market.cutoff
    table = pd.read_parquet(options.scores)
    score_names = [name for name in table.columns if name.startswith("score_")]
    joined = sales.merge(table[["sale_id", "fold", *score_names]], on="sale_id", how="left")
    later = joined[~is_earlier & joined["fold"].notna()]
    # Earlier sales that no fold's network judges are of houses sold again: they teach nobody.
    earlier = joined[is_earlier & (joined["fold"] >= 0) & ~joined["house_id"].isin(later["house_id"])]
    own = [name for name in score_names if "_near_" not in name]
    features = {"own scores": own}
    if len(own) < len(score_names):
        features["own scores and means of near ones"] = score_names
    sets: dict[str, Sequence[str]] = {
        "none": (),
        "Bed, Bath, T, A": [name for name in FIVE if name not in ("latitude", "longitude")],
        "G": ATTRIBUTE_SETS["G"],
        "G, Bed, Bath, T, A": FIVE,
        "all": market.sets["all"],
    }
    found = {
        "command": "python benchmarks/finetune.py --scores SCORES",
        "machine": machine_facts(),
        "versions": package_versions(),
        "training": json.loads(options.training.read_text()) if options.training else None,
        "cutoff": f"{cutoff:%Y-%m-%d}",
        "earlier_sales": len(earlier),
        "later_sales": len(later),
        "rank_accuracy": rank_accuracies(later, later[score_names]),
        "gains": gains(earlier, later, sets, features),
    }
    write_json(options.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
