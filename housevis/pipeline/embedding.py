"""The `embed` step: every house's picture becomes a pooled feature, once per image content."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage, house_image
from data_pipeline.house_pictures import image_of_picture
from data_pipeline.tiles import nearby_order, tile_of
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
from housevis.core.config_sections import ImagerySection, VisionSection
from housevis.core.engine import map_shards
from housevis.core.errors import ImageryError, RunError
from housevis.core.progress import progress_bar
from housevis.pipeline.picture_desk import PictureWork, desk_for, lent_backbone, picture_work
from housevis.pipeline.picture_steps import for_pictures
from housevis.pipeline.project import Project, fingerprint, frame_digest
from housevis.pipeline.results import StepResult
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.embed import fit_picture
from housevis.vision.store import FeatureStore

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
        tiles=imagery_digest(project),
        imagery={"zoom": imagery.zoom, "framing": imagery.framing, "window": imagery.window},
        vision=vision.model_dump(mode="json", exclude={"batch_size", "engine"}),
    )
    earlier = finished_step(project.engine, STEP, inputs)
    if earlier is not None and _features_are_there(project, earlier):
        return StepResult(STEP, _lines(earlier), earlier, float(earlier["seconds"]), skipped=True)
    started = time.perf_counter()
    backbone = load_backbone(vision)
    figures = _embed_houses(project, houses, backbone, inputs)
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


def imagery_digest(project: Project) -> str:
    """What the archive holds: a digest of the tiles of the pictures' zoom, and one of the houses' own."""
    tiles = manifest_digest(project.engine, project.config.imagery.zoom)
    with TileArchive(project.workspace.archive) as archive:
        pictures = archive.house_pictures.digest()
    return f"{tiles} {pictures}" if pictures else tiles


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
    """Makes pictures of houses out of an archive, from any number of threads."""

    def __init__(self, archive: TileArchive, imagery: ImagerySection, vision: VisionSection) -> None:
        self._archive = archive
        self._imagery = imagery
        self._size = vision.image_size

    def picture(self, house: HousePlace) -> HouseImage | None:
        """The house's picture, or None where there is no imagery."""
        own = self._archive.house_pictures.read(house.house_id)
        if own is not None:
            return image_of_picture(own, house.latitude, house.longitude, self._size, self._archive)
        return house_image(
            self._archive,
            house.latitude,
            house.longitude,
            framing=self._imagery.framing,
            zoom=self._imagery.zoom,
            size=self._size,
            window=self._imagery.window,
        )

    def pixels(self, house: HousePlace) -> np.ndarray | None:
        """Pixels uint8 ``(size, size, 3)`` of the house's picture."""
        image = self.picture(house)
        return None if image is None else image.pixels


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
    return places_in_order(houses.iloc[nearby_order(houses, zoom)])


def shards_of(
    places: Iterable[HousePlace], imagery: ImagerySection, batch_size: int
) -> Iterator[list[HousePlace]]:
    """Cut houses into shards of one batch of pictures.

    Houses that follow each other and show the same picture stay together: those
    at one place, or in one tile where the framing is ``"tile"``.

    Args:
        places: The houses, from :func:`house_places`.
        imagery: How pictures are cut.
        batch_size: Different places or tiles per shard, at most.

    Yields:
        Houses in their order; together the shards hold each once.
    """

    def shown(place: HousePlace) -> tuple[float, float]:
        if imagery.framing == "tile":
            found = tile_of(place.latitude, place.longitude, imagery.zoom)
            return found.x, found.y
        return place.latitude, place.longitude

    shard: list[HousePlace] = []
    pictures = 0
    for _, same in groupby(places, key=shown):
        if pictures == batch_size:
            yield shard
            shard, pictures = [], 0
        shard.extend(same)
        pictures += 1
    if shard:
        yield shard


def _image_row(house_id: str, image: HouseImage) -> dict:
    west, south, east, north = image.bounds
    return {
        "house_id": house_id,
        "image_key": image.key,
        "west": west,
        "south": south,
        "east": east,
        "north": north,
        "metres_per_pixel": image.metres_per_pixel,
        "native_metres_per_pixel": image.native_metres_per_pixel,
        "provider": image.provider,
        "missing_tiles": image.missing_tiles,
    }


