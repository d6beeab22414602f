from __future__ import annotations

import pytest
import torch
from torch import Tensor

from housevis.core.errors import ModelError
from housevis.explain.filters import _CONSTRAINTS, FilterSettings, random_start, search_filters


class Toward:
    """Filters are drawn to targets ``(n, Z)``, with a strength for each."""

    def __init__(self, targets: Tensor, strengths: Tensor, log: list[int] | None = None) -> None:
        self.targets, self.strengths, self.log = targets, strengths, log

    def __call__(self, filters: Tensor) -> tuple[Tensor, Tensor]:
        if self.log is not None:
            self.log.append(len(filters))
        apart = filters - self.targets
        return self.strengths * (apart**2).sum(dim=1), 2 * self.strengths[:, None] * apart

    def select(self, rows: Tensor) -> Toward:
        return Toward(self.targets[rows], self.strengths[rows], self.log)


@pytest.fixture
def targets() -> Tensor:
    drawn = torch.rand(6, 12, generator=torch.Generator().manual_seed(1))
    return drawn / drawn.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("constraint", ["l2", "softmax", "gaussian"])
def test_the_way_back_through_a_constraint(constraint: str) -> None:
    constrain = _CONSTRAINTS[constraint](3, 4)  # type: ignore[index]
    parameters = torch.rand(5, 2 if constraint == "gaussian" else 12).double().requires_grad_(True)
    slopes = torch.randn(5, 12).double()
    filters = constrain.filters(parameters)
    (expected,) = torch.autograd.grad((filters * slopes).sum(), parameters)
    found = constrain.pull_back(parameters.detach(), filters.detach(), slopes)
    assert torch.allclose(found, expected)


def test_filters_keep_their_constraint() -> None:
    parameters = torch.rand(5, 12)
    assert torch.allclose(_CONSTRAINTS["l2"](3, 4).filters(parameters).norm(dim=1), torch.ones(5))
    assert torch.allclose(_CONSTRAINTS["softmax"](3, 4).filters(parameters).sum(dim=1), torch.ones(5))
    bell = _CONSTRAINTS["gaussian"](9, 9).filters(torch.tensor([[4.0, 5.0]])).reshape(9, 9)
    assert float(bell.sum()) == pytest.approx(1, abs=1e-3)
    assert int(bell.argmax()) == 4 * 9 + 5
    assert float(bell[4, 6] / bell[4, 5]) == pytest.approx(2.718281828**-0.5)


def test_a_search_finds_the_target(targets: Tensor) -> None:
    start = random_start("l2", 3, 4, torch.Generator().manual_seed(2)).expand(6, -1).clone()
    found = search_filters(Toward(targets, torch.ones(6)), start, 3, 4, FilterSettings())
    assert torch.allclose(found.filters.flatten(1), targets, atol=2e-3)
    assert found.stopped.all()
    assert (found.losses < 1e-4).all()
    assert torch.allclose(found.heats.flatten(1).norm(dim=1), torch.ones(6))


def test_each_filter_stops_on_its_own(targets: Tensor) -> None:
    strengths = torch.tensor([1e-6, 1.0, 1e-7, 100.0, 1e-8, 1e-7])
    start = random_start("l2", 3, 4, torch.Generator().manual_seed(2)).expand(6, -1).clone()
    log: list[int] = []
    together = search_filters(Toward(targets, strengths, log), start, 3, 4, FilterSettings())
    assert together.steps[[0, 2, 4, 5]].tolist() == [51] * 4  # the loss is below the tolerance all along
    assert together.steps[1] > 60
    assert log[:51] == [6] * 51
    assert set(log[51:]) <= {1, 2}
    for row in range(6):
        alone = search_filters(
            Toward(targets[row : row + 1], strengths[row : row + 1]), start[:1], 3, 4, FilterSettings()
        )
        assert abs(int(alone.steps[0]) - int(together.steps[row])) <= 5
        assert torch.allclose(alone.filters[0], together.filters[row], atol=1e-3)


def test_the_stop_rule_looks_back() -> None:
    class Falling:
        def __init__(self) -> None:
            self.losses = [100.0 - step for step in range(20)] + [50.0] * 200
            self.calls = 0

        def __call__(self, filters: Tensor) -> tuple[Tensor, Tensor]:
            self.calls += 1
            return torch.tensor([self.losses[self.calls - 1]]), torch.ones_like(filters)

        def select(self, rows: Tensor) -> Falling:
            return self

    found = search_filters(Falling(), torch.rand(1, 4), 2, 2, FilterSettings(look_back=10))
    assert found.steps.tolist() == [31]  # step 21 is the first at 50, and is looked back to at step 31
    limited = search_filters(Falling(), torch.rand(1, 4), 2, 2, FilterSettings(look_back=10, most_steps=25))
    assert limited.steps.tolist() == [25]
    assert not limited.stopped.any()
    assert limited.losses.tolist() == [50.0]


def test_what_is_no_number_or_depends_on_nothing_ends_at_once() -> None:
    class Odd:
        def __call__(self, filters: Tensor) -> tuple[Tensor, Tensor]:
            return torch.tensor([float("nan"), 3.0]), torch.zeros_like(filters)

        def select(self, rows: Tensor) -> Odd:
            return self

    found = search_filters(Odd(), torch.rand(2, 4), 2, 2, FilterSettings())
    assert found.filters[0].isnan().all()
    assert found.filters[1].abs().max() == 0
    assert found.heats[1].abs().max() == 0
    assert found.steps.tolist() == [1, 1]


def test_no_picture_at_all() -> None:
    found = search_filters(Toward(torch.rand(0, 4), torch.rand(0)), torch.rand(0, 4), 2, 2, FilterSettings())
    assert found.heats.shape == (0, 2, 2)


def test_a_start_is_what_its_generator_draws() -> None:
    first, again = (random_start("l2", 3, 4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert 0 <= first.min() < first.max() <= 1
    mean = random_start("gaussian", 3, 40, torch.Generator().manual_seed(5))
    assert mean.shape == (2,)
    assert 0 <= mean[0] <= 2


def test_impossible_settings() -> None:
    with pytest.raises(ModelError, match="no constraint"):
        FilterSettings(constraint="l1")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="at least one"):
        FilterSettings(most_steps=0)
