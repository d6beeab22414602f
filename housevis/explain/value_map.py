"""The value map: the visual part of a house's price, in currency, spread over its picture, with its sign.

What the estimate reports of the picture is one amount: the SHAP values of the
visual features, summed, in currency. The value map says which places of the
picture it comes from, relative to the market's mean picture:

1. **What the effect follows.** SHAP values of a feature rise nearly in
   proportion to it. The slope of feature `d` over the whole market,
   ``beta_d = cov(phi_d, f_d) / var(f_d)``, is stable for every house, also
   for one whose feature sits at its mean, where ``phi_d / (f_d - mean)`` is
   a division by nothing.
2. **Exact decomposition.** ``sum_d beta_d (f_d(x) - f_d(mean))`` is exactly a
   sum over channels and cells, because pooling is linear:
   ``m(pos) = sum_k g_k (A_k(pos) - mean_k) / Z``, with `g` the gradient. A
   linear embedding has the same `g` for every house; for any other, `g` is
   averaged along the straight line from the mean pooled feature to the
   house's (integrated gradients, by Gauss-Legendre). What neighbourhood
   features add is one number, the *surroundings*.
3. **Guidance** (optional). A cell of the feature map sees far beyond its
   borders. Where the picture itself has been read as words
   (:mod:`housevis.explain.picture_words`), `m` is enlarged and multiplied by
   what the words say of each place, as far as both agree in sign; the total
   of absolute values stays what it was.
4. **Completeness.** Positive and negative parts are scaled by `a` and `1/a`,
   with the one `a > 0` for which all sums up to the visual effect `S`:
   ``a P - N / a = S``. Signs stay, and the total of absolute values is
   ``sqrt(S^2 + 4 P N)``: bounded, and continuous where `S` passes through 0.
   Where all parts have the other sign than `S`, the effect is spread evenly.
5. **Currency** by the log-mean rule ``c = phi (P - B) / (ln P - ln B)``, `P`
   in the limit ``P = B``.

It is an association within one model, not what a change of the place would bring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from housevis.core.errors import ModelError
from housevis.core.storage import write_file
from housevis.explain.gradweights import PooledEmbedding
from housevis.explain.heatmap import Status, upsample
from housevis.explain.picture_words import PictureWords, WordValues, on_grid

NEGLIGIBLE: Final = 0.002
"""A visual effect below that, in log price (0.2 % of the price), is too small to be placed."""

PATH_POINTS: Final = 12
_FLOOR: Final = 0.05
_FINER: Final = 2
_FORMAT: Final = "housevis-value-map-1"

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ValueMaps:
    """Value maps of n houses.

    Attributes:
        values: float32 ``(n, h, w)``, signed, currency.
        surroundings: float32 ``(n,)``, what the neighbourhood's pictures add, currency.
        effects: float32 ``(n,)``, the visual effect, currency; values and surroundings sum up to it.
        statuses: ``"ok"``, or ``"negligible"`` where the effect is too small to be placed.
    """

    values: NDArray[np.float32]
    surroundings: NDArray[np.float32]
    effects: NDArray[np.float32]
    statuses: tuple[Status, ...]


def log_mean(estimates: ArrayLike, bases: ArrayLike) -> Float64:
    """Currency per log unit: ``(P - B) / (ln P - ln B)``, `P` in the limit ``P = B``.

    Args:
        estimates: `P` ``(n,)``, above 0.
        bases: `B` ``(n,)``, above 0.

    Raises:
        ModelError: A price is not above 0.
    """
    P, B = np.asarray(estimates, dtype=np.float64), np.asarray(bases, dtype=np.float64)
    if P.shape != B.shape or not ((P > 0) & (B > 0) & np.isfinite(P) & np.isfinite(B)).all():
        raise ModelError("estimates and base prices must be above 0, one of each per house")
    rise = np.log(P) - np.log(B)
    flat = np.abs(rise) < 1e-12
    return B * np.where(flat, 1.0, np.expm1(rise) / np.where(flat, 1.0, rise))


def effect_slopes(contributions: NDArray[np.floating], features: NDArray[np.floating]) -> Float64:
    """How SHAP values rise with their feature, over the market: ``beta (D,)``.

    Args:
        contributions: SHAP values of the visual features ``(n, D)``, log units.
        features: The features ``(n, D)``; houses without a picture are NaN and do not count.

    Returns:
        ``(D,)``; 0 for a feature that is the same everywhere.

    Raises:
        ModelError: The shapes do not fit, or no house has a picture.
    """
    if contributions.shape != features.shape or features.ndim != 2:
        raise ModelError(f"SHAP values {contributions.shape} and features {features.shape} do not fit")
    seen = np.isfinite(features).all(axis=1)
    if not seen.any():
        raise ModelError("no house has visual features", remedy="Fetch imagery and train again.")
    f = features[seen].astype(np.float64)
    f = f - f.mean(axis=0)
    variance = (f**2).mean(axis=0)
    covariance = (f * contributions[seen]).mean(axis=0)
    return np.where(variance > 1e-18, covariance / np.maximum(variance, 1e-18), 0.0)


class PathEmbedding(PooledEmbedding, Protocol):
    """An embedding that knows the mean of its gradient along a way, too."""

    def mean_pull_back(
        self,
        pooled: NDArray[np.floating],
        origin: NDArray[np.floating],
        directions: NDArray[np.floating],
        quadrature: Sequence[tuple[float, float]],
    ) -> NDArray[np.float32]:
        """The gradient of ``directions . f`` averaged over the way from `origin` to each house.

        Args:
            pooled: ``(n, K)``.
            origin: ``(K,)``.
            directions: ``(n, D)``.
            quadrature: Points of the way, from 0 to 1, and their weights.
        """


def path_gradients(
    embedding: PathEmbedding,
    pooled: NDArray[np.floating],
    origin: NDArray[np.floating],
    slopes: ArrayLike,
    *,
    points: int = PATH_POINTS,
) -> Float64:
    """The gradient of ``slopes . f`` averaged along the way from the mean picture to each house.

    ``g . (x - origin)`` is ``slopes . (f(x) - f(origin))``, exactly for a
    linear embedding and to quadrature's precision for a smooth one.

    Args:
        embedding: The embedding of pooled features.
        pooled: ``(n, K)``.
        origin: The mean pooled feature ``(K,)``.
        slopes: ``(D,)``.
        points: Points of the Gauss-Legendre quadrature.

    Returns:
        ``(n, K)``.
    """
    directions = np.repeat(np.asarray(slopes, dtype=np.float32)[None], len(pooled), axis=0)
    nodes, weights = np.polynomial.legendre.leggauss(points)
    quadrature = list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))
    return embedding.mean_pull_back(pooled, origin, directions, quadrature).astype(np.float64)


def decompose(
    maps: NDArray[np.floating],
    pooled: NDArray[np.floating],
    gradients: NDArray[np.floating],
    origin: NDArray[np.floating],
) -> tuple[Float64, Float64]:
    """Where ``g . (x - origin)`` comes from.

    Args:
        maps: Feature maps ``(n, K, h, w)`` of the houses' own pictures.
        pooled: ``(n, K (1 + blocks))``: first the own picture, then the neighbourhood.
        gradients: Likewise.
        origin: Likewise, ``(K (1 + blocks),)``.

    Returns:
        Parts of the positions ``(n, h, w)`` and of the surroundings ``(n,)``.

    Raises:
        ModelError: The shapes do not fit.
    """
    if (
        maps.ndim != 4
        or pooled.shape != gradients.shape
        or pooled.shape != (len(maps), len(origin))
        or pooled.shape[1] < maps.shape[1]
    ):
        raise ModelError(
            f"feature maps {maps.shape}, pooled features {pooled.shape}, gradients {gradients.shape} "
            f"and a mean {origin.shape} do not fit"
        )
    count, channels, height, width = maps.shape
    own = np.ascontiguousarray(gradients[:, :channels], dtype=np.float32)
    cells = np.matmul(own[:, None], maps.reshape(count, channels, -1).astype(np.float32, copy=False))
    constant = own.astype(np.float64) @ np.asarray(origin[:channels], dtype=np.float64)
    positions = (cells[:, 0].astype(np.float64) - constant[:, None]) / (height * width)
    departure = pooled[:, channels:].astype(np.float64) - origin[channels:]
    surroundings = (gradients[:, channels:] * departure).sum(axis=1)
    return positions.reshape(count, height, width), surroundings


def guided(parts: Float64, guide: NDArray[np.floating], typical: float) -> Float64:
    """Parts on a finer grid, where the guide agrees with them (step 3 of the module).

    Args:
        parts: ``(n, h, w)``.
        guide: ``(n, H, W)``, signed, on the finer grid.
        typical: Mean absolute value of the guide over the market, above 0; a
            small part of it stands wherever the guide says nothing or disagrees.

    Returns:
        ``(n, H, W)`` with the sum of absolute values of `parts`.
    """
    height, width = guide.shape[1:]
    fine = upsample(parts, height, width).astype(np.float64)
    agrees = np.where(np.sign(fine) == np.sign(guide), np.abs(guide), 0.0)
    weighted = fine * (agrees + _FLOOR * typical)
    before = np.abs(parts).sum(axis=(1, 2))
    after = np.abs(weighted).sum(axis=(1, 2))
    scale = np.divide(before, after, out=np.zeros_like(before), where=after > 0)
    return weighted * scale[:, None, None]


def complete(parts: NDArray[np.floating], totals: ArrayLike) -> Float64:
    """Scale positive parts by `a` and negative ones by ``1/a`` so that each row sums to its total (step 4).

    Args:
        parts: ``(n, m)``, signed.
        totals: ``(n,)``.

    Returns:
        float64 ``(n, m)``. Signs stay; the sum of absolute values of a row is
        ``sqrt(S^2 + 4 P N)``, or ``|S|`` where no part has the sign of `S`.
    """
    w, S = np.asarray(parts, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    raises, lowers = np.maximum(w, 0), np.maximum(-w, 0)
    P, N = raises.sum(axis=1), lowers.sum(axis=1)
    larger = (np.abs(S) + np.hypot(S, 2 * np.sqrt(P) * np.sqrt(N))) / 2
    smaller = larger - np.abs(S)
    rises = S >= 0
    a = np.divide(np.where(rises, larger, smaller), P, out=np.zeros_like(P), where=P > 0)
    b = np.divide(np.where(rises, smaller, larger), N, out=np.zeros_like(N), where=N > 0)
    scaled = raises * a[:, None] - lowers * b[:, None]
    impossible = np.where(rises, P, N) == 0
    scaled[impossible] = 0
    rest = S - scaled.sum(axis=1)
    return scaled + rest[:, None] / w.shape[1]


@dataclass(frozen=True, eq=False)
class ValueMapModel:
    """What the value maps of one model are made with.

    Attributes:
        origin: The market's mean pooled feature, float32 ``(K (1 + blocks),)``.
        slopes: `beta`, float32 ``(D,)``, the features of all learners side by side.
        words: The dictionary of looks; None without guidance.
        values: What the words add to ``beta . f``; None without guidance.
    """

    origin: NDArray[np.float32]
    slopes: NDArray[np.float32]
    words: PictureWords | None = None
    values: WordValues | None = None

    def explain(
        self,
        embeddings: Sequence[PathEmbedding],
        maps: NDArray[np.floating],
        pooled: NDArray[np.floating],
        effects: ArrayLike,
        currency: ArrayLike,
        pictures: NDArray[np.uint8] | None = None,
    ) -> ValueMaps:
        """The value maps of n houses.

        Args:
            embeddings: The feature learners, in the order of their features.
            maps: Feature maps ``(n, K, h, w)``.
            pooled: What the learners embed, ``(n, K (1 + blocks))``.
            effects: The visual effect ``(n,)``: the SHAP values of all visual features, summed, log units.
            currency: Currency per log unit ``(n,)``, see :func:`log_mean`.
            pictures: uint8 ``(n, H, W, 3)``, for the guidance; None goes without.

        Raises:
            ModelError: The shapes do not fit.
        """
        S, unit = np.asarray(effects, dtype=np.float64), np.asarray(currency, dtype=np.float64)
        if sum(each.dimension for each in embeddings) != len(self.slopes) or not (
            S.shape == unit.shape == (len(maps),)
        ):
            raise ModelError(
                f"{len(maps)} feature maps, effects {S.shape}, units {unit.shape} and "
                f"{len(self.slopes)} slopes do not fit"
            )
        parts, surroundings = self._parts(embeddings, maps, pooled)
        if self.words is not None and self.values is not None and pictures is not None:
            height, width = (_FINER * side for side in parts.shape[1:])
            guide = on_grid(self.values.parts(self.words.read(pictures)), height, width)
            parts = guided(parts, guide, self.values.scale)
        shape = parts.shape
        flat = np.concatenate([parts.reshape(len(parts), shape[1] * shape[2]), surroundings[:, None]], axis=1)
        has_surroundings = pooled.shape[1] > maps.shape[1]
        usable = np.isfinite(flat).all(axis=1) & np.isfinite(S) & np.isfinite(unit)
        S, unit = np.where(usable, S, 0.0), np.where(usable, unit, 0.0)
        placed = np.zeros_like(flat)
        used = flat.shape[1] if has_surroundings else flat.shape[1] - 1
        placed[:, :used] = complete(np.where(usable[:, None], flat, 0.0)[:, :used], S) * unit[:, None]
        statuses: tuple[Status, ...] = tuple(
            "flat" if not fine else "negligible" if abs(effect) < NEGLIGIBLE else "ok"
            for fine, effect in zip(usable, S, strict=True)
        )
        return ValueMaps(
            placed[:, :-1].reshape(shape).astype(np.float32),
            placed[:, -1].astype(np.float32),
            (S * unit).astype(np.float32),
            statuses,
        )

    def _parts(
        self, embeddings: Sequence[PathEmbedding], maps: NDArray[np.floating], pooled: NDArray[np.floating]
    ) -> tuple[Float64, Float64]:
        gradients = np.zeros(pooled.shape)
        first = 0
        for embedding in embeddings:
            slopes = self.slopes[first : first + embedding.dimension]
            gradients += path_gradients(embedding, pooled, self.origin, slopes)
            first += embedding.dimension
        return decompose(maps, pooled, gradients, self.origin)

    def save(self, path: str | Path) -> None:
        """Write the model as one safetensors file, atomically."""
        tensors: dict[str, NDArray[Any]] = {"origin": self.origin, "slopes": self.slopes}
        about: dict[str, Any] = {}
        if self.words is not None and self.values is not None:
            tensors |= {
                "looks": self.words.looks,
                "everywhere": self.values.everywhere,
                "middle": self.values.middle,
                "typical": self.values.typical,
            }
            about |= {"correlation": self.values.correlation, "scale": self.values.scale}
        content = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        write_file(Path(path), save(content, metadata={"format": _FORMAT, "about": json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> ValueMapModel:
        """Read what :meth:`save` wrote.

        Raises:
            ModelError: There is no such file, or it is damaged.
        """
        try:
            with safe_open(path, framework="numpy") as stored:
                metadata = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"the format is {metadata.get('format')}")
            origin, slopes = tensors["origin"], tensors["slopes"]
            words, values = None, None
            if "looks" in tensors:
                about = json.loads(metadata["about"])
                words = PictureWords(tensors["looks"])
                values = WordValues(tensors["everywhere"], tensors["middle"], tensors["typical"], **about)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as problem:
            raise ModelError(
                f"no value maps can be made from this file ({problem.__class__.__name__})",
                where=str(path),
                remedy="Remove what is there and run `housevis explain` again: it makes the file anew.",
            ) from None
        return cls(origin, slopes, words, values)
