"""How well a visual score orders houses by price, over all pairs or over comparable ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from housevis.core.earth import KILOMETRES_PER_DEGREE
from housevis.core.errors import ModelError

Pairs = NDArray[np.int64]
Keep = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]

_DRAWN_AT_ONCE: Final = 1_000_000
_MOST_DRAWS: Final = 60


def draw_pairs(prices: NDArray[np.float64], *, pairs: int, seed: int, keep: Keep | None = None) -> Pairs:
    """Draw pairs of houses uniformly; pairs of equal price are dropped.

    Args:
        prices: Prices ``(n,)``.
        pairs: Pairs to draw without `keep` (ties are dropped from these), or
            to find with it.
        seed: Same seed, same pairs.
        keep: Takes the first and the second houses of many pairs (positions
            ``(p,)`` each) and says which pairs count. Rare pairs are looked
            for among 60 million draws, so fewer than `pairs` may be found.

    Returns:
        Positions ``(p, 2)``.

    Raises:
        ModelError: Not one pair is left.
    """
    generator = np.random.default_rng(seed)
    if keep is None:
        found = _different(generator.integers(0, len(prices), size=(pairs, 2)), prices)
    else:
        parts: list[Pairs] = []
        for _ in range(_MOST_DRAWS):
            drawn = _different(generator.integers(0, len(prices), size=(_DRAWN_AT_ONCE, 2)), prices)
            parts.append(drawn[keep(drawn[:, 0], drawn[:, 1])])
            if sum(map(len, parts)) >= pairs:
                break
        found = np.concatenate(parts)[:pairs]
    if not len(found):
        raise ModelError(
            "not one pair of houses with different prices is left",
            remedy="Rank accuracy needs different prices, and houses that the filter keeps.",
        )
    return found


def _different(drawn: Pairs, prices: NDArray[np.float64]) -> Pairs:
    return drawn[prices[drawn[:, 0]] != prices[drawn[:, 1]]]


def ordered_share(scores: NDArray[np.floating], prices: NDArray[np.float64], pairs: Pairs) -> float:
    """Share of pairs that the scores put in the order of their prices; a tie of scores counts one half.

    Args:
        scores: Scores ``(n,)``.
        prices: Prices ``(n,)``.
        pairs: Pairs of different price ``(p, 2)``, from :func:`draw_pairs`.
    """
    order = np.sign(prices[pairs[:, 0]] - prices[pairs[:, 1]])
    said = np.sign(scores[pairs[:, 0]] - scores[pairs[:, 1]])
    return float(np.mean(0.5 + 0.5 * order * said))


def comparable(
    latitude: NDArray[np.float64],
    longitude: NDArray[np.float64],
    area: NDArray[np.float64],
    *,
    kilometres: float = 2.0,
    area_share: float = 0.15,
) -> Keep:
    """A filter for :func:`draw_pairs`: houses near each other and of about one size.

    Args:
        latitude: Degrees north ``(n,)``, EPSG:4326.
        longitude: Degrees east ``(n,)``.
        area: Unit area ``(n,)``; a house without one is in no pair.
        kilometres: Largest distance.
        area_share: Largest difference of area, as a share of the larger.
    """
    north = latitude * KILOMETRES_PER_DEGREE

    def keep(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
        # The meridians converge: both ends of a short pair are measured on one parallel, their mean.
        parallel = np.cos(np.radians((latitude[first] + latitude[second]) / 2))
        across = (longitude[first] - longitude[second]) * parallel * KILOMETRES_PER_DEGREE
        near = np.hypot(across, north[first] - north[second]) <= kilometres
        larger = np.maximum(area[first], area[second])
        return np.asarray(near & (np.abs(area[first] - area[second]) <= area_share * larger))

    return keep
