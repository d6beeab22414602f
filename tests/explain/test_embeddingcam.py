from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from housevis.core.errors import ModelError
from housevis.explain.embeddingcam import (
    PriceBands,
    embedding_cam,
    mean_proxies,
    proxy_grad_weights,
    single_point_proxies,
)
from housevis.explain.gradcam import keep_top, map_grad_weights, weighted_map
from housevis.explain.networks import LinearHead
from housevis.explain.retrieval import retrieval_grad_cam

N, K, D = 4, 6, 3


@pytest.fixture
def maps() -> Tensor:
    return torch.rand(N, K, 3, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def head() -> LinearHead:
    generator = torch.Generator().manual_seed(2)
    return LinearHead(torch.randn(D, K, generator=generator), torch.randn(D, generator=generator))


def test_the_single_point_is_the_picture_itself(maps: Tensor, head: LinearHead) -> None:
    proxies = single_point_proxies(head(maps))
    assert torch.allclose(proxies.norm(dim=1), torch.ones(N))
    expected = weighted_map(maps, proxies @ head.weight / 6)
    assert torch.allclose(embedding_cam(maps, head), expected, atol=1e-6)


@pytest.mark.parametrize("sense", ["for", "against"])
def test_the_closed_form_equals_back_propagation(maps: Tensor, head: LinearHead, sense: str) -> None:
    proxies = single_point_proxies(torch.randn(N, D, generator=torch.Generator().manual_seed(3)))
    closed = proxy_grad_weights(maps, head, proxies, sense=sense)  # type: ignore[arg-type]
    sign = 1 if sense == "for" else -1
    by_autograd = map_grad_weights(maps, lambda a: sign * (head(a) * proxies).sum(dim=1))
    assert torch.allclose(closed, by_autograd, atol=1e-5)
    assert torch.allclose(closed, sign * proxies @ head.weight / 6, atol=1e-6)


def test_a_one_hot_proxy_is_grad_cam_of_a_classifier(maps: Tensor, head: LinearHead) -> None:
    weights = proxy_grad_weights(maps, head, torch.tensor([0.0, 1.0, 0.0]))
    assert torch.allclose(weights, map_grad_weights(maps, lambda a: head(a)[:, 1]), atol=1e-6)


def test_a_head_of_several_layers(maps: Tensor) -> None:
    torch.manual_seed(1)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(K, 5), nn.ReLU(), nn.Linear(5, D))
    proxies = single_point_proxies(head(maps))
    expected = map_grad_weights(maps, lambda a: (head(a) * proxies).sum(dim=1))
    assert torch.allclose(embedding_cam(maps, head), weighted_map(maps, expected), atol=1e-6)
    top = weighted_map(maps, keep_top(expected, 2))
    assert torch.allclose(embedding_cam(maps, head, top=2), top, atol=1e-6)


def test_mean_proxies_weigh_directions_not_lengths() -> None:
    embeddings = torch.tensor([[10.0, 0.0], [0.0, 1.0], [0.0, -3.0], [5.0, 5.0]])
    classes, proxies = mean_proxies(embeddings, torch.tensor([7, 7, 2, 2]))
    assert classes.tolist() == [2, 7]
    half = 0.5**0.5
    assert torch.allclose(proxies[1], torch.tensor([half, half]))
    expected = torch.tensor([half, half - 1])
    assert torch.allclose(proxies[0], expected / expected.norm())
    with pytest.raises(ModelError, match="do not fit"):
        mean_proxies(embeddings, torch.tensor([1]))


def test_price_bands_are_quantiles() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [-1.0, 0.0], [-1.0, 0.1]])
    prices = torch.tensor([100.0, 110, 200, 210, 300, 310])
    bands = PriceBands.fit(embeddings, prices, bands=3)
    assert bands.edges.tolist() == [200, 300]
    assert bands.houses.tolist() == [2, 2, 2]
    assert bands.band_of(torch.tensor([50.0, 199, 200, 299, 300, 999])).tolist() == [0, 0, 1, 1, 2, 2]
    _, proxies = mean_proxies(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert torch.equal(bands.proxies_of(torch.tensor([300.0, 1.0])), proxies[[2, 0]])


def test_price_bands_of_many_equal_prices() -> None:
    embeddings = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    bands = PriceBands.fit(embeddings, torch.tensor([5.0] * 9 + [9.0]), bands=4)
    assert bands.edges.tolist() == [9]
    assert bands.houses.tolist() == [9, 1]
    bands = PriceBands.fit(embeddings, torch.tensor([1.0] + [5.0] * 9), bands=4)
    assert bands.houses.tolist() == [1, 9]
    for prices in (torch.full((10,), 5.0), torch.tensor([float("nan")] * 10), torch.rand(9)):
        with pytest.raises(ModelError):
            PriceBands.fit(embeddings, prices)


def test_an_embedding_of_zero_gives_no_heat(maps: Tensor) -> None:
    head = LinearHead(torch.zeros(D, K))
    assert embedding_cam(maps, head).abs().max() == 0


def test_proxies_that_do_not_fit(maps: Tensor, head: LinearHead) -> None:
    with pytest.raises(ModelError, match="proxies must be"):
        embedding_cam(maps, head, torch.rand(N + 1, D))


def test_the_retrieval_baselines(maps: Tensor, head: LinearHead) -> None:
    weights = map_grad_weights(maps, lambda a: head(a).sum(dim=1))
    signed = torch.einsum("nkhw,nk->nhw", maps, weights)
    assert torch.allclose(retrieval_grad_cam(maps, head), signed.clamp(min=0), atol=1e-6)
    assert torch.allclose(retrieval_grad_cam(maps, head, absolute=True), signed.abs(), atol=1e-6)
    assert torch.allclose(weights[0], head.weight.sum(dim=0) / 6, atol=1e-6)
