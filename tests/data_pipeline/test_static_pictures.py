"""Static-image services: one picture per tile, signed, at the tile's own centre and size."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mercantile
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine

from data_pipeline.addresses import access_key, signed, tile_url
from data_pipeline.archive import TileArchive
from data_pipeline.providers import PROVIDERS, Provider, find_provider
from data_pipeline.supply import Supply, fill_archive
from data_pipeline.tiles import tile_of
from housevis.core.config_sections import ImagerySection
from housevis.core.errors import ConfigError, RightsError

SECRET = base64.urlsafe_b64encode(b"a secret of nobody!?").decode()
TILES = [mercantile.Tile(41_993 + column, 91_558, 18) for column in range(3)]


class StaticServer:
    """Answers like Google's and Mapbox's static-image services, and refuses what is not signed."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []
        self.refused = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if parts.path == "/maps/api/staticmap":
                    unsigned, _, signature = self.path.rpartition("&signature=")
                    key = base64.urlsafe_b64decode(SECRET)
                    right = base64.urlsafe_b64encode(
                        hmac.new(key, unsigned.encode(), hashlib.sha1).digest()
                    ).decode()
                    if signature != right:
                        server.refused += 1
                        return self.answer(403, b"signature")
                    size = int(query["size"].split("x")[0]) * int(query["scale"])
                else:
                    size = 512 if parts.path.endswith("@2x") else 256
                server.queries.append({**query, "path": parts.path})
                return self.answer(200, jpeg(size, len(server.queries)))

            def answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def jpeg(size: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(size // 16, axis=0).repeat(size // 16, axis=1)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def server() -> Iterator[StaticServer]:
    running = StaticServer()
    yield running
    running.close()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_MAPS_API_KEY", "key-1")
    monkeypatch.setenv("GOOGLE_MAPS_SIGNING_SECRET", SECRET)
    monkeypatch.setenv("MAPBOX_ACCESS_TOKEN", "pk.token")


def supply_at(server: StaticServer, name: str, *, retina: bool = False) -> Supply:
    """The record's own address, at the server on loopback."""
    section = ImagerySection(provider=name, retina=retina, rights_reference="an agreement")
    provider = find_provider(section)
    host = f"https://{provider.host}"
    local = replace(provider, url=provider.url.replace(host, server.base), requests_per_second=None)
    return Supply(section, local, None, "an agreement", provider.attribution)


def test_the_signature_is_the_one_google_documents() -> None:
    url = "https://maps.googleapis.com/maps/api/geocode/json?address=New+York&client=clientID"
    assert signed(url, "vNIXE0xscrmjlyV-12Nj_BvUPaw=").endswith("&signature=chaRF2hTJKOScPr-RQCEhZbSzIE=")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("retina", [False, True])
def test_google_pictures_are_signed_and_cover_their_tile(
    server: StaticServer, archive: TileArchive, sqlite_engine: Engine, retina: bool
) -> None:
    supply = supply_at(server, "google-static", retina=retina)
    archive.describe(**supply.metadata())
    report = fill_archive(supply, [TILES], archive, sqlite_engine)
    assert (report.ok, server.refused, len(server.queries)) == (3, 0, 3)
    centres = set()
    for query in server.queries:
        latitude, longitude = map(float, query["center"].split(","))
        centres.add(tile_of(latitude, longitude, 18))
        assert (query["zoom"], query["size"], query["scale"]) == ("18", "256x256", "2" if retina else "1")
        assert (query["maptype"], query["key"]) == ("satellite", "key-1")
        middle = mercantile.xy(longitude, latitude)
        west, south, east, north = mercantile.xy_bounds(tile_of(latitude, longitude, 18))
        assert middle == pytest.approx(((west + east) / 2, (south + north) / 2), abs=0.01)
    assert centres == set(TILES)
    assert archive.tile_size == (512 if retina else 256)


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("retina", [False, True])
def test_mapbox_counts_zooms_by_tiles_of_512_pixels(
    server: StaticServer, archive: TileArchive, sqlite_engine: Engine, retina: bool
) -> None:
    report = fill_archive(supply_at(server, "mapbox-static", retina=retina), [TILES], archive, sqlite_engine)
    assert report.ok == 3
    for query in server.queries:
        *_, place, size = query["path"].split("/")
        longitude, latitude, zoom, bearing = place.split(",")
        assert (zoom, bearing) == ("17", "0")
        assert size == ("256x256@2x" if retina else "256x256")
        assert tile_of(float(latitude), float(longitude), 18) in TILES
        assert query["access_token"] == "pk.token"


@pytest.mark.usefixtures("keys")
def test_a_wrong_secret_is_the_servers_affair_and_a_malformed_one_ours(
    server: StaticServer, archive: TileArchive, sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_MAPS_SIGNING_SECRET", base64.urlsafe_b64encode(b"another").decode())
    report = fill_archive(supply_at(server, "google-static"), [TILES], archive, sqlite_engine)
    assert (report.failed, server.refused) == (3, 3)
    monkeypatch.setenv("GOOGLE_MAPS_SIGNING_SECRET", "not base64!")
    with pytest.raises(ConfigError, match="no base64 text") as caught:
        access_key(PROVIDERS["google-static"])
    assert "not base64!" not in str(caught.value)


def test_without_a_secret_addresses_are_not_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_MAPS_SIGNING_SECRET", raising=False)
    assert "signature" not in tile_url(PROVIDERS["google-static"], TILES[0], "k")
    monkeypatch.setenv("GOOGLE_MAPS_SIGNING_SECRET", SECRET)
    assert "&signature=" in tile_url(PROVIDERS["google-static"], TILES[0], "k")
    assert "signature" not in tile_url(PROVIDERS["mapbox-static"], TILES[0], "k")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("name", ["google-static", "mapbox-static", "mapbox-satellite"])
def test_the_gate_is_shut(name: str, archive: TileArchive, sqlite_engine: Engine) -> None:
    provider: Provider = PROVIDERS[name]
    supply = Supply(ImagerySection(provider=name), provider, None, None, "")
    with pytest.raises(RightsError, match=name):
        fill_archive(supply, [TILES], archive, sqlite_engine)


def test_an_address_with_the_corners_of_the_tile() -> None:
    filled = tile_url(PROVIDERS["usgs-imagery"], TILES[0], None)
    query = {name: values[0] for name, values in parse_qs(urlsplit(filled).query).items()}
    corners = [float(edge) for edge in query["bbox"].split(",")]
    assert corners == pytest.approx(list(mercantile.xy_bounds(TILES[0])), abs=1e-5)
    assert query["size"] == "256,256"
    retina = find_provider(ImagerySection(provider="usgs-imagery", retina=True))
    assert "size=512,512" in tile_url(retina, TILES[0], None)
    assert (retina.tile_size, retina.pixel_ratio) == (512, 2)
