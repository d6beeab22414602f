"""Chromium without a network, pages that are watched, and all kinds of pages of the made-up town."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from page_waits import wait_on_page

from housevis.views.gallery import build_gallery
from housevis.views.report import build_report


@dataclass
class Watched:
    """A page, with all that it said and asked for."""

    page: Any
    problems: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        assert self.problems == []
        assert self.left == []

    def find(self, house: str) -> None:
        """Open a house of the map by its id."""
        self.page.wait_for_selector("body.ready")
        self.page.fill("#search", house)
        wait_on_page(
            self.page,
            "house => [...document.querySelectorAll('#found b')].some((each) => each.textContent === house)",
            arg=house,
        )
        self.page.keyboard.press("Enter")
        wait_on_page(
            self.page,
            "house => document.querySelector('#card:not([hidden]):not([aria-busy=true]) .amounts')"
            " && document.querySelector('#card .card-head').textContent.includes(house)",
            arg=house,
        )

    def centre(self, selector: str) -> tuple[float, float]:
        """The middle of an element on the screen."""
        box = self.page.locator(selector).first.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture
def watch(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Opens watched pages: width, height, scheme of colours, and further settings of the context."""
    contexts = []

    def opened(width: int, height: int = 800, scheme: str = "light", **settings: Any) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **settings
        )
        contexts.append(context)
        watched = Watched(context.new_page())

        def judge(request: Any) -> None:
            address = urlsplit(request.url)
            if address.scheme in {"http", "https"} and address.hostname != "127.0.0.1":
                watched.left.append(request.url)

        page = watched.page
        page.on("request", judge)
        page.on("console", lambda message: watched.problems.append(message.text))
        page.on("pageerror", lambda error: watched.problems.append(str(error)))
        page.on("requestfailed", lambda request: watched.problems.append(f"failed: {request.url}"))
        page.on("dialog", lambda dialog: (watched.problems.append("dialog"), dialog.dismiss()))
        return watched

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def desktop(watch: Callable[..., Watched]) -> Watched:
    return watch(1440, 900, offline=True)


@pytest.fixture
def telephone(watch: Callable[..., Watched]) -> Watched:
    return watch(360, 740, "dark", offline=True)


@pytest.fixture
def atlas(atlas_folder: Path) -> str:
    """Address of the made-up town's map."""
    return (atlas_folder / "index.html").as_uri()


@pytest.fixture(scope="session")
def gallery(gallery_data: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a gallery."""
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    build_gallery(gallery_data, path)
    return path.as_uri()


@pytest.fixture
def report(report_data: Any, tmp_path: Path) -> str:
    """Address of a manager's report."""
    build_report(report_data, tmp_path / "report.html")
    return (tmp_path / "report.html").as_uri()


@pytest.fixture(scope="session")
def serious() -> Callable[[Any], list[tuple[str, str]]]:
    """What axe-core finds on a page that keeps people out: rule and place."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()

    def judge(page: Any) -> list[tuple[str, str]]:
        found = axe.run(page).response["violations"]
        return [
            (rule["id"], node["html"][:120])
            for rule in found
            if rule["impact"] in ("moderate", "serious", "critical")
            for node in rule["nodes"]
        ]

    return judge
