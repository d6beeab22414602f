"""The grad-weight database: which channels matter for which house (C section 3.3).

The scalar that is explained is a choice:

===============  ===============================================================
loss-against     C as published: the cross-entropy of the pair. A high weight
                 would raise the loss, that is, speaks against the true order.
loss-for         The opposite sign: a high weight speaks for the true order.
ordering         The logit margin of the true order, so for a house dearer than
                 most what makes it dear, for a cheaper one what makes it cheap.
dearer           The margin of "this house is dearer", whatever its price.
cheaper          The margin of "this house is cheaper", whatever its price.
===============  ===============================================================

Only `dearer` and `cheaper` have a price direction that is the same for all
houses, so only they may be labelled "raises" or "lowers". The gradient of the
loss is ``(p_ij - t_ij)(V_1 - V_0)``: averaged over the pairs it is the house's
ranking residual times a fixed direction, near zero and of either sign for a
good ranker.

Databases of other networks, of triplets or any other scalar, are made by
:mod:`housevis.explain.example_weights` and kept in the same file; "house" then
reads "training picture", and "pair" reads "example".
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from housevis.core.errors import ModelError
from housevis.core.storage import write_file

Scalar = Literal["loss-against", "loss-for", "ordering", "dearer", "cheaper"]
"""What is explained; see the module's table."""

SCALARS: tuple[Scalar, ...] = get_args(Scalar)

ChannelOrder = Literal["weight", "effect"]
"""How channels are compared when the highest `M` are kept.

``weight``: by their grad-weight, as C has it. ``effect``: by grad-weight times
the standard deviation of the pooled channel over the houses. The two differ
where the ranker was trained on standardised features: folding the
standardisation back divides by the deviation, so the highest weights belong
to channels that hardly ever fire.
"""

_FORMAT = "housevis-grad-weights-2"
_READ = {"housevis-grad-weights-1", _FORMAT}
_DTYPES: dict[str, type[np.generic]] = {
    "embeddings": np.float32,
    "channels": np.uint16,
    "weights": np.float16,
    "scales": np.float32,
    "pairs": np.int32,
}


@dataclass(frozen=True)
class GradWeightsAbout:
    """How a grad-weight database was made.

    Attributes:
        scalar: What was explained: one of :data:`SCALARS`, or a question of
            :mod:`housevis.explain.examples` by its name.
        pairs: Pairs drawn per house, at most.
        channel_order: How channels were compared.
        channels_in_all: Channels of the feature map, `K`.
        cells: Cells of the feature map, ``Z = h w``.
        seed: Seed of the pairs.
        backbone_fingerprint: The backbone whose channels the weights number.
        model_id: The siamese model whose embedding and head were explained.
        sense: "for" or "against"; empty where the scalar's name says it.
        method: How gradients became weights, Grad-CAM or Grad-CAM++.
        normalised: Whether embeddings have the length 1; those that are
            looked up are then brought to it.
        settings: What else the scalar was asked with, by name.
        compressed_from: How many lenders the rows are centres of; 0 = the
            rows are the houses themselves.
    """

    scalar: str
    pairs: int
    channel_order: ChannelOrder
    channels_in_all: int
    cells: int
    seed: int
    backbone_fingerprint: str
    model_id: str
    sense: str = ""
    method: str = "grad-cam"
    normalised: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    compressed_from: int = 0


