"""The `explain` step: a grad-weight database per model, and the maps of every sold house."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from data_pipeline.land_cover_layers import Bounds
from housevis.core.config import Config
from housevis.core.config_sections import LandCoverSection
from housevis.core.engine import map_shards, worker_threads
from housevis.core.progress import progress_bar
from housevis.explain.gradweights import GradWeightDatabase, rank_grad_weights
from housevis.explain.transfer import Transfer
from housevis.explain.under_heat import UnderHeat
from housevis.pipeline.attention import (
    COLUMNS,
    AttentionMaps,
    drop_other_parts,
    load_parts,
    next_part,
    save_part,
)
from housevis.pipeline.embedding import HousePlace, PictureLoader, house_places, shards_of
from housevis.pipeline.land_cover import LandCoverReader, land_cover_mark
from housevis.pipeline.picture_desk import Desk, PictureWork, desk_for, lent_backbone, picture_work
from housevis.pipeline.picture_steps import for_pictures
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import EARLIER, POOL, SoldHouses, current_run, keep_pool, load_sold_houses
from housevis.pipeline.sold_contributions import sold_contributions
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pipeline.valuing import VALUE_MAP, Valuer, build_value_map_model, effects_of, read_pictures
from housevis.runs import Run
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import fit_picture
from housevis.vision.kernel import KernelEmbedding
from housevis.vision.neighbourhood import PicturePool
from housevis.vision.siamese import FeatureLearner

STEP = "explain"
GRAD_WEIGHTS = "grad-weights.safetensors"

GLOBAL = (
    "the attention maps are global: the learner is linear, so every house has the same weights up to their "
    "sign, whichever house lends them"
)
LOCAL = "the weights differ from house to house: each map names the training house that lent them"
"""What is said of a run's attention maps, see :func:`has_same_weights`."""

LOOK_UP_COMPONENTS = 32
"""Principal components of the pooled features that houses are looked up by, see :func:`look_up_places`."""


class Explainer:
    """One model's ranker and grad-weights: a map for any picture, without back-propagation.

    Args:
        ranker: The feature learner.
        database: Its grad-weights.
    """

    def __init__(self, ranker: FeatureLearner, database: GradWeightDatabase) -> None:
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
            pooled: What the learner embeds: pooled features ``(n, K)``, with
                those of the neighbourhood behind them where it uses them.
            house_ids: Ids of the n houses; none of them lends weights to itself.

        Returns:
            Columns ``house_id, neighbour_house_id, status``, and the maps
            ``(n, h, w)``.
        """
        found = self._transfer.explain(maps, look_up_places(self._ranker, pooled), house_ids)
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
        Figures ``houses``, ``statuses`` and ``value_statuses`` (count by
        status of attention maps and of value maps), ``grad_weights``
        (houses per database), ``same_weights`` (see :func:`has_same_weights`)
        and ``images_per_second``.

    Raises:
        RunError: `train` is not finished, or stored attention maps are damaged.
    """
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="train")
    _drop_maps_of_other_land_cover(run, project.config.land_cover)
    done = run.steps().get(STEP)
    if done is not None and len(load_parts(run.maps).houses) == done["figures"]["houses"]:
        return StepResult(STEP, _lines(done["figures"]), done["figures"], done["seconds"], skipped=True)
    started = time.perf_counter()
    keep_pool(run, sold)
    sizes = {
        model_id: len(build_grad_weights(project.config, run, sold, model_id))
        for model_id in sold.evaluation_models()
    }
    build_value_map_models(project, run, sold, sold.evaluation_models())
    before = time.perf_counter()
    new = _explain_sold_houses(project, run, sold)
    pace = new / (time.perf_counter() - before)
    maps = load_parts(run.maps)
    figures = {
        "houses": len(maps.houses),
        "statuses": maps.houses["status"].value_counts().to_dict(),
        "value_statuses": maps.houses["value_status"].value_counts().to_dict(),
        "grad_weights": sizes,
        "same_weights": has_same_weights(run),
        "images_per_second": round(pace, 1),
    }
    seconds = time.perf_counter() - started
    run.finish(STEP, seconds, figures)
    return StepResult(STEP, _lines(figures), figures, seconds)


