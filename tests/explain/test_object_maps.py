"""Object maps: heat spread over what looks alike, on feature maps made to order."""

from __future__ import annotations

import pytest
import torch

from housevis.core.errors import ModelError
from housevis.explain.object_maps import ObjectSettings, object_maps


def scene(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two objects of different features on a third ground, `maps` (1, 12, 14, 14) and the objects' masks."""
    generator = torch.Generator().manual_seed(seed)
    maps = 0.1 * torch.rand(1, 12, 14, 14, generator=generator)
    masks = torch.zeros(2, 14, 14, dtype=torch.bool)
    masks[0, 2:8, 1:7] = True
    masks[1, 9:13, 9:13] = True
    maps[0, :4, masks[0]] += 1
    maps[0, 4:8, masks[1]] += 1
    maps[0, 8:, ~masks.any(dim=0)] += 1
    return maps, masks


def heat_on(mask: torch.Tensor) -> torch.Tensor:
    """Coarse heat (1, 7, 7) with its peak on one cell of the object."""
    rows, columns = mask.nonzero()[len(mask.nonzero()) // 2].tolist()
    cells = torch.stack(torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")).float()
    away = (cells - torch.tensor([rows / 2, columns / 2])[:, None, None]).norm(dim=0)
    return torch.exp(-(away**2) / 4)[None]


@pytest.mark.parametrize("which", [0, 1])
def test_the_whole_object_under_the_heat_is_found_and_no_other(which: int):
    maps, masks = scene()
    found = object_maps(heat_on(masks[which]), maps)[0]
    assert found.shape == (14, 14)
    assert found[masks[which]].min() > found[~masks[which]].max() + 0.1
    assert found[~masks.any(dim=0)].max() < 0.1


def test_another_question_gives_another_map():
    maps, masks = scene()
    first, second = (object_maps(heat_on(mask), maps) for mask in masks)
    assert (first - second).abs().max() > 0.5


def test_part_of_the_result_follows_the_heat():
    maps, masks = scene()
    heat = heat_on(masks[0])
    even = object_maps(heat, maps, ObjectSettings(heat_share=0.0))
    peaked = object_maps(heat, maps, ObjectSettings(heat_share=1.0))
    assert even[0, masks[0]].std() < peaked[0, masks[0]].std()


def test_a_picture_does_not_depend_on_its_batch():
    first, second = scene(0), scene(1)
    heats = torch.cat([heat_on(first[1][0]), heat_on(second[1][1])])
    both = object_maps(heats, torch.cat([first[0], second[0]]))
    assert torch.allclose(both[:1], object_maps(heats[:1], first[0]), atol=1e-6)
    assert torch.allclose(both[1:], object_maps(heats[1:], second[0]), atol=1e-6)


@pytest.mark.parametrize("value", [-1.0, 0.0, 3.0])
def test_flat_heat_has_no_object(value: float):
    maps, _ = scene()
    assert object_maps(torch.full((1, 7, 7), value), maps).abs().max() == 0


def test_features_without_difference_give_finite_maps():
    _, masks = scene()
    assert object_maps(heat_on(masks[0]), torch.zeros(1, 12, 14, 14)).isfinite().all()
    assert object_maps(heat_on(masks[0]), torch.ones(1, 12, 14, 14)).isfinite().all()


def test_no_pictures_give_no_maps():
    assert object_maps(torch.zeros(0, 7, 7), torch.zeros(0, 12, 14, 14)).shape == (0, 14, 14)


def test_heat_and_maps_must_be_of_the_same_pictures():
    maps, _ = scene()
    with pytest.raises(ModelError):
        object_maps(torch.ones(2, 7, 7), maps)
    with pytest.raises(ModelError):
        object_maps(torch.ones(1, 7, 7), maps[0])