@dataclass(frozen=True, eq=False)
class EmbeddedShard:
    """What became of some houses.

    Attributes:
        houses: How many there were.
        rows: One row for the table of images per house that has a picture.
        keys: The pictures whose features were not stored before, each once.
        pooled: Their features, float32 ``(len(keys), K)``.
    """

    houses: int
    rows: list[dict]
    keys: list[str]
    pooled: np.ndarray


def embed_shard(work: PictureWork, places: list[HousePlace]) -> EmbeddedShard:
    """Make the features of some houses; on any machine that sees the archive.

    Args:
        work: What has to be known of pictures and backbone.
        places: The houses.

    Raises:
        WorkerError: This machine does not see the archive, or has another backbone.
    """
    desk = desk_for(work)
    loader = PictureLoader(desk.archive, work.imagery, work.vision)
    side = desk.engine.backbone.input_size
    seen: dict[str, np.ndarray] = {}

    def load(place: HousePlace) -> dict | None:
        image = loader.picture(place)
        if image is None:
            return None
        if image.key not in desk.known and image.key not in seen:
            seen[image.key] = fit_picture(image.pixels, side)
        return _image_row(place.house_id, image)

    rows = [row for row in desk.decode(load, places) if row is not None]
    keys = [key for key in dict.fromkeys(row["image_key"] for row in rows) if key in seen]
    pictures = [seen.pop(key) for key in keys]
    images = np.stack(pictures) if pictures else np.empty((0, side, side, 3), dtype=np.uint8)
    return EmbeddedShard(len(places), rows, keys, desk.engine.pooled(images))


def _embed_houses(project: Project, houses: pd.DataFrame, backbone: Backbone, inputs: str) -> dict:
    config = project.config
    framing, zoom = config.imagery.framing, config.imagery.zoom
    store = open_store(project.workspace.features, backbone.fingerprint)
    stored_keys = store.keys()
    already = len(stored_keys)
    resumed = finished_step(project.engine, STARTED, inputs) is not None
    if not resumed:
        forget_images(project.engine, framing, zoom)
        finish_step(project.engine, STARTED, inputs, {})
    known = read_images(project.engine, framing, zoom)
    finished = set(known.loc[known["image_key"].isin(stored_keys), "house_id"])
    places = house_places(houses, zoom)
    waiting = [place for place in places if place.house_id not in finished]
    work = picture_work(
        project.workspace.archive, config.imagery, config.vision, backbone, features=store.folder
    )
    shards = shards_of(waiting, config.imagery, config.vision.batch_size)
    with (
        lent_backbone(work, backbone),
        progress_bar("embed", len(places), done=len(places) - len(waiting)) as bar,
        closing(map_shards(partial(embed_shard, work), shards, project.runner, local="here")) as results,
    ):
        for done in results:
            if not stored_keys.issuperset(done.keys):
                store.append(done.keys, done.pooled)
                stored_keys.update(done.keys)
            save_images(project.engine, [{**row, "framing": framing, "zoom": zoom} for row in done.rows])
            bar.advance(done.houses)
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
        "features_new": len(stored_keys) - already,
    }


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


def image_keys_of(project: Project, house_ids: pd.Series) -> np.ndarray:
    """Image keys ``(n,)`` of houses as text, in the order asked for; empty where there is no picture."""
    imagery = project.config.imagery
    images = read_images(project.engine, imagery.framing, imagery.zoom).set_index("house_id")["image_key"]
    return images.reindex(house_ids).fillna("").to_numpy(dtype=str)


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
    keys = image_keys_of(project, house_ids)
    store = open_store(project.workspace.features, figures["backbone"]["fingerprint"])
    distinct, position = np.unique(keys[keys != ""], return_inverse=True)
    features = np.full((len(keys), figures["backbone"]["channels"]), np.nan, dtype=np.float32)
    features[keys != ""] = store.read(distinct.tolist())[position]
    return features, keys