def has_same_weights(run: Run) -> bool:
    """True where every house of a run has the same grad-weights up to their sign: its learner is linear.

    It then does not matter whose weights a house borrows, and its map is
    global. The `explain` step keeps it with the run; where an older version
    made the run, the learner is asked.

    Raises:
        ModelError: The run's model is missing or damaged.
    """
    figures = run.steps().get(STEP, {}).get("figures", {})
    if "same_weights" in figures:
        return bool(figures["same_weights"])
    learner = ValuationModel.load(model_folder(run, EARLIER)).picture_ranker()
    return learner.linear_weight is not None


def _drop_maps_of_other_land_cover(run: Run, section: LandCoverSection) -> None:
    """Take maps away whose land cover was told by something else, if what tells it now can be opened."""
    mark = land_cover_mark(section)
    if load_parts(run.maps).land_cover != mark:
        LandCoverReader(section)
        drop_other_parts(run.maps, mark)


def build_grad_weights(config: Config, run: Run, sold: SoldHouses, model_id: str) -> GradWeightDatabase:
    """Build and store the grad-weights of one model, unless they are there."""
    folder = model_folder(run, model_id)
    backbone = run.record["backbone"]
    if (folder / GRAD_WEIGHTS).is_file():
        return GradWeightDatabase.load(folder / GRAD_WEIGHTS, backbone_fingerprint=backbone["fingerprint"])
    rows = sold.training_rows(model_id) & (sold.image_keys != "")
    model = ValuationModel.load(folder)
    ranker = model.picture_ranker()
    target = model.training.set_index("sale_id")["target"].reindex(sold.sales.loc[rows, "sale_id"])
    head_weight, head_bias = (part.detach().numpy() for part in ranker.ordering())
    database = rank_grad_weights(
        embedding=ranker,
        head_weight=head_weight,
        head_bias=head_bias,
        features=sold.pooled[rows],
        prices=target.to_numpy(),
        house_ids=sold.sales.loc[rows, "house_id"].astype(str).tolist(),
        cells=int(np.prod(backbone["grid"])),
        backbone_fingerprint=backbone["fingerprint"],
        model_id=model_id,
        scalar=config.explain.scalar,
        pairs=config.explain.pairs,
        top_channels=config.explain.top_channels,
        seed=config.seed,
        picture_channels=backbone["channels"],
    )
    database = replace(database, embeddings=look_up_places(ranker, sold.pooled[rows]))
    database.save(folder / GRAD_WEIGHTS)
    return database


