"""The sales that support each estimate of a run, out of sample; and those of new houses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from housevis.core.config import Config
from housevis.core.errors import RunError
from housevis.core.progress import progress_bar
from housevis.core.storage import write_file
from housevis.pipeline.sold import SERVING, SoldHouses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel, is_complete
from housevis.pricing.attributes import model_table
from housevis.pricing.picture_likeness import PictureSpace
from housevis.pricing.sale_table import KnownSales
from housevis.pricing.supporting_sales import Houses, SupportingSales
from housevis.runs import Run, read_parquet, write_parquet

COMPARABLES: Final = "comparables.parquet"
"""The table in a run's folder, see :data:`housevis.pricing.supporting_sales.COLUMNS`."""

SUPPORTING: Final = "supporting.parquet"
"""The sales of the serving model with their pictures' places, for comparables of new houses."""

SUPPORTING_PICTURES: Final = "supporting-pictures.safetensors"
"""How pictures of new houses get their places among them."""

_PICTURE: Final = "picture_place_"
_KEY: Final = "picture_key"


def keep_comparables(config: Config, run: Run, sold: SoldHouses) -> None:
    """Write the comparable sales of every judged sale into a run's folder, unless they are there.

    Those of a sale come from the training sales of the model that judged it,
    so it supports no estimate that it has taught. The sales of the serving
    model are kept beside it for new houses.

    Args:
        config: The configuration.
        run: The run, whose sales are judged.
        sold: The sales.
    """
    if is_complete(run.serving) and not (run.serving / SUPPORTING).is_file():
        _keep_supporting(config, run, sold)
    if not (run.folder / COMPARABLES).is_file():
        write_parquet(comparables_of(config, run, sold), run.folder / COMPARABLES)


def read_comparables(run: Run) -> pd.DataFrame | None:
    """The comparable sales of a run; None of a run that was evaluated before there were any.

    Raises:
        RunError: The file is damaged.
    """
    path = run.folder / COMPARABLES
    return read_parquet(path) if path.is_file() else None


def comparables_of(config: Config, run: Run, sold: SoldHouses) -> pd.DataFrame:
    """The comparable sales of every judged sale, six of each, in the order of the sales."""
    parts = []
    models = sold.evaluation_models()
    with progress_bar("comparables", len(models)) as bar:
        for model_id in models:
            model = ValuationModel.load(model_folder(run, model_id))
            space, training = _training(config, sold, model)
            rows = np.flatnonzero(sold.model_ids == model_id)
            sales = sold.sales.iloc[rows].reset_index(drop=True)
            houses = Houses(
                sales,
                model.features(sales, sold.pooled[rows]),
                space.places(own_features(config, sold.pooled[rows])),
                sold.image_keys[rows],
            )
            parts.append(SupportingSales(model.price_model, training).of(houses))
            bar.advance()
    table = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    order = pd.Index(sold.sales["sale_id"]).get_indexer(pd.Index(table["sale_id"]))
    return table.iloc[np.lexsort([table["rank"].to_numpy(dtype=np.int64), order])].reset_index(drop=True)


def comparables_of_new(
    config: Config, run: Run, model: ValuationModel, houses: pd.DataFrame, pooled: NDArray[np.float32]
) -> pd.DataFrame:
    """The comparable sales of new houses, from those of the serving model.

    Args:
        config: The configuration.
        run: The run.
        model: Its serving model.
        houses: Sale frame of n houses; ``sale_date`` is the valuation date.
        pooled: What the learners embed of them, NaN rows where there is no picture.

    Returns:
        Columns ``id, rank, comparable_id, sale_date, price, adjusted_price,
        currency, metres, leaf_likeness, picture_likeness, why``.

    Raises:
        RunError: The run keeps no sales for this, or they are damaged.
    """
    found = SupportOfNew(config, run, model).of(houses, pooled, model.features(houses, pooled))
    found = found.drop(columns=["sale_id", "comparable_sale_id"]).rename(
        columns={"house_id": "id", "comparable_house_id": "comparable_id"}
    )
    found["sale_date"] = pd.to_datetime(found["sale_date"]).dt.date
    found.insert(6, "currency", config.listings.currency)
    return found.round({"adjusted_price": 2, "metres": 1, "leaf_likeness": 4, "picture_likeness": 4})


