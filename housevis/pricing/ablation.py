"""What the visual features add to each attribute set (C Table 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config_sections import PricingSection
from housevis.core.errors import ModelError
from housevis.pricing import metrics
from housevis.pricing.attributes import model_table, visual_names
from housevis.pricing.metrics import Interval
from housevis.pricing.model import HousePriceModel


class Published(NamedTuple):
    """A row of C Table 2: shares within ±10 %, as fractions.

    Attributes:
        without: Without visual features; None for the set "none".
        with_visual: With them.
    """

    without: float | None
    with_visual: float


PUBLISHED: Final[dict[str, Published]] = {
    "none": Published(None, 0.361),
    "G": Published(0.378, 0.399),
    "G, Bed, Bath": Published(0.471, 0.501),
    "G, Bed, Bath, T": Published(0.426, 0.506),
    "G, A": Published(0.483, 0.487),
    "G, Bed, Bath, T, A": Published(0.507, 0.552),
}
"""C Table 2, measured by its authors on GTA-sold (about 54,000 houses around Toronto, 2017-2019)."""


@dataclass(frozen=True)
class AblationRow:
    """One attribute set, with and without visual features, on the same later sales.

    Attributes:
        name: Name of the attribute set.
        attributes: Its attributes.
        sales: Number of later sales judged.
        pictured: How many of them have a picture.
        without: Share within ±10 % without visual features; None where the
            set has no attribute.
        with_visual: The same with visual features; None where there are none.
        gain: `with_visual` - `without` with its paired 95 % interval; None
            where one of them is.
        mdape_without: Median absolute percentage error without, a fraction.
        mdape_with: The same with visual features.
        published: The row of C Table 2, where the set is one of its own.
    """

    name: str
    attributes: tuple[str, ...]
    sales: int
    pictured: int
    without: float | None
    with_visual: float | None
    gain: Interval | None
    mdape_without: float | None
    mdape_with: float | None
    published: Published | None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, for JSON."""
        row = asdict(self)
        if self.published is not None:
            row["published"] = self.published._asdict()
        return row


def ablate(
    train: pd.DataFrame,
    test: pd.DataFrame,
    visual_train: NDArray[Any],
    visual_test: NDArray[Any],
    sets: Mapping[str, Sequence[str]],
    section: PricingSection,
    *,
    seed: int = 1,
    num_threads: int = 2,
) -> list[AblationRow]:
    """Measure the gain of the visual features over attribute sets.

    Without visual features (D = 0) it measures the attribute sets alone.

    Args:
        train: Sale frame of the earlier sales, n rows.
        test: Sale frame of the later sales, m rows.
        visual_train: Visual features ``(n, D)``, NaN where no picture.
        visual_test: Visual features ``(m, D)``, NaN where no picture. With
            attributes, a later sale without a picture gets the same estimate
            on both sides; without any, it is left out.
        sets: Name of a set -> its attributes, such as
            :data:`housevis.pricing.attributes.ATTRIBUTE_SETS`.
        section: Settings of the boosting, and bootstrap draws.
        seed: Seed of the boosting and of the bootstrap.
        num_threads: Threads of the boosting.

    Returns:
        One row per set, in the order of `sets`.

    Raises:
        ConfigError: A set names an unknown attribute.
        ModelError: There are too few sales.
    """
    visual = visual_names(visual_train.shape[1])
    pictured = ~np.isnan(visual_test).any(axis=1) if visual else np.zeros(len(test), dtype=bool)
    if visual and not pictured.any():
        raise ModelError(
            f"none of {len(test)} later sales has a picture",
            remedy="Fetch imagery with `tiles`, then run `embed`.",
        )
    rows = []
    for name, attributes in sets.items():
        model = HousePriceModel.from_section(section, attributes, visual, seed=seed, num_threads=num_threads)
        model.fit(model_table(train, attributes, visual_train), train["price"])
        judged = np.ones(len(test), dtype=bool) if attributes else pictured
        features = model_table(test, attributes, visual_test)[judged]
        price = test["price"].to_numpy(dtype="float64")[judged]
        rows.append(_row(name, model, features, price, int(pictured.sum()), section.bootstrap, seed))
    return rows


def _row(
    name: str,
    model: HousePriceModel,
    features: pd.DataFrame,
    price: NDArray[np.float64],
    pictured: int,
    repeats: int,
    seed: int,
) -> AblationRow:
    without = mdape_without = with_visual = mdape_with = gain = None
    if model.attributes_:
        base = model.predict_without_picture(features)
        without, mdape_without = float(metrics.pe(base, price)), float(metrics.mdape(base, price))
    if model.visual_names:
        estimate = model.predict(features)
        with_visual, mdape_with = float(metrics.pe(estimate, price)), float(metrics.mdape(estimate, price))
    if model.attributes_ and model.visual_names:
        gain = metrics.paired_bootstrap_difference(
            metrics.hit(base, price), metrics.hit(estimate, price), repeats, seed
        )
    return AblationRow(
        name=name,
        attributes=model.attributes_,
        sales=len(price),
        pictured=pictured,
        without=without,
        with_visual=with_visual,
        gain=gain,
        mdape_without=mdape_without,
        mdape_with=mdape_with,
        published=PUBLISHED.get(name),
    )