def look_up_places(learner: FeatureLearner, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where a house is looked up: near there, houses have like grad-weights.

    A linear embedding has the same channel direction everywhere, so the
    embedding itself will do. The direction of a kernel embedding turns with
    the place among the principal components, of which the largest are taken.

    Args:
        learner: The feature learner.
        pooled: What it embeds, ``(n, K)``.

    Returns:
        float32 ``(n, D)``.
    """
    if not isinstance(learner.embedding, KernelEmbedding):
        return learner.embed(pooled)
    places = learner.embedding.place(torch.from_numpy(np.asarray(pooled, dtype=np.float32)))
    return places[:, -LOOK_UP_COMPONENTS:].numpy()


def build_value_map_models(project: Project, run: Run, sold: SoldHouses, model_ids: Sequence[str]) -> None:
    """Build and store what the value maps of some models are made with, unless it is there."""
    waiting = [each for each in model_ids if not (model_folder(run, each) / VALUE_MAP).is_file()]
    if not waiting:
        return
    pictures = read_pictures(project, sold, project.config.vision.image_size)
    for model_id in waiting:
        rows = sold.training_rows(model_id)
        build_value_map_model(model_folder(run, model_id), project.config, sold, rows, pictures)


def shown_sales(sold: SoldHouses) -> pd.DataFrame:
    """The sale that the pages show of each house: its last one, with its model's id."""
    table = sold.sales.assign(model_id=sold.model_ids, image_key=sold.image_keys)
    return table.drop_duplicates("house_id", keep="last").reset_index(drop=True)


@dataclass(frozen=True)
class SoldHouse:
    """A house, its picture, and who explains it.

    Attributes:
        place: Where it is.
        image_key: Its picture's content.
        sale_id: The sale that is shown of it.
        model_id: The model that has not seen this sale.
        effect: What the picture adds to the estimate of this sale, log units.
        currency: Currency per log unit.
    """

    place: HousePlace
    image_key: str
    sale_id: str
    model_id: str
    effect: float
    currency: float


@dataclass(frozen=True)
class ExplainWork:
    """What a worker has to know to make attention maps.

    Attributes:
        pictures: The tiles and the backbone.
        models: Folder with a folder per model, at the same path on every worker.
        pool: File of the pictures of the neighbourhoods, and their numbers;
            None where the learners use none.
        land_cover: Files that know what covers the ground, at the same path on every worker.
    """

    pictures: PictureWork
    models: Path
    pool: tuple[Path, tuple[int, ...]] | None = None
    land_cover: LandCoverSection = field(default_factory=LandCoverSection)


def _explain_sold_houses(project: Project, run: Run, sold: SoldHouses) -> int:
    config = project.config
    shown = shown_sales(sold)
    shown = shown[shown["image_key"] != ""]
    finished = set(load_parts(run.maps).houses["house_id"])
    places = house_places(shown, config.imagery.zoom)
    waiting = [place for place in places if place.house_id not in finished]
    shown = _with_effects(run, sold, shown[~shown["house_id"].isin(finished)])
    facts = [shown[name].tolist() for name in ("image_key", "sale_id", "model_id", "effect", "currency")]
    facts_of = dict(zip(shown["house_id"].astype(str), zip(*facts, strict=True), strict=True))
    backbone = load_backbone(config.vision)
    pictures = picture_work(project.workspace.archive, config.imagery, config.vision, backbone)
    numbers = tuple(config.siamese.neighbourhood)
    pool = ((run.serving / POOL).resolve(), numbers) if numbers else None
    work = ExplainWork(pictures, run.evaluation.resolve(), pool, config.land_cover)
    mark = land_cover_mark(config.land_cover)
    shards = (
        [SoldHouse(place, *facts_of[place.house_id]) for place in shard]
        for shard in shards_of(waiting, config.imagery, config.vision.batch_size)
    )
    with (
        lent_backbone(pictures, backbone),
        progress_bar("explain", len(places), done=len(places) - len(waiting)) as bar,
        closing(map_shards(partial(explain_shard, work), shards, project.runner, local="here")) as results,
    ):
        for number, (houses, maps) in enumerate(results, start=next_part(run.maps)):
            if len(maps.houses):
                save_part(run.maps, replace(maps, land_cover=mark), number)
            bar.advance(houses)
    return len(waiting)


def _with_effects(run: Run, sold: SoldHouses, shown: pd.DataFrame) -> pd.DataFrame:
    """Sales with what the picture adds to their estimates, each by the model that has not seen it."""
    shown = shown.assign(effect=np.nan, currency=np.nan)
    for model_id, sales in shown.groupby("model_id"):
        model = ValuationModel.load(model_folder(run, str(model_id)))
        judged = sold.sales.loc[sold.model_ids == model_id, "sale_id"]
        effects, currency = effects_of(model, sold_contributions(run, sold, str(model_id), model))
        table = pd.DataFrame({"effect": effects, "currency": currency}, index=judged)
        shown.loc[sales.index, ["effect", "currency"]] = table.loc[sales["sale_id"]].to_numpy()
    return shown


def explain_shard(work: ExplainWork, houses: list[SoldHouse]) -> tuple[int, AttentionMaps]:
    """Make the attention maps of some houses; on any machine that sees archive and models.

    Args:
        work: What has to be known of pictures and models.
        houses: The houses.

    Returns:
        How many houses there were, and the maps of those that have a picture.

    Raises:
        WorkerError: This machine does not see the archive, or has another backbone.
        ModelError: This machine does not see a model.
    """
    desk = desk_for(work.pictures)
    loader = PictureLoader(desk.archive, work.pictures.imagery, work.pictures.vision)
    side = desk.engine.backbone.input_size
    first_of = {house.image_key: house.place for house in reversed(houses)}

    def load(place: HousePlace) -> tuple[NDArray[np.uint8], Bounds] | None:
        image = loader.picture(place)
        return None if image is None else (fit_picture(image.pixels, side), image.bounds)

    found = dict(zip(first_of, desk.decode(load, list(first_of.values())), strict=True))
    pictures = {key: picture for key, picture in found.items() if picture is not None}
    if not pictures:
        return len(houses), AttentionMaps.none()
    shown_pictures = np.stack([pixels for pixels, _ in pictures.values()])
    maps, pooled = desk.engine.both(shown_pictures)
    reader = desk.once("land cover", partial(LandCoverReader, work.land_cover, worker_threads()))
    covers = reader.covers(shown_pictures, [bounds for _, bounds in pictures.values()])
    row_of = {key: row for row, key in enumerate(pictures)}
    frames, heats, values, under = [], [], [], []
    for model_id in sorted({house.model_id for house in houses}):
        explained = [house for house in houses if house.model_id == model_id and house.image_key in row_of]
        if not explained:
            continue
        load_explainer = partial(Explainer.load, work.models / model_id, work.pictures.fingerprint)
        explainer = desk.once(model_id, load_explainer)
        valuer = desk.once(f"value maps of {model_id}", partial(Valuer.load, work.models / model_id))
        rows = [row_of[house.image_key] for house in explained]
        features = _with_neighbourhood(work, desk, pooled[rows], explained)
        frame, heat = explainer.explain(maps[rows], features, [house.place.house_id for house in explained])
        value = valuer.explain(
            maps[rows],
            features,
            np.array([house.effect for house in explained]),
            np.array([house.currency for house in explained]),
            shown_pictures[rows],
        )
        frames.append(
            frame.assign(
                model_id=model_id,
                sale_id=[house.sale_id for house in explained],
                value_status=list(value.statuses),
                visual_effect=value.effects.tolist(),
                surroundings=value.surroundings.tolist(),
            )
        )
        heats.append(heat)
        values.append(value.values)
        statuses = frame["status"].tolist()
        under.append(UnderHeat.of(covers[rows], heat, statuses, value.values, value.statuses))
    shown = pd.concat(frames, ignore_index=True)[list(COLUMNS)]
    whole = AttentionMaps(shown, np.concatenate(heats), np.concatenate(values), UnderHeat.joined(under))
    return len(houses), whole


def _with_neighbourhood(
    work: ExplainWork, desk: Desk, pooled: NDArray[np.float32], houses: list[SoldHouse]
) -> NDArray[np.float32]:
    """What the learners embed of houses: their own pooled features, and those of their neighbourhoods."""
    if work.pool is None:
        return pooled
    file, numbers = work.pool
    pool = desk.once(POOL, partial(PicturePool.load, file))
    keys = [house.image_key for house in houses]
    places = np.array([(house.place.latitude, house.place.longitude) for house in houses])
    return pool.joined(pooled, keys, places[:, 0], places[:, 1], numbers)


def _lines(figures: dict) -> list[str]:
    statuses, values = (
        ", ".join(f"{count:,} {status}" for status, count in figures[name].items())
        for name in ("statuses", "value_statuses")
    )
    lines = [
        f"attention maps: {figures['houses']:,} houses ({statuses}), "
        "each from one forward pass and one nearest-neighbour look-up",
    ]
    if "same_weights" in figures:
        lines.append(GLOBAL if figures["same_weights"] else LOCAL)
    return [*lines, f"value maps: {values}"]
