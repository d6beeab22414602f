"""`housevis finetune` on a small town; its trunk holds random numbers, so no figure here means anything."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from housevis import pipeline
from housevis.core.config import load_config, parse_config
from housevis.core.errors import StorageError, UsageError, WeightsError
from housevis.pipeline.finetune_targets import TARGETS, picture_targets, sale_targets
from housevis.pipeline.learned_weights import learned_weights, weights_file
from housevis.pipeline.project import Project, open_project
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import EARLIER, load_sold_houses
from housevis.vision.backbones import load_backbone
from housevis.vision.finetune_training import FinetuneSettings, Training
from housevis.vision.torchvision_import import import_torchvision

CONFIG = """
name = "learning-town"
seed = 1

[sample_market]
houses = 100
seed = 3

[vision]
backbone = "resnet50-trunk"
weights = "trunk.safetensors"
image_size = 64
engine = "torch"

[siamese]
penalty = 60.0

neighbourhood = [3]

[pricing]
rounds = 20
folds = 2
bootstrap = 100
"""
QUICK = FinetuneSettings(epochs=1, batch_size=32)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration whose pictures are embedded."""
    folder = tmp_path_factory.mktemp("learning")
    import_torchvision()
    from torchvision.models import resnet50

    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = resnet50(weights=None).state_dict()
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith(("layer4.", "fc."))}
    save_file(trunk, folder / "trunk.safetensors", metadata={"stride": "first 1x1 convolution"})
    (folder / "town.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch, opened(folder) as project:
        patch.setenv("HOUSEVIS_PROGRESS", "off")
        for step in (pipeline.ingest, pipeline.tiles, pipeline.embed):
            step(project)
    return folder


def opened(folder: Path) -> Any:
    return open_project(load_config(folder / "town.toml"), folder / "runs")


@pytest.fixture(scope="module")
def learned(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, StepResult]]:
    """The town's folder and what `finetune` said; the user's cache is a folder of its own meanwhile."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_cache_path", lambda name: cache / name)
        patch.setenv("HOUSEVIS_PROGRESS", "off")
        with opened(town) as project:
            result = pipeline.finetune(project, folds=2, settings=QUICK)
        yield town, result


@pytest.fixture
def project(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A copy of the town before anything was learned, open."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    folder = tmp_path / "town"
    shutil.copytree(town, folder, ignore=shutil.ignore_patterns("finetune", "maps"))
    with opened(folder) as opening:
        yield opening


def test_the_printed_lines_load_the_learned_network(learned: tuple[Path, StepResult]) -> None:
    folder, result = learned
    start = result.lines.index("[vision]")
    vision = tomllib.loads("\n".join(result.lines[start : start + 4]))["vision"]
    table = {"name": "learned", "sample_market": {}, "vision": {**vision, "image_size": 64}}
    config = parse_config(table, where="printed", directory=folder)
    backbone = load_backbone(config.vision)
    assert (backbone.name, backbone.channels) == ("resnet50", 2048)
    assert "layer4 trained here (random start of layer4) on" in backbone.deviation
    assert folder not in Path(vision["weights"]).parents
    assert learned_weights("learning-town") == [Path(vision["weights"])]
    assert learned_weights("learning") == []


def test_no_sale_is_judged_by_a_network_that_knows_its_picture(learned: tuple[Path, StepResult]) -> None:
    folder, result = learned
    table = pd.read_parquet(result.figures["scores"])
    columns = [f"score_{name}{near}" for near in ("", "_near_3") for name in TARGETS]
    scores = table[columns].to_numpy()
    with opened(folder) as project:
        sold = load_sold_houses(project)
    usable = sold.training_rows(EARLIER)
    assert list(table["sale_id"]) == list(sold.sales["sale_id"])
    assert (table["fold"].to_numpy()[usable] >= 0).all()
    assert table.groupby("image_key")["fold"].nunique().max() == 1
    known = set(table["image_key"][usable])
    assert not known & set(table["image_key"][table["fold"] < 0])
    assert np.isfinite(scores).all()
    for fold in (0, 1):
        assert scores[(table["fold"] == fold).to_numpy() & usable].std(axis=0) == pytest.approx(1, abs=0.2)


def test_figures_and_files(learned: tuple[Path, StepResult]) -> None:
    folder, result = learned
    figures = result.figures
    assert [len(curve) for curve in figures["held_out"]] == [1, 1]
    assert len(figures["losses"]) == 1
    assert 0 <= figures["rank_accuracy"] <= 1
    kept = folder / "runs" / "learning-town" / "finetune"
    assert not list(kept.rglob("*.checkpoint.safetensors"))
    assert not list(folder.rglob("resnet50-*"))


def test_what_is_learned_is_not_learned_again(learned: tuple[Path, StepResult]) -> None:
    folder, result = learned
    with opened(folder) as project:
        again = pipeline.finetune(project, folds=2, settings=QUICK)
    assert again.skipped
    assert again.lines == result.lines


def test_a_stopped_command_goes_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FinetuneSettings(epochs=2, batch_size=32)
    save = Training._save
    losses = []

    def stop_after_first_epoch(training: Training) -> None:
        save(training)
        losses.extend(training.losses)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_save", stop_after_first_epoch)
        with pytest.raises(KeyboardInterrupt):
            pipeline.finetune(project, targets=["price"], settings=settings)
    assert len(list(project.workspace.finetuning.rglob("*.checkpoint.safetensors"))) == 1
    resumed = pipeline.finetune(project, targets=["price"], settings=settings)
    assert len(losses) == 1
    assert resumed.figures["losses"][:1] == losses
    assert len(resumed.figures["losses"]) == 2


def test_the_whole_network_learns_from_the_archive(project: Project) -> None:
    result = pipeline.finetune(project, train="trunk", targets=["price"], settings=QUICK)
    assert not project.workspace.layer3_maps.exists()
    with safe_open(result.figures["weights"], framework="pt") as stored:
        assert stored.metadata()["finetuned"].startswith("all layers trained here (random start of layer4)")
        assert stored.get_tensor("layer4.2.bn3.weight").shape == (2048,)


def test_weights_that_know_the_sales_are_not_trained_again(project: Project) -> None:
    known = project.workspace.folder / "known.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, known, metadata={"finetuned": "layer4 trained in a test"})
    vision = project.config.vision.model_copy(update={"weights": known})
    again = Project(project.config.model_copy(update={"vision": vision}), project.workspace, project.engine)
    with pytest.raises(WeightsError, match="have learned from sales already: layer4 trained in a test"):
        pipeline.finetune(again)


def test_a_full_disk_is_told_before_anything_is_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(project.workspace.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"the maps of layer3 take 0\.0 GB"):
        pipeline.finetune(project, settings=QUICK)
    assert not list(project.workspace.layer3_maps.rglob("*.npy"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "cannot be cross-fitted"),
        ({"targets": ["beauty"]}, "cannot be ranked by"),
        ({"targets": []}, "cannot be ranked by"),
        ({"targets": ["price", "price"]}, "cannot be ranked by"),
    ],
)
def test_what_cannot_be_trained_is_refused(project: Project, options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pipeline.finetune(project, **options)


def test_the_command_refuses_what_it_does_not_know(
    town: Path, housevis: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(town)
    outcome = housevis("finetune", "town.toml", "--train", "everything")
    assert outcome.code == 2
    assert "Train layer4 or trunk" in outcome.err


def test_efficientnet_cannot_be_trained(project: Project) -> None:
    vision = project.config.vision.model_copy(update={"backbone": "efficientnet-lite0", "weights": None})
    other = Project(project.config.model_copy(update={"vision": vision}), project.workspace, project.engine)
    with pytest.raises(WeightsError, match="only ResNet-50"):
        pipeline.finetune(other)


def test_a_removed_house_leaves_no_trace_in_the_caches(project: Project) -> None:
    learned_file = weights_file("learning-town", "0123456789abcdef")
    workspace = project.workspace
    for path in (workspace.layer3_maps / "a" / "maps.npy", workspace.finetuning / "b.json", learned_file):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"kept")
    result = pipeline.remove(project, [str(load_sold_houses(project).sales["house_id"].iloc[0])])
    assert result.figures["removed"]["files of fine-tuning"] == 2
    assert not workspace.layer3_maps.exists()
    assert not workspace.finetuning.exists()
    assert any(str(learned_file) in sentence for sentence in result.figures["remains"])


def test_targets_are_out_of_fold() -> None:
    generator = np.random.default_rng(4)
    latitude, size = generator.uniform(47, 48, 400), generator.uniform(50, 250, 400)
    log_price = 10 + 3 * (latitude - 47) + 0.01 * size
    sales = pd.DataFrame({"latitude": latitude, "area_m2": size, "price": np.exp(log_price)})
    table = {"name": "t", "sample_market": {}, "pricing": {"attributes": ["latitude", "area_m2"]}}
    config = parse_config(table, where="test", directory=Path())
    names = ["price", "residual", "residual-without-location"]
    targets = sale_targets(sales, np.arange(400).astype(str), names, config)
    assert targets.mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert targets.std(axis=0) == pytest.approx(1)
    with_latitude = [np.corrcoef(column, latitude)[0, 1] for column in targets.T]
    assert np.corrcoef(targets[:, 0], log_price)[0, 1] == pytest.approx(1)
    assert with_latitude[2] > 0.9
    assert abs(with_latitude[1]) < 0.5


def test_a_picture_learns_the_mean_of_its_sales() -> None:
    pictures, means = picture_targets(np.array([[1.0], [3.0], [5.0]]), np.array([7, 2, 7]))
    assert pictures.tolist() == [2, 7]
    assert means[:, 0].tolist() == [3.0, 3.0]
