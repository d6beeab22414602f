"""What the API answers of a run and of its houses, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from housevis.views.heat_tiles import DEEPEST, SHALLOWEST
from housevis.views.served import AttributeField, ServedRun
from housevis.views.viewport import View, Viewport

_CELL_NUMBERS: Final = ("count", "latitude", "longitude", "price", "error", "effect")
_EPOCH: Final = date(1970, 1, 1).toordinal()


def describe(served: ServedRun) -> dict[str, Any]:
    """A run as ``/api/runs`` lists it."""
    pages = f"/runs/{served.run_id}/atlas/index.html"
    return {
        "run_id": served.run_id,
        "name": served.name,
        "title": served.title,
        "currency": served.currency,
        "area_unit": served.area_unit,
        "interval": served.interval,
        "notice": served.notice,
        "attribution": served.attribution,
        "houses": len(served.viewport),
        "box": list(served.viewport.box),
        "pages": pages,
        "limits": {name: list(limits) for name, limits in served.viewport.limits.items()},
        "attributes": [field_answer(each) for each in served.fields],
        "layers": [
            {
                "name": name,
                "tiles": f"/tiles/{name}/{{z}}/{{x}}/{{y}}.png?run={served.run_id}",
                "zoom_minimum": SHALLOWEST,
                "zoom_maximum": DEEPEST,
                "attribution": served.attribution,
            }
            for name in served.maps
        ],
    }


def view_answer(served: ServedRun, view: View) -> dict[str, Any]:
    """A viewport as ``/api/houses`` answers it."""
    houses = None if view.houses is None else _houses(served.viewport, view.houses.tolist())
    cells = None
    if view.cells is not None:
        columns = [getattr(view.cells, name).tolist() for name in _CELL_NUMBERS]
        counted = {name: counts.tolist() for name, counts in view.cells.classes.items()}
        cells = [
            {
                **dict(zip(_CELL_NUMBERS, map(_finite, row), strict=True)),
                "classes": {name: counts[place] for name, counts in counted.items()},
            }
            for place, row in enumerate(zip(*columns, strict=True))
        ]
    return {
        "run_id": served.run_id,
        "content": served.viewport.digest,
        "currency": served.currency,
        "box": list(view.box),
        "count": view.count,
        "houses": houses,
        "cells": cells,
    }


def found_answer(served: ServedRun, rows: list[int]) -> dict[str, Any]:
    """Houses that were searched for as ``/api/search`` answers them."""
    content = served.viewport.digest
    return {"run_id": served.run_id, "content": content, "houses": _houses(served.viewport, rows)}


def field_answer(field: AttributeField) -> dict[str, Any]:
    """An attribute that a new house is asked for."""
    return {name: getattr(field, name) for name in AttributeField.__dataclass_fields__}


def encoded(content: Mapping[str, Any]) -> bytes:
    """An answer as JSON in UTF-8."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _houses(viewport: Viewport, rows: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "house_id": viewport.house_id[row].decode(),
            "latitude": float(viewport.latitude[row]),
            "longitude": float(viewport.longitude[row]),
            "price": float(viewport.price[row]),
            "estimate": float(viewport.estimate[row]),
            "low": float(viewport.low[row]),
            "high": float(viewport.high[row]),
            "sale_date": date.fromordinal(int(viewport.sale_day[row]) + _EPOCH).isoformat(),
            "bedrooms": _finite(float(viewport.bedrooms[row])),
            "confidence": viewport.confidence(row),
            "effect": _finite(float(viewport.effect[row])),
            "address": viewport.address(row),
            "sample": viewport.sample(row),
            "map_row": viewport.map_row(row),
        }
        for row in rows
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
