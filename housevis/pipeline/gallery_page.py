"""The gallery of a run: sold houses, every method's map beside the others, scores beneath."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from housevis.core.config import Config
from housevis.core.errors import RunError, UsageError
from housevis.core.progress import progress_bar
from housevis.core.storage import explained_disk_errors
from housevis.explain.heatmap import heatmaps_of
from housevis.pipeline.embedding import PictureLoader
from housevis.pipeline.explaining import shown_sales
from housevis.pipeline.gallery_parts import GalleryDesk, GalleryPart, shown_picture
from housevis.pipeline.gallery_scores import SCORES, on_true_drivers
from housevis.pipeline.leaks import houses_to_hide
from housevis.pipeline.method_maps import METHODS
from housevis.pipeline.page_facts import FICTIONAL
from housevis.pipeline.picture_steps import NO_PICTURES
from housevis.pipeline.project import Project
from housevis.pipeline.results import StepResult
from housevis.pipeline.sold import EARLIER, SoldHouses, current_run, load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pipeline.valuing import visual_effects
from housevis.runs import Run
from housevis.views.data import check_out_of_sample
from housevis.views.gallery import (
    GalleryCell,
    GalleryData,
    GalleryMethod,
    GalleryPicture,
    GalleryRow,
    build_gallery,
)
from housevis.views.words import money
from housevis.vision.backbones import load_backbone
from housevis.vision.engines import open_engine

DEFAULT_HOUSES: Final = 12
SAYS: Final = {
    "transfer": "Where the {top} channels lie that {question}, by another house's weights.",
    "value": "What each place adds to the estimate (orange) or takes from it (blue).",
    "grad-cam": "Where “this house is dearer” comes from: all its channels, back-propagated for itself.",
    "embedding-cam": "Where the picture agrees with its own embedding.",
    "price-band": "Where the picture agrees with houses of the same price band.",
    "l2-caf": "What the embedding cannot do without.",
    "mean-feature-map": "No explanation: where the feature map is strong. What the others have to beat.",
}
"""What the maps of a method show, by its name."""

QUESTIONS: Final = {
    "ordering": "speak most for its lender being dearer than others, or cheaper where it is",
    "loss-for": "speak most for its lender's true place among other houses",
    "loss-against": "speak most against its lender's true place among other houses",
    "dearer": "speak most for “dearer”",
    "cheaper": "speak most for “cheaper”",
}
"""What the weights of a transferred map were asked, by the key `scalar` of ``[explain]``."""

SAME_WEIGHTS: Final = (
    "A global map: the learner is linear, so any house would lend these weights, up to their sign. "
    "No lender is named."
)


def gallery(
    project: Project,
    *,
    houses: int = DEFAULT_HOUSES,
    house_ids: Sequence[str] = (),
    methods: Sequence[str] = (),
    out: Path = Path("gallery.html"),
) -> StepResult:
    """Write the gallery of sold houses: one row per house, one column per method, scores beneath.

    Every map and estimate is by the model that has not seen the sale.

    Args:
        project: An open project whose `explain` step is finished.
        houses: How many houses of later sales, spread over their prices.
        house_ids: These houses in their place; their last sale counts.
        methods: Names from :data:`housevis.pipeline.method_maps.METHODS`; empty takes all.
        out: The HTML file.

    Returns:
        Figures ``page``, ``houses``, ``methods``, and ``means``: method and
        score to its mean.

    Raises:
        UsageError: There is no such house or method, `houses` is not above 0,
            or `out` is a folder.
        RunError: `explain` is not finished, the run uses no pictures, or no
            house has one.
        LeakError: A model has seen a house that it would explain.
        StorageError: The file cannot be written.
    """
    started = time.perf_counter()
    names = _known_methods(methods)
    if houses < 1 or out.is_dir():
        raise UsageError(
            "this is a folder" if out.is_dir() else f"a gallery of {houses} houses shows nothing",
            where=str(out) if out.is_dir() else "--houses",
            remedy="Give --out the name of an HTML file." if out.is_dir() else "Give a number above 0.",
        )
    config = project.config
    if not config.uses_pictures:
        raise RunError(
            f"there is no gallery: {NO_PICTURES}",
            where=config.name,
            remedy='Set visual_features = "in-sample" in [pricing] and run `housevis run CONFIG`.',
        )
    sold = load_sold_houses(project)
    run = current_run(project, sold, after="explain")
    shown = shown_sales(sold).assign(row=lambda table: _rows_of(sold, table["sale_id"]))
    chosen = _named(shown, house_ids, config) if house_ids else _spread(shown, houses, config.seed)
    _check_unseen(run, chosen)
    backbone = load_backbone(config.vision)
    with (
        TileArchive(project.workspace.archive) as archive,
        closing(open_engine(backbone, config.vision.engine, config.vision.batch_size)) as engine,
        progress_bar("gallery", len(chosen) * (1 + len(names))) as bar,
    ):
        desk = GalleryDesk(run, config, sold, engine, PictureLoader(archive, config.imagery, config.vision))
        parts = []
        for model_id, some in chosen.groupby("model_id", sort=False):
            part = desk.picture_part(str(model_id), some.reset_index(drop=True))
            bar.advance(len(some))
            for name in names:
                part.add(name, desk)
                bar.advance(len(some))
            parts.append(part)
        lenders = desk.lenders(parts)
    data = _data(config, run, chosen, names, parts, lenders, bool(house_ids))
    with explained_disk_errors(out):
        build_gallery(data, out)
    figures = {
        "page": str(out),
        "houses": len(chosen),
        "methods": names,
        "means": _means(names, parts),
    }
    lines = [
        f"gallery: {len(chosen):,} houses, {len(names)} methods, run {run.run_id}: {out.resolve().as_uri()}",
        "Maps show association, not cause.",
    ]
    return StepResult("gallery", lines, figures, time.perf_counter() - started)


def _known_methods(methods: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(methods)) or list(METHODS)
    for name in names:
        if name not in METHODS:
            near = get_close_matches(name, METHODS, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise UsageError(
                f"there is no method {name!r}",
                where="--methods",
                remedy=f"{hint}Choose from {', '.join(METHODS)}.",
            )
    return names


def _rows_of(sold: SoldHouses, sale_ids: pd.Series) -> NDArray[np.int64]:
    row_of = pd.Series(np.arange(len(sold.sales)), index=sold.sales["sale_id"])
    return row_of[sale_ids].to_numpy()


def _spread(shown: pd.DataFrame, houses: int, seed: int) -> pd.DataFrame:
    """Houses of later sales, one drawn from each of equally many prices, the cheapest first."""
    later = shown[(shown["model_id"] == EARLIER) & (shown["image_key"] != "")]
    if later.empty:
        raise RunError("no house of a later sale has a picture", remedy="Name houses with --house.")
    ordered = later.sort_values(["price", "sale_id"])
    generator = np.random.default_rng(seed)
    parts = np.array_split(np.arange(len(ordered)), min(houses, len(ordered)))
    return ordered.iloc[[int(generator.choice(part)) for part in parts]].reset_index(drop=True)


def _named(shown: pd.DataFrame, house_ids: Sequence[str], config: Config) -> pd.DataFrame:
    wanted = list(dict.fromkeys(house_ids))
    table = shown.set_index(shown["house_id"].astype(str), drop=False)
    unknown = [house_id for house_id in wanted if house_id not in table.index]
    if unknown:
        near = [match for each in unknown for match in get_close_matches(each, table.index, n=1, cutoff=0.4)]
        nearest = ", ".join(repr(each) for each in dict.fromkeys(near))
        raise UsageError(
            f"there is no sold house {', '.join(repr(each) for each in unknown)}",
            where=config.name,
            remedy=f"Did you mean {nearest}?" if near else "Give ids as they stand in the listings.",
        )
    found = table.loc[wanted].reset_index(drop=True)
    blind = found.loc[found["image_key"] == "", "house_id"].astype(str).tolist()
    if blind:
        raise UsageError(
            f"there is no picture of house {', '.join(repr(each) for each in blind)}",
            where=config.name,
            remedy="Leave it out, or fetch its tiles with `housevis tiles CONFIG`.",
        )
    return found


def _check_unseen(run: Run, chosen: pd.DataFrame) -> None:
    training = {
        str(each): ValuationModel.load(model_folder(run, each)).training for each in set(chosen["model_id"])
    }
    check_out_of_sample(
        chosen.assign(sample=np.where(chosen["model_id"] == EARLIER, "later sale", "cross-fitted")),
        {model_id: set(table["sale_id"]) for model_id, table in training.items()},
        {model_id: houses_to_hide(run, model_id, table) for model_id, table in training.items()},
    )


def _data(
    config: Config,
    run: Run,
    chosen: pd.DataFrame,
    names: Sequence[str],
    parts: Sequence[GalleryPart],
    lenders: dict[str, GalleryPicture],
    named: bool,
) -> GalleryData:
    rows = {row.name: row for part in parts for row in _gallery_rows(part, names, config)}
    opened = parts[0].opened
    methods = []
    for name in names:
        method = opened[name]
        title = method.title[0].upper() + method.title[1:]
        caution = SAME_WEIGHTS if method.same_weights else ""
        says = SAYS[name].format(top=config.explain.top_channels, question=QUESTIONS[config.explain.scalar])
        methods.append(GalleryMethod(title, says, method.signed, method.unit, caution))
    covers = [part.cover for part in parts if part.cover is not None]
    scores = [*SCORES, on_true_drivers(np.concatenate(covers))] if covers else SCORES
    count = len(chosen)
    choice = (
        f"The {count:,} houses that were asked for"
        if named
        else f"{count:,} houses of later sales, one drawn from each of {count:,} equal parts of the prices, "
        "the cheapest first"
    )
    return GalleryData(
        title=config.atlas.title or config.name,
        meta=f"For analysts · run {run.run_id} · housevis gallery",
        lead=(
            f"{choice}. Maps and estimates are by models that have not seen the sale.",
            "Read along a row to see what the methods make of one house, and down a column to see whether a "
            "method says anything different about another.",
        ),
        subject="house",
        methods=methods,
        scores=scores,
        rows=[rows[str(house_id)] for house_id in chosen["house_id"]],
        lenders=lenders,
        notice=FICTIONAL if config.sample_market is not None else "",
    )


def _gallery_rows(part: GalleryPart, names: Sequence[str], config: Config) -> list[GalleryRow]:
    houses, currency = part.batch.houses, config.listings.currency
    estimates = part.model.price_model.predict(part.model.features(houses, part.batch.features))
    effects, per_log = visual_effects(part.model, houses, part.batch.features)
    cells = {name: _cells(part, name) for name in names}
    prices = houses["price"].to_numpy(np.float64)
    rows = []
    for place, sale in enumerate(houses.itertuples()):
        price, estimate = float(prices[place]), float(estimates[place])
        picture = float(effects[place] * per_log[place])
        facts = [
            ("Sold", money(price, currency, digits=4)),
            ("in", f"{sale.sale_date:%b %Y}"),
            ("Estimate", money(estimate, currency, digits=4)),
            ("off by", f"{100 * (estimate / price - 1):+.1f} %".replace("-", "−")),
            ("Picture", ("+" if picture > 0 else "") + money(picture, currency, digits=3)),
        ]
        if part.cover is not None:
            facts.append(("True drivers", f"{100 * part.cover[place]:.1f} %"))
        rows.append(
            GalleryRow(
                str(sale.house_id),
                facts,
                shown_picture(part.images[place]),
                [cells[name][place] for name in names],
            )
        )
    return rows


def _cells(part: GalleryPart, name: str) -> list[GalleryCell]:
    method, found, scored = part.opened[name], part.found[name], part.scored[name]
    heatmaps = heatmaps_of(
        found.heats,
        np.array([image.bounds for image in part.images]),
        unit=method.unit,
        method=method.title,
        signed=method.signed,
        statuses=found.statuses,
    )
    lenders = [None if method.same_weights else lender for lender in found.lenders]
    scores = [
        {str(score): float(value) for score, value in row.items() if np.isfinite(value)}
        for _, row in scored.iterrows()
    ]
    return [GalleryCell(*cell) for cell in zip(heatmaps, scores, lenders, strict=True)]


def _means(names: Sequence[str], parts: Sequence[GalleryPart]) -> dict[str, dict[str, float]]:
    found = {name: pd.concat([part.scored[name] for part in parts]).mean().dropna() for name in names}
    return {name: {str(score): float(mean) for score, mean in table.items()} for name, table in found.items()}
