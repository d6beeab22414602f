"""Count what the land-cover network says at points of real pictures that a person has named.

The labels are JSON, one entry per tile of an MBTiles archive: ``{"zoom", "x",
"y", "points": [[column, row], ...], "labels": ["roof", ...]}``, rows of tiles
counted from the north, points in pixels of a tile of 256; a label ``"?"`` is a
point that could not be told. Only the table of counts is written: it holds
nothing of a picture or a place.

    python benchmarks/land_cover_points.py tiles.mbtiles labels.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image
from result_facts import RESULTS, result_facts, use_threads

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import open_picture
from data_pipeline.land_cover import LAND_COVERS
from housevis.explain.landcover import LandCoverSegmenter
from housevis.runs import write_json

TILE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--side", type=int, default=224, help="pixels that a tile is resized to")
    parser.add_argument("--out", type=Path, default=RESULTS / "land-cover-real.json")
    options = parser.parse_args()
    use_threads()
    entries = json.loads(options.labels.read_text(encoding="utf-8"))
    with TileArchive(options.archive) as archive:
        tiles = []
        for entry in entries:
            data = archive.read(entry["zoom"], entry["x"], entry["y"])
            if data is None:
                parser.error(f"the archive has no tile {entry['zoom']}/{entry['x']}/{entry['y']}")
            picture = open_picture(data).convert("RGB")
            fitted = picture.resize((options.side, options.side), Image.Resampling.BILINEAR)
            tiles.append(np.asarray(fitted))
    covers = LandCoverSegmenter.load().classes(np.stack(tiles))
    confusion = np.zeros((len(LAND_COVERS), len(LAND_COVERS)), dtype=int)
    unclear = 0
    for cover, entry in zip(covers, entries, strict=True):
        for (column, row), label in zip(entry["points"], entry["labels"], strict=True):
            if label == "?":
                unclear += 1
                continue
            line, place = ((part + 0.5) / TILE for part in (row, column))
            found = cover[int(line * cover.shape[0]), int(place * cover.shape[1])]
            confusion[LAND_COVERS.index(label), found] += 1
    print(confusion)
    figures = {
        "pictures": len(entries),
        "side": options.side,
        "unclear": unclear,
        "classes": list(LAND_COVERS),
        "confusion": confusion.tolist(),
    }
    facts = result_facts() | {"command": "python benchmarks/land_cover_points.py ARCHIVE LABELS"}
    write_json(options.out, {**facts, **figures})


if __name__ == "__main__":
    main()
