"""Fine-tuning on tiny maps: the real loop, network and files; no figure here is one of a trained backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

from housevis.core.config_sections import VisionSection
from housevis.core.errors import ImageryError, ModelError, WeightsError
from housevis.vision.backbones import load_backbone, packaged_efficientnet_file
from housevis.vision.finetune_cache import MapCache
from housevis.vision.finetune_folds import FoldScores, cross_fitted_scores
from housevis.vision.finetune_network import ScoringNetwork, scoring_network
from housevis.vision.finetune_objective import all_pairs_loss
from housevis.vision.finetune_processes import Processes
from housevis.vision.finetune_sources import TURNS, MapSource, PictureSource, turned
from housevis.vision.finetune_training import FinetuneSettings, Training, cycle
from housevis.vision.torchvision_import import import_torchvision
from housevis.vision.weights import Weights, read_weights

torch.set_num_threads(1)

ALONE = Processes(0, 1, torch.device("cpu"), bf16=False)
QUICK = FinetuneSettings(epochs=2, batch_size=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def trunk() -> Weights:
    """A trunk of random numbers, in the original form of 2015."""
    import_torchvision()
    from torchvision.models import resnet50

    with torch.random.fork_rng():
        torch.manual_seed(5)
        state = resnet50(weights=None).state_dict()
    tensors = {name: t for name, t in state.items() if not name.startswith(("layer4.", "fc."))}
    return Weights(tensors, "0" * 64, {"stride": "first 1x1"})


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """Maps float16 (24, 1024, 2, 2); the first channel rises from row to row."""
    made = np.abs(np.random.default_rng(2).normal(size=(24, 1024, 2, 2))).astype(np.float16)
    made[:, :64] += np.linspace(0, 4, 24, dtype=np.float16)[:, None, None, None]
    return made


@pytest.fixture(scope="module")
def targets() -> np.ndarray:
    """Two targets: one that rises with the row, one that is known of every second row."""
    rising = np.linspace(-1, 1, 24)
    return np.stack([rising, np.where(np.arange(24) % 2 == 0, -rising, np.nan)], axis=1)


def new_network(trunk: Weights, trained: str = "layer4") -> ScoringNetwork:
    return scoring_network(trunk, ["price", "residual"], trained, seed=3)  # type: ignore[arg-type]


def test_the_loss_is_the_cross_entropy_of_every_pair_that_differs() -> None:
    scores = torch.tensor([[0.3, 1.0], [1.2, -2.0], [-0.4, 0.5], [0.9, 0.0]])
    targets = torch.tensor([[1.0, 2.0], [3.0, float("nan")], [1.0, 1.0], [2.0, float("nan")]])
    expected = []
    for column in range(2):
        pairs = [(i, j) for i in range(4) for j in range(4) if bool(targets[i, column] > targets[j, column])]
        logits = torch.stack([scores[i, column] - scores[j, column] for i, j in pairs])
        expected.append(functional.binary_cross_entropy_with_logits(logits, torch.ones(len(pairs))))
    assert len(expected) == 2
    assert all_pairs_loss(scores, targets).item() == pytest.approx(torch.stack(expected).mean().item())


def test_a_target_without_pairs_does_not_count() -> None:
    scores = torch.tensor([[0.3, 5.0], [1.2, -2.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    loss = all_pairs_loss(scores, targets)
    assert loss.item() == pytest.approx(functional.softplus(torch.tensor(0.3 - 1.2)).item())
    loss.backward()
    assert scores.grad is not None
    assert scores.grad[:, 1].abs().sum() == 0
    assert all_pairs_loss(scores, torch.ones(2, 2)).item() == 0


def test_the_eight_turns_are_different_and_keep_the_channels() -> None:
    square = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    made = [turned(square, turn, (1, 2)) for turn in range(TURNS)]
    assert len({one.tobytes() for one in map(np.ascontiguousarray, made)}) == TURNS
    assert np.array_equal(made[0], square)
    assert all(np.array_equal(np.sort(one.reshape(2, -1)), np.sort(square.reshape(2, -1))) for one in made)


def test_sources_hand_out_rows_as_asked(maps: np.ndarray) -> None:
    batch = MapSource(maps).batch(np.array([3, 1]), np.array([0, 4]))
    assert batch.shape == (2, 1024, 2, 2)
    assert np.array_equal(batch[0].numpy(), maps[3].astype(np.float32))
    assert np.array_equal(batch[1].numpy(), maps[1].swapaxes(1, 2).astype(np.float32))
    pictures = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    source = PictureSource(lambda row: pictures[row] if row < 2 else None, 64)
    made = source.batch(np.array([1, 0]), np.array([1, 0]))
    assert np.array_equal(made.numpy(), np.stack([pictures[1][::-1], pictures[0]]))
    with pytest.raises(ImageryError, match="no longer in the archive"):
        source.batch(np.array([2]), np.array([0]))
    source.close()


def test_the_learning_rate_rises_once_and_falls_to_nearly_nothing() -> None:
    shares = [cycle(step, 50) for step in range(50)]
    top = int(np.argmax(shares))
    assert shares[top] == pytest.approx(1, abs=0.1)
    assert np.all(np.diff(shares[: top + 1]) > 0)
    assert np.all(np.diff(shares[top:]) < 0)
    assert 0 < shares[-1] < 0.01
    assert cycle(0, 1) > 0


def test_layer4_learns_and_what_comes_before_stays(
    trunk: Weights, maps: np.ndarray, targets: np.ndarray
) -> None:
    network = new_network(trunk)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    training = Training(network, MapSource(maps), np.arange(24), targets, QUICK, ALONE)
    training.run()
    assert len(training.losses) == QUICK.epochs
    after = network.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name.split(".")[2] for name in changed if name.startswith("network.trunk.")} == {"layer4"}
    assert "score.weight" in changed
    assert set(network.learned_state()) >= changed


def test_it_learns_the_order_of_what_it_sees(trunk: Weights, maps: np.ndarray, targets: np.ndarray) -> None:
    settings = FinetuneSettings(epochs=12, batch_size=24, learning_rate=1e-3)
    training = Training(new_network(trunk), MapSource(maps), np.arange(24), targets, settings, ALONE)
    training.run()
    assert training.losses[-1] < 0.5 * training.losses[0]


def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    trunk: Weights, maps: np.ndarray, targets: np.ndarray, tmp_path: Path
) -> None:
    def training(name: str, job: str = "one") -> Training:
        return Training(
            new_network(trunk),
            MapSource(maps),
            np.arange(24),
            targets,
            QUICK,
            ALONE,
            checkpoint=tmp_path / name,
            job=job,
        )

    straight = training("straight.safetensors")
    straight.run(lambda _: 0.5)

    class StoppedError(Exception):
        pass

    stopped = training("stopped.safetensors")
    seen = 0

    def stop_in_second_epoch(rows: np.ndarray, turns: np.ndarray) -> torch.Tensor:
        nonlocal seen
        seen += 1
        if seen > stopped.steps_per_epoch + 1:
            raise StoppedError
        return MapSource(maps).batch(rows, turns)

    stopped._source.batch = stop_in_second_epoch  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        stopped.run(lambda _: 0.5)
    resumed = training("stopped.safetensors")
    resumed.run(lambda _: 0.5)
    assert resumed.losses == pytest.approx(straight.losses)
    assert resumed.measured == straight.measured == [0.5, 0.5]
    for name, tensor in straight.network.learned_state().items():
        torch.testing.assert_close(resumed.network.learned_state()[name], tensor, msg=name)
    other = training("stopped.safetensors", job="another")
    other._resume()
    assert other.losses == []


def test_a_damaged_checkpoint_is_told(
    trunk: Weights, maps: np.ndarray, targets: np.ndarray, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "damaged.safetensors"
    checkpoint.write_bytes(b"no checkpoint")
    training = Training(
        new_network(trunk), MapSource(maps), np.arange(24), targets, QUICK, ALONE, checkpoint=checkpoint
    )
    with pytest.raises(ModelError, match="Delete it"):
        training.run()


def test_the_learned_network_is_a_backbone_of_its_own(
    trunk: Weights, maps: np.ndarray, targets: np.ndarray, tmp_path: Path
) -> None:
    network = new_network(trunk)
    Training(network, MapSource(maps), np.arange(24), targets, QUICK, ALONE).run()
    file = tmp_path / "learned.safetensors"
    network.save(file, finetuned="layer4 trained in a test", about="{}")
    section = VisionSection(backbone="resnet50", weights=file, image_size=64)
    backbone = load_backbone(section)
    assert backbone.channels == 2048
    assert "layer4 trained in a test" in backbone.deviation
    assert network.stride == "first 1x1"
    assert backbone.module.trunk.layer4[0].conv1.stride == (2, 2)  # type: ignore[index, union-attr]
    pictures = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.manual_seed(4))
    pooled = backbone.pool(backbone.feature_map(pictures))
    network.trained = "trunk"
    with torch.inference_mode():
        torch.testing.assert_close(network.eval().pooled(pictures), pooled, rtol=1e-4, atol=1e-4)
    with safe_open(file, framework="pt") as stored:
        assert stored.get_tensor("score.weight").shape == (2, 2048)
        assert stored.metadata()["targets"] == "price,residual"
    further = scoring_network(read_weights(file), ["price"], "layer4", seed=9)
    learned = network.network.trunk.state_dict()["layer4.0.conv1.weight"]
    torch.testing.assert_close(further.network.trunk.state_dict()["layer4.0.conv1.weight"], learned)


def test_the_whole_network_learns_from_pictures(trunk: Weights) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    network = new_network(trunk, "trunk")
    before = network.network.trunk.state_dict()["conv1.weight"].clone()
    source = PictureSource(lambda row: pictures[row], 64)
    targets = np.stack([np.arange(6.0), np.arange(6.0)], axis=1)
    settings = FinetuneSettings(epochs=1, batch_size=3)
    training = Training(network, source, np.arange(6), targets, settings, ALONE)
    training.run()
    scores, pooled = training.score(np.arange(6))
    source.close()
    assert not torch.equal(network.network.trunk.state_dict()["conv1.weight"], before)
    assert scores.shape == (6, 2)
    assert pooled.shape == (6, 2048)


def test_only_resnet50_is_trained() -> None:
    weights = read_weights(packaged_efficientnet_file(), "579344248a93e230")
    with pytest.raises(WeightsError, match="only ResNet-50"):
        scoring_network(weights, ["price"], "layer4", seed=1)


@pytest.mark.parametrize("rows", [1, 24])
def test_too_few_pictures_or_targets_are_refused(trunk: Weights, maps: np.ndarray, rows: int) -> None:
    targets = np.zeros((rows, 2 if rows == 1 else 1))
    with pytest.raises(ModelError, match=r"too few|do not belong"):
        Training(new_network(trunk), MapSource(maps), np.arange(rows), targets, QUICK, ALONE)


class _Engine:
    """Hands out maps that say which picture they come from."""

    batch_size = 2

    def __init__(self) -> None:
        self.backbone = type("Small", (), {"input_size": 4})()
        self.pictures = 0

    def submit(self, images: np.ndarray, want: str) -> object:
        from concurrent.futures import Future

        from housevis.vision.engines import Features

        self.pictures += len(images)
        maps = np.broadcast_to(images[:, :1, :1, :1].astype(np.float32), (len(images), 5, 2, 2))
        future: Future[Features] = Future()
        future.set_result(Features(maps, None))
        return future


def picture(number: int) -> np.ndarray:
    return np.full((4, 4, 3), number, dtype=np.uint8)


def test_the_cache_of_maps_is_built_once_and_goes_on(tmp_path: Path) -> None:
    keys = [str(number) for number in range(40)]
    cache = MapCache(tmp_path / "maps", "a backbone", keys, (5, 2, 2))
    assert cache.size == 40 * 20 * 2
    engine = _Engine()

    class GoneError(Exception):
        pass

    def stops(key: str) -> np.ndarray:
        if key == "30":
            raise GoneError
        return picture(int(key))

    with pytest.raises(GoneError):
        cache.build(stops, engine)  # type: ignore[arg-type]
    finished = cache.finished
    assert 0 < finished < 30
    with pytest.raises(ModelError, match="maps are missing"):
        cache.open()
    assert cache.build(lambda key: picture(int(key)), engine) == 40 - finished  # type: ignore[arg-type]
    assert np.array_equal(cache.open()[:, 0, 0, 0], np.arange(40))
    computed = engine.pictures
    assert cache.build(lambda key: picture(int(key)), engine) == 0  # type: ignore[arg-type]
    assert engine.pictures == computed
    assert MapCache(tmp_path / "maps", "another backbone", keys, (5, 2, 2)).finished == 0
    assert MapCache(tmp_path / "maps", "a backbone", keys[1:], (5, 2, 2)).finished == 0


def test_a_picture_that_is_gone_is_told(tmp_path: Path) -> None:
    cache = MapCache(tmp_path, "a backbone", ["0", "1"], (5, 2, 2))
    with pytest.raises(ModelError, match="no longer in the archive"):
        cache.build(lambda key: None if key == "1" else picture(0), _Engine())  # type: ignore[arg-type]


def test_scores_of_several_networks_come_to_one_scale() -> None:
    generator = np.random.default_rng(6)
    truth = generator.normal(size=(300, 2))
    fold = np.r_[np.repeat([0, 1], 100), np.full(100, -1)]
    learned = fold >= 0

    def network(own: np.ndarray, scale: float, shift: float) -> np.ndarray:
        """Surer of what it learned from, and with a scale of its own."""
        return ((np.where(own[:, None], 1.5, 1.0) * truth + shift) * scale).astype(np.float32)

    folds = [
        FoldScores(network(learned & (fold != k), scale, shift), learned & (fold != k), fold == k)
        for k, (scale, shift) in enumerate([(3.0, 0.2), (0.5, -1.0)])
    ]
    whole = FoldScores(network(learned, 7.0, 4.0), learned, fold < 0)
    aligned = cross_fitted_scores(folds, whole)
    for k in (0, 1):
        assert aligned[fold == k].mean(axis=0) == pytest.approx([0, 0], abs=1e-5)
        assert aligned[fold == k].std(axis=0) == pytest.approx([1, 1], abs=1e-5)
    spread = truth[fold < 0].std(axis=0) / truth[learned].std(axis=0)
    assert aligned[fold < 0].std(axis=0) == pytest.approx(spread, rel=0.25)
    assert np.corrcoef(aligned[fold < 0, 1], truth[fold < 0, 1])[0, 1] == pytest.approx(1)


def test_cross_fitting_refuses_what_would_leak() -> None:
    scores = np.zeros((6, 1), dtype=np.float32)
    half = np.arange(6) < 3
    whole = FoldScores(scores, np.ones(6, dtype=bool), np.zeros(6, dtype=bool))
    honest = FoldScores(scores, half, ~half)
    with pytest.raises(ModelError, match="at least two folds"):
        cross_fitted_scores([honest], whole)
    with pytest.raises(ModelError, match="learned from"):
        cross_fitted_scores([honest, FoldScores(scores, half, half)], whole)
    with pytest.raises(ModelError, match="fewer than two"):
        cross_fitted_scores([honest, FoldScores(scores, half, np.arange(6) == 4)], whole)
