"""The JSON API and the georeferenced tiles of the runs that are served."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from housevis.core.errors import HousevisError, UsageError
from housevis.views import api_models as models
from housevis.views.heat_tiles import DEEPEST
from housevis.views.served import AttributeField, NewHouse, ServedRun, ShelvedRun
from housevis.views.server_answers import describe, encoded, field_answer, found_answer, view_answer
from housevis.views.server_cache import KeptAnswers, mark_of, marked
from housevis.views.server_metrics import LOGGER
from housevis.views.viewport import DEEPEST_ZOOM, Box, Wanted

_WORDS: Final = {
    400: "The request is no valid HTTP or names a foreign host",
    401: "The token of the server is missing",
    404: "There is no such thing",
    405: "This address does not take this method",
    408: "The request came too slowly",
    413: "The request is too large",
    415: "The question is not sent as JSON",
    422: "Something is missing or impossible; `detail` says what",
    429: "Too many requests",
    431: "The head of the request is too long",
    503: "What is needed for the answer cannot be read now, or too many estimates or connections are open",
}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": models.Problem, "description": words} for status, words in _WORDS.items()
}
"""Every refusal that a route may answer."""

_UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {304: {"description": "The client has it already"}}

RunId = Annotated[str | None, Query(max_length=200, description="Id of a run; the first if none is named")]
HouseId = Annotated[str, Path(min_length=1, max_length=500, description="The listings' id of the house")]
Whole = Annotated[int | None, Query(ge=0, le=1_000)]
Money = Annotated[float | None, Query(ge=0, le=1e12, allow_inf_nan=False)]
Grade = Literal["high", "medium", "low"]


class Refusal(Exception):  # noqa: N818
    """A request that is answered with a reason.

    Args:
        status: HTTP status.
        detail: What was wrong and what to do.
        missing: Attributes that have to be given.
    """

    def __init__(self, status: int, detail: str, missing: Sequence[AttributeField] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.missing = status, detail, missing

    def answer(self) -> JSONResponse:
        """The refusal as JSON."""
        content: dict[str, Any] = {"detail": self.detail}
        if self.missing:
            content["missing"] = [field_answer(each) for each in self.missing]
        headers = {"retry-after": "5"} if self.status == 503 else None
        return JSONResponse(content, self.status, headers)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the run's parts refuse into an answer: 422 for the question, 503 for the run itself.

    Where an error lies on this machine is logged by its kind alone, never answered.
    """
    try:
        yield
    except UsageError as problem:
        raise Refusal(422, _sentence(problem)) from None
    except HousevisError as problem:
        LOGGER.error("run", extra={"fields": {"error": type(problem).__name__}})
        raise Refusal(503, f"{problem.what}. {problem.remedy or ''}".strip()) from None


class Shelf:
    """The runs that are served, in the order they were named.

    Args:
        runs: At least one.
    """

    def __init__(self, runs: Sequence[ShelvedRun]) -> None:
        self._runs = {run.run_id: run for run in runs}

    def __iter__(self) -> Iterator[ShelvedRun]:
        return iter(self._runs.values())

    def run(self, run_id: str | None) -> ServedRun:
        """A run by its id, as its files are now; the first where none is named.

        Raises:
            Refusal: There is no such run, or it cannot be opened.
        """
        shelved = self._runs.get(run_id) if run_id is not None else next(iter(self))
        if shelved is None:
            raise Refusal(404, "There is no such run here; /api/runs lists them.")
        with explained():
            return shelved.current()


