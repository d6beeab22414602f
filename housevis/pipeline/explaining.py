"""The `explain` step: a grad-weight database per model, and a map of every sold house."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from housevis.core.config import Config
from housevis.core.progress import progress_bar
from housevis.explain.gradweights import GradWeightDatabase, rank_grad_weights
from housevis.explain.transfer import Transfer
from housevis.pipeline.attention import COLUMNS, AttentionMaps, load_parts, save_part
from housevis.pipeline.embedding import HousePlace, PictureLoader, house_places
from housevis.pipeline.picture_steps import for_pictures
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import SoldHouses, current_run, load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.runs import Run
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import iterate_features
from housevis.vision.engines import FeatureEngine, open_engine
from housevis.vision.siamese import RankSiamese

STEP = "explain"
GRAD_WEIGHTS = "grad-weights.safetensors"
PART = 512


class Explainer:
    """One model's ranker and grad-weights: a map for any picture, without back-propagation.

    Args:
        ranker: The rank siamese.
        database: Its grad-weights.
    """

    def __init__(self, ranker: RankSiamese, database: GradWeightDatabase) -> None:
        self._ranker = ranker
        self._transfer = Transfer(database)

    @classmethod
    def load(cls, folder: Path, backbone_fingerprint: str) -> Explainer:
        """Read a model's explainer from its folder.

        Raises:
            ModelError: The folder holds none, or one of another backbone.
        """
        database = GradWeightDatabase.load(folder / GRAD_WEIGHTS, backbone_fingerprint=backbone_fingerprint)
        return cls(ValuationModel.load(folder).picture_ranker(), database)

    def explain(
        self, maps: NDArray[np.float32], pooled: NDArray[np.float32], house_ids: list[str]
    ) -> tuple[pd.DataFrame, NDArray[np.float32]]:
        """Explain houses by their nearest training house (C section 3.3).

        Args:
            maps: Feature maps ``(n, K, h, w)``.
            pooled: Pooled features ``(n, K)``.
            house_ids: Ids of the n houses; none of them lends weights to itself.

        Returns:
            Columns ``house_id, neighbour_house_id, status``, and the maps
            ``(n, h, w)``.
        """
        found = self._transfer.explain(maps, self._ranker.embed(pooled), house_ids)
        houses = pd.DataFrame(
            {
                "house_id": house_ids,
                "neighbour_house_id": list(found.neighbour_house_ids),
                "status": list(found.statuses),
            },
            dtype=object,
        )
        return houses, found.heats


@for_pictures("explain")
def explain(project: Project) -> StepResult:
    """Build the grad-weight databases and transfer them to every sold house.

    The map of a sold house is made by the model that has not seen it.

    Args:
        project: An open project whose `train` step is finished.

    Returns:
        Figures ``houses``, ``statuses`` (count by status), ``grad_weights``
        (houses per database) and ``images_per_second``.

    Raises:
        RunError: `train` is not finished, or stored attention maps are damaged.
    """
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="train")
    done = run.steps().get(STEP)
    if done is not None and len(load_parts(run.maps).houses) == done["figures"]["houses"]:
        return StepResult(STEP, _lines(done["figures"]), done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    sizes = {
        model_id: len(build_grad_weights(project.config, run, sold, model_id))
        for model_id in sold.evaluation_models()
    }
    before = time.perf_counter()
    new = _explain_sold_houses(project, run, sold)
    pace = new / (time.perf_counter() - before)
    maps = load_parts(run.maps)
    figures = {
        "houses": len(maps.houses),
        "statuses": maps.houses["status"].value_counts().to_dict(),
        "grad_weights": sizes,
        "images_per_second": round(pace, 1),
    }
    seconds = time.perf_counter() - started
    run.finish(STEP, seconds, figures)
    return StepResult(STEP, _lines(figures), figures, seconds)


def build_grad_weights(config: Config, run: Run, sold: SoldHouses, model_id: str) -> GradWeightDatabase:
    """Build and store the grad-weights of one model, unless they are there."""
    folder = model_folder(run, model_id)
    backbone = run.record["backbone"]
    if (folder / GRAD_WEIGHTS).is_file():
        return GradWeightDatabase.load(folder / GRAD_WEIGHTS, backbone_fingerprint=backbone["fingerprint"])
    rows = sold.training_rows(model_id) & (sold.image_keys != "")
    ranker = ValuationModel.load(folder).picture_ranker()
    database = rank_grad_weights(
        embedding_weight=ranker.embedding.weight.detach().numpy(),
        embedding_bias=ranker.embedding.bias.detach().numpy(),
        head_weight=ranker.head.weight.detach().numpy(),
        head_bias=ranker.head.bias.detach().numpy(),
        features=sold.pooled[rows],
        prices=sold.sales.loc[rows, "price"].to_numpy(),
        house_ids=sold.sales.loc[rows, "house_id"].astype(str).tolist(),
        cells=int(np.prod(backbone["grid"])),
        backbone_fingerprint=backbone["fingerprint"],
        model_id=model_id,
        scalar=config.explain.scalar,
        pairs=config.explain.pairs,
        top_channels=config.explain.top_channels,
        seed=config.seed,
    )
    database.save(folder / GRAD_WEIGHTS)
    return database


def shown_sales(sold: SoldHouses) -> pd.DataFrame:
    """The sale that the pages show of each house: its last one, with its model's id."""
    table = sold.sales.assign(model_id=sold.model_ids, image_key=sold.image_keys)
    return table.drop_duplicates("house_id", keep="last").reset_index(drop=True)


