"""``python -m data_pipeline.sample_market``: write the listings and the truth of a fictional town."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.sample_market.market import SampleMarket
from data_pipeline.sample_market.prices import TRENDS
from housevis.core.errors import DataError, HousevisError
from housevis.core.progress import console, error_console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m data_pipeline.sample_market", description=__doc__)
    parser.add_argument("--houses", type=int, default=1500, help="how many houses are listed (default 1500)")
    parser.add_argument("--seed", type=int, default=1, help="any whole number (default 1)")
    parser.add_argument("--trend", choices=TRENDS, default="steady", help="how the market moves")
    parser.add_argument("--monthly-change", type=float, help="percent a month, in place of --trend")
    parser.add_argument("--turn-at", type=float, help="share of the 28 months after which the change turns")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--no-truth", action="store_true", help="write listings.csv only")
    options = parser.parse_args(arguments)
    try:
        market = SampleMarket(
            options.houses, options.seed, options.trend, options.monthly_change, options.turn_at
        )
        listings = options.out / "listings.csv"
        try:
            market.write_listings(listings)
            if not options.no_truth:
                market.export_truth(options.out / "truth")
        except OSError as error:
            raise DataError(
                f"cannot write: {error.strerror}",
                where=str(error.filename or options.out),
                remedy="Choose a folder that can be written to with --out.",
            ) from error
    except HousevisError as error:
        error_console.print(f"Error: {error}", markup=False)
        return error.exit_code
    console.print(
        f"{options.houses} houses of town {options.seed} ({options.trend}): {listings}", markup=False
    )
    if not options.no_truth:
        console.print(f"what moved their prices: {options.out / 'truth'}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
