"""One new house at a time, with everything that its estimate needs open and warm."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.archive import TileArchive
from data_pipeline.frames import HouseImage
from data_pipeline.one_value import possible_value
from housevis.core.config import Config
from housevis.core.errors import ModelError
from housevis.core.workspace import Workspace
from housevis.explain.gradweights import GradWeightDatabase
from housevis.explain.heatmap import heat_to_png
from housevis.explain.value_map import ValueMapModel
from housevis.pipeline.comparables import SupportOfNew
from housevis.pipeline.embedding import HousePlace, PictureLoader
from housevis.pipeline.explaining import GRAD_WEIGHTS, Explainer, has_same_weights
from housevis.pipeline.house_facts import confidence_of, drivers_of
from housevis.pipeline.judging import estimate_table, interval_features
from housevis.pipeline.new_imagery import open_new_imagery
from housevis.pipeline.sold import stored_pool
from housevis.pipeline.valuation import ValuationModel, no_pictures
from housevis.pipeline.valuing import VALUE_MAP, Valuer, effects_of
from housevis.pricing.confidence import ConfidenceRules
from housevis.pricing.intervals import Calibration
from housevis.pricing.sale_table import KnownSales
from housevis.runs import Run
from housevis.views.heat import DRAWN_STATUSES, MapScales, pixels_per_cell, png_uri
from housevis.views.pictures import picture_uri
from housevis.views.served import NewHouse
from housevis.views.words import ATTRIBUTE_LABELS, label
from housevis.vision.backbones import load_backbone
from housevis.vision.embed import fit_picture
from housevis.vision.engines import FeatureEngine, open_engine

_ID: Final = "new house"
_OF_EVERY_HOUSE: Final = ("bedrooms", "bathrooms", "area_m2")
_NOT_APPRAISED: Final = "This is an estimate, not an appraisal."
_NO_PICTURE: Final = "There is no imagery of this place: the estimate is from the attributes alone."


@dataclass(frozen=True, eq=False)
class _Seen:
    """The picture of a place and what the backbone makes of it."""

    image: HouseImage
    fitted: NDArray[np.uint8]
    maps: NDArray[np.float32]
    pooled: NDArray[np.float32]
    source: str


class EstimatingDesk:
    """Estimates new houses with a run's serving model; what it needs is opened with the first.

    Args:
        run: The run.
        config: Its configuration.
        scales: The scales of its maps.
        imagery: Name of a provider or a path, asked where the run's own archive has no picture; None
            asks nobody.
    """

    def __init__(self, run: Run, config: Config, scales: MapScales, imagery: str | None = None) -> None:
        self._run, self._config, self._scales, self._imagery = run, config, scales, imagery
        self._lock = threading.Lock()
        self._open: _Tools | None = None

    def estimate(self, house: NewHouse) -> dict[str, Any]:
        """Estimate and explain one house, as ``POST /api/estimate`` answers.

        Raises:
            UsageError: A value is impossible.
            HousevisError: The run lacks what is needed.
        """
        values = checked_values(house.attributes)
        tools = self.warm()
        frame = _frame(house, values)
        notes = [_NOT_APPRAISED]
        seen = self._look(tools, frame, notes)
        pooled = tools.pooled(frame, seen)
        features = tools.model.price_model.known(tools.model.features(frame, pooled))
        contributions = tools.model.price_model.contributions(features)
        table = estimate_table(tools.model, frame, pooled, contributions, features)
        widths = interval_features(tools.model, frame)
        table["low"], table["high"] = tools.calibration.interval(table["estimate"].to_numpy(), widths)
        if tools.rules is not None:
            table = table.join(
                tools.rules.grade(
                    frame,
                    widths,
                    table,
                    self._config.pricing.interval,
                    picture_taken=self._config.imagery.taken if seen is not None else None,
                )
            )
        record = table.iloc[0]
        grade, reasons = confidence_of(record)
        answer = {
            "run_id": self._run.run_id,
            "currency": self._config.listings.currency,
            "valuation_date": house.valuation_date.isoformat(),
            **{name: float(record[name]) for name in ("estimate", "low", "high", "base", "without_picture")},
            "interval": self._config.pricing.interval,
            "confidence": grade,
            "confidence_reasons": reasons,
            "unknown": [name for name, value in house.attributes.items() if value is None],
            "outside_training": outside(tools.ranges, values),
            "drivers": [
                {"name": name, "label": label(name, ATTRIBUTE_LABELS), "amount": amount}
                for name, amount in drivers_of(table)[0]
            ],
            "used_picture": bool(record["used_picture"]),
            "picture": None,
            "attention": None,
            "value_map": None,
            "explained_by": None,
            "comparables": tools.comparables(frame, pooled, features),
            "notes": notes,
        }
        return answer if seen is None else answer | self._explained(tools, seen, pooled, contributions)

    def warm(self) -> _Tools:
        """Open what estimates need, unless it is open.

        Raises:
            HousevisError: The run lacks what is needed.
        """
        with self._lock:
            if self._open is None:
                self._open = _Tools(self._run, self._config)
            return self._open

    def _look(self, tools: _Tools, frame: pd.DataFrame, notes: list[str]) -> _Seen | None:
        """The picture of a new house, from the run's archive or from the imagery named for new houses."""
        if tools.engine is None:
            return None
        place = HousePlace(_ID, float(frame["latitude"].iloc[0]), float(frame["longitude"].iloc[0]))
        image = tools.loader.picture(place) if tools.loader is not None else None
        source = "the run's archive"
        if image is None and self._imagery is not None:
            reference = self._config.imagery.rights_reference
            with open_new_imagery(self._imagery, self._config, frame, reference, notes) as archive:
                image = PictureLoader(archive, self._config.imagery, self._config.vision).picture(place)
            source = "the imagery for new houses"
        if image is None:
            notes.append(_NO_PICTURE)
            return None
        fitted = fit_picture(image.pixels, tools.engine.backbone.input_size)
        maps, pooled = tools.engine.both(fitted[None])
        return _Seen(image, fitted, maps, pooled, source)

    def _explained(
        self, tools: _Tools, seen: _Seen, pooled: NDArray[np.float32], contributions: NDArray[np.float64]
    ) -> dict[str, Any]:
        """What depends on the picture."""
        image = seen.image
        found: dict[str, Any] = {
            "picture": {
                "image": picture_uri(image),
                "bounds": [float(edge) for edge in image.bounds],
                "house": [
                    image.house_pixel[0] / image.pixels.shape[1],
                    image.house_pixel[1] / image.pixels.shape[0],
                ],
                "attribution": image.attribution,
                "missing_tiles": int(image.missing_tiles),
                "source": seen.source,
            }
        }
        if tools.explainer is not None:
            houses, heats = tools.explainer.explain(seen.maps, pooled, [_ID])
            lender = None if tools.same_weights else houses["neighbour_house_id"].iloc[0]
            found["attention"] = _drawn(
                heats[0], self._scales.attention, "attention", houses["status"].iloc[0]
            )
            found["explained_by"] = None if lender is None else str(lender)
        if tools.valuer is not None:
            effects, currency = effects_of(tools.model, contributions)
            values = tools.valuer.explain(seen.maps, pooled, effects, currency, seen.fitted[None])
            unit = self._config.listings.currency
            found["value_map"] = _drawn(
                values.values[0], self._scales.value, unit, values.statuses[0], signed=True
            )
        return found


