"""Take the pictures of the README: the finished demo, served, in Chromium without a connection.

``make demo`` first; then ``python docs/take_screenshots.py``. The house is the
one whose picture adds the most to its estimate among those of high confidence.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "benchmarks"))

from command_cost import HOUSEVIS, chromium, started  # noqa: E402

IMAGES = DOCS / "images"
CHOSEN = """() => {
  const { effect, confidence, house } = housevis.houses;
  const rows = house.map((_, row) => row).filter((row) => confidence === null || confidence[row] === 0);
  return house[rows.reduce((best, row) => (effect[row] > effect[best] ? row : best))];
}"""


def opened(browser: Browser, address: str, width: int, height: int, scheme: str = "light") -> Page:
    """A page of the server in a window of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
    )
    page = context.new_page()
    page.goto(address)
    return page


def keep(page: Page, name: str) -> None:
    """Store what a window shows."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement && document.activeElement.blur()")
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    picture.convert("RGB").save(IMAGES / f"sample-market-{name}.webp", quality=84, method=6)


def open_card(page: Page, house: str, overlay: str) -> None:
    """Find a house on the map and choose its overlay."""
    page.fill("#search", house)
    page.press("#search", "Enter")
    page.wait_for_selector("#card .photo")
    page.check(f"#card input[value={overlay}]", force=True)
    page.evaluate("document.getElementById('card').scrollTop = 0")


def take(browser: Browser, site: str) -> None:
    """All pictures."""
    page = opened(browser, f"{site}/", 1440, 900)
    page.wait_for_selector("body.ready")
    house = str(page.evaluate(CHOSEN))
    keep(page, "map-1440")
    open_card(page, house, "value")
    keep(page, "card-1440")
    for name, width, height, scheme in (("card-768", 768, 1000, "light"), ("card-360", 360, 740, "dark")):
        page = opened(browser, f"{site}/", width, height, scheme)
        page.wait_for_selector("body.ready")
        open_card(page, house, "value")
        keep(page, name)
    for name, width, height, scheme in (
        ("house-1440", 1440, 1240, "light"),
        ("house-768", 768, 1000, "light"),
        ("house-360", 360, 740, "dark"),
    ):
        page = opened(browser, f"{site}/atlas/house.html#{house}", width, height, scheme)
        page.wait_for_selector("#house[aria-busy=false]")
        keep(page, name)


def main() -> None:
    """Serve the demo and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="sample-market")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    options = parser.parse_args()

    def command(port: int) -> list[str]:
        return [*HOUSEVIS, "serve", options.run, "--runs", str(options.runs), "--port", str(port)]

    with started(command, errors=subprocess.DEVNULL) as server, sync_playwright() as playwright:
        take(chromium(playwright), f"http://127.0.0.1:{server.port}")


if __name__ == "__main__":
    main()
