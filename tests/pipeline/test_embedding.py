"""The `embed` step: each picture content once, what is finished stays, and who may work on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.store import forget_images, read_houses, read_images
from housevis.core.config_sections import ImagerySection
from housevis.core.errors import WorkerError
from housevis.pipeline import embedding
from housevis.pipeline.embedding import (
    HousePlace,
    embed,
    embed_figures,
    embed_shard,
    house_places,
    open_store,
    shards_of,
)
from housevis.pipeline.picture_desk import lent_backbone, picture_work
from housevis.pipeline.project import Project
from housevis.vision.backbones import Backbone, load_backbone
from housevis.vision.store import FeatureStore


@pytest.fixture(scope="module")
def backbone(town: Any) -> Backbone:
    return load_backbone(town.config.vision)


def store_of(project: Project) -> FeatureStore:
    return open_store(project.workspace.features, embed_figures(project)["backbone"]["fingerprint"])


def start_again(project: Project) -> None:
    """Let the step run again; features and pictures stay."""
    embedding.finish_step(project.engine, embedding.STEP, "other inputs", embed_figures(project))
    embedding.finish_step(project.engine, embedding.STARTED, "other inputs", {})


def test_stored_features_are_not_computed_again(project: Project) -> None:
    before = read_images(project.engine, "centred", 18)
    parts = set(project.workspace.features.rglob("part-*"))
    start_again(project)
    found = embed(project)
    assert not found.skipped
    assert found.figures["features_new"] == 0
    assert set(project.workspace.features.rglob("part-*")) == parts
    assert read_images(project.engine, "centred", 18).equals(before)


def test_another_window_is_another_picture_of_each_house(project: Project) -> None:
    one = read_images(project.engine, "centred", 18).set_index("house_id")
    assert set(one["provider"]) == {"sample-market"}
    assert one["metres_per_pixel"].equals(one["native_metres_per_pixel"])
    imagery = project.config.imagery.model_copy(update={"window": 0.5})
    closer = replace(project, config=project.config.model_copy(update={"imagery": imagery}))
    assert not embed(closer).skipped
    other = read_images(project.engine, "centred", 18).set_index("house_id")
    assert list(other["metres_per_pixel"]) == pytest.approx(list(one["metres_per_pixel"] / 2))
    assert other["native_metres_per_pixel"].equals(one["native_metres_per_pixel"])
    assert not set(other["image_key"]) & set(one["image_key"])
    width = one["east"] - one["west"]
    assert list(other["east"] - other["west"]) == pytest.approx(list(width / 2))


def test_lost_rows_come_again_with_no_feature(project: Project) -> None:
    before = read_images(project.engine, "centred", 18)
    forget_images(project.engine, "centred", 18)
    start_again(project)
    assert embed(project).figures["features_new"] == 0
    assert read_images(project.engine, "centred", 18).equals(before)


def test_each_content_is_computed_once(project: Project, backbone: Backbone) -> None:
    houses = house_places(read_houses(project.engine).head(5), 18)
    twice = [house for place in houses for house in (place, replace(place, house_id=f"{place.house_id}-b"))]
    config = project.config
    work = picture_work(project.workspace.archive, config.imagery, config.vision, backbone)
    with lent_backbone(work, backbone):
        found = embed_shard(work, twice)
        alone = embed_shard(work, houses)
    assert found.houses == 10
    assert [row["house_id"] for row in found.rows] == [house.house_id for house in twice]
    assert found.keys == alone.keys
    assert len(set(found.keys)) == len(found.keys) == len(found.pooled) <= 5
    np.testing.assert_array_equal(found.pooled, alone.pooled)
    np.testing.assert_allclose(found.pooled, store_of(project).read(found.keys), rtol=0.02, atol=0.02)


def test_a_house_without_imagery_has_no_row(project: Project, backbone: Backbone) -> None:
    config = project.config
    work = picture_work(project.workspace.archive, config.imagery, config.vision, backbone)
    with lent_backbone(work, backbone):
        found = embed_shard(work, [HousePlace("far away", 0.0, 0.0)])
    assert (found.houses, found.rows, found.keys, found.pooled.shape[0]) == (1, [], [], 0)


def test_what_was_finished_stays_after_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.workspace.features)
    start_again(project)
    fingerprint = embed_figures(project)["backbone"]["fingerprint"]
    places = house_places(read_houses(project.engine), 18)
    picture = embedding.PictureLoader.picture

    def broken(loader: Any, place: HousePlace) -> Any:
        if place == places[-1]:
            raise OSError("broken tile")
        return picture(loader, place)

    with monkeypatch.context() as patch:
        patch.setattr(embedding.PictureLoader, "picture", broken)
        with pytest.raises(OSError, match="broken tile"):
            embed(project)
    kept = open_store(project.workspace.features, fingerprint).keys()
    assert kept
    found = embed(project).figures
    assert found["features_new"] == found["distinct_pictures"] - len(kept)


def test_shards_keep_what_shows_the_same_together() -> None:
    places = [HousePlace(str(number), 47.0, -122.0 + 0.01 * (number // 3)) for number in range(12)]
    shards = list(shards_of(places, ImagerySection(), 2))
    assert [house for shard in shards for house in shard] == places
    assert [len(shard) for shard in shards] == [6, 6]
    near = [HousePlace(str(number), 47.0, -122.0 + 1e-6 * number) for number in range(12)]
    assert len(list(shards_of(near, ImagerySection(framing="tile"), 2))) == 1
    assert len(list(shards_of(near, ImagerySection(), 2))) == 6
    assert list(shards_of([], ImagerySection(), 2)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda work: replace(work, archive=Path("/nowhere/tiles.mbtiles")), "does not see the archive"),
        (lambda work: replace(work, fingerprint="another"), "has the backbone"),
    ],
)
def test_a_worker_that_lacks_something_says_so(
    project: Project, backbone: Backbone, change: Callable[[Any], Any], told: str
) -> None:
    config = project.config
    work = change(picture_work(project.workspace.archive, config.imagery, config.vision, backbone))
    with pytest.raises(WorkerError, match=told) as problem:
        embed_shard(work, [HousePlace("a", 47.0, -122.0)])
    assert problem.value.where
    assert problem.value.remedy


def test_the_address_of_the_imagery_stays_at_home(project: Project, backbone: Backbone) -> None:
    imagery = ImagerySection(url="https://tiles.example/{z}/{x}/{y}?key=secret")
    work = picture_work(project.workspace.archive, imagery, project.config.vision, backbone)
    assert "secret" not in repr(work)
