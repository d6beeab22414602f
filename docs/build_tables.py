"""Write the generated tables of the README and the docs between their markers.

``python docs/build_tables.py`` writes them, ``--check`` only says which differ.
A table stands between ``<!-- NAME:start -->`` and ``<!-- NAME:end -->``; its
figures come from ``docs/results/*.json`` or from the code. Markers without an
entry in :data:`TABLES` are written by hand and left alone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import atlas_tables
import bird_tables
import code_tables
import comparable_sales_tables
import database_tables
import etl_tables
import finetune_tables
import house_map_tables
import land_cover_tables
import lender_tables
import market_tables
import method_tables
import price_tables
import report_tables
import run_tables
import server_tables
import table2_tables
import town_tables
import validation_tables

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "docs" / "results"
MARKED = re.compile(r"<!-- (?P<name>[\w-]+):start -->\n(?P<content>.*?)<!-- (?P=name):end -->", re.DOTALL)

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """How one table is made.

    Attributes:
        build: Markdown from the figures.
        results: File in ``docs/results`` that the figures come from; None
            where the code itself is the source.
    """

    build: Callable[[Figures], str]
    results: str | None = None

    def figures(self) -> Figures | None:
        """The figures, empty where the code is the source; None where they are not measured yet."""
        if self.results is None:
            return {}
        path = RESULTS / self.results
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


TABLES: dict[str, Table] = {
    "atlas-cost": Table(atlas_tables.atlas_cost, "atlas-cost.json"),
    "birds-best": Table(bird_tables.best, "cub200.json"),
    "birds-figure-7": Table(bird_tables.figure_7, "cub200.json"),
    "birds-methods": Table(bird_tables.methods, "cub200.json"),
    "birds-paper-c": Table(bird_tables.paper_c, "cub200.json"),
    "birds-paper-e": Table(bird_tables.paper_e, "cub200.json"),
    "birds-paper-l": Table(bird_tables.paper_l, "cub200.json"),
    "birds-randomisation": Table(bird_tables.randomisation, "cub200.json"),
    "birds-removal": Table(bird_tables.removal, "cub200.json"),
    "birds-set-up": Table(bird_tables.set_up, "cub200.json"),
    "birds-transfer": Table(bird_tables.transfer, "cub200.json"),
    "cam-peers": Table(method_tables.cam_peers, "cam-peers.json"),
    "class-maps": Table(method_tables.class_maps, "class-maps.json"),
    "comparable-sales": Table(run_tables.comparable_sales, "comparable-sales.json"),
    "comparables-lookup": Table(comparable_sales_tables.comparables_lookup, "comparables-lookup.json"),
    "embedding-engine": Table(run_tables.embedding_engine, "embedding-engine.json"),
    "fetch-faults": Table(etl_tables.fetch_faults, "tile-fetch-faults.json"),
    "fetch-rate": Table(etl_tables.fetch_rate, "tile-fetch-rate.json"),
    "fetch-speed": Table(etl_tables.fetch_speed, "tile-fetch.json"),
    "finetune": Table(finetune_tables.finetune, "finetune.json"),
    "grad-weight-database": Table(database_tables.grad_weight_database, "grad-weight-database.json"),
    "king-county-all": Table(run_tables.king_county_details, "king-county-all-attributes.json"),
    "king-county-details": Table(run_tables.king_county_details, "king-county.json"),
    "l2caf-classes": Table(method_tables.l2caf_classes, "l2caf-speed.json"),
    "l2caf-speed": Table(method_tables.l2caf_speed, "l2caf-speed.json"),
    "land-cover": Table(land_cover_tables.land_cover, "land-cover.json"),
    "land-cover-cost": Table(land_cover_tables.land_cover_cost, "land-cover-cost.json"),
    "land-cover-real": Table(land_cover_tables.land_cover_real, "land-cover-real.json"),
    "lender-lookup": Table(database_tables.lender_lookup, "lender-lookup.json"),
    "lenders-king-county": Table(lender_tables.lenders, "lenders-king-county.json"),
    "lenders-sample-market": Table(lender_tables.lenders, "lenders-sample-market.json"),
    "market-index-king-county": Table(market_tables.market_index_king_county, "market-index.json"),
    "market-index-towns": Table(market_tables.market_index_towns, "market-index.json"),
    "million-listings": Table(etl_tables.million_listings, "million-listings.json"),
    "other-markets": Table(run_tables.other_markets, "other-markets.json"),
    "planted-drivers": Table(town_tables.planted_drivers, "planted-drivers.json"),
    "report-cost": Table(report_tables.report_cost, "report-cost.json"),
    "price-model": Table(price_tables.price_model, "price-model.json"),
    "providers": Table(code_tables.providers),
    "regularisation": Table(run_tables.regularisation, "ranker-penalty.json"),
    "sample-market": Table(run_tables.sample_market, "sample-market.json"),
    "sample-market-planted": Table(code_tables.planted),
    "sample-market-shares": Table(code_tables.driver_shares),
    "server-estimates": Table(server_tables.estimates, "serve-estimates-king-county-all-attributes.json"),
    "server-million": Table(server_tables.million_houses, "serve-million.json"),
    "table2-best": Table(table2_tables.best, "table2.json"),
    "table2-headline": Table(table2_tables.headline, "table2.json"),
    "table2-learners": Table(table2_tables.learners, "table2.json"),
    "table2-paper": Table(table2_tables.paper, "table2.json"),
    "table2-regressors": Table(table2_tables.regressors, "table2.json"),
    "table2-shuffled": Table(table2_tables.shuffled, "table2.json"),
    "validation-king-county-all": Table(
        validation_tables.validation, "validation-king-county-all-attributes.json"
    ),
    "validation-king-county": Table(validation_tables.validation, "validation-king-county.json"),
    "validation-sample-market": Table(validation_tables.validation, "validation-sample-market.json"),
    "table2-strongest": Table(table2_tables.strongest, "table2.json"),
    "interval-width": Table(price_tables.interval_width, "interval-width.json"),
    "tree-shap": Table(price_tables.tree_shap, "tree-shap.json"),
    "transfer-cost": Table(database_tables.transfer_cost, "transfer-cost.json"),
    "randomisation": Table(house_map_tables.randomisation, "randomisation.json"),
    "value-maps": Table(house_map_tables.value_maps, "value-maps.json"),
}


def pages() -> list[Path]:
    """The README and all pages of the docs."""
    return [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def markers(text: str) -> list[str]:
    """Names of the marked places of a page."""
    return [found["name"] for found in MARKED.finditer(text)]


def filled(text: str, contents: Mapping[str, str]) -> str:
    """A page with the content of its marked places replaced.

    Args:
        text: The page.
        contents: Name of a place -> Markdown. A place that is not named stays as it is.
    """

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in contents:
            return found[0]
        return f"<!-- {name}:start -->\n{contents[name].strip()}\n<!-- {name}:end -->"

    return MARKED.sub(replaced, text)


def built_tables() -> tuple[dict[str, str], list[str]]:
    """All tables whose figures are there, and the names of those that are not measured yet."""
    contents, absent = {}, []
    for name, table in TABLES.items():
        figures = table.figures()
        if figures is None:
            absent.append(name)
        else:
            contents[name] = table.build(figures)
    return contents, absent


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables, or check them; returns the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated tables of the docs.")
    parser.add_argument("--check", action="store_true", help="only say which pages differ")
    options = parser.parse_args(arguments)
    contents, absent = built_tables()
    for name in absent:
        print(f"{name}: left as it is, docs/results/{TABLES[name].results} is not there")
    different = 0
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = filled(text, contents)
        if new == text:
            continue
        different += 1
        print(f"{page.relative_to(PROJECT)}: {'differs' if options.check else 'written'}")
        if not options.check:
            page.write_text(new, encoding="utf-8")
    return 1 if options.check and different else 0


if __name__ == "__main__":
    sys.exit(main())
