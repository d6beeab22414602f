"""The regressors that C section 4 compares, on log price: trees, boosting, support vectors, a network.

Each is a scikit-learn estimator under one name, made with what its method
needs: the support vectors and the network get medians in place of missing
values, a column that says that a value was missing, and scaled features and
target; the trees take missing values as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR

from housevis.core.config_sections import PricingSection
from housevis.core.errors import UsageError
from housevis.pricing.boosters import OBJECTIVES

_KERNEL_CACHE: Final = 500
"""Megabytes of kernel rows that the support vectors keep."""


def make_regressor(name: str, *, seed: int = 1, num_threads: int = 2) -> BaseEstimator:
    """Make an unfitted regressor by its name.

    Args:
        name: One of :data:`REGRESSORS`.
        seed: Seed of everything that is drawn; the same seed and data give
            the same estimates.
        num_threads: Threads of the trees at most; no result depends on them.

    Returns:
        A scikit-learn estimator: ``fit(X, log_price)`` and ``predict(X)``
        with features ``(n, F)``, NaN where missing, and log prices ``(n,)``.

    Raises:
        UsageError: There is no regressor of this name.
    """
    if name not in _MAKERS:
        raise UsageError(f"unknown regressor {name!r}", remedy=f"Choose one of: {', '.join(REGRESSORS)}.")
    return _MAKERS[name](seed, num_threads)


def _random_forest(seed: int, num_threads: int) -> BaseEstimator:
    forest = RandomForestRegressor(
        n_estimators=200, min_samples_leaf=3, max_features=0.5, random_state=seed, n_jobs=num_threads
    )
    return make_pipeline(FunctionTransformer(_numbers), forest)


def _gradient_boosting(seed: int, num_threads: int) -> BaseEstimator:
    section = PricingSection()
    boosting = lightgbm.LGBMRegressor(
        objective=OBJECTIVES[section.objective],
        n_estimators=section.rounds,
        learning_rate=section.learning_rate,
        num_leaves=section.leaves,
        random_state=seed,
        n_jobs=num_threads,
        deterministic=True,
        force_row_wise=True,
        verbosity=-1,
    )
    return make_pipeline(FunctionTransformer(_numbers), boosting)


def _support_vector(seed: int, num_threads: int) -> BaseEstimator:
    del seed, num_threads
    return _scaled(SVR(kernel="rbf", C=1.0, epsilon=0.2, gamma=0.05, cache_size=_KERNEL_CACHE))


def _neural_network(seed: int, num_threads: int) -> BaseEstimator:
    del num_threads
    network = MLPRegressor(
        hidden_layer_sizes=(64, 64),
        alpha=1e-3,
        batch_size=128,
        learning_rate_init=2e-3,
        max_iter=60,
        early_stopping=True,
        n_iter_no_change=8,
        random_state=seed,
    )
    return _scaled(network)


def _scaled(regressor: BaseEstimator) -> BaseEstimator:
    """A regressor that sees no missing value, and features and target of unit variance."""
    features = make_pipeline(
        FunctionTransformer(_numbers),
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        regressor,
    )
    return TransformedTargetRegressor(features, transformer=StandardScaler())


def _numbers(table: Any) -> NDArray[np.float64]:
    return np.asarray(table, dtype="float64")


_MAKERS: Final[dict[str, Callable[[int, int], BaseEstimator]]] = {
    "random-forest": _random_forest,
    "gradient-boosting": _gradient_boosting,
    "support-vector": _support_vector,
    "neural-network": _neural_network,
}

REGRESSORS: Final = tuple(_MAKERS)
"""Names of the regressors of C section 4, the best one there being the gradient boosting."""