class SupportOfNew:
    """The sales of a run's serving model, to be asked which of them support estimates of new houses.

    Args:
        config: The configuration.
        run: The run.
        model: Its serving model.

    Raises:
        RunError: The run keeps no sales for this, or they are damaged.
    """

    def __init__(self, config: Config, run: Run, model: ValuationModel) -> None:
        known, self._space = _read_supporting(run)
        places = known[[name for name in known.columns if name.startswith(_PICTURE)]].to_numpy(np.float32)
        sales = known.drop(columns=[name for name in known.columns if name.startswith(_PICTURE)])
        visual = model.training.set_index("sale_id").loc[
            sales["sale_id"], list(model.price_model.visual_names)
        ]
        features = model_table(sales, model.price_model.attributes_, visual.to_numpy(np.float32))
        training = Houses(sales, features, places, sales[_KEY].to_numpy(dtype=str))
        self._config = config
        self._supporting = SupportingSales(model.price_model, training)

    def of(
        self, houses: pd.DataFrame, pooled: NDArray[np.float32], features: pd.DataFrame | KnownSales
    ) -> pd.DataFrame:
        """The comparable sales of n new houses, see :meth:`SupportingSales.of`.

        Args:
            houses: Sale frame, n rows; ``sale_date`` is the valuation date.
            pooled: What the learners embed of them, NaN rows where there is no picture.
            features: What the model takes or has read of them.
        """
        places = self._space.places(own_features(self._config, pooled))
        return self._supporting.of(Houses(houses, features, places, np.full(len(houses), "")))


def read_supporting_sales(run: Run) -> pd.DataFrame:
    """The sales of a run's serving model: sale frame without addresses, and ``picture_key``.

    Raises:
        RunError: The run keeps none, or they are damaged.
    """
    known, _ = _read_supporting(run)
    return known.drop(columns=[name for name in known.columns if name.startswith(_PICTURE)])


def own_features(config: Config, pooled: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pooled features ``(n, K)`` of the houses' own pictures, without those of their neighbourhoods."""
    blocks = 1 + (len(config.siamese.neighbourhood) if config.uses_pictures else 0)
    return pooled[:, : pooled.shape[1] // blocks]


def drop_houses(run: Run, house_ids: Any) -> int:
    """Take houses out of the comparables of a run; the number of rows."""
    dropped = 0
    path = run.folder / COMPARABLES
    if path.is_file():
        table = read_parquet(path)
        gone = table["house_id"].isin(house_ids) | table["comparable_house_id"].isin(house_ids)
        dropped += int(gone.sum())
        if gone.any():
            write_parquet(table[~gone].reset_index(drop=True), path)
    path = run.serving / SUPPORTING
    if path.is_file():
        table = read_parquet(path)
        gone = table["house_id"].isin(house_ids)
        dropped += int(gone.sum())
        if gone.any():
            write_parquet(table[~gone].reset_index(drop=True), path)
    return dropped


def _training(config: Config, sold: SoldHouses, model: ValuationModel) -> tuple[PictureSpace, Houses]:
    """The sales that a model was fitted on, and how its pictures are compared."""
    rows = pd.Index(sold.sales["sale_id"]).get_indexer(pd.Index(model.training["sale_id"]))
    kept = rows >= 0
    rows, visual = rows[kept], model.training_visual()[kept]
    sales = sold.sales.iloc[rows].reset_index(drop=True)
    own = own_features(config, sold.pooled)[rows]
    space = PictureSpace.fit(own)
    features = model_table(sales, model.price_model.attributes_, visual)
    return space, Houses(sales, features, space.places(own), sold.image_keys[rows])


def _keep_supporting(config: Config, run: Run, sold: SoldHouses) -> None:
    model = ValuationModel.load(model_folder(run, SERVING))
    space, training = _training(config, sold, model)
    shown = ("sale_id", "house_id", "latitude", "longitude", "sale_date", "price")
    names = [*shown, "bedrooms", "bathrooms", "area_m2", *model.price_model.attributes_]
    columns = [name for name in dict.fromkeys(names) if name in training.sales.columns]
    places = pd.DataFrame(
        training.pictures, columns=[f"{_PICTURE}{number}" for number in range(training.pictures.shape[1])]
    )
    table = pd.concat([training.sales[columns].assign(**{_KEY: training.picture_keys}), places], axis=1)
    tensors = {"mean": space.mean, "components": np.ascontiguousarray(space.components)}
    write_file(run.serving / SUPPORTING_PICTURES, save(tensors))
    write_parquet(table, run.serving / SUPPORTING)


def _read_supporting(run: Run) -> tuple[pd.DataFrame, PictureSpace]:
    path: Path = run.serving / SUPPORTING_PICTURES
    if not path.is_file() or not (run.serving / SUPPORTING).is_file():
        raise RunError(
            "this run keeps no sales that new houses can be compared with",
            where=run.run_id,
            remedy="Run `housevis evaluate CONFIG` again; what is finished is kept.",
        )
    try:
        tensors = load(path.read_bytes())
        space = PictureSpace(tensors["mean"], tensors["components"])
    except (SafetensorError, OSError, KeyError):
        raise RunError(
            "this file of the run is damaged",
            where=str(path),
            remedy="Delete it and run `housevis evaluate CONFIG` again.",
        ) from None
    return read_parquet(run.serving / SUPPORTING), space
