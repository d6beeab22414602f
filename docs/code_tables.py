"""Tables whose source is the code: provider records, what is planted in the sample market."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from table_text import markdown_table, percent

if TYPE_CHECKING:
    from data_pipeline.provider_records import Provider

PROJECT = Path(__file__).resolve().parents[1]

Figures = Mapping[str, Any]


def providers(_: Figures) -> str:
    """The provider records."""
    from data_pipeline.providers import PROVIDERS

    header = ["record", "where", "kind", "storing and analysing", "deepest zoom", "requests/s"]
    header += ["price of 1,000", "environment variables", "licence and terms"]
    return markdown_table(header, [_provider_row(record) for record in PROVIDERS.values()])


def _provider_row(record: Provider) -> list[str]:
    variables = (record.key_variable, record.secret_variable)
    own = record.kind in ("files", "sample")
    return [
        f"`{record.name}`",
        record.region,
        record.kind,
        "allowed" if record.allows_storage and record.allows_ml else "needs your own licence",
        "" if own else str(record.zoom_maximum),
        "" if own else f"{record.requests_per_second:g}",
        "" if record.price_per_thousand is None else f"{record.price_per_thousand:.2f} {record.currency}",
        ", ".join(f"`{variable}`" for variable in variables if variable),
        ". ".join(filter(None, (f"{record.licence}, {record.terms}".rstrip(", "), record.note))),
    ]


_DRIVERS_IN_WORDS = {
    "pool": "a pool on the lot",
    "water": "open water in the picture",
    "canopy": "trees on the lot",
    "arterial": "an arterial road in the picture",
}


def planted(_: Figures) -> str:
    """What is planted in the sample market."""
    from data_pipeline.sample_market import prices

    rows = [
        [
            f"`{driver}`",
            _DRIVERS_IN_WORDS[driver],
            f"{100 * (math.exp(effect) - 1):+.0f} %",
            f"grows with its share of the picture, whole from {percent(prices.FULL_CANOPY_SHARE)}"
            if driver == "canopy"
            else f"whole, from {percent(prices.LEAST_SHARE)} of the picture",
        ]
        for driver, effect in prices.FULL_EFFECTS.items()
    ]
    table = markdown_table(["driver", "what it is", "effect on the price", "how it counts"], rows)
    return (
        f"{table}\n\nThe noise has a standard deviation of {percent(prices.NOISE)} of the price. "
        f"No driver that covers less than {percent(prices.LEAST_SHARE)} of the picture counts."
    )


def driver_shares(_: Figures) -> str:
    """How frequent the drivers are in the town of the demo."""
    from data_pipeline.sample_market import DRIVERS, SampleMarket
    from housevis.core.config import load_config

    town = load_config(PROJECT / "examples" / "sample-market.toml").sample_market
    assert town is not None
    houses = SampleMarket(town.houses, town.seed, town.trend).houses()
    rows = []
    for driver in DRIVERS:
        counts = houses[f"{driver}_effect"] != 0
        rows.append(
            [
                f"`{driver}`",
                percent(counts.mean()),
                percent(houses.loc[counts, f"{driver}_share"].mean()),
                f"{houses[f'{driver}_effect'].std():.3f}",
            ]
        )
    header = ["driver", "houses where it counts", "mean share of their picture", "spread in log price"]
    return markdown_table(header, rows)
