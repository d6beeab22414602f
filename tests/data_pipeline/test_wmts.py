"""WMTS: real capabilities documents and tiles from a server on loopback."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mercantile
import pytest
from sqlalchemy import Engine

from data_pipeline.addresses import tile_url
from data_pipeline.archive import TileArchive
from data_pipeline.providers import PROVIDERS, find_provider
from data_pipeline.supply import fill_archive, open_supply
from data_pipeline.wmts import capabilities_file, with_layer
from housevis.core.config_sections import ImagerySection
from housevis.core.errors import ConfigError, HousevisError, ImageryError, RightsError

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
 xmlns:xlink="http://www.w3.org/1999/xlink" version="1.0.0">
<ows:ServiceIdentification><ows:Title>Test</ows:Title><ows:ServiceType>OGC WMTS</ows:ServiceType>
<ows:ServiceTypeVersion>1.0.0</ows:ServiceTypeVersion></ows:ServiceIdentification>
<ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP>
<ows:Get xlink:href="{base}/kvp?{token}"><ows:Constraint name="GetEncoding"><ows:AllowedValues>
<ows:Value>KVP</ows:Value></ows:AllowedValues></ows:Constraint></ows:Get>
</ows:HTTP></ows:DCP></ows:Operation></ows:OperationsMetadata>
<Contents>"""
LAYER = """<Layer><ows:Title>{name}</ows:Title><ows:Identifier>{name}</ows:Identifier>
<Style isDefault="true"><ows:Identifier>plain</ows:Identifier></Style>
{formats}{dimension}<TileMatrixSetLink><TileMatrixSet>{matrix_set}</TileMatrixSet>{limits}</TileMatrixSetLink>
{resource}</Layer>"""
RESOURCE = (
    '<ResourceURL format="image/jpeg" resourceType="tile" template="{base}/rest/{{Style}}/{{Time}}/'
    '{{TileMatrixSet}}/{{TileMatrix}}/{{TileRow}}/{{TileCol}}.jpg"/>'
)
DIMENSION = (
    "<Dimension><ows:Identifier>Time</ows:Identifier><Default>2024</Default><Value>2024</Value></Dimension>"
)
DENOMINATOR = 559082264.0287178


def matrix_set(
    name: str,
    zooms: range,
    *,
    crs: str = "urn:ogc:def:crs:EPSG::3857",
    prefix: str = "",
    offset: int = 0,
    size: int = 256,
    corner: str = "-20037508.3427892 20037508.3427892",
) -> str:
    matrices = "".join(
        f"<TileMatrix><ows:Identifier>{prefix}{zoom - offset:02d}</ows:Identifier>"
        f"<ScaleDenominator>{DENOMINATOR / 2**zoom * 256 / size}</ScaleDenominator>"
        f"<TopLeftCorner>{corner}</TopLeftCorner><TileWidth>{size}</TileWidth><TileHeight>{size}</TileHeight>"
        f"<MatrixWidth>{2**zoom}</MatrixWidth><MatrixHeight>{2**zoom}</MatrixHeight></TileMatrix>"
        for zoom in zooms
    )
    return (
        f"<TileMatrixSet><ows:Identifier>{name}</ows:Identifier><ows:SupportedCRS>{crs}</ows:SupportedCRS>"
        f"{matrices}</TileMatrixSet>"
    )


def layer(name: str, base: str, **changes: str) -> str:
    texts = {
        "formats": "<Format>image/png</Format><Format>image/jpeg</Format>",
        "dimension": "",
        "matrix_set": "grid",
        "limits": "",
        "resource": "",
    }
    return LAYER.format(name=name, **(texts | changes))


class WmtsServer:
    """Serves one capabilities document, and tiles by path and by query."""

    def __init__(self, tile: Callable[[mercantile.Tile], bytes]) -> None:
        self.document = b""
        self.status = 200
        self.paths: list[str] = []
        self.names: dict[str, int] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                parts = urlsplit(self.path)
                if parts.path == "/caps.xml":
                    return self.answer(server.status, server.document)
                if parts.path == "/kvp":
                    query = {name.lower(): values[0] for name, values in parse_qs(parts.query).items()}
                    where = (query["tilematrix"], query["tilerow"], query["tilecol"])
                else:
                    where = tuple(parts.path.removesuffix(".jpg").split("/")[-3:])
                zoom = server.names.get(where[0])
                if zoom is None:
                    return self.answer(400, b"no such matrix")
                return self.answer(200, tile(mercantile.Tile(int(where[2]), int(where[1]), zoom)))

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

    def describe(self, *parts: str, token: str = "") -> None:
        text = HEAD.format(base=self.base, token=token) + "".join(parts) + "</Contents></Capabilities>"
        self.document = text.encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(kit: SimpleNamespace) -> Iterator[WmtsServer]:
    running = WmtsServer(lambda tile: kit.picture(tile, "JPEG"))
    yield running
    running.close()


