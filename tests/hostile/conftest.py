"""A small town whose listings carry every hostile text, run once from listings to pages."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.sample_market import SampleMarket
from data_pipeline.tiles import unique_tiles
from housevis import pipeline
from housevis.core.config import load_config
from housevis.pipeline.project import open_project
from housevis.runs import Run, find_run

PAYLOAD = "window.hostile=1"
"""What runs, if anything does: the tests look for the global."""

TEXTS = {
    "script": f"</script><script>{PAYLOAD}</script>",
    "image": f"<img src=x onerror={PAYLOAD}>",
    "drawing": f"<svg/onload={PAYLOAD}><!--",
    "attribute": f"\"' autofocus onfocus={PAYLOAD} onmouseover='{PAYLOAD}' x=`",
    "link": f"javascript:{PAYLOAD}//",
    "data link": f"data:text/html,<script>{PAYLOAD}</script>",
    "template": "{{7*7}}{% raw %}${" + PAYLOAD + "}<%=7*7%>#{7*7}",
    "escape": "\\u003cscript\\u003e\\\"; '+alert(1)+' &lt;b&gt; &amp;",
    "line separators": "one\u2028two\u2029three",
    "override": "12 \u202eteertS eldoN",
    "isolates": "\u2067\u05d0\u05d1\u05d2 12\u2069 West",
    "right to left": "\u05e8\u05d7\u05d5\u05d1 \u05d4\u05e8\u05e6\u05dc 5",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 "
    "\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd",
    "controls": "bell\x07 nul\x00 escape\x1b[31m delete\x7f next\x85 line\r\nbreak",
    "formula": '=HYPERLINK("http://example.com/?"&A1,"press")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "tab": "\t=1+1",
    "return": "\r=2+2",
    "end of a string": "%00.html",
    "way up": "../../../../etc/passwd",
    "way up, encoded": "..%2f..%2fetc%2fpasswd",
    "address signs": "a#b?c=d&e;f/g h%2Fi+j@k:l,m|n",
    "backslash": '..\\..\\x:y*z"<>|',
    "dot": "..",
    "property": "__proto__",
    "long": "endless " * 24,
}
"""Kind -> text; every one is a house's id, another's address, unit and listing url."""

REPLACED = {
    "line separators": "one two three",
    "controls": "bell\ufffd nul escape\ufffd[31m delete\ufffd next line break",
}
"""What becomes of control characters, see docs/listings.md; other texts stay, without blanks around."""

HOUSES = 175
LEADING = f"<b>{PAYLOAD}</b></script><script>{PAYLOAD}</script>"
"""Begins the title, the notice and the credit of the imagery."""

CONFIG = """
name = "hostile-town"
seed = 1

[listings]
path = "sales.csv"
extra_attributes = ["<svg/onload=window.hostile=1>"]

[imagery]
source = "tiles.mbtiles"
rights_reference = "<script>window.hostile=1</script> contract"

[vision]
backbone = "efficientnet-lite0"

[siamese]
penalty = 60.0

[pricing]
attributes = [
    "latitude", "longitude", "bedrooms", "bathrooms", "area_m2", "sale_month",
    "<svg/onload=window.hostile=1>",
]
rounds = 40
bootstrap = 100
folds = 2

[atlas]
title = "{title}"
"""


def shown(kind: str) -> str:
    """A text as pages and tables are to show it."""
    return REPLACED.get(kind, TEXTS[kind].strip())


@dataclass(frozen=True)
class HostileTown:
    """The finished run.

    Attributes:
        folder: Where configuration and runs are.
        ids: Kind of text -> id of the house that has it as its id.
        addresses: Id of a house -> its address.
    """

    folder: Path
    ids: dict[str, str]
    addresses: dict[str, str]

    @property
    def config_file(self) -> Path:
        return self.folder / "town.toml"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def run(self) -> Run:
        return find_run(self.runs, "hostile-town")


@pytest.fixture(scope="session")
def hostile_town(tmp_path_factory: pytest.TempPathFactory) -> HostileTown:
    """The finished run; nothing in it is to be changed."""
    folder = tmp_path_factory.mktemp("hostile")
    market = SampleMarket(houses=HOUSES, seed=1)
    sales = market.houses()
    ids, addresses = write_listings(folder / "sales.csv", sales)
    write_tiles(folder / "tiles.mbtiles", market, sales)
    title = LEADING.replace('"', '\\"')
    (folder / "town.toml").write_text(CONFIG.replace("{title}", title), encoding="utf-8")
    with open_project(load_config(folder / "town.toml"), folder / "runs") as project:
        pipeline.run(project)
        shown = [ids[kind] for kind in ("script", "override", "emoji")]
        pipeline.gallery(project, house_ids=shown, methods=("transfer",), out=folder / "gallery.html")
        for house_id in shown:
            pipeline.house_report(project, house_id)
    return HostileTown(folder, ids, addresses)


def write_listings(path: Path, sales: pd.DataFrame) -> tuple[dict[str, str], dict[str, str]]:
    """The town's sales; the texts stand in the rows of houses that were sold at different times."""
    kinds = list(TEXTS)
    rows = np.linspace(0, len(sales) - 1, len(kinds)).astype(int)
    texts = {"house_id": [f"h{number}" for number in range(len(sales))]}
    for column in ("address", "unit", "listing_url"):
        texts[column] = [""] * len(sales)
    ids, addresses = {}, {}
    for place, (row, kind) in enumerate(zip(rows.tolist(), kinds, strict=True)):
        texts["house_id"][row] = TEXTS[kind]
        ids[kind] = shown(kind)
        for step, column in enumerate(("address", "unit", "listing_url"), start=1):
            other = kinds[(place + step) % len(kinds)]
            texts[column][row] = TEXTS[other]
            if column == "address":
                addresses[ids[kind]] = shown(other)
    random = np.random.default_rng(1)
    frame = pd.DataFrame(texts).assign(
        date=sales["sale_date"].dt.strftime("%Y-%m-%d"),
        **{
            name: sales[name]
            for name in ("price", "latitude", "longitude", "bedrooms", "bathrooms", "area_m2")
        },
        **{"<svg/onload=window.hostile=1>": random.integers(1, 9, len(sales))},
    )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(frame.columns)
        writer.writerows(frame.itertuples(index=False))
    return ids, addresses


def write_tiles(path: Path, market: SampleMarket, sales: pd.DataFrame) -> None:
    tiles = unique_tiles(sales.rename(columns={"id": "house_id"}), 18, "centred", 224)
    rows: list[Any] = []
    for tile in tiles:
        pixels = market.tile(tile.z, tile.x, tile.y)
        if pixels is not None:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=85)
            rows.append((tile, file.getvalue()))
    about = {"name": "town", "format": "jpg", "attribution": f"{LEADING} \u202e(c)"}
    with TileArchive.create(path, about) as archive:
        archive.write(rows)


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Kind -> text as it is to be shown."""
    return {kind: shown(kind) for kind in TEXTS}
