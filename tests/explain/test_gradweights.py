from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from housevis.core.config_sections import SiameseSection, VisionSection
from housevis.core.errors import ModelError
from housevis.explain import SCALARS, rank_grad_weights
from housevis.explain.gradcam import layer_grad_weights, rank_scalar
from housevis.explain.gradweights import Partners, draw_partners, keep_top_channels, pair_factors
from housevis.vision.backbones import load_backbone
from housevis.vision.networks import PictureNetwork
from housevis.vision.objectives import fit_learner
from housevis.vision.siamese import RankSiamese


class RankBranch(nn.Module):
    """One branch of the siamese: trunk, global average pooling, linear embedding."""

    def __init__(self, trunk: nn.Module, ranker: RankSiamese) -> None:
        super().__init__()
        self.trunk = trunk
        self.ranker = ranker

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.ranker.f(self.trunk(pixels).mean(dim=(2, 3)))


def compare_with_autograd(branch: RankBranch, pixels: torch.Tensor, prices: np.ndarray, scalar: str) -> None:
    """The closed form, all channels kept, against back-propagation over the same pairs."""
    pairs, seed = 7, 4
    branch.eval()
    with torch.no_grad():
        maps = branch.trunk(pixels)
        pooled = maps.mean(dim=(2, 3))
        embedded = branch.ranker.f(pooled)
    cells = maps.shape[2] * maps.shape[3]
    partners, valid = draw_partners(prices, pairs, np.random.default_rng(seed))
    assert valid.all()
    dearer = torch.from_numpy(prices[:, None] > prices[partners])
    _, weights = layer_grad_weights(
        branch,
        branch.trunk,
        pixels,
        lambda own: rank_scalar(branch.ranker.head(own[:, None] - embedded[partners]), dearer, scalar),
    )
    expected = weights.numpy()
    largest = float(np.abs(expected).max())
    assert largest > 0

    head_bias = branch.ranker.head.bias.detach().numpy()
    factors, _ = pair_factors(
        branch.ranker.score(pooled.numpy()).astype(float),
        float(head_bias[1] - head_bias[0]),
        prices,
        scalar,
        pairs,
        np.random.default_rng(seed),
    )
    direction = branch.ranker.direction().detach().numpy()
    exact = branch.ranker.pull_back(pooled.numpy(), factors[:, None] * direction) / cells
    assert exact == pytest.approx(expected, abs=1e-5 * largest)

    database = rank_grad_weights(
        embedding=branch.ranker,
        head_weight=branch.ranker.head.weight.detach().numpy(),
        head_bias=head_bias,
        features=pooled.numpy(),
        prices=prices,
        house_ids=[str(number) for number in range(len(prices))],
        cells=cells,
        backbone_fingerprint="net",
        model_id="model",
        scalar=scalar,
        pairs=pairs,
        top_channels=maps.shape[1],
        seed=seed,
    )
    stored = np.empty(expected.shape)
    np.put_along_axis(stored, database.channels.astype(int), database.weights_of(range(len(prices))), axis=1)
    # Half precision rounds a weight by at most 1/2048 of itself.
    assert stored == pytest.approx(expected, abs=largest / 2000)
    assert database.embeddings == pytest.approx(embedded.numpy(), abs=1e-5 * float(embedded.abs().max()))


@pytest.mark.parametrize("scalar", SCALARS)
def test_closed_form_equals_autograd_on_a_small_network(scalar: str) -> None:
    torch.manual_seed(1)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
    )
    prices = np.random.default_rng(8).integers(1, 5, 9) * 1000.0
    compare_with_autograd(RankBranch(trunk, RankSiamese(16, 4)), torch.rand(9, 3, 32, 32), prices, scalar)


