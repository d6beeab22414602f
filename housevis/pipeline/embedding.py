"""The `embed` step: every house's picture becomes a pooled feature, once per image content."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage, house_image
from data_pipeline.tiles import tile_of
from db.store import (
    finish_step,
    finished_step,
    forget_images,
    last_step,
    manifest_digest,
    read_houses,
    read_images,
    save_images,
)
from housevis.core.config import ImagerySection, VisionSection
from housevis.core.errors import ImageryError, RunError
from housevis.core.progress import progress_bar
from housevis.pipeline.picture_steps import for_pictures
from housevis.pipeline.project import Project, fingerprint, frame_digest
from housevis.pipeline.results import StepResult
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.embed import FeatureStore, iterate_features
from housevis.vision.engines import open_engine

STEP = "embed"
STARTED = "embed-started"


@for_pictures("embed")
def embed(project: Project) -> StepResult:
    """Store one pooled feature per image content, and which image each house has.

    Args:
        project: An open project whose `tiles` step is finished.

    Returns:
        Figures ``pictures``, ``without_picture``, ``features_new``,
        ``images_per_second``, and ``backbone``: name, channels, grid,
        fingerprint, choice, deviation.

    Raises:
        RunError: There is no archive of tiles yet.
        ImageryError: Not one house has a picture.
        WeightsError: The backbone's weights are missing or damaged.
    """
    imagery, vision = project.config.imagery, project.config.vision
    if not project.workspace.archive.is_file():
        raise RunError(
            "there is no archive of tiles",
            where=str(project.workspace.archive),
            remedy="Run `housevis tiles CONFIG` first.",
        )
    houses = read_houses(project.engine)
    inputs = fingerprint(
        houses=frame_digest(houses[["house_id", "latitude", "longitude"]]),
        tiles=manifest_digest(project.engine, imagery.zoom),
        imagery={"zoom": imagery.zoom, "framing": imagery.framing},
        vision=vision.model_dump(mode="json", exclude={"batch_size", "engine"}),
    )
    earlier = finished_step(project.engine, STEP, inputs)
    if earlier is not None and _features_are_there(project, earlier):
        return StepResult(STEP, _lines(earlier), earlier, float(earlier["seconds"]), skipped=True)
    started = time.perf_counter()
    backbone = load_backbone(vision)
    with TileArchive(project.workspace.archive) as archive:
        figures = _embed_houses(project, houses, archive, backbone, inputs)
    seconds = time.perf_counter() - started
    figures |= {
        "seconds": round(seconds, 2),
        "images_per_second": round(figures["features_new"] / seconds, 1),
        "backbone": {
            "name": backbone.name,
            "channels": backbone.channels,
            "grid": list(backbone.grid),
            "fingerprint": backbone.fingerprint,
            "choice": backbone.choice,
            "deviation": backbone.deviation,
        },
    }
    finish_step(project.engine, STEP, inputs, figures)
    return StepResult(STEP, _lines(figures), figures, seconds)


def _features_are_there(project: Project, figures: dict) -> bool:
    imagery = project.config.imagery
    store = open_store(project.workspace.features, figures["backbone"]["fingerprint"])
    images = read_images(project.engine, imagery.framing, imagery.zoom)
    return set(images["image_key"].dropna()) <= store.keys()


def _lines(figures: dict) -> list[str]:
    backbone = figures["backbone"]
    lines = [
        f"backbone: {backbone['choice']}",
        f"pictures: {figures['pictures']:,} houses have one, {figures['without_picture']:,} have none; "
        f"{figures['features_new']:,} features computed ({figures['images_per_second']} a second)",
    ]
    if backbone["deviation"]:
        lines.insert(1, f"deviation from the paper: {backbone['deviation']}")
    return lines


class PictureLoader:
    """Loads house pictures in worker threads and remembers what each one was.

    Attributes:
        rows: One row per loaded house for the table of images, until taken.
    """

    def __init__(self, archive: TileArchive, imagery: ImagerySection, vision: VisionSection) -> None:
        self._archive = archive
        self._imagery = imagery
        self._size = vision.image_size
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self.rows: dict[str, dict] = {}

    def take_finished(self, stored_keys: set[str]) -> list[dict]:
        """Hand over, once, the rows of pictures whose feature is stored."""
        with self._lock:
            finished = [house_id for house_id, row in self.rows.items() if row["image_key"] in stored_keys]
            return [self.rows.pop(house_id) for house_id in finished]

    def skip_known(self, keys: Iterable[str]) -> None:
        """Do not hand out pictures whose content has one of these keys."""
        self._seen.update(keys)

    def picture(self, house: HousePlace) -> HouseImage | None:
        """The house's picture, or None where there is no imagery."""
        return house_image(
            self._archive,
            house.latitude,
            house.longitude,
            framing=self._imagery.framing,
            zoom=self._imagery.zoom,
            size=self._size,
        )

    def pixels(self, house: HousePlace) -> np.ndarray | None:
        """Pixels uint8 ``(size, size, 3)`` of the house's picture."""
        image = self.picture(house)
        return None if image is None else image.pixels

    def new_pixels(self, house: HousePlace) -> np.ndarray | None:
        """Pixels of the picture if no earlier house had the same content."""
        image = self.picture(house)
        with self._lock:
            self.rows[house.house_id] = _image_row(house.house_id, image)
            if image is None or image.key in self._seen:
                return None
            self._seen.add(image.key)
        return image.pixels