def section(server: WmtsServer, layer_name: str | None = "ortho", **settings: Any) -> ImagerySection:
    table = {"wmts": f"{server.base}/caps.xml", "layer": layer_name, "rights_reference": "ours"}
    return ImagerySection.model_validate(table | settings)


@pytest.mark.parametrize("encoding", ["path", "query"])
def test_tiles_of_a_layer_are_fetched(
    server: WmtsServer,
    tmp_path: Path,
    archive: TileArchive,
    sqlite_engine: Engine,
    kit: SimpleNamespace,
    encoding: str,
) -> None:
    resource = RESOURCE.format(base=server.base) if encoding == "path" else ""
    server.describe(
        layer("other", server.base),
        layer("ortho", server.base, resource=resource, dimension=DIMENSION),
        matrix_set("grid", range(5, 20), prefix="m:", offset=5),
    )
    server.names = {f"m:{zoom - 5:02d}": zoom for zoom in range(5, 20)}
    supply = open_supply(section(server), cache=tmp_path)
    assert (supply.provider.zoom_maximum, supply.provider.tile_size) == (19, 256)
    tiles = kit.block_of_tiles(3, 2)
    report = fill_archive(supply, [tiles], archive, sqlite_engine)
    assert (report.ok, report.failed) == (6, 0)
    for tile in tiles:
        assert archive.read(tile.z, tile.x, tile.y) == kit.picture(tile, "JPEG")
    asked = [path for path in server.paths if not path.startswith("/caps")]
    if encoding == "path":
        assert all(path.startswith("/rest/plain/2024/grid/m:13/") for path in asked)
    else:
        assert "LAYER=ortho&STYLE=plain&TILEMATRIXSET=grid&FORMAT=image/jpeg&TILEMATRIX=m:13&" in asked[0]


def test_the_capabilities_are_asked_for_once(server: WmtsServer, tmp_path: Path) -> None:
    server.describe(layer("ortho", server.base), matrix_set("grid", range(0, 20)))
    first = open_supply(section(server), cache=tmp_path / "run").provider
    assert open_supply(section(server), cache=tmp_path / "run").provider == first
    assert server.paths == ["/caps.xml"]
    assert capabilities_file(first, tmp_path / "run").read_bytes() == server.document
    assert with_layer(find_provider(section(server)), None) == first
    assert len(server.paths) == 2


def test_the_grid_of_web_maps_is_told_by_its_scales(server: WmtsServer) -> None:
    server.describe(
        layer("ortho", server.base),
        matrix_set("grid", range(0, 18), size=512, crs="EPSG:900913", prefix="z"),
    )
    found = with_layer(find_provider(section(server, zoom=17)), None)
    assert (found.tile_size, found.zoom_maximum) == (512, 17)
    assert "TILEMATRIX=z17&TILEROW=3&TILECOL=2" in tile_url(found, mercantile.Tile(2, 3, 17), None)
    limits = "".join(
        f"<TileMatrixLimits><TileMatrix>{zoom:02d}</TileMatrix><MinTileRow>0</MinTileRow>"
        "<MaxTileRow>9</MaxTileRow><MinTileCol>0</MinTileCol><MaxTileCol>9</MaxTileCol></TileMatrixLimits>"
        for zoom in (15, 16, 18)
    )
    limited = f"<TileMatrixSetLimits>{limits}</TileMatrixSetLimits>"
    server.describe(layer("ortho", server.base, limits=limited), matrix_set("grid", range(0, 22)))
    assert with_layer(find_provider(section(server)), None).zoom_maximum == 18
    with pytest.raises(ConfigError, match="no zoom 19, only up to 18"):
        open_supply(section(server, zoom=19))


@pytest.mark.parametrize(
    ("layer_name", "sets", "message"),
    [
        ("orto", {}, r"no layer 'orto'.*Its layers: ortho, other\."),
        (None, {}, r"imagery.layer is not set.*Its layers: ortho, other"),
        ("ortho", {"crs": "urn:ogc:def:crs:EPSG::25832"}, "no tiles in Web Mercator .*25832"),
        ("ortho", {"corner": "-20000000 20037508.34"}, "no tiles in Web Mercator"),
    ],
)
def test_layers_that_cannot_be_used_say_why(
    server: WmtsServer, layer_name: str | None, sets: dict[str, Any], message: str
) -> None:
    server.describe(
        layer("other", server.base), layer("ortho", server.base), matrix_set("grid", range(20), **sets)
    )
    with pytest.raises(ConfigError, match=message):
        open_supply(section(server, layer_name))


