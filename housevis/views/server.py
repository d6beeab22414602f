"""Serve runs to browsers: their pages, a documented JSON API, and georeferenced tiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from housevis.core.errors import RunError, UsageError
from housevis.core.loopback import is_loopback
from housevis.views import api_models as models
from housevis.views.served import ShelvedRun
from housevis.views.server_api import REFUSALS, Refusal, Shelf, api_router
from housevis.views.server_guard import Guard, Limits
from housevis.views.server_metrics import Metrics, log_to_stderr
from housevis.views.server_pages import WHOLE_TABLE, RunPaths, add_pages, add_sign_in, problem_page
from housevis.views.server_protocol import PatientProtocol

TOKEN_VARIABLE: Final = "HOUSEVIS_TOKEN"  # noqa: S105
"""Environment variable of the token that clients of other machines have to show."""

_SHORTEST_TOKEN: Final = 16
_COMPRESSED_FROM: Final = 1_024
_NO_JSON: Final = "Send the question as JSON, with the header Content-Type: application/json."


def create_app(
    runs: Sequence[ShelvedRun],
    *,
    token: str | None = None,
    limits: Limits = Limits(),  # noqa: B008
    compress: bool = False,
    whole_table: int = WHOLE_TABLE,
) -> FastAPI:
    """An application that serves runs, and nothing else of their folders.

    ``/`` leads to the map of the first run, ``/api/openapi.json`` describes the
    API, ``/health`` and ``/metrics`` are for those who watch the server.

    Args:
        runs: The runs, at least one.
        token: What clients have to show; None answers to this machine's own names only.
        limits: What one client may ask for.
        compress: Compress answers, for clients behind a network.
        whole_table: Up to so many houses the map loads them all; of more it asks for those in view.

    Raises:
        RunError: A map is not there.
    """
    for run in runs:
        if not (run.folder / "atlas" / "index.html").is_file():
            raise RunError(
                "there is no map in this folder",
                where=str(run.folder),
                remedy="Build it with `housevis atlas CONFIG`.",
            )
    metrics, shelf = Metrics(), Shelf(runs)
    guard = Middleware(Guard, metrics=metrics, limits=limits, token=token)
    compressing = [Middleware(GZipMiddleware, minimum_size=_COMPRESSED_FROM, compresslevel=5)]
    app = FastAPI(
        title="housevis",
        summary="Houses, what they are worth, and what in the picture and the attributes made it so.",
        description="Estimates, not appraisals. The API takes no addresses of pictures.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        middleware=[guard, *(compressing if compress else []), Middleware(RunPaths)],
    )
    _explain_refusals(app)
    _add_watching(app, shelf, metrics)
    app.include_router(api_router(shelf, limits.estimates))
    if token is not None:
        add_sign_in(app, token)
    add_pages(app, list(runs), whole_table)
    return app


def _add_watching(app: FastAPI, shelf: Shelf, metrics: Metrics) -> None:
    first = next(iter(shelf))

    @app.get("/health", response_model=models.HealthAnswer, responses=REFUSALS, tags=["watching"])
    def health() -> dict[str, Any]:
        """Whether the server can answer for its first run."""
        served = shelf.run(None)
        report = (served.folder / "report.html").is_file()
        runs = [run.run_id for run in shelf]
        return {"status": "ok", "run_id": first.run_id, "report": report, "runs": runs}

    @app.head("/health", include_in_schema=False)
    def head_of_health() -> dict[str, Any]:
        return health()

    @app.get(
        "/metrics",
        response_class=Response,
        responses={
            **REFUSALS,
            200: {"content": {"text/plain": {}}, "description": "Counts in Prometheus' text format"},
        },
        tags=["watching"],
    )
    def show_metrics() -> Response:
        """Counts of requests by route and status, times, memory, houses."""
        houses = {run.run_id: len(shelf.run(run.run_id).viewport) for run in shelf}
        return Response(metrics.text(houses), media_type="text/plain; version=0.0.4")


def _explain_refusals(app: FastAPI) -> None:
    """Answer every refusal as ``{"detail": text}``; a browser that asks for a page gets a page."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, problem: Refusal) -> JSONResponse:
        return problem.answer()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, problem: RequestValidationError) -> JSONResponse:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind != "application/json":
            return JSONResponse({"detail": _NO_JSON}, 415)
        first = problem.errors()[0]
        if first["type"] == "json_invalid":
            return JSONResponse({"detail": "The body of the request is no valid JSON."}, 422)
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        text = f"{place}: {first['msg']}." if place else f"{first['msg']}."
        return JSONResponse({"detail": text.encode("utf-8", "replace").decode()}, 422)

    @app.exception_handler(HTTPException)
    async def known(request: Request, problem: HTTPException) -> Response:
        allowed = Headers(problem.headers or {}).get("allow")
        texts = {
            400: "The body of the request cannot be read; send valid JSON.",
            404: "There is nothing at this address.",
            405: f"This address does not take this method{f'; it takes {allowed}' if allowed else ''}.",
        }
        text = texts.get(problem.status_code, str(problem.detail))
        if problem.status_code == 404 and "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(problem_page(text), 404)
        return JSONResponse({"detail": text}, problem.status_code, problem.headers)


def serve(
    runs: Sequence[ShelvedRun],
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits = Limits(),  # noqa: B008
) -> None:
    """Serve runs until interrupted.

    Args:
        runs: The runs, at least one.
        host: A loopback address, or any other where :data:`TOKEN_VARIABLE` holds a token.
        port: Port to listen at.
        limits: What one client may ask for.

    Raises:
        UsageError: The address needs a token and there is none, or the port is no port.
        RunError: A map is not there.
    """
    token = token_for(host)
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port", where="--port", remedy="Take one from 1024 to 65535.")
    app = create_app(runs, token=token, limits=limits, compress=not is_loopback(host))
    log_to_stderr()
    with suppress(KeyboardInterrupt):
        uvicorn.Server(server_config(app, host, port)).run()


def server_config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How uvicorn runs the application: patient with nobody, and without an access log of addresses."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )


def token_for(host: str) -> str | None:
    """The token that clients have to show; None where none is set and only this machine can ask.

    Raises:
        UsageError: Other machines can reach the address and there is no token, or it is too short.
    """
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if token and len(token) < _SHORTEST_TOKEN:
        raise UsageError(
            f"the token has {len(token)} characters, which is too easily guessed",
            where=TOKEN_VARIABLE,
            remedy=f"Take at least {_SHORTEST_TOKEN}.",
        )
    if not token and not is_loopback(host):
        raise UsageError(
            f"{host!r} is not an address of this machine alone, and there is no token",
            where="--host",
            remedy=f"Use 127.0.0.1, or set {TOKEN_VARIABLE} to a secret of at least {_SHORTEST_TOKEN} "
            "characters that clients have to show.",
        )
    return token or None
