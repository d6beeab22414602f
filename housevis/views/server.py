"""Show a run's pages to this machine's own browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from housevis.core.errors import RunError, UsageError

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(folder: Path) -> FastAPI:
    """An application that serves ``atlas/`` and ``report.html`` of a run's folder, and nothing else.

    ``/`` leads to the map, ``/health`` answers ``{"status": "ok", …}``. Files
    carry an ETag, so a browser asks again but loads only what has changed.

    Args:
        folder: The run's folder.

    Raises:
        RunError: The map is not there.
    """
    atlas, report = folder / "atlas", folder / "report.html"
    if not (atlas / "index.html").is_file():
        raise RunError(
            "there is no map in this folder",
            where=str(folder),
            remedy="Build it with `housevis atlas CONFIG`.",
        )
    app = FastAPI(title="housevis", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "::1", "[::1]"])

    @app.middleware("http")
    async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def start() -> RedirectResponse:
        return RedirectResponse("/atlas/index.html")

    @app.api_route("/health", methods=["GET", "HEAD"])
    def health() -> dict[str, str | bool]:
        return {"status": "ok", "run_id": folder.resolve().name, "report": report.is_file()}

    if report.is_file():

        @app.api_route("/report.html", methods=["GET", "HEAD"], include_in_schema=False)
        def show_report() -> FileResponse:
            return FileResponse(report)

    app.mount("/atlas", StaticFiles(directory=atlas, html=True), name="atlas")
    return app


def serve(folder: Path, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve a run's pages until interrupted.

    Args:
        folder: The run's folder.
        host: A loopback address.
        port: Port to listen at.

    Raises:
        UsageError: The host is not of this machine only, or the port is no port.
        RunError: The map is not there.
    """
    check_loopback(host)
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port", where="--port", remedy="Take one from 1024 to 65535.")
    app = create_app(folder)
    uvicorn.run(app, host=host, port=port, log_level="warning")


def check_loopback(host: str) -> None:
    """Refuse a host that other machines could reach.

    Raises:
        UsageError: It is neither ``localhost`` nor a loopback address.
    """
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"{host!r} is not an address of this machine alone",
            where="--host",
            remedy="Use 127.0.0.1; the pages show listings and are not made for a network.",
        )