@dataclass(frozen=True)
class HousePlace:
    """Where one house is.

    Attributes:
        house_id: The house's id.
        latitude: Degrees north, EPSG:4326.
        longitude: Degrees east, EPSG:4326.
    """

    house_id: str
    latitude: float
    longitude: float


def places_in_order(houses: pd.DataFrame) -> list[HousePlace]:
    """The houses in the order of their rows."""
    columns = (houses["house_id"].astype(str), houses["latitude"], houses["longitude"])
    return [HousePlace(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def house_places(houses: pd.DataFrame, zoom: int) -> list[HousePlace]:
    """The houses in the order of their tiles, so that neighbours are decoded together."""
    places = places_in_order(houses)

    def tile(place: HousePlace) -> tuple[int, int]:
        found = tile_of(place.latitude, place.longitude, zoom)
        return found.x, found.y

    return sorted(places, key=tile)


def _image_row(house_id: str, image: HouseImage | None) -> dict:
    if image is None:
        return {"house_id": house_id, "image_key": None}
    west, south, east, north = image.bounds
    return {
        "house_id": house_id,
        "image_key": image.key,
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "metres_per_pixel": image.metres_per_pixel,
        "missing_tiles": image.missing_tiles,
    }


def _embed_houses(
    project: Project, houses: pd.DataFrame, archive: TileArchive, backbone: Backbone, inputs: str
) -> dict:
    config = project.config
    framing, zoom = config.imagery.framing, config.imagery.zoom
    store = open_store(project.workspace.features, backbone.fingerprint)
    stored_keys = store.keys()
    resumed = finished_step(project.engine, STARTED, inputs) is not None
    if not resumed:
        forget_images(project.engine, framing, zoom)
        finish_step(project.engine, STARTED, inputs, {})
    known = read_images(project.engine, framing, zoom)
    finished = set(known.loc[known["image_key"].isin(stored_keys), "house_id"])
    loader = PictureLoader(archive, config.imagery, config.vision)
    loader.skip_known(stored_keys)
    places = house_places(houses, zoom)
    new = 0

    def save(rows: list[dict]) -> None:
        save_images(project.engine, [{**row, "framing": framing, "zoom": zoom} for row in rows])

    with progress_bar("embed", len(places), done=len(finished)) as bar:
        waiting = [place for place in places if place.house_id not in finished]
        engine = open_engine(backbone, config.vision.engine, config.vision.batch_size)
        batches = iterate_features(
            _counted(loader.new_pixels, bar.advance),
            waiting,
            engine,
            batch_size=config.vision.batch_size,
            want="pooled",
        )
        for batch in batches:
            rows = [loader.rows[place.house_id] for place in batch.items]
            keys = [row["image_key"] for row in rows]
            assert batch.pooled is not None
            store.append(keys, batch.pooled)
            stored_keys.update(keys)
            save(loader.take_finished(stored_keys))
            new += len(keys)
    if remaining := loader.take_finished(stored_keys):
        save(remaining)
    images = read_images(project.engine, framing, zoom)
    if images.empty:
        raise ImageryError(
            "not one house has a picture",
            where=str(project.workspace.archive),
            remedy="Check that the tiles cover the houses and that the zoom is the archive's, or "
            'estimate from attributes alone: visual_features = "none" in [pricing].',
        )
    return {
        "pictures": len(images),
        "distinct_pictures": int(images["image_key"].nunique()),
        "pictures_with_missing_tiles": int((images["missing_tiles"] > 0).sum()),
        "without_picture": len(houses) - len(images),
        "features_new": new,
    }


def _counted(
    load: Callable[[HousePlace], np.ndarray | None], advance: Callable[[], None]
) -> Callable[[HousePlace], np.ndarray | None]:
    def counted(place: HousePlace) -> np.ndarray | None:
        pixels = load(place)
        advance()
        return pixels

    return counted


def open_store(folder: Path, backbone_fingerprint: str) -> FeatureStore:
    """The store of one backbone's pooled features."""
    return FeatureStore(folder / fingerprint(backbone=backbone_fingerprint)[:16], backbone_fingerprint)


def embed_figures(project: Project) -> dict:
    """The figures of the finished `embed` step.

    Raises:
        RunError: The step is not finished.
    """
    figures = last_step(project.engine, STEP)
    if figures is None:
        raise RunError("the pictures are not embedded", remedy="Run `housevis embed CONFIG` first.")
    return figures


def pooled_features(project: Project, house_ids: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features of houses, in the order asked for.

    Args:
        project: An open project whose `embed` step is finished.
        house_ids: Ids of n houses.

    Returns:
        Features float32 ``(n, K)``, NaN rows where a house has no picture,
        and image keys ``(n,)`` as text, empty there.
    """
    figures = embed_figures(project)
    imagery = project.config.imagery
    images = read_images(project.engine, imagery.framing, imagery.zoom).set_index("house_id")["image_key"]
    keys = images.reindex(house_ids).fillna("").to_numpy(dtype=str)
    store = open_store(project.workspace.features, figures["backbone"]["fingerprint"])
    distinct, position = np.unique(keys[keys != ""], return_inverse=True)
    features = np.full((len(keys), figures["backbone"]["channels"]), np.nan, dtype=np.float32)
    features[keys != ""] = store.read(distinct.tolist())[position]
    return features, keys