class _Tools:
    """Everything that is opened once."""

    def __init__(self, run: Run, config: Config) -> None:
        folder = run.serving
        self._config = config
        self.model = ValuationModel.load(folder)
        self.ranges = self.model.price_model.attribute_ranges()
        self.calibration = Calibration.load(folder)
        self.rules = ConfidenceRules.load(folder)
        self.support = SupportOfNew(config, run, self.model)
        self.pool = stored_pool(run, config)
        self.engine: FeatureEngine | None = None
        self.loader: PictureLoader | None = None
        self.explainer: Explainer | None = None
        self.valuer: Valuer | None = None
        self.same_weights = False
        if not config.uses_pictures:
            return
        backbone = load_backbone(config.vision)
        self.channels = backbone.channels
        if backbone.fingerprint != run.record["backbone"]["fingerprint"]:
            raise ModelError(
                "the backbone of this machine is not the one that the run was made with",
                where=run.run_id,
                remedy="Give vision.weights the same file as then.",
            )
        self.engine = open_engine(backbone, config.vision.engine, batch_size=1)
        archive = Workspace(run.folder.parent).archive
        if archive.is_file():
            self.loader = PictureLoader(TileArchive(archive), config.imagery, config.vision)
        if (folder / GRAD_WEIGHTS).is_file():
            database = GradWeightDatabase.load(
                folder / GRAD_WEIGHTS, backbone_fingerprint=backbone.fingerprint
            )
            self.explainer = Explainer(self.model.picture_ranker(), database)
            self.same_weights = has_same_weights(run)
        if (folder / VALUE_MAP).is_file():
            self.valuer = Valuer(self.model, ValueMapModel.load(folder / VALUE_MAP))

    def pooled(self, frame: pd.DataFrame, seen: _Seen | None) -> NDArray[np.float32]:
        """What the learners embed of one house ``(1, K (1 + blocks))``; NaN without a picture."""
        if not self._config.uses_pictures:
            return no_pictures(1)
        numbers = self._config.siamese.neighbourhood
        if seen is None:
            return np.full((1, self.channels * (1 + len(numbers))), np.nan, dtype=np.float32)
        if self.pool is None:
            return seen.pooled
        places = frame[["latitude", "longitude"]].to_numpy(np.float64)
        return self.pool.joined(seen.pooled, [seen.image.key], places[:, 0], places[:, 1], numbers)

    def comparables(
        self, frame: pd.DataFrame, pooled: NDArray[np.float32], features: KnownSales
    ) -> list[dict[str, Any]]:
        """The sales that support the estimate, the best first."""
        found = self.support.of(frame, pooled, features).sort_values("rank")
        return [
            {
                "rank": int(row["rank"]),
                "house_id": str(row["comparable_house_id"]),
                "sale_date": pd.Timestamp(row["sale_date"]).date().isoformat(),
                "price": float(row["price"]),
                "adjusted_price": float(row["adjusted_price"]),
                "metres": float(row["metres"]),
                "why": str(row["why"]),
            }
            for row in found.to_dict("records")
        ]


