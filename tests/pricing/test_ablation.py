from __future__ import annotations

import json

import numpy as np
import pytest

from housevis.core.errors import ConfigError, ModelError
from housevis.pricing.ablation import PUBLISHED, ablate
from housevis.pricing.attributes import ATTRIBUTE_SETS


def test_every_set_of_the_paper_has_its_published_row() -> None:
    assert list(PUBLISHED) == list(ATTRIBUTE_SETS)
    assert PUBLISHED["G, Bed, Bath, T, A"] == (0.507, 0.552)


def test_a_picture_that_shows_a_driver_gains_in_every_set(market, settings) -> None:
    sales, visual = market
    rows = ablate(sales[:600], sales[600:], visual[:600], visual[600:], ATTRIBUTE_SETS, settings)
    assert [row.name for row in rows] == list(ATTRIBUTE_SETS)
    alone, *others = rows
    assert (alone.without, alone.gain, alone.mdape_without) == (None, None, None)
    assert alone.sales == alone.pictured == 267
    for row in others:
        assert (row.sales, row.pictured) == (300, 267)
        assert row.gain.estimate == pytest.approx(row.with_visual - row.without)
        assert row.gain.low <= row.gain.estimate <= row.gain.high
    best = rows[-1]
    assert best.gain.low > 0.1
    assert best.mdape_with < best.mdape_without
    json.dumps([row.to_dict() for row in rows], allow_nan=False)


def test_noise_in_place_of_pictures_gains_nothing(market, settings) -> None:
    sales = market[0]
    noise = np.random.default_rng(8).normal(size=(900, 4))
    sets = {"G, Bed, Bath, T, A": ATTRIBUTE_SETS["G, Bed, Bath, T, A"]}
    (row,) = ablate(sales[:600], sales[600:], noise[:600], noise[600:], sets, settings)
    assert row.gain.low <= 0.01


def test_without_visual_features_the_sets_are_measured_alone(market, settings) -> None:
    sales, visual = market
    sets = {name: attributes for name, attributes in ATTRIBUTE_SETS.items() if attributes}
    nothing = np.empty((900, 0))
    alone = ablate(sales[:600], sales[600:], nothing[:600], nothing[600:], sets, settings)
    compared = ablate(sales[:600], sales[600:], visual[:600], visual[600:], sets, settings)
    for row, other in zip(alone, compared, strict=True):
        assert (row.without, row.mdape_without) == (other.without, other.mdape_without)
        assert row.with_visual is row.mdape_with is row.gain is None
        assert (row.sales, row.pictured) == (300, 0)
    json.dumps([row.to_dict() for row in alone], allow_nan=False)


def test_a_set_of_ones_own_has_no_published_row(market, settings) -> None:
    sales, visual = market
    (row,) = ablate(sales[:600], sales[600:], visual[:600], visual[600:], {"A": ["area_m2"]}, settings)
    assert row.published is None
    assert row.to_dict()["published"] is None


def test_errors_come_through(market, settings) -> None:
    sales, visual = market
    with pytest.raises(ConfigError, match="Did you mean 'bathrooms'"):
        ablate(sales[:600], sales[600:], visual[:600], visual[600:], {"x": ["bathroom"]}, settings)
    blind = np.full((300, 4), np.nan)
    with pytest.raises(ModelError, match="none of 300 later sales has a picture"):
        ablate(sales[:600], sales[600:], visual[:600], blind, ATTRIBUTE_SETS, settings)
