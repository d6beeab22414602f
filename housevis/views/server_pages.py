"""The pages of the runs that are served: the very folders that open from disk, and who signs in to them."""

from __future__ import annotations

import hmac
import html
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from housevis.core.errors import HousevisError
from housevis.views.atlas_manifest import MANIFEST, read_manifest
from housevis.views.integrity import SERVER_SCRIPT, hash_of, inline_script_hashes, with_integrity
from housevis.views.map_table import view_settings
from housevis.views.served import ServedRun, ShelvedRun
from housevis.views.server_cache import mark_of, marked
from housevis.views.server_guard import COOKIE, SIGN_IN, content_policy, session_of
from housevis.views.words import script_json

VIEW_SCRIPT: Final = "view.js"
"""The script that a page of many houses loads in place of their whole table; no file of the map."""

WHOLE_TABLE: Final = 50_000
"""Up to so many houses a page loads the whole table and filters at once; of more it asks for viewports."""


class AtlasFiles(StaticFiles):
    """The folder of a map; pages name the hashes of their scripts and styles, so that no other ones run.

    The hashes are those of the manifest, written when the map was built: a
    browser refuses a script that was changed since. Of scripts that stand in
    a page only those run that were in it when it was built.

    Args:
        folder: The folder.
        run: The run that it shows.
        runs: All runs that are served.
        whole_table: Up to so many houses the page loads the whole table.
    """

    def __init__(
        self, folder: Path, run: ShelvedRun, runs: Sequence[ShelvedRun], whole_table: int = WHOLE_TABLE
    ) -> None:
        super().__init__(directory=folder, html=True)
        self._folder, self._run, self._runs, self._whole_table = folder, run, runs, whole_table
        self._listed: tuple[int, dict[str, str]] = (0, {})

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, a page with integrity attributes, or a script of the server."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"allow": "GET, HEAD"})
        request = Request(scope)
        if path in (SERVER_SCRIPT, VIEW_SCRIPT):
            script = await run_in_threadpool(self._script, path)
            return marked(request, mark_of(script), lambda: script, "text/javascript")
        if "\\" in path or "\0" in path:
            raise HTTPException(404)
        found = await super().get_response(path, scope)
        if isinstance(found, FileResponse) and Path(found.path).suffix == ".html":
            built = Path(found.path).read_bytes()
            name = Path(found.path).resolve().relative_to(self._folder.resolve()).as_posix()
            page = with_integrity(built, name, self._hashes())
            answer = marked(request, mark_of(page), lambda: page, "text/html")
            answer.headers["content-security-policy"] = content_policy(self._own_scripts(built, name))
            return answer
        return found

    def _script(self, name: str) -> bytes:
        """What the server tells the page, made anew for every answer."""
        if name == SERVER_SCRIPT:
            return server_script(self._run, self._runs, self._whole_table).encode()
        try:
            run = self._run.current()
        except HousevisError:
            raise HTTPException(503) from None
        if not _asks_for_viewports(run, self._whole_table):
            raise HTTPException(404)
        return f"housevis.houses={script_json(view_settings(run.map_settings, run.viewport))};\n".encode()

    def _own_scripts(self, page: bytes, name: str) -> list[str]:
        """Hashes of the scripts that stand in a page; none of a page that was changed since it was built."""
        return inline_script_hashes(page) if hash_of(page) == self._hashes().get(name) else []

    def _hashes(self) -> dict[str, str]:
        """Page, script or style -> its SHA-256 in hex, as the manifest says; read again when that changes."""
        manifest = self._folder / MANIFEST
        changed = manifest.stat().st_mtime_ns if manifest.is_file() else 0
        if changed != self._listed[0]:
            with suppress(HousevisError):
                files = read_manifest(self._folder)
                named = {
                    name: of["sha256"]
                    for name, of in files.items()
                    if name.endswith((".js", ".css", ".html")) and name != SERVER_SCRIPT
                }
                self._listed = (changed, named)
        return self._listed[1]