@dataclass(frozen=True, eq=False)
class GradWeightDatabase:
    """Embedding and top-M channel weights of every house: ``O(N (D + M))`` numbers.

    The weights of a house are kept relative to its largest one, with the
    largest beside them in `scales`: half precision alone would round the
    small weights of a well ranked house to nothing.

    Attributes:
        house_ids: The houses, ``N``; a house that was sold twice may stand twice.
        embeddings: float32 ``(N, D)``.
        channels: uint16 ``(N, M)``, the highest in `about.channel_order` first.
        weights: float16 ``(N, M)``, relative to `scales`, within [-1, 1].
        scales: float32 ``(N,)``, the largest absolute weight of each house.
        pairs: int32 ``(N,)``, valid pairs averaged; 0 = there was none, and the
            house has no weights.
        about: How the database was made.
    """

    house_ids: tuple[str, ...]
    embeddings: NDArray[np.float32]
    channels: NDArray[np.uint16]
    weights: NDArray[np.float16]
    scales: NDArray[np.float32]
    pairs: NDArray[np.int32]
    about: GradWeightsAbout

    def __len__(self) -> int:
        return len(self.house_ids)

    @property
    def top_channels(self) -> int:
        """Channels kept per house, `M`."""
        return int(self.channels.shape[1])

    def weights_of(self, rows: ArrayLike) -> NDArray[np.float32]:
        """The grad-weights of some houses in their own unit.

        Args:
            rows: Row numbers ``(n,)``.

        Returns:
            float32 ``(n, M)``, in the order of `channels`.
        """
        chosen = np.asarray(rows, dtype=np.intp)
        return self.weights[chosen].astype(np.float32) * self.scales[chosen, None]

    def without(self, house_ids: Collection[str]) -> GradWeightDatabase:
        """The database without some houses; the others keep their weights and their order.

        Raises:
            ModelError: The database is compressed: the house is part of a mean.
        """
        if self.about.compressed_from:
            raise ModelError(
                "a house cannot be taken out of a compressed grad-weight database",
                remedy="Take it out of the whole database, and compress that again.",
            )
        kept = np.array([house_id not in house_ids for house_id in self.house_ids], dtype=bool)
        arrays = {name: getattr(self, name)[kept] for name in _DTYPES}
        remaining = tuple(house_id for house_id, keep in zip(self.house_ids, kept, strict=True) if keep)
        return GradWeightDatabase(house_ids=remaining, **arrays, about=self.about)

    def save(self, path: str | Path) -> None:
        """Write the database as one safetensors file, in one step.

        A process that is killed leaves the file that was there before.

        Raises:
            ModelError: The file cannot be written.
        """
        file = Path(path)
        tensors: dict[str, NDArray[Any]] = {
            name: np.ascontiguousarray(getattr(self, name)) for name in _DTYPES
        }
        tensors["house_ids"] = _packed(self.house_ids)
        content = save(tensors, metadata={"format": _FORMAT, "about": json.dumps(asdict(self.about))})
        try:
            write_file(file, content)
        except OSError as problem:
            raise ModelError(
                f"the grad-weight database cannot be written ({problem.strerror})",
                where=str(file),
                remedy="Check the free space and the rights of the folder.",
            ) from None

    @classmethod
    def load(cls, path: str | Path, *, backbone_fingerprint: str | None = None) -> GradWeightDatabase:
        """Read a database and check it.

        Args:
            path: The safetensors file.
            backbone_fingerprint: The backbone it will be used with; None
                takes any. Channel numbers mean nothing to another backbone.

        Raises:
            ModelError: The file is missing, damaged, of another format, or
                was made with another backbone.
        """
        file = str(path)
        again = "Remove what is there and run `housevis explain` again: it makes the file anew."
        try:
            with safe_open(file, framework="numpy") as source:
                metadata = source.metadata() or {}
                tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise ModelError("there is no grad-weight database here", where=file, remedy=again) from None
        except (SafetensorError, OSError) as problem:
            raise ModelError(f"the file cannot be read: {problem}", where=file, remedy=again) from None
        if metadata.get("format") not in _READ:
            raise ModelError(
                f"this is no grad-weight database of the format {_FORMAT}", where=file, remedy=again
            )
        try:
            database = _from_tensors(tensors, metadata)
            _check(database)
        except ModelError as problem:
            raise ModelError(problem.what, where=file, remedy=again) from None
        found = database.about.backbone_fingerprint
        if backbone_fingerprint is not None and found != backbone_fingerprint:
            raise ModelError(
                f"the grad-weights belong to the backbone {found}, not to {backbone_fingerprint}",
                where=file,
                remedy="Use the backbone of that run, or run `housevis train` and `housevis explain` again.",
            )
        return database


def _from_tensors(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> GradWeightDatabase:
    missing = sorted({*_DTYPES, "house_ids"} - set(tensors))
    if missing:
        raise ModelError(f"the grad-weight database lacks {', '.join(missing)}")
    try:
        house_ids = _unpacked(tensors["house_ids"], metadata["format"])
        about = json.loads(metadata["about"])
    except (KeyError, ValueError, zlib.error):
        raise ModelError("the description of the grad-weight database is damaged") from None
    needed = {each.name for each in fields(GradWeightsAbout) if _has_no_default(each)}
    known = {each.name for each in fields(GradWeightsAbout)}
    texts = isinstance(house_ids, list) and all(isinstance(house_id, str) for house_id in house_ids)
    if not (texts and isinstance(about, dict) and needed <= set(about) <= known):
        raise ModelError("the description of the grad-weight database is damaged")
    arrays = {name: tensors[name] for name in _DTYPES}
    return GradWeightDatabase(house_ids=tuple(house_ids), **arrays, about=GradWeightsAbout(**about))


def _packed(house_ids: Sequence[str]) -> NDArray[np.uint8]:
    """Ids as compressed JSON: ids of one source are alike, and they would be a sixth of the file."""
    return np.frombuffer(zlib.compress(json.dumps(house_ids).encode(), level=1), dtype=np.uint8)


def _unpacked(packed: NDArray[np.uint8], format_name: str) -> Any:
    content = packed.tobytes()
    return json.loads((content if format_name.endswith("-1") else zlib.decompress(content)).decode())


def _has_no_default(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _check(database: GradWeightDatabase) -> None:
    houses = len(database.house_ids)
    for name, dtype in _DTYPES.items():
        array = getattr(database, name)
        dimensions = 2 if name in ("embeddings", "channels", "weights") else 1
        if array.dtype != dtype or array.ndim != dimensions or len(array) != houses:
            raise ModelError(f"{name} has the type {array.dtype} and shape {array.shape} for {houses} houses")
        if not np.isfinite(array).all():
            raise ModelError(f"{name} holds a value that is no finite number")
    if database.channels.shape != database.weights.shape:
        raise ModelError(
            f"there are {database.channels.shape} channels, but {database.weights.shape} weights"
        )
    if (database.scales < 0).any() or (database.pairs < 0).any():
        raise ModelError("scales or pairs lie below 0")
    if database.channels.size and int(database.channels.max()) >= database.about.channels_in_all:
        raise ModelError(f"a channel lies beyond the {database.about.channels_in_all} of the backbone")
