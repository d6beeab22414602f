"""Addresses to coordinates, against a real server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from data_pipeline.geocoding import open_geocoder
from data_pipeline.listings import read_listings
from data_pipeline.steps import ingest, preview
from db.session import open_database
from housevis.core.config import Config, parse_config
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError
from housevis.core.workspace import Workspace

PLACES = {"1 Main Street": (47.5, 8.5), "2 Main Street": (47.6, 8.6), "3 Main Street": (60.0, 8.6)}
FILE = (
    "id,date,price,address\n"
    "a,2014-05-02,500000,1 Main Street\n"
    "a,2015-06-02,600000,1 Main Street\n"
    "b,2014-05-02,500000,2 Main Street\n"
    "c,2014-05-02,500000,Nowhere 7\n"
    "d,2014-05-02,n/a,9 Main Street\n"
    "e,2014-05-02,500000,\n"
    "f,2014-05-02,500000,3 Main Street\n"
)


@dataclass
class Server:
    url: str = ""
    asked: list[str] = field(default_factory=list)
    failures: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = parse_qs(urlsplit(self.path).query)["q"][0]
            state.asked.append(address)
            if state.failures > 0:
                state.failures -= 1
                self.send_error(503)
                return
            place = PLACES.get(address)
            found = [{"lat": str(place[0]), "lon": str(place[1]), "display_name": address}] if place else []
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_address[1]}/nominatim"
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def section_of(server: Server, path: Path | None = None, **changes: object) -> ListingsSection:
    return ListingsSection(path=path, geocoder=server.url, geocoder_requests_per_second=1000, **changes)  # type: ignore[arg-type]


def config_of(server: Server, folder: Path) -> Config:
    path = folder / "sales.csv"
    path.write_text(FILE)
    listings = {"path": str(path), "geocoder": server.url, "geocoder_requests_per_second": 1000}
    listings["bounds"] = [8.0, 47.0, 9.0, 48.0]
    return parse_config({"name": "places", "listings": listings}, where="test", directory=folder)


def test_addresses_become_places_and_nothing_is_asked_twice(tmp_path: Path, server: Server) -> None:
    config = config_of(server, tmp_path)
    workspace = Workspace(tmp_path / "runs" / "places")
    workspace.folder.mkdir(parents=True)
    engine = open_database(workspace.database)
    report = ingest(config, workspace, engine)
    assert (report.rows, report.sales, report.houses) == (7, 3, 2)
    assert report.rejected == {
        "address_not_found": 1,
        "invalid_price": 1,
        "missing_coordinate": 1,
        "outside_area": 1,
    }
    assert sorted(server.asked) == ["1 Main Street", "2 Main Street", "3 Main Street", "Nowhere 7"]
    (tmp_path / "sales.csv").write_text(FILE + "g,2014-05-02,500000,Nowhere 8\n")
    again = ingest(config, workspace, engine)
    assert again.rejected["address_not_found"] == 2
    assert server.asked[4:] == ["Nowhere 8"]
    engine.dispose()


def test_a_server_that_fails_now_and_then_is_asked_again(tmp_path: Path, server: Server) -> None:
    server.failures = 2
    geocode = open_geocoder(section_of(server), tmp_path, wait_after_error=0.01)
    assert geocode(["1 Main Street"]) == {"1 Main Street": (47.5, 8.5)}
    assert server.asked == ["1 Main Street"] * 3


def test_a_server_that_fails_for_good_keeps_what_was_found(tmp_path: Path, server: Server) -> None:
    geocode = open_geocoder(section_of(server), tmp_path, wait_after_error=0.01)
    geocode(["1 Main Street"])
    server.failures = 100
    with pytest.raises(ListingsError, match=r"does not answer.*1 addresses are kept"):
        geocode(["1 Main Street", "2 Main Street"])
    server.failures = 0
    asked = len(server.asked)
    assert geocode(["1 Main Street", "2 Main Street"])["2 Main Street"] == (47.6, 8.6)
    assert server.asked[asked:] == ["2 Main Street"]


def test_a_damaged_file_of_answers(tmp_path: Path, server: Server) -> None:
    (tmp_path / "geocoded.json").write_text("{")
    with pytest.raises(ListingsError, match="damaged"):
        open_geocoder(section_of(server), tmp_path)(["1 Main Street"])


@pytest.mark.parametrize("address", ["nominatim", "ftp://host/", "https://host/?key=1", "https://u:p@host/"])
def test_addresses_of_no_geocoder(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="no usable address of a geocoder"):
        open_geocoder(ListingsSection(geocoder=address), tmp_path)


def test_a_preview_asks_nothing(tmp_path: Path, server: Server) -> None:
    listings, report = preview(config_of(server, tmp_path))
    assert server.asked == []
    assert report.rejected == {"invalid_price": 1, "missing_coordinate": 6}
    assert any("4 addresses are to be looked up" in warning for warning in listings.warnings)
    assert not any(tmp_path.rglob("geocoded.json"))


def test_coordinates_of_the_file_are_preferred(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("id,date,price,address,lat,lon\na,2014-05-02,500000,1 Main Street,1.5,2.5\n")
    listings = read_listings(section_of(server, path), today=date(2020, 1, 1))
    assert listings.sales["latitude"].tolist() == [1.5]
    assert server.asked == []