def checked_values(attributes: Mapping[str, float | None]) -> dict[str, float]:
    """Attributes as the model takes them, NaN where they are not known.

    Raises:
        UsageError: Listings would be refused with such a value.
    """
    return {
        name: float("nan") if value is None else possible_value(name, float(value))
        for name, value in attributes.items()
    }


def outside(ranges: Mapping[str, tuple[float, float]], values: Mapping[str, float]) -> dict[str, list[float]]:
    """Attributes beyond all sales that a model learned from: the lowest and the highest that there were."""
    return {
        name: [float(edge) for edge in ranges[name]]
        for name, value in values.items()
        if name in ranges and (value < ranges[name][0] or value > ranges[name][1])
    }


def _frame(house: NewHouse, values: Mapping[str, float]) -> pd.DataFrame:
    """The sale frame of one new house."""
    named: dict[str, Any] = {
        "house_id": [_ID],
        "sale_id": [_ID],
        "latitude": [house.latitude],
        "longitude": [house.longitude],
        "sale_date": pd.to_datetime([pd.Timestamp(house.valuation_date)]),
        **{name: [float("nan")] for name in _OF_EVERY_HOUSE},
        **{name: [value] for name, value in values.items()},
    }
    return pd.DataFrame(named)


def _drawn(
    values: NDArray[np.float32], scale: float, unit: str, status: str, *, signed: bool = False
) -> dict[str, Any]:
    drawn = status in DRAWN_STATUSES
    return {
        "values": values.astype(np.float64).tolist() if drawn else [],
        "scale": scale,
        "unit": unit,
        "image": png_uri(heat_to_png(values, scale, pixels_per_cell=pixels_per_cell(values), signed=signed))
        if drawn
        else None,
        "status": status,
        "note": "" if drawn else "There is no map of this house.",
    }
