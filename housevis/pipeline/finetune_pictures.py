"""The pictures that a network is trained on: which there are, and how each is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from db.store import read_houses
from housevis.core.config_sections import VisionSection
from housevis.core.errors import StorageError, WeightsError
from housevis.core.progress import error_console
from housevis.pipeline.embedding import PictureLoader, places_in_order
from housevis.pipeline.project import Project, fingerprint
from housevis.vision.backbones import Backbone, imagenet_resnet50_file, stride_form
from housevis.vision.engines import open_engine
from housevis.vision.finetune_cache import MapCache
from housevis.vision.finetune_network import Trained, resnet_of
from housevis.vision.finetune_processes import Processes
from housevis.vision.finetune_sources import MapSource, PictureSource, Source
from housevis.vision.networks import resnet50_network
from housevis.vision.weights import Weights, read_weights


def starting_weights(vision: VisionSection) -> Weights:
    """The ResNet-50, or its trunk, that training starts from.

    Raises:
        WeightsError: There is none, or it was trained on sales before.
    """
    if vision.weights is None and vision.backbone in ("resnet50-trunk", "efficientnet-lite0"):
        raise WeightsError(
            f"only ResNet-50 can be trained further, and the configuration has {vision.backbone} "
            "without a weights file",
            where="vision.backbone",
            remedy="Set vision.weights to a file with ResNet-50, or with its conv1 to layer3.",
        )
    file = vision.weights or imagenet_resnet50_file()
    weights = read_weights(file, vision.weights_sha256 if vision.weights else None)
    resnet_of(weights)
    if "finetuned" in weights.metadata:
        raise WeightsError(
            f"these weights have learned from sales already: {weights.metadata['finetuned']}",
            where=str(file),
            remedy="Start from the weights that they were made of, so that they know no held-out sale.",
        )
    return weights


@contextmanager
def open_source(
    project: Project,
    weights: Weights,
    house_ids: pd.Series,
    keys: NDArray[np.str_],
    trained: Trained,
    processes: Processes,
) -> Iterator[Source]:
    """Make batches of pictures, or of their maps of layer3, which are made here where they are missing.

    Args:
        project: An open project.
        weights: The trunk's.
        house_ids: For each of n pictures, a house that shows it.
        keys: Keys of the pictures `(n,)`.
        trained: ``"layer4"`` takes maps, ``"trunk"`` pictures.
        processes: The first one writes the maps.

    Raises:
        StorageError: The disk has no room for the maps.
    """
    vision = project.config.vision
    places = dict(zip(keys.tolist(), places_in_order(_houses(project, house_ids)), strict=True))
    with ExitStack() as stack:
        archive = stack.enter_context(TileArchive(project.workspace.archive))
        loader = PictureLoader(archive, project.config.imagery, vision)
        if trained == "trunk":
            pictures = PictureSource(lambda row: loader.pixels(places[keys[row]]), vision.image_size)
            stack.callback(pictures.close)
            yield pictures
            return
        backbone = _trunk(weights, vision)
        folder = project.workspace.layer3_maps / fingerprint(backbone=backbone.fingerprint)[:16]
        cache = MapCache(folder, backbone.fingerprint, keys.tolist(), (backbone.channels, *backbone.grid))
        if processes.is_first and cache.finished < len(keys):
            _say_size(cache)
            engine = open_engine(backbone, vision.engine, vision.batch_size)
            stack.callback(engine.close)
            cache.build(lambda key: loader.pixels(places[key]), engine)
        processes.wait()
        yield MapSource(cache.open())


def _houses(project: Project, house_ids: pd.Series) -> pd.DataFrame:
    houses = read_houses(project.engine).drop_duplicates("house_id").set_index("house_id", drop=False)
    return houses.loc[house_ids.to_numpy()]


def _trunk(weights: Weights, vision: VisionSection) -> Backbone:
    form = stride_form(weights, resnet_of(weights))
    module = resnet50_network(weights, through_layer4=False, stride=form)
    return Backbone(
        "resnet50-trunk",
        module,
        weights_sha256=weights.sha256,
        input_size=vision.image_size,
        choice="ResNet-50 conv1 to layer3: what stays as it is",
    )


def _say_size(cache: MapCache) -> None:
    cache.folder.mkdir(parents=True, exist_ok=True)
    room = shutil.disk_usage(cache.folder).free
    needed = 0 if cache.finished else cache.size
    if room < needed:
        raise StorageError(
            f"the maps of layer3 take {needed / 1e9:.1f} GB, and the disk has room for {room / 1e9:.1f} GB",
            where=str(cache.folder),
            remedy="Make room, or give --train trunk, which needs no maps.",
        )
    error_console.print(
        f"maps of layer3: {len(cache.keys):,} pictures, {cache.size / 1e9:.2f} GB in {cache.folder}",
        markup=False,
    )
