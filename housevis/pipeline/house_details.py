"""The details of every sold house of a run: what its page shows and what the server answers.

One dict per house, JSON throughout; ``housevis atlas`` writes them beside the
map (:mod:`housevis.views.house_chunks`) and :func:`stored_house_details` reads
one back. Amounts are in the run's currency, to the cent; places are latitude
and longitude in degrees; a house is shown by its last sale, estimated by the
model that has not seen it.

Keys of a house:

* ``house_id``, ``sale_id``, ``model_id``: texts; ``address``: text or None; ``place``: ``[lat, lon]``
* ``sale_date`` (``YYYY-MM-DD``; the estimate is of this day), ``price``
* ``estimate``, ``low``, ``high``; ``interval``: nominal coverage of the range; ``currency``: ISO 4217
* ``sample``: ``"later sale"`` or ``"cross-fitted"``
* ``confidence``: ``"high"``, ``"medium"``, ``"low"`` or None; ``confidence_reasons``: texts
* ``attributes``: name -> value or None (``area_m2`` in square metres, all others as in the listings)
* ``base`` and ``drivers``: ``[{"name", "amount"}]``; base and amounts add up to the estimate
* ``without_picture``: the estimate from the attributes alone; ``used_picture``: bool
* ``picture``: None, or ``{"file" (beside the map), "bounds" [west, south, east, north], "house" [x, y] as
  fractions from the upper left, "metres" (its width on the ground), "missing_tiles", "attribution",
  "taken" (a sentence)}``
* ``attention``: None, or ``{"values" [[row from the north]] (empty where it is not drawn), "scale" (the
  value of the run's strongest colour), "status", "note" (why it is not drawn; empty where it is)}``. In the
  files beside the map ``"rows", "columns", "levels"`` stand for ``values``: base64 of one signed byte per
  cell, whose value is ``sign * scale * (level / 127) ** 2``
* ``value_map``: the same in currency per cell, with ``"cell_square_metres"``
* ``surroundings``: what the pictures of the neighbourhood add
* ``explained_by``: None; ``{"everyone": true}`` where all houses have the same weights; or the house whose
  weights were borrowed: ``{"house_id", "address", "sale_date", "price", "picture" {"file", "house"} or
  None, "attention" or None}``
* ``under``: None, or per land cover ``{"cover", "attention" (share or None), "area" (share), "amount" or
  None}``
* ``comparables``: None in runs without, else ``[{"rank", "house_id", "address", "place", "sale_date",
  "price", "adjusted_price", "metres", "why", "after" (sold after the valuation date), "picture" or None}]``

What if: a server answers ``POST api/houses/<percent-encoded id>/what-if`` with
``{"attributes": {"bathrooms": 3}}`` (units as in ``attributes``) by
``{"estimate", "low", "high", "difference", "difference_percent"}``, and, where
they are known, ``"outside_training": {name: [low, high]}`` of changed
attributes beyond all sales that the model learned from. It is reckoned by the
house's own ``model_id``. Refusals are ``{"detail": text}``. Pages find the
server by ``server.js`` beside the map: ``housevis.server = {"api":
"<address of /api/ with the last slash, relative to the page or absolute>"}``,
or null from disk.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_pipeline.tiles import metres_across
from housevis.core.config import Config
from housevis.explain.under_heat import UnderHeat
from housevis.pipeline.attention import AttentionMaps
from housevis.pipeline.comparables import read_comparables
from housevis.pipeline.explaining import has_same_weights
from housevis.pipeline.house_facts import confidence_of, drivers_of, house_maps, map_scale, text_or_none
from housevis.pipeline.judging import DRIVER_PREFIX, driver_columns
from housevis.runs import Run, read_parquet
from housevis.views.atlas_data import under_rows
from housevis.views.house_chunks import FOLDER, read_house
from housevis.views.house_report import HouseMap
from housevis.views.house_words import taken_words
from housevis.views.pictures import Picture

_ALWAYS: Final = ("bedrooms", "bathrooms", "area_m2")
_PLACE: Final = ("latitude", "longitude", "sale_month")
_JUDGED: Final = (
    "sale_id", "model_id", "sale_date", "price", "estimate", "low", "high", "sample", "confidence",
    "confidence_reasons", "base", "without_picture", "used_picture",
)  # fmt: skip
_LEVELS: Final = 127


def stored_house_details(run: Run, house_id: str) -> dict[str, Any] | None:
    """The details of one house as the run's map has them; None where it shows no such house.

    Raises:
        StorageError: The house pages are not built, or damaged.
    """
    found = read_house(run.atlas / FOLDER, house_id)
    if found is None:
        return None
    for holder, name in (
        (found, "attention"),
        (found, "value_map"),
        (found["explained_by"] or {}, "attention"),
    ):
        if holder.get(name) is not None:
            holder[name] = _with_values(holder[name])
    return found


def _with_values(kept: dict[str, Any]) -> dict[str, Any]:
    """A map as it is answered, from a map as it is kept."""
    rest = {name: value for name, value in kept.items() if name not in ("rows", "columns", "levels")}
    levels = np.frombuffer(base64.b64decode(kept["levels"]), np.int8).astype(np.float64)
    values = np.sign(levels) * kept["scale"] * (levels / _LEVELS) ** 2
    rows = [[float(f"{value:.5g}") for value in row] for row in values.reshape(-1, kept["columns"]).tolist()]
    return {"values": rows, **rest}


def shown_attributes(config: Config) -> list[str]:
    """The attributes of a house, first those that every listing may have; place and date are none."""
    return [name for name in dict.fromkeys([*_ALWAYS, *config.pricing.attributes]) if name not in _PLACE]


class HouseDetails:
    """Gathers what there is to say of the houses of a run.

    Args:
        config: The run's configuration.
        run: The run, which is evaluated.
        sales: All sales, a sale frame.
        shown: The sale that is shown of each house, rows of `sales`.
        pictures: House id -> its picture as it lies beside the map; empty in a run without pictures.
        maps: Their maps; None in a run without pictures.
    """

    def __init__(
        self,
        config: Config,
        run: Run,
        sales: pd.DataFrame,
        shown: pd.DataFrame,
        pictures: Mapping[str, Picture],
        maps: AttentionMaps | None,
    ) -> None:
        self._config = config
        self._shown = shown.assign(house_id=shown["house_id"].astype(str)).reset_index(drop=True)
        self._judged = read_parquet(run.estimates).set_index("sale_id", drop=False).loc[shown["sale_id"]]
        self._sale_of = dict(
            zip(
                self._shown["house_id"],
                zip(
                    map(text_or_none, self._shown["address"]),
                    _days(self._shown["sale_date"]),
                    self._shown["price"].round(2).tolist(),
                    strict=True,
                ),
                strict=True,
            )
        )
        self._pictures = pictures
        self._small = {
            house_id: {"file": picture.file, "house": [round(part, 4) for part in picture.house]}
            for house_id, picture in pictures.items()
        }
        self._maps = AttentionMaps.none() if maps is None else maps
        self._map_row = {str(house_id): row for row, house_id in enumerate(self._maps.houses["house_id"])}
        self._same_weights = bool(len(self._map_row)) and has_same_weights(run)
        self._heats = self._drawn(self._maps.heats, "status", "attention")
        self._values = self._drawn(self._maps.values, "value_status", config.listings.currency)
        self._statuses = {
            name: self._maps.houses[name].tolist() for name in ("status", "value_status", "surroundings")
        }
        self._lenders = [text_or_none(each) for each in self._maps.houses["neighbour_house_id"]]
        table = read_comparables(run)
        self._comparables = None if table is None else self._comparables_by_sale(table, sales)

    @property
    def records(self) -> pd.DataFrame:
        """``house_id, sale_id, model_id, sample`` of what is shown."""
        return self._judged[["house_id", "sale_id", "model_id", "sample"]].reset_index(drop=True)

    @property
    def driver_names(self) -> list[str]:
        """Drivers of the estimates."""
        return [name.removeprefix(DRIVER_PREFIX) for name in driver_columns(self._judged)]

    @property
    def under(self) -> UnderHeat:
        """What is under the heat of all houses with maps."""
        return self._maps.under

    def __len__(self) -> int:
        return len(self._shown)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        names = shown_attributes(self._config)
        attributes = self._shown[names].to_numpy(np.float64, na_value=np.nan).tolist()
        drivers = drivers_of(self._judged)
        rows = zip(
            self._shown["house_id"].tolist(),
            map(text_or_none, self._shown["address"]),
            self._shown[["latitude", "longitude"]].to_numpy(np.float64).round(6).tolist(),
            self._judged[[name for name in _JUDGED if name in self._judged.columns]].to_dict("records"),
            _days(self._judged["sale_date"]),
            attributes,
            drivers,
            strict=True,
        )
        for house_id, address, place, record, day, values, amounts in rows:
            grade, reasons = confidence_of(record)
            found: dict[str, Any] = {
                "house_id": house_id,
                "sale_id": record["sale_id"],
                "model_id": record["model_id"],
                "address": address,
                "place": place,
                "sale_date": day,
                **{name: _cents(record[name]) for name in ("price", "estimate", "low", "high")},
                "interval": self._config.pricing.interval,
                "currency": self._config.listings.currency,
                "sample": record["sample"],
                "confidence": grade,
                "confidence_reasons": reasons,
                "attributes": dict(zip(names, map(_number, values), strict=True)),
                "base": _cents(record["base"]),
                "drivers": [{"name": name, "amount": _cents(amount)} for name, amount in amounts],
                "without_picture": _cents(record["without_picture"]),
                "used_picture": bool(record["used_picture"]),
            }
            found |= self._pictured(house_id, pd.Timestamp(record["sale_date"]))
            found["comparables"] = (
                None if self._comparables is None else self._comparables.get(record["sale_id"], [])
            )
            yield found

    def _drawn(self, values: NDArray[np.float32], status: str, unit: str) -> list[HouseMap]:
        if not self._map_row:
            return []
        scale = map_scale(self._maps, values, status, signed=unit != "attention")
        return house_maps(self._maps, values, status, unit, scale)

    def _pictured(self, house_id: str, sold: pd.Timestamp) -> dict[str, Any]:
        """What depends on the picture; keys without it are None."""
        nothing = dict.fromkeys(("picture", "attention", "value_map", "explained_by", "under"))
        picture = self._pictures.get(house_id)
        if picture is None:
            return {**nothing, "surroundings": 0.0}
        across, down = metres_across(picture.bounds)
        found: dict[str, Any] = {
            **nothing,
            "surroundings": 0.0,
            "picture": {
                "file": picture.file,
                "bounds": [round(edge, 7) for edge in picture.bounds],
                "house": [round(part, 4) for part in picture.house],
                "metres": round(across, 1),
                "missing_tiles": picture.missing_tiles,
                "attribution": picture.attribution,
                "taken": taken_words(self._config.imagery.taken, sold),
            },
        }
        row = self._map_row.get(house_id)
        if row is None:
            return found
        values = _map(self._values[row], self._statuses["value_status"][row])
        height, width = self._values[row].values.shape
        values["cell_square_metres"] = round(across * down / (width * height), 3)
        under = under_rows(self._maps.under, row)
        return found | {
            "attention": self._attention(house_id),
            "value_map": values,
            "surroundings": _cents(self._statuses["surroundings"][row] or 0.0),
            "explained_by": {"everyone": True} if self._same_weights else self._lender(row),
            "under": None if under is None else _classes(under),
        }

    def _attention(self, house_id: str) -> dict[str, Any] | None:
        row = self._map_row.get(house_id)
        return None if row is None else _map(self._heats[row], self._statuses["status"][row])

    def _lender(self, row: int) -> dict[str, Any] | None:
        """The house whose weights coloured a map, as far as the run still shows it."""
        house_id = self._lenders[row]
        if house_id is None or self._heats[row].note:
            return None
        sale = self._sale_of.get(house_id)
        if sale is None:
            return {
                "house_id": house_id, "address": None, "sale_date": None, "price": None, "picture": None,
                "attention": None,
            }  # fmt: skip
        address, sale_date, price = sale
        return {
            "house_id": house_id, "address": address, "sale_date": sale_date, "price": price,
            "picture": self._small.get(house_id), "attention": self._attention(house_id),
        }  # fmt: skip

    def _comparables_by_sale(
        self, table: pd.DataFrame, sales: pd.DataFrame
    ) -> dict[str, list[dict[str, Any]]]:
        """Comparable sales by the sale that they support, the best first; none of sales that are gone."""
        shown = self._judged["sale_date"]
        places = sales.set_index("sale_id")[["address", "latitude", "longitude"]]
        wanted = table[table["sale_id"].isin(shown.index) & table["comparable_sale_id"].isin(places.index)]
        wanted = wanted.sort_values("rank", kind="stable").join(places, on="comparable_sale_id")
        valued = shown.loc[wanted["sale_id"]].to_numpy()
        after = wanted["sale_date"].to_numpy() > valued
        listed = pd.DataFrame(
            {
                "rank": wanted.groupby("sale_id", sort=False).cumcount() + 1,
                "house_id": wanted["comparable_house_id"].astype(str),
                "address": wanted["address"].map(text_or_none),
                "place": wanted[["latitude", "longitude"]].round(6).to_numpy(np.float64).tolist(),
                "sale_date": _days(wanted["sale_date"]),
                "price": wanted["price"].round(2),
                "adjusted_price": wanted["adjusted_price"].round(2),
                "metres": wanted["metres"].round(1),
                "why": wanted["why"],
                "after": after,
                "picture": [
                    self._small.get(house_id) for house_id in wanted["comparable_house_id"].astype(str)
                ],
            }
        ).astype(object)
        listed["address"] = listed["address"].where(listed["address"].notna(), None)
        found: dict[str, list[dict[str, Any]]] = {}
        for sale_id, row in zip(wanted["sale_id"].tolist(), listed.to_dict("records"), strict=True):
            found.setdefault(sale_id, []).append({str(name): value for name, value in row.items()})
        return found


def _classes(rows: list[list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(("cover", "attention", "area", "amount"), row, strict=True)) for row in rows]


def _map(drawn: HouseMap, status: str) -> dict[str, Any]:
    """A map as it is kept; see the head of this module for its levels."""
    rows, columns = drawn.values.shape
    levels = np.sign(drawn.values) * np.sqrt(np.minimum(np.abs(drawn.values) / drawn.scale, 1)) * _LEVELS
    return {
        "rows": rows,
        "columns": columns,
        "levels": "" if drawn.note else base64.b64encode(levels.round().astype(np.int8).tobytes()).decode(),
        "scale": float(f"{drawn.scale:.6g}"),
        "status": status,
        "note": drawn.note,
    }


def _cents(amount: Any) -> float | None:
    value = float(amount)
    return round(value, 2) if math.isfinite(value) else None


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else round(value, 4)


def _days(when: pd.Series[Any]) -> list[str]:
    return np.datetime_as_string(when.to_numpy("datetime64[D]")).tolist()