def test_documents_that_cannot_be_used_say_why(server: WmtsServer, tmp_path: Path) -> None:
    for document in (
        b"",
        b"<html><body>Sign in</body></html>",
        b"\x89PNG",
        b"<Capabilities/>",
        b"<a><b></a>",
    ):
        server.document = document
        with pytest.raises((ImageryError, ConfigError)) as caught:
            open_supply(section(server), cache=tmp_path)
        assert isinstance(caught.value, HousevisError)
        assert not list(tmp_path.glob("wmts-*"))
    server.status = 403
    with pytest.raises(ImageryError, match="HTTP 403"):
        open_supply(section(server), cache=tmp_path)
    base = server.base
    server.close()
    with pytest.raises(ImageryError, match="cannot be fetched"):
        open_supply(ImagerySection(wmts=f"{base}/caps.xml", layer="x", rights_reference="ours"))


def test_an_entity_bomb_does_not_go_off(server: WmtsServer) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    server.document = (
        f'<?xml version="1.0"?><!DOCTYPE b [<!ENTITY e0 "boom">{entities}]><Capabilities>&e11;</Capabilities>'
    ).encode()
    with pytest.raises((ImageryError, ConfigError)):
        open_supply(section(server))


def test_a_key_stays_out_of_files_and_messages(
    server: WmtsServer,
    tmp_path: Path,
    archive: TileArchive,
    sqlite_engine: Engine,
    kit: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HOUSEVIS_IMAGERY_KEY", "sesame/42")
    caplog.set_level(logging.DEBUG)
    server.describe(
        layer("ortho", server.base), matrix_set("grid", range(20)), token="token=sesame%2F42&amp;"
    )
    server.names = {f"{zoom:02d}": zoom for zoom in range(20)}
    keyed = section(server, wmts=f"{server.base}/caps.xml?token={{key}}")
    supply = open_supply(keyed, cache=tmp_path)
    assert server.paths == ["/caps.xml?token=sesame%2F42"]
    report = fill_archive(supply, [kit.block_of_tiles(1, 1)], archive, sqlite_engine)
    assert report.ok == 1
    assert "token=sesame%2F42&" in server.paths[-1]
    server.status = 500
    with pytest.raises(ImageryError, match="HTTP 500") as caught:
        open_supply(keyed)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for text in (str(caught.value), repr(supply), caplog.text, written.decode("latin-1")):
        assert "sesame" not in text


def test_the_rights_gate_comes_before_the_first_request(server: WmtsServer) -> None:
    server.describe(layer("ortho", server.base), matrix_set("grid", range(20)))
    with pytest.raises(RightsError, match="unknown, so it is refused"):
        open_supply(section(server, rights_reference=None))
    assert server.paths == []


def test_a_record_may_be_a_wmts(server: WmtsServer) -> None:
    record = PROVIDERS["geobasis-nrw-dop"]
    server.describe(layer("nw_dop", server.base), matrix_set("grid", range(5, 21), offset=5))
    moved = replace(record, capabilities=f"{server.base}/caps.xml")
    found = with_layer(moved, None)
    assert found.zoom_maximum == 20
    assert "TILEMATRIX=13&" in tile_url(found, mercantile.Tile(1, 1, 18), None)
    elsewhere = find_provider(section(server, provider="geobasis-nrw-dop"))
    assert elsewhere.name == "geobasis-nrw-dop"
    foreign = ImagerySection(
        wmts="https://tiles.example.org/caps.xml", layer="x", provider="geobasis-nrw-dop"
    )
    assert find_provider(foreign).name == "unknown"


@pytest.mark.parametrize(
    "element",
    [
        *(f"<ScaleDenominator>{value}</ScaleDenominator>" for value in ("0", "-1", "nan", "inf", "many")),
        *(f"<TopLeftCorner>{value}</TopLeftCorner>" for value in ("1", "a b", "1 2 3", "nan nan")),
        *(f"<TileWidth>{value}</TileWidth>" for value in ("0", "-256", "wide")),
        "<ows:SupportedCRS></ows:SupportedCRS>",
    ],
)
def test_a_grid_of_nonsense_is_refused_with_words(server: WmtsServer, element: str) -> None:
    server.describe(layer("ortho", server.base), matrix_set("grid", range(20)))
    name = element[1 : element.index(">")]
    text = re.sub(f"<{name}>[^<]*</{name}>", element, server.document.decode())
    assert text != server.document.decode()
    server.document = text.encode()
    with pytest.raises((ConfigError, ImageryError), match=r"Web Mercator|no WMTS capabilities"):
        open_supply(section(server))
