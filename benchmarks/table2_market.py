"""What Table 2 is measured on: the sales of a database and the cached features of their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from housevis.core.config import Config
from housevis.core.config_sections import PricingSection, SiameseSection
from housevis.core.errors import RunError
from housevis.pipeline.embedding import embed_figures, pooled_features
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER, SoldHouses, load_sold_houses
from housevis.pipeline.valuation import no_pictures
from housevis.pricing.attributes import ATTRIBUTE_SETS, present_attributes
from housevis.pricing.splits import grouped_folds, spatial_blocks
from housevis.vision.lessons import chunks
from housevis.vision.neighbourhood import PicturePool

FIVE = "G, Bed, Bath, T, A"
NO_LOCATION = "Bed, Bath, T, A"
ALL = "all attributes"
FEWEST_FOLDS = 4
"""A fold is judged, another described, and residuals are of a booster of the rest, each by the others."""
OWN = "own"
OTHER = "other"


@dataclass(frozen=True, eq=False)
class Market:
    """All sales in order of date, and who may learn from whom.

    Attributes:
        config: The configuration of the database.
        sold: Sales, groups, folds of the earlier sales, cutoff; without the features, which are in `pooled`.
        train: Sales that teach ``(n,)``: earlier, and not of a house that is sold again later.
        later: Sales that are judged ``(n,)``.
        pooled: Source of pictures -> file of float32 ``(n, K)``, NaN rows where there is no
            picture, mapped by worker processes.
        backbones: Source of pictures -> name of its backbone.
        present: Source of pictures -> whether a sale has one ``(n,)``.
        sets: Name of an attribute set -> its attributes, "none" first.
        blocks: Fold of every sale ``(n,)``, whole blocks of land of 1 km kept together.
    """

    config: Config
    sold: SoldHouses
    train: NDArray[np.bool_]
    later: NDArray[np.bool_]
    pooled: dict[str, Path]
    backbones: dict[str, str]
    present: dict[str, NDArray[np.bool_]]
    sets: dict[str, tuple[str, ...]]
    blocks: NDArray[np.int64]

    def features_file(self, source: str, neighbourhood: Sequence[int]) -> Path:
        """File of a source's features ``(n, K)``, those of the neighbourhood joined to them if wanted."""
        if not neighbourhood:
            return self.pooled[source]
        file = self.pooled[source].with_name(f"{source}-{'-'.join(map(str, neighbourhood))}.npy")
        if not file.is_file():
            pooled, keys = (
                np.load(self.pooled[source]),
                np.where(self.present[source], self.sold.image_keys, ""),
            )
            latitude, longitude = self.sales["latitude"].to_numpy(), self.sales["longitude"].to_numpy()
            pool = PicturePool.of_houses(keys, latitude, longitude, pooled)
            write_features(
                file,
                (len(pooled), pooled.shape[1] * (1 + len(neighbourhood))),
                (
                    pool.joined(pooled[rows], keys[rows], latitude[rows], longitude[rows], neighbourhood)
                    for rows in chunks(len(pooled))
                ),
            )
        return file

    @property
    def sales(self) -> pd.DataFrame:
        """Sale frame, n rows."""
        return self.sold.sales

    @property
    def price(self) -> NDArray[np.float64]:
        """Sale prices ``(n,)``, currency."""
        return self.sold.sales["price"].to_numpy(np.float64)


def read_market(configs: Sequence[Config], runs: Path, folder: Path) -> Market:
    """Read a database and the features of its pictures by one or two backbones.

    Args:
        configs: The database's configuration, and that of a workspace that
            holds the same houses embedded by another backbone, if any.
        runs: Folder of the workspaces.
        folder: Where the features are written for the worker processes.

    Raises:
        RunError: Sales or features are missing.
    """
    config = _plain(configs[0])
    with open_project(config, runs, reads_only=True) as project:
        sold = load_sold_houses(project)
        if not sold.pooled.shape[1]:
            raise RunError(
                "this configuration uses no pictures",
                where=config.name,
                remedy='Set visual_features = "in-sample" in [pricing].',
            )
        backbones = {OWN: embed_figures(project)["backbone"]["name"]}
    features = {OWN: sold.pooled}
    sold = replace(sold, pooled=no_pictures(len(sold.sales)))
    for other in configs[1:]:
        with open_project(other, runs, reads_only=True) as project:
            features[OTHER], _ = pooled_features(project, sold.sales["house_id"])
            backbones[OTHER] = embed_figures(project)["backbone"]["name"]
    if config.pricing.folds < FEWEST_FOLDS:
        raise RunError(
            f"cross-fitted residuals need at least {FEWEST_FOLDS} folds",
            where=config.name,
            remedy=f"Set folds = {FEWEST_FOLDS} or more in [pricing].",
        )
    seed, folds = config.seed, config.pricing.folds
    places = spatial_blocks(sold.sales["latitude"], sold.sales["longitude"], sold.groups)
    return Market(
        config=config,
        sold=sold,
        train=sold.training_rows(EARLIER),
        later=~sold.is_earlier,
        pooled={
            source: write_features(folder / f"{source}.npy", values.shape, [values])
            for source, values in features.items()
        },
        backbones=backbones,
        present={source: np.isfinite(values[:, 0]) for source, values in features.items()},
        sets=attribute_sets(sold.sales),
        blocks=grouped_folds(places, folds, seed),
    )


def _plain(config: Config) -> Config:
    """The configuration with the paper's learner and an untuned boosting, whatever it sets itself."""
    siamese, pricing = config.siamese, config.pricing
    kept = ("pairs_per_house", "epochs", "learning_rate", "penalty")
    return config.model_copy(
        update={
            "siamese": SiameseSection(**{name: getattr(siamese, name) for name in kept}),
            "pricing": PricingSection(
                train_share=pricing.train_share,
                folds=pricing.folds,
                bootstrap=pricing.bootstrap,
                rounds=min(pricing.rounds, PricingSection().rounds),
            ),
        }
    )


def write_features(file: Path, shape: tuple[int, ...], parts: Iterable[NDArray[np.float32]]) -> Path:
    """Write features where worker processes can map them.

    Args:
        file: ``.npy`` file.
        shape: `n` and `K`.
        parts: Some rows after the other, never all of them in memory.
    """
    with file.open("wb") as opened:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(opened, header)
        for part in parts:
            np.ascontiguousarray(part, dtype="<f4").tofile(opened)
    return file


def attribute_sets(sales: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """C Table 2's sets that the sales can fill, the five without the location, and all attributes."""
    present = present_attributes(sales)
    sets = {name: names for name, names in ATTRIBUTE_SETS.items() if set(names) <= set(present)}
    five = ATTRIBUTE_SETS[FIVE]
    sets[NO_LOCATION] = tuple(name for name in five[2:] if name in present)
    everything = tuple(name for name in dict.fromkeys((*five, *map(str, sales.columns))) if name in present)
    if everything not in sets.values():
        sets[ALL] = everything
    return sets