def api_router(shelf: Shelf, estimates: int) -> APIRouter:
    """All routes under ``/api`` and ``/tiles``.

    Args:
        shelf: The runs.
        estimates: Estimates and what-ifs that may be under way at the same time.
    """
    router = APIRouter(responses=REFUSALS)
    kept = KeptAnswers()
    desks = threading.BoundedSemaphore(estimates)

    @contextmanager
    def desk() -> Iterator[None]:
        if not desks.acquire(blocking=False):
            raise Refusal(503, "Too many estimates are under way; ask again in a few seconds.")
        try:
            with explained():
                yield
        finally:
            desks.release()

    @router.get("/api/runs", response_model=models.RunsAnswer, tags=["runs"])
    def list_runs() -> Response:
        """The runs that are served, with what a new house is asked for."""
        return _json({"runs": [describe(shelf.run(shelved.run_id)) for shelved in shelf]})

    @router.get("/api/houses", response_model=models.ViewAnswer, responses=_UNCHANGED, tags=["houses"])
    def look(
        request: Request,
        bbox: Annotated[str, Query(max_length=200, description="west,south,east,north in degrees")],
        zoom: Annotated[int, Query(ge=0, le=DEEPEST_ZOOM, description="Zoom of the map")],
        run: RunId = None,
        price_from: Money = None,
        price_to: Money = None,
        bedrooms_from: Whole = None,
        bedrooms_to: Whole = None,
        sold_from: date | None = None,
        sold_to: date | None = None,
        confidence: Annotated[list[Grade] | None, Query(max_length=3)] = None,
    ) -> Response:
        """The sold houses of a viewport, or cells of them with counts and medians where they are many."""
        served = shelf.run(run)
        wanted = Wanted(
            price_from,
            price_to,
            bedrooms_from,
            bedrooms_to,
            None if sold_from is None else sold_from.isoformat(),
            None if sold_to is None else sold_to.isoformat(),
            tuple(sorted(set(confidence or ()))),
        )
        with explained():
            box = _box(bbox)
            key = (served.viewport.digest, zoom, served.viewport.snapped(box, zoom), wanted)

        def body() -> bytes:
            return kept.get(
                key, lambda: encoded(view_answer(served, served.viewport.look(box, zoom, wanted)))
            )

        return marked(request, mark_of(key), body, "application/json")

    @router.get("/api/search", response_model=models.FoundAnswer, tags=["houses"])
    def search(
        run: RunId = None,
        text: Annotated[str | None, Query(max_length=500, description="Part of an id or an address")] = None,
        near: Annotated[
            str | None, Query(max_length=100, description="latitude,longitude in degrees")
        ] = None,
    ) -> Response:
        """The first sold houses with a text in their id or address, or those next to a place."""
        served = shelf.run(run)
        if (text is None) == (near is None):
            raise Refusal(422, "Give either a text or a place: one of `text` and `near`.")
        with explained():
            rows = served.viewport.find(text) if text is not None else served.viewport.nearest(*_place(near))
        return _json(found_answer(served, rows))

    @router.post("/api/houses/{house_id:path}/what-if", response_model=models.WhatIfAnswer, tags=["houses"])
    def what_if(house_id: HouseId, question: models.WhatIfQuestion, run: RunId = None) -> Response:
        """The estimate of a sold house with other attributes; association in past sales, not cause."""
        served = shelf.run(run)
        if served.viewport.row_of(house_id) is None:
            raise Refusal(404, "There is no such house in this run.")
        with desk():
            return _json(served.what_if(house_id, question.attributes))

    @router.get(
        "/api/houses/{house_id:path}",
        response_model=models.HouseDetailsAnswer,
        responses=_UNCHANGED,
        tags=["houses"],
    )
    def show_house(request: Request, house_id: HouseId, run: RunId = None) -> Response:
        """All that is known of a sold house: what its page shows."""
        served = shelf.run(run)
        if served.viewport.row_of(house_id) is None:
            raise Refusal(404, "There is no such house in this run.")
        with explained():
            found = served.details(house_id)
        if found is None:
            raise Refusal(404, "There is no such house in this run.")
        details = encoded(found)
        return marked(request, mark_of(details), lambda: details, "application/json")

    @router.post("/api/estimate", response_model=models.EstimateAnswer, tags=["new houses"])
    def estimate(question: models.EstimateQuestion, run: RunId = None) -> Response:
        """A new house: estimate, range, confidence, drivers, comparable sales and maps of its picture.

        Every attribute of the run has to be given; what is not known is given
        as null. Nothing is filled in. No address of a picture is taken.
        """
        served = shelf.run(run)
        missing = [each for each in served.fields if each.name not in question.attributes]
        if missing:
            names = ", ".join(each.name for each in missing)
            text = f"These attributes are missing: {names}. Give null for what is not known."
            raise Refusal(422, text, missing)
        known = {each.name for each in served.fields}
        unknown = [name for name in question.attributes if name not in known]
        if unknown:
            uses = ", ".join(each.name for each in served.fields) or "none"
            raise Refusal(422, f"The model of this run does not use {unknown[0]!r}. It uses: {uses}.")
        day = question.valuation_date or date.today()
        if not 1900 <= day.year <= 2100:
            raise Refusal(422, "The valuation date has to lie between 1900 and 2100.")
        house = NewHouse(question.latitude, question.longitude, day, question.attributes)
        with desk():
            return _json(served.estimate(house))

    @router.get(
        "/tiles/{layer}/{z}/{x}/{y}.png",
        response_class=Response,
        responses={**_UNCHANGED, 200: {"content": {"image/png": {}}, "description": "The tile"}},
        tags=["tiles"],
    )
    def show_tile(
        request: Request,
        layer: Literal["attention", "value"],
        z: Annotated[int, Path(ge=0, le=DEEPEST)],
        x: Annotated[int, Path(ge=0, lt=1 << DEEPEST)],
        y: Annotated[int, Path(ge=0, lt=1 << DEEPEST)],
        run: RunId = None,
    ) -> Response:
        """A tile of attention or value maps (XYZ, Web Mercator), transparent where there are none."""
        served = shelf.run(run)
        maps = served.maps.get(layer)
        if maps is None:
            raise Refusal(404, "This run has no such maps: it estimates from attributes alone.")
        key = (served.viewport.digest, served.run_id, layer, z, x, y)
        with explained():
            tile = kept.get(key, lambda: maps.png(z, x, y))
        return marked(request, mark_of(key), lambda: tile, "image/png")

    return router


def _box(text: str) -> Box:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            "four numbers with commas between them are needed",
            where="bbox",
            remedy="Give west,south,east,north in degrees.",
        ) from None
    return west, south, east, north


def _place(text: str | None) -> tuple[float, float]:
    try:
        latitude, longitude = (float(part) for part in (text or "").split(","))
    except ValueError:
        latitude, longitude = math.nan, math.nan
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise UsageError(
            "two numbers with a comma between them are needed",
            where="near",
            remedy="Give latitude,longitude in degrees.",
        )
    return latitude, longitude


def _sentence(problem: HousevisError) -> str:
    text = f"{problem.where}: {problem.what}" if problem.where else problem.what
    return f"{text}. {problem.remedy}" if problem.remedy else f"{text}."


def _json(content: Mapping[str, Any]) -> Response:
    return Response(encoded(content), media_type="application/json")
