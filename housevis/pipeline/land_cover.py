"""What covers the ground in a house's picture: the segmenter, and files of buildings and roads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.land_cover import LAND_COVERS
from data_pipeline.land_cover_layers import read_buildings, read_roads
from data_pipeline.vector_files import Bounds
from housevis.core.config import Config
from housevis.core.config_sections import LandCoverSection
from housevis.explain.landcover import TRANSFER, WEIGHTS, LandCoverSegmenter
from housevis.explain.under_heat import UnderHeat
from housevis.pipeline.project import fingerprint

UNMEASURED = (
    "What is under the heat was not measured when the houses were explained. "
    "`housevis explain CONFIG` measures it, then build the pages again."
)


class LandCoverReader:
    """Tells the land cover of pictures.

    Args:
        section: Which files know better than the segmenter.
        threads: Processor threads of the segmenter; None takes all.

    Raises:
        ConfigError: A file is missing.
        DataError: A file cannot be read, or holds nothing of use.
        WeightsError: The segmenter's weights are damaged.
    """

    def __init__(self, section: LandCoverSection, threads: int | None = None) -> None:
        # Buildings come last: where they overhang a road, the roof is what is seen.
        self._layers = [read_roads(section.roads)] if section.roads is not None else []
        if section.buildings is not None:
            self._layers.append(read_buildings(section.buildings))
        self._segmenter = LandCoverSegmenter.load(threads=threads)

    def covers(self, pictures: NDArray[np.uint8], bounds: Sequence[Bounds]) -> NDArray[np.uint8]:
        """Classes of the cells of pictures.

        Args:
            pictures: uint8 ``(n, H, W, 3)``.
            bounds: West, south, east, north of each, degrees in EPSG:4326.

        Returns:
            uint8 ``(n, h, w)``.
        """
        found = self._segmenter.classes(pictures)
        for cover, place in zip(found, bounds, strict=True):
            for layer in self._layers:
                layer.draw(cover, place)
        return found


def land_cover_mark(section: LandCoverSection) -> str:
    """Names what tells the land cover; another mark is another result."""
    files = [file_mark(path) for path in (section.buildings, section.roads)]
    return fingerprint(weights=hashlib.sha256(WEIGHTS.read_bytes()).hexdigest(), files=files)


def file_mark(path: Path | None) -> list[str | int]:
    """Names a file and its state; nothing where there is none."""
    if path is None:
        return []
    if not path.exists():
        return [str(path)]
    facts = path.stat()
    return [str(path), facts.st_size, facts.st_mtime_ns]


def land_cover_notes(config: Config, under: UnderHeat) -> tuple[str, ...]:
    """What has to be said beside land cover: how far to trust it, and whose files it is from."""
    if not under.is_known.any():
        return (UNMEASURED,)
    notes = [] if config.sample_market is not None else [TRANSFER]
    section = config.land_cover
    if section.buildings is not None or section.roads is not None:
        kinds = [name for name in ("buildings", "roads") if getattr(section, name) is not None]
        credit = f": {section.attribution}" if section.attribution else ""
        notes.append(f"{' and '.join(kinds).capitalize()} are from a file{credit}.")
    return tuple(notes)


def under_heat_table(house_ids: Sequence[str], under: UnderHeat, currency: str) -> pd.DataFrame:
    """One row per house and class that is in its picture.

    Returns:
        ``id, land_cover, area_share, attention_share, amount, currency``;
        what was refused or not asked for is empty.
    """
    rows, classes = np.nonzero(under.areas > 0)
    return pd.DataFrame(
        {
            "id": np.asarray(house_ids, dtype=object)[rows],
            "land_cover": np.asarray(LAND_COVERS, dtype=object)[classes],
            "area_share": under.areas[rows, classes].round(4),
            "attention_share": under.attention[rows, classes].round(4),
            "amount": under.money[rows, classes].round(2),
            "currency": currency,
        }
    )