class RunPaths:
    """Lets the pages of every run ask their own API: ``/runs/<id>/api/…`` is ``/api/…?run=<id>``.

    Args:
        app: What is asked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the run of its path as a parameter."""
        found = re.match(r"/runs/([\w.-]+)(/(?:api|tiles)/.*)", scope.get("path", ""), re.DOTALL)
        if scope["type"] == "http" and found is not None:
            query = b"&".join(part for part in (scope["query_string"], b"run=" + found[1].encode()) if part)
            scope = {**scope, "path": found[2], "raw_path": found[2].encode(), "query_string": query}
        await self._app(scope, receive, send)


def server_script(run: ShelvedRun, runs: Sequence[ShelvedRun], whole_table: int = WHOLE_TABLE) -> str:
    """What tells a page that there is a server, where its API is, and what a new house is asked for.

    Args:
        run: The run that the page shows.
        runs: All runs that are served.
        whole_table: Up to so many houses the page loads the whole table.
    """
    fields: list[dict[str, object]] | None = None
    view = None
    with suppress(HousevisError):
        opened = run.current()
        fields = [vars(field) for field in opened.fields]
        view = VIEW_SCRIPT if _asks_for_viewports(opened, whole_table) else None
    about = {
        "api": f"/runs/{run.run_id}/api/",
        "tiles": f"/runs/{run.run_id}/tiles/",
        "run": run.run_id,
        "attributes": fields,
        "runs": [{"run": each.run_id, "page": f"/runs/{each.run_id}/atlas/index.html"} for each in runs],
        "view": view,
    }
    return f"window.housevis = window.housevis || {{}};\nhousevis.server = {script_json(about)};\n"


def _asks_for_viewports(run: ServedRun, whole_table: int) -> bool:
    return run.map_settings is not None and len(run.viewport) > whole_table


def add_pages(app: FastAPI, runs: Sequence[ShelvedRun], whole_table: int = WHOLE_TABLE) -> None:
    """Serve the folders of all runs under ``/runs/<id>/``, and of the first at ``/`` too.

    Args:
        app: Where to.
        runs: The runs.
        whole_table: Up to so many houses a page loads the whole table.
    """

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def start() -> RedirectResponse:
        return RedirectResponse("/atlas/index.html")

    for number, run in enumerate(runs):
        for root in ([""] if number == 0 else []) + [f"/runs/{run.run_id}"]:
            _add_report(app, f"{root}/report.html", run.folder / "report.html")
            houses = run.folder / "houses"
            if houses.is_dir():
                app.mount(f"{root}/houses", StaticFiles(directory=houses))
            app.mount(f"{root}/atlas", AtlasFiles(run.folder / "atlas", run, runs, whole_table))


def _add_report(app: FastAPI, address: str, report: Path) -> None:
    @app.api_route(address, methods=["GET", "HEAD"], include_in_schema=False)
    def show_report() -> FileResponse:
        if not report.is_file():
            raise HTTPException(404)
        return FileResponse(report)


def add_sign_in(app: FastAPI, token: str) -> None:
    """A page where a browser shows the token once and gets a cookie for it."""

    @app.get(SIGN_IN, include_in_schema=False)
    def ask() -> HTMLResponse:
        return HTMLResponse(_page(""))

    @app.post(SIGN_IN, include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        text = (await request.body()).decode("utf-8", "replace")
        given = parse_qs(text, max_num_fields=5).get("token", [""])[0]
        if not hmac.compare_digest(given.strip().encode(), token.encode()):
            return HTMLResponse(_page("This is not the token of this server."), 401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, session_of(token), httponly=True, samesite="strict", secure=secure)
        return answer


def problem_page(text: str) -> str:
    """What somebody sees who asks for a page that is not there."""
    return _plain_page("Not found", f'<p>{html.escape(text)}</p><p><a href="/">To the map</a></p>')


def _page(problem: str) -> str:
    note = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
    return _plain_page(
        "Sign in",
        f"""{note}<form method="post" action="{SIGN_IN}">
<label for="token">Token of this server</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Show the map</button></form>""",
    )


def _plain_page(title: str, content: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}}
a{{color:inherit}}
input,button{{font:inherit;padding:.5rem .75rem;width:100%;box-sizing:border-box;margin:.25rem 0 .75rem}}
</style></head><body><main><h1>{title}</h1>{content}</main></body></html>
"""
