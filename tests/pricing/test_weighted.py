from __future__ import annotations

import numpy as np

from housevis.pricing.weighted import weighted_mean, weighted_median

VALUES = np.array([[3.0, 1.0, 2.0, np.nan], [5.0, 7.0, np.nan, np.nan], [np.nan] * 4, [1.0, 2.0, 3.0, 4.0]])
WEIGHTS = np.array([[1.0, 1.0, 1.0, 9.0], [1.0, 1.0, 1.0, 1.0], [1.0] * 4, [0.0] * 4])


def test_means_are_over_the_known_values() -> None:
    np.testing.assert_allclose(weighted_mean(VALUES, WEIGHTS), [2, 6, np.nan, np.nan])
    np.testing.assert_allclose(weighted_mean(VALUES[:1], np.array([[0.0, 3.0, 1.0, 1.0]])), [1.25])


def test_medians_are_over_the_known_values() -> None:
    np.testing.assert_allclose(weighted_median(VALUES, WEIGHTS), [2, 6, np.nan, np.nan])
    np.testing.assert_allclose(weighted_median(VALUES[:1], np.array([[5.0, 1.0, 1.0, 1.0]])), [3])


def test_equal_weights_give_the_plain_median() -> None:
    values = np.random.default_rng(1).normal(size=(50, 9))
    for count in (8, 9):
        part = values[:, :count]
        np.testing.assert_allclose(weighted_median(part, np.ones_like(part)), np.median(part, axis=1))