@pytest.mark.parametrize("scalar", ["loss-against", "ordering"])
def test_closed_form_equals_autograd_where_the_middle_is_pooled_once_more(scalar: str) -> None:
    torch.manual_seed(2)
    trunk = nn.Sequential(nn.Conv2d(3, 6, 5, stride=4), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU())
    network = PictureNetwork(trunk, (127.0,) * 3, (128.0,) * 3, "average-and-centre").eval()

    class Maps(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return network(pixels)[0]

    pictures = torch.randint(0, 256, (9, 41, 41, 3), dtype=torch.uint8)
    prices = np.random.default_rng(8).integers(1, 5, 9) * 1000.0
    compare_with_autograd(RankBranch(Maps(), RankSiamese(10, 4)), pictures, prices, scalar)


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Twelve meadows with a blue pond, and prices that rise with its size."""
    generator = np.random.default_rng(6)
    pictures = generator.normal((90, 130, 70), 12, (12, 224, 224, 3))
    radii = np.linspace(6, 80, 12)
    y, x = np.mgrid[:224, :224]
    for picture, radius in zip(pictures, radii, strict=True):
        pond = (y - 60 - radius / 2) ** 2 + (x - 150 + radius / 2) ** 2 < radius**2
        picture[pond] = (60, 140, 210)
    return pictures.clip(0, 255).astype(np.uint8), 1e5 * (1 + radii.round())


@pytest.mark.slow
@pytest.mark.parametrize("scalar", ["loss-against", "ordering"])
def test_closed_form_equals_autograd_on_efficientnet(
    scalar: str, pictures: tuple[np.ndarray, np.ndarray]
) -> None:
    backbone = load_backbone(VisionSection(backbone="efficientnet-lite0"))
    images, prices = torch.from_numpy(pictures[0]), pictures[1]
    pooled = backbone.pool(backbone.feature_map(images)).numpy()
    ranker = fit_learner(
        "rank", pooled, prices, SiameseSection(), seed=1, penalty=1000, fingerprint=backbone.fingerprint
    )

    class Pixels(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return backbone.module(pixels)[0]

    compare_with_autograd(RankBranch(Pixels(), ranker), images, prices, scalar)


@pytest.mark.parametrize("scalar", SCALARS)
def test_coefficients_equal_autograd_to_1e_5(scalar: str, siamese: dict[str, Any]) -> None:
    """Before half precision: the gradient for the embedding, averaged over the same pairs."""
    generator = np.random.default_rng(0)
    maps = torch.from_numpy(generator.normal(size=(15, 12, 2, 3))).requires_grad_(True)
    prices = generator.integers(1, 6, 15) * 10.0
    partners, _ = draw_partners(prices, 6, np.random.default_rng(9))
    embedding = siamese["embedding"]
    weight, bias, head_weight, head_bias = (
        torch.from_numpy(part).double()
        for part in (embedding.weight, embedding.bias, siamese["head_weight"], siamese["head_bias"])
    )
    own = maps.mean(dim=(2, 3)) @ weight.T + bias
    logits = (own[:, None] - own.detach()[partners]) @ head_weight.T + head_bias
    values = rank_scalar(logits, torch.from_numpy(prices[:, None] > prices[partners]), scalar)
    expected = torch.autograd.grad(values.sum(), maps)[0].mean(dim=(2, 3)).numpy()
    database = rank_grad_weights(
        **siamese,
        features=maps.detach().mean(dim=(2, 3)).numpy(),
        prices=prices,
        house_ids=[str(number) for number in range(15)],
        cells=6,
        backbone_fingerprint="net",
        model_id="model",
        scalar=scalar,
        pairs=6,
        top_channels=1,
        seed=9,
    )
    assert database.scales == pytest.approx(np.abs(expected.max(axis=1)), abs=1e-5, rel=1e-5)
    weighted = np.abs(expected).max(axis=1) > 1e-12
    assert weighted.sum() > 10
    assert database.channels[weighted, 0].tolist() == expected[weighted].argmax(axis=1).tolist()


def test_a_kernel_embedding_gives_every_house_a_direction_of_its_own() -> None:
    torch.manual_seed(3)
    trunk = nn.Sequential(nn.Conv2d(3, 12, 3, stride=2), nn.ReLU())
    pixels, prices = torch.rand(40, 3, 20, 20), np.random.default_rng(8).random(40)
    with torch.no_grad():
        pooled = trunk(pixels).mean(dim=(2, 3))
    learner = fit_learner("kernel", pooled.numpy(), prices, SiameseSection(), 1, penalty=0.01)
    cells = 81
    leaf = pooled.clone().requires_grad_()
    (learner.f(leaf) @ learner.direction()).sum().backward()
    weight, bias = (part.detach().numpy() for part in learner.ordering())
    database = rank_grad_weights(
        embedding=learner,
        head_weight=weight,
        head_bias=bias,
        features=pooled.numpy(),
        prices=prices,
        house_ids=[str(number) for number in range(40)],
        cells=cells,
        backbone_fingerprint="net",
        model_id="model",
        scalar="dearer",
        top_channels=12,
    )
    dense = np.empty((40, 12))
    np.put_along_axis(dense, database.channels.astype(int), database.weights_of(range(40)), axis=1)
    assert leaf.grad is not None
    expected = leaf.grad.numpy() / cells
    assert dense == pytest.approx(expected, abs=float(np.abs(expected).max()) / 2000)
    directions = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    assert np.abs(directions @ directions[0]).min() < 0.99


def test_a_linear_head_gives_one_direction_up_to_sign(make_database) -> None:
    database = make_database(scalar="loss-against", top_channels=12)
    dense = np.empty((20, 12))
    np.put_along_axis(dense, database.channels.astype(int), database.weights_of(range(20)), axis=1)
    directions = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    assert np.abs(directions @ directions[0]) == pytest.approx(np.ones(20), abs=1e-3)


def test_opposite_scalars_have_opposite_weights(make_database) -> None:
    for one, other in (("loss-against", "loss-for"), ("dearer", "cheaper")):
        a = make_database(scalar=one, top_channels=12)
        b = make_database(scalar=other, top_channels=12)
        assert a.channels[:, ::-1].tolist() == b.channels.tolist()
        assert a.weights_of(range(20))[:, ::-1].tolist() == (-b.weights_of(range(20))).tolist()


def test_ordering_points_up_for_dear_houses_and_down_for_cheap_ones(make_database) -> None:
    ordering = make_database(scalar="ordering", pairs=40)
    dearer, cheaper = make_database(scalar="dearer"), make_database(scalar="cheaper")
    assert set(ordering.channels[-1]) == set(dearer.channels[-1])
    assert set(ordering.channels[0]) == set(cheaper.channels[0])


def test_the_same_seed_gives_the_same_database(make_database) -> None:
    assert make_database(seed=2).scales.tolist() == make_database(seed=2).scales.tolist()
    assert make_database(seed=2).scales.tolist() != make_database(seed=3).scales.tolist()


def test_more_channels_than_there_are_keeps_all(make_database) -> None:
    assert make_database(top_channels=50).top_channels == 12


def test_only_the_features_of_the_own_picture_are_explained(make_database, siamese) -> None:
    """Features behind those of the picture move the embedding, and no channel of a map."""
    all_of_them, own = make_database(top_channels=99), make_database(top_channels=99, picture_channels=5)
    np.testing.assert_array_equal(own.embeddings, all_of_them.embeddings)
    assert own.about.channels_in_all == 5
    assert own.channels.shape[1] == 5
    assert own.channels.max() == 4
    first = [dict(zip(d.channels[0], d.weights[0] * d.scales[0], strict=True)) for d in (own, all_of_them)]
    for channel, weight in first[0].items():
        assert weight == pytest.approx(first[1][channel], rel=2e-3, abs=1e-6)


def test_a_house_with_everyone_elses_price_has_no_pairs(make_database) -> None:
    with pytest.raises(ModelError, match="no two houses have different prices"):
        make_database(prices=np.full(20, 5.0))


def test_effect_passes_over_channels_that_hardly_fire(make_database, siamese) -> None:
    features = np.random.default_rng(5).random((20, 12))
    highest = int(make_database(scalar="dearer", top_channels=1).channels[0, 0])
    features[:, highest] = 0.5 + 1e-6 * features[:, highest]
    by_weight = make_database(scalar="dearer", features=features, top_channels=3)
    by_effect = make_database(scalar="dearer", features=features, top_channels=3, channel_order="effect")
    assert highest in by_weight.channels[0]
    assert highest not in by_effect.channels[0]
    slopes = (siamese["head_weight"][1] - siamese["head_weight"][0]) @ siamese["embedding"].weight
    expected = np.argsort(-slopes * features.std(axis=0))[:3]
    assert by_effect.channels[0].tolist() == expected.tolist()
    assert by_effect.weights_of([0])[0] == pytest.approx(slopes[expected] / 4, rel=2e-3)
    assert by_effect.about.channel_order == "effect"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prices": np.r_[np.nan, np.arange(19.0)]}, "house house-0: a price"),
        ({"features": np.full((20, 12), np.nan)}, "20 houses have a feature"),
        ({"features": np.zeros((20, 11))}, r"array of features has the shape \(20, 11\)"),
        ({"house_ids": ["a"]}, "array of prices"),
        ({"head_weight": np.zeros((3, 3))}, "head's weight"),
        ({"head_bias": np.array([0.0, np.inf])}, "no finite number"),
        ({"scalar": "upwards"}, "no scalar 'upwards'"),
    ],
)
def test_bad_input_is_one_message(make_database, changes: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        make_database(**changes)


@given(
    prices=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    pairs=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_partners_always_have_another_price(prices: list[int], pairs: int, seed: int) -> None:
    values = np.array(prices, dtype=float)
    partners, valid = draw_partners(values, pairs, np.random.default_rng(seed))
    assert partners.shape == (len(values), pairs)
    assert ((partners >= 0) & (partners < len(values))).all()
    assert valid.all() == (len(set(prices)) > 1)
    assert (values[partners[valid]] != values[valid, None]).all()


def test_every_valid_partner_is_drawn_equally_often() -> None:
    values = np.array([3.0, 1.0, 3.0, 2.0, 1.0])
    partners, _ = draw_partners(values, 20_000, np.random.default_rng(0))
    shares = np.bincount(partners[0], minlength=5) / 20_000
    assert shares == pytest.approx([0, 1 / 3, 0, 1 / 3, 1 / 3], abs=0.02)


@settings(max_examples=50)
@given(
    alpha=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(-8, 8, width=32)
    ),
    top=st.integers(1, 9),
)
def test_the_highest_weights_are_kept_in_order(alpha: np.ndarray, top: int) -> None:
    kept = min(top, alpha.shape[1])
    channels, weights, scales = keep_top_channels(alpha, kept)
    values = np.take_along_axis(alpha, channels.astype(int), axis=1)
    assert values.tolist() == (-np.sort(-alpha, axis=1)[:, :kept]).tolist()
    assert all(len(set(row)) == kept for row in channels.tolist())
    assert np.isfinite(weights).all()
    restored = weights.astype(np.float32) * scales[:, None]
    assert np.abs(restored - values).max() <= 1e-3 * scales.max()


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("order", ["weight", "effect"])
def test_a_linear_embedding_ranked_once_per_sign_is_the_same(
    scalar: str, order: str, make_database, siamese
) -> None:
    class Known(type(siamese["embedding"])):  # type: ignore[misc]
        @property
        def linear_weight(self) -> np.ndarray:
            return self.weight

    plain = siamese["embedding"]
    known = Known(plain.weight, plain.bias)
    settings = {"scalar": scalar, "channel_order": order, "picture_channels": 10, "pairs": 9}
    slow, fast = make_database(**settings), make_database(embedding=known, **settings)
    assert fast.channels.tolist() == slow.channels.tolist()
    assert fast.pairs.tolist() == slow.pairs.tolist()
    np.testing.assert_allclose(fast.weights_of(range(20)), slow.weights_of(range(20)), rtol=2e-3, atol=1e-7)


def test_drawing_by_chunks_is_drawing_at_once(monkeypatch, make_database) -> None:
    whole = make_database(scalar="loss-against")
    monkeypatch.setattr("housevis.explain.gradweights._CHUNK", 7)
    assert make_database(scalar="loss-against").scales.tolist() == whole.scales.tolist()


def test_partners_of_the_same_value_are_others() -> None:
    values = np.array([2, 1, 2, 2, 5, 1])
    partners = Partners(values)
    drawn, able = partners.draw_equal(slice(0, 6), 300, np.random.default_rng(0))
    assert able.tolist() == [True, True, True, True, False, True]
    assert set(drawn[0].tolist()) == {2, 3}
    assert set(drawn[2].tolist()) == {0, 3}
    assert set(drawn[1].tolist()) == {5}