def _explain_sold_houses(project: Project, run: Run, sold: SoldHouses) -> int:
    config = project.config
    shown = shown_sales(sold)
    shown = shown[shown["image_key"] != ""].set_index("house_id")
    finished = set(load_parts(run.maps).houses["house_id"])
    places = house_places(shown.reset_index(), config.imagery.zoom)
    waiting = [place for place in places if place.house_id not in finished]
    backbone = load_backbone(config.vision)
    explainers = {
        model_id: Explainer.load(run.evaluation / model_id, backbone.fingerprint)
        for model_id in sold.evaluation_models()
    }
    with (
        TileArchive(project.workspace.archive) as archive,
        progress_bar("explain", len(places), done=len(places) - len(waiting)) as bar,
    ):
        loader = PictureLoader(archive, config.imagery, config.vision)
        engine = open_engine(backbone, config.vision.engine, config.vision.batch_size)
        for start in range(0, len(waiting), PART):
            part = waiting[start : start + PART]
            save_part(run.maps, _explain_part(part, shown, explainers, loader, engine, bar.advance))
    return len(waiting)


def _explain_part(
    places: list[HousePlace],
    shown: pd.DataFrame,
    explainers: dict[str, Explainer],
    loader: PictureLoader,
    engine: FeatureEngine,
    advance: Callable[[int], None],
) -> AttentionMaps:
    houses_of: dict[str, list[str]] = {}
    first_of: dict[str, HousePlace] = {}
    for place in places:
        key = str(shown.at[place.house_id, "image_key"])
        houses_of.setdefault(key, []).append(place.house_id)
        first_of.setdefault(key, place)
    pictures = list(first_of)
    frames, heats = [], []
    for batch in iterate_features(
        lambda key: loader.pixels(first_of[key]), pictures, engine, batch_size=engine.batch_size, want="both"
    ):
        assert batch.maps is not None
        assert batch.pooled is not None
        house_ids = np.array([house for key in batch.items for house in houses_of[key]], dtype=object)
        picture = np.repeat(np.arange(len(batch.items)), [len(houses_of[key]) for key in batch.items])
        model_ids = shown.loc[house_ids, "model_id"].to_numpy(dtype=str)
        for model_id in np.unique(model_ids):
            rows = np.flatnonzero(model_ids == model_id)
            frame, heat = explainers[model_id].explain(
                batch.maps[picture[rows]], batch.pooled[picture[rows]], house_ids[rows].tolist()
            )
            frames.append(frame.assign(model_id=model_id))
            heats.append(heat)
        advance(len(house_ids))
    houses = pd.concat(frames, ignore_index=True)
    houses["sale_id"] = shown.loc[houses["house_id"], "sale_id"].to_numpy()
    return AttentionMaps(houses[list(COLUMNS)], np.concatenate(heats))


def _lines(figures: dict) -> list[str]:
    statuses = ", ".join(f"{count:,} {status}" for status, count in figures["statuses"].items())
    return [
        f"attention maps: {figures['houses']:,} houses ({statuses}), "
        "each from one forward pass and one nearest-neighbour look-up"
    ]
