"""The sold houses of a project: sales, pooled features, and who may learn from whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.providers import redacted
from db.store import read_sales
from housevis import __version__
from housevis.core.config import Config
from housevis.core.errors import RunError
from housevis.pipeline.embedding import embed_figures, image_keys_of, pooled_features
from housevis.pipeline.project import Project, fingerprint, frame_digest
from housevis.pipeline.valuation import no_pictures, picture_groups
from housevis.pricing.splits import grouped_folds, split_by_date
from housevis.runs import Run, list_runs, open_or_create_run, read_parquet
from housevis.vision.neighbourhood import PicturePool

EARLIER = "earlier"
SERVING = "serving"
POOL = "neighbourhood.safetensors"
"""The pictures that neighbourhoods are made of, beside the serving model."""


@dataclass(frozen=True)
class SoldHouses:
    """All sales, ordered by date, and how they are split.

    Attributes:
        sales: Sale frame, n rows.
        pooled: Pooled features ``(n, K)``, NaN rows where there is no picture;
            ``(n, 0)`` where the project uses no pictures.
        image_keys: Image key of each sale ``(n,)``, empty where none.
        groups: Sales of one group are never split between folds ``(n,)``.
        is_earlier: True for the earlier sales ``(n,)``.
        folds: Fold of each earlier sale ``(n,)``, -1 for a later one.
        cutoff: First day of the later sales.
        pool: The pictures that neighbourhoods are made of; None where the
            project uses none. The features of the neighbourhood then stand in
            `pooled` behind the house's own, which are its first channels.
        shared_houses: Policy for houses that are sold on both sides of the
            split, see ``pricing.shared_houses``.
    """

    sales: pd.DataFrame
    pooled: NDArray[np.float32]
    image_keys: NDArray[np.str_]
    groups: NDArray[np.str_]
    is_earlier: NDArray[np.bool_]
    folds: NDArray[np.int64]
    cutoff: pd.Timestamp
    pool: PicturePool | None = None
    shared_houses: str = "exclude_from_train"

    @property
    def model_ids(self) -> NDArray[np.str_]:
        """For each sale ``(n,)`` the model that has not seen it."""
        return np.where(self.is_earlier, np.char.add("fold-", self.folds.astype(str)), EARLIER)

    @property
    def sold_again(self) -> NDArray[np.bool_]:
        """Earlier sales ``(n,)`` of houses that are sold once more later."""
        later_houses = self.sales.loc[~self.is_earlier, "house_id"]
        return self.is_earlier & self.sales["house_id"].isin(later_houses).to_numpy()

    def training_rows(self, model_id: str) -> NDArray[np.bool_]:
        """The sales ``(n,)`` that a model is fitted on.

        A house that is sold both before and after the cutoff teaches no
        model that judges its later sale, unless the policy for shared houses
        is ``report``.
        """
        if model_id == SERVING:
            return np.ones(len(self.sales), dtype=bool)
        usable = self.is_earlier if self.shared_houses == "report" else self.is_earlier & ~self.sold_again
        if model_id == EARLIER:
            return usable
        return usable & (self.folds != int(model_id.removeprefix("fold-")))

    def evaluation_models(self) -> list[str]:
        """Ids of the models that judge sold houses."""
        folds = sorted(set(self.folds[self.is_earlier].tolist()))
        return [*(f"fold-{fold}" for fold in folds), EARLIER]


def stored_estimates(run: Run, sold: SoldHouses) -> pd.DataFrame | None:
    """The out-of-sample estimates of a run, in the order of the sales; None where they are of other sales.

    Raises:
        RunError: The file is missing or damaged.
    """
    judged = read_parquet(run.estimates)
    return judged if judged["sale_id"].tolist() == sold.sales["sale_id"].tolist() else None


def load_sold_houses(project: Project, *, with_features: bool = True) -> SoldHouses:
    """Read the sales and their features, and split them.

    Args:
        project: An open project.
        with_features: Without it `pooled` is ``(n, 0)`` and `pool` None: for
            what only shows results.

    Raises:
        RunError: There are no sales, or the pictures are not embedded where
            the project uses pictures.
        ModelError: The sales cannot be split by date or into folds.
    """
    sales = read_sales(project.engine)
    if sales.empty:
        raise RunError("the database holds no sales", remedy="Run `housevis ingest CONFIG` first.")
    pooled, image_keys, pool = _pictures_of(project, sales, with_features)
    is_earlier, cutoff = split_by_date(sales["sale_date"], project.config.pricing.train_share)
    groups = picture_groups(sales, image_keys)
    folds = np.full(len(sales), -1, dtype=np.int64)
    folds[is_earlier] = grouped_folds(groups[is_earlier], project.config.pricing.folds, project.config.seed)
    policy = project.config.pricing.shared_houses
    return SoldHouses(sales, pooled, image_keys, groups, is_earlier, folds, cutoff, pool, policy)


def _pictures_of(
    project: Project, sales: pd.DataFrame, with_features: bool
) -> tuple[NDArray[np.float32], NDArray[np.str_], PicturePool | None]:
    if not project.config.uses_pictures:
        return no_pictures(len(sales)), np.full(len(sales), ""), None
    if not with_features:
        return no_pictures(len(sales)), image_keys_of(project, sales["house_id"]), None
    pooled, image_keys = pooled_features(project, sales["house_id"])
    numbers = project.config.siamese.neighbourhood
    if not numbers:
        return pooled, image_keys, None
    latitude, longitude = sales["latitude"].to_numpy(np.float64), sales["longitude"].to_numpy(np.float64)
    pool = PicturePool.of_houses(image_keys, latitude, longitude, pooled)
    return pool.joined(pooled, image_keys, latitude, longitude, numbers), image_keys, pool


def _run_fingerprint(project: Project, sold: SoldHouses) -> str:
    config = project.config
    sections = {"seed"}
    pictures: dict[str, Any] = {}
    if config.uses_pictures:
        sections |= {"siamese", "explain"}
        pictures = {
            "image_size": config.vision.image_size,
            "pictures": frame_digest(pd.DataFrame({"image_key": sold.image_keys})),
            "backbone": embed_figures(project)["backbone"]["fingerprint"],
        }
    return fingerprint(
        version=__version__,
        config=config.model_dump(mode="json", include=sections) | {"pricing": config.pricing.deciding()},
        currency=config.listings.currency,
        sales=frame_digest(sold.sales),
        **pictures,
    )


def config_without_secrets(config: Config) -> dict[str, Any]:
    """The configuration as a run keeps it: no address of a database, no key in an address of tiles."""
    kept = config.model_dump(mode="json", exclude={"database"})
    if config.imagery.url:
        kept["imagery"]["url"] = redacted(config.imagery.url)
    return kept


def start_run(project: Project, sold: SoldHouses) -> Run:
    """The run of exactly this data and these settings; a new one where there is none."""
    record = {
        "name": project.config.name,
        "config": config_without_secrets(project.config),
        "backbone": embed_figures(project)["backbone"] if project.config.uses_pictures else None,
        "sales_fingerprint": frame_digest(sold.sales),
        "cutoff": sold.cutoff.date().isoformat(),
    }
    return open_or_create_run(project.workspace, _run_fingerprint(project, sold), record)


def keep_pool(run: Run, sold: SoldHouses) -> None:
    """Store the pictures of the neighbourhoods with a run, unless they are there."""
    if sold.pool is not None and not (run.serving / POOL).is_file():
        sold.pool.save(run.serving / POOL)


def stored_pool(run: Run, config: Config) -> PicturePool | None:
    """The pictures of the neighbourhoods of a run; None where it uses none.

    Raises:
        ModelError: They are missing or damaged.
    """
    uses_pool = config.uses_pictures and config.siamese.neighbourhood
    return PicturePool.load(run.serving / POOL) if uses_pool else None


def current_run(project: Project, sold: SoldHouses, *, after: str) -> Run:
    """The run of this data and these settings, with step `after` finished.

    Raises:
        RunError: It does not exist, or the step is not finished.
    """
    wanted = _run_fingerprint(project, sold)
    for run in list_runs(project.workspace):
        if run.record["fingerprint"] == wanted and after in run.steps():
            return run
    raise RunError(
        f"the step {after!r} is not finished for this data and these settings",
        where=str(project.workspace.folder),
        remedy=f"Run `housevis {after} CONFIG` first.",
    )
