"""How fast pictures become features: the engine beside a plain PyTorch loop.

Both go from the tiles of an MBTiles archive to float16 features on disk, in
turn within one run, so that a busy machine slows both:

* plain: decode, resize, normalise and run one picture at a time in float32;
* engine: decoding in threads, overlapped with the engine's batches, into a
  feature store.

    python benchmarks/embedding_engine.py TILES.mbtiles --backbone resnet50-trunk --weights FILE
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.decoding import decode_tile
from housevis.core.config_sections import VisionSection
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import FeatureEngine, open_engine
from housevis.vision.store import FeatureStore

Place = tuple[int, int, int]
PACKAGES = ("torch", "torchvision", "openvino", "numpy", "pillow")


def read_places(path: Path, count: int) -> list[Place]:
    """The first tiles of an archive as (zoom, column, XYZ row)."""
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
        rows = connection.execute(
            "SELECT zoom_level, tile_column, tile_row FROM tiles ORDER BY 1, 2, 3 LIMIT ?", (count,)
        ).fetchall()
    return [(zoom, column, 2**zoom - 1 - row) for zoom, column, row in rows]


def key_of(place: Place) -> str:
    return hashlib.sha256(repr(place).encode()).hexdigest()


def plain_loop(archive: TileArchive, places: list[Place], backbone: Backbone, folder: Path) -> None:
    rows = []
    for place in places:
        data = archive.read(*place)
        assert data is not None
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        picture = picture.resize((backbone.input_size, backbone.input_size), Image.Resampling.BILINEAR)
        with torch.inference_mode():
            _, pooled = backbone.module(torch.from_numpy(np.asarray(picture)[None].copy()))
        rows.append(pooled.numpy().astype(np.float16))
    np.save(folder / "plain.npy", np.concatenate(rows))


def engine_run(archive: TileArchive, places: list[Place], engine: FeatureEngine, folder: Path) -> None:
    store = FeatureStore(folder / "features")

    def load(place: Place) -> np.ndarray | None:
        data = archive.read(*place)
        return None if data is None else decode_tile(data)

    keys: list[str] = []
    features: list[np.ndarray] = []
    for batch in iterate_features(load, places, engine):
        keys.extend(key_of(place) for place in batch.items)
        assert batch.pooled is not None
        features.append(batch.pooled)
    store.append(keys, np.concatenate(features))


def agreement(folder: Path, places: list[Place]) -> dict[str, float]:
    """How far the engine's features are from the float32 ones, on the same pictures."""
    plain = np.load(folder / "plain.npy").astype(np.float32)
    found = FeatureStore(folder / "features").read([key_of(place) for place in places[: len(plain)]])
    centred = plain - plain.mean(axis=0), found - plain.mean(axis=0)
    return {
        "mean_difference_by_mean_value": float(np.abs(found - plain).mean() / np.abs(plain).mean()),
        "correlation": float(np.corrcoef(centred[0].ravel(), centred[1].ravel())[0, 1]),
    }


def measure(arguments: argparse.Namespace) -> dict:
    section = VisionSection(backbone=arguments.backbone, weights=arguments.weights)
    backbone = load_backbone(section)
    started = time.perf_counter()
    engine = open_engine(backbone, arguments.engine, section.batch_size)
    opened = time.perf_counter() - started
    places = read_places(arguments.archive, arguments.pictures)
    some = places[: arguments.plain_pictures]
    rates: dict[str, list[float]] = {"plain": [], "engine": []}
    with TileArchive(arguments.archive) as archive, tempfile.TemporaryDirectory() as folder:
        plain_loop(archive, some[:2], backbone, Path(folder))
        for turn in range(arguments.rounds):
            target = Path(folder) / str(turn)
            target.mkdir()
            started = time.perf_counter()
            plain_loop(archive, some, backbone, target)
            rates["plain"].append(len(some) / (time.perf_counter() - started))
            started = time.perf_counter()
            engine_run(archive, places, engine, target)
            rates["engine"].append(len(places) / (time.perf_counter() - started))
        agree = agreement(target, places)
    engine.close()
    plain, fast = (statistics.median(rates[name]) for name in ("plain", "engine"))
    return {
        "backbone": backbone.fingerprint,
        "engine": engine.description,
        "pictures": len(places),
        "plain_pictures": len(some),
        "images_per_second": {name: [round(rate, 1) for rate in values] for name, values in rates.items()},
        "median_images_per_second": {"plain": round(plain, 1), "engine": round(fast, 1)},
        "ratio": round(fast / plain, 2),
        "engine_opens_in_seconds": round(opened, 2),
        "agreement_with_float32": {name: round(value, 5) for name, value in agree.items()},
        "machine": {
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "system": platform.system(),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """The processor's name and the number formats that matter here."""
    facts = Path("/proc/cpuinfo")
    if not facts.is_file():
        return platform.processor()
    lines = dict(line.split(":", 1) for line in facts.read_text().splitlines() if ":" in line)
    entries = {name.strip(): value.strip() for name, value in lines.items()}
    formats = {"avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8"}
    found = sorted(formats & set(entries.get("flags", "").split()))
    return f"{entries.get('model name', platform.processor())} ({', '.join(found)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("archive", type=Path, help="an MBTiles file")
    parser.add_argument("--backbone", default="auto")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--engine", default="auto", choices=["auto", "openvino", "torch"])
    parser.add_argument("--pictures", type=int, default=640)
    parser.add_argument("--plain-pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("docs/results/embedding-engine.json"))
    arguments = parser.parse_args()
    results = measure(arguments)
    kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    kept[results["backbone"].split()[0]] = results
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.results.with_suffix(".writing")
    temporary.write_text(json.dumps(kept, indent=2) + "\n")
    temporary.replace(arguments.results)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
