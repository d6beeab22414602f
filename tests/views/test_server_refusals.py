"""What the server refuses, asked with raw sockets: paths, heads, bodies, clients that do not read, hosts."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from PIL import Image

from housevis.views.atlas import build_atlas
from housevis.views.heat_tiles import HeatTiles
from housevis.views.served import AttributeField, ServedRun, ShelvedRun
from housevis.views.server import create_app
from housevis.views.server_guard import Limits
from housevis.views.server_protocol import PatientProtocol
from housevis.views.viewport import Viewport

RUN_ID = "20250301-120000-ab12cd"
SECRET = b"nobody is to read this"
LOCAL = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def shelved(atlas_data: Any, tmp_path_factory: pytest.TempPathFactory) -> ShelvedRun:
    """A run with a secret beside its pages, and links to it and out of the folder among them."""
    folder = tmp_path_factory.mktemp("runs") / RUN_ID
    build_atlas(atlas_data, folder / "atlas")
    (folder / "metrics.json").write_bytes(SECRET)
    (folder / "houses").mkdir()
    (folder / "houses" / "H00001.html").write_text("<h1>a house</h1>")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_bytes(SECRET)
    for inside in (folder / "atlas", folder / "houses"):
        (inside / "file.txt").symlink_to(folder / "metrics.json")
        (inside / "out").symlink_to(outside)
    Image.effect_noise((1500, 1500), 90).save(folder / "atlas" / "pictures" / "large.png")

    def open_run() -> ServedRun:
        return ServedRun(
            run_id=RUN_ID,
            name="alderbrook",
            title="Houses of Alderbrook",
            currency="CAD",
            area_unit="m2",
            interval=0.9,
            notice=None,
            attribution="Drawn for a test",
            folder=folder,
            viewport=Viewport(atlas_data.records.assign(effect=1000.0)),
            fields=(AttributeField("bedrooms", "Bedrooms", "", 1, 6),),
            maps={"attention": HeatTiles(atlas_data.pictures.heat, atlas_data.pictures.heat_bounds, 1.0)},
            details=lambda house_id: None,
            what_if=lambda house_id, attributes: {},
            estimate=lambda house: {},
        )

    return ShelvedRun(RUN_ID, folder, lambda: 0, open_run)


@pytest.fixture(scope="module")
def served(serving: Any) -> Callable[..., AbstractContextManager[int]]:
    """Serves a run by a protocol, with limits."""

    def serve(
        run: ShelvedRun, protocol: type[PatientProtocol] = PatientProtocol, **limits: Any
    ) -> AbstractContextManager[int]:
        wide = Limits(**{"requests_per_second": 1e9, "burst": 1e9, **limits})
        return serving(create_app([run], limits=wide), protocol)

    return serve


@pytest.fixture(scope="module")
def port(shelved: ShelvedRun, served: Any) -> Iterator[int]:
    with served(shelved) as port:
        yield port


@pytest.fixture(scope="module")
def documented(port: int) -> dict[str, Any]:
    """Route and method -> the statuses that the OpenAPI document names."""
    document = json.loads(send(port, get("/api/openapi.json"))[2])
    return {
        f"{method.upper()} {path}": {int(status) for status in operation["responses"]}
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


Answer = tuple[int, dict[str, str], bytes]


def get(path: str, headers: bytes = LOCAL) -> bytes:
    return b"GET " + path.encode("latin-1") + b" HTTP/1.1\r\nConnection: close\r\n" + headers + b"\r\n"


def send(port: int, request: bytes) -> Answer:
    """Status, headers and body of the answer to a request as it stands; the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        return read(connection)


def read(connection: socket.socket) -> Answer:
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65_536)
        assert part, answer
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        part = connection.recv(65_536)
        assert part, body
        body += part
    return int(first.split()[1]), headers, body


def assert_refused(answer: Answer, status: int, words: str) -> None:
    """It is JSON with a sentence that a person can act on, and says nothing of the machine."""
    found, headers, body = answer
    assert found == status, body
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    detail = json.loads(body)["detail"]
    assert words in detail
    assert detail.endswith(".")
    assert "/tmp" not in detail
    assert "Traceback" not in detail


WAYS_OUT = [
    "../metrics.json",
    "%2e%2e/metrics.json",
    "%2e%2e%2fmetrics.json",
    "%252e%252e%252fmetrics.json",
    "..%5cmetrics.json",
    "..\\metrics.json",
    "....//metrics.json",
    "%c0%ae%c0%ae/metrics.json",
    "%uff0e%uff0e/metrics.json",
    "file.txt",
    "out/secret.txt",
    "out/../out/secret.txt",
    "%00",
    "metrics.json%00.html",
    "/etc/passwd",
    "//etc/passwd",
    "C:%5cWindows%5cwin.ini",
    "file:///etc/passwd",
    "a" * 5_000,
    "%FF%FE",
    "%0d%0aSet-Cookie:%20a=b",
]


@pytest.mark.parametrize("root", ["/atlas/", "/houses/", f"/runs/{RUN_ID}/atlas/"])
def test_no_path_leads_out_of_the_pages(port: int, root: str) -> None:
    for way in WAYS_OUT:
        answer = send(port, get(root + way))
        assert SECRET not in answer[2], way
        assert "set-cookie" not in answer[1], way
        assert_refused(answer, 404, "nothing at this address")
    for way in ("http://prices.example.com/metrics.json", "*", "metrics.json", "//metrics.json"):
        assert_refused(send(port, get(way)), 404, "nothing at this address")
    assert send(port, get("/houses/H00001.html"))[0] == 200


def post(headers: bytes, body: bytes = b"", path: str = "/api/estimate") -> bytes:
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + LOCAL + headers + b"\r\n" + body


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400, "no valid HTTP"),
    "raw umlaut": (b"GET /\xc3\xa4 HTTP/1.1\r\n" + LOCAL + b"\r\n", 400, "no valid HTTP"),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400, "Host"),
    "two hosts": (b"GET /health HTTP/1.1\r\n" + LOCAL + LOCAL + b"\r\n", 400, "one Host"),
    "foreign host": (get("/health", b"Host: prices.example.com\r\n"), 400, "this machine only"),
    "host that begins as ours": (
        get("/health", b"Host: localhost.example.com\r\n"),
        400,
        "this machine only",
    ),
    "negative length": (post(b"Content-Length: -5\r\n"), 400, "no valid HTTP"),
    "two lengths": (post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello"), 400, "no valid HTTP"),
    "unknown encoding": (post(b"Transfer-Encoding: gzip\r\n", b"hello"), 400, "no valid HTTP"),
    "chunk without a length": (
        post(b"Transfer-Encoding: chunked\r\n", b"no number\r\n"),
        400,
        "no valid HTTP",
    ),
    "long header": (get("/health", LOCAL + b"X: " + b"a" * 40_000 + b"\r\n"), 431, "32 KiB"),
    "many parameters": (get("/health?" + "&".join(f"a{n}=1" for n in range(10_000))), 431, "32 KiB"),
    "head without end": (b"GET /health HTTP/1.1\r\n" + LOCAL + b"X: a\r\n" * 60_000, 431, "too long"),
    "long body": (post(b"Content-Length: 65537\r\n"), 413, "64 KiB"),
    "absurd length": (post(b"Content-Length: 99999999999999999999\r\n"), 413, "64 KiB"),
    "long body announced": (post(b"Content-Length: 65537\r\nExpect: 100-continue\r\n"), 413, "64 KiB"),
    "long chunked body": (
        post(b"Transfer-Encoding: chunked\r\n", b"10001\r\n" + b"x" * 65_537),
        413,
        "64 KiB",
    ),
    "text": (post(b"Content-Length: 2\r\nContent-Type: text/plain\r\n", b"{}"), 415, "Content-Type"),
    "no type": (post(b"Content-Length: 2\r\n", b"{}"), 415, "Content-Type"),
    "half JSON": (post(JSON + b"Content-Length: 4\r\n", b"{'a'"), 422, "no valid JSON"),
    "deep JSON": (post(JSON + b"Content-Length: 60000\r\n", b"[" * 60_000), 400, "send valid JSON"),
    "DELETE": (b"DELETE /api/estimate HTTP/1.1\r\n" + LOCAL + b"\r\n", 405, "it takes POST"),
    "TRACE": (b"TRACE /health HTTP/1.1\r\n" + LOCAL + b"\r\n", 405, "does not take this method"),
    "POST of a page": (post(b"Content-Length: 0\r\n", path="/atlas/index.html"), 405, "it takes GET, HEAD"),
    "POST of a house": (
        post(b"Content-Length: 0\r\n", path="/houses/H00001.html"),
        405,
        "it takes GET, HEAD",
    ),
    "row outside of the world": (get("/tiles/attention/2/0/4.png"), 422, "no such tile"),
    "negative row": (get("/tiles/attention/0/0/-1.png"), 422, "greater than or equal to 0"),
    "zoom too deep": (get("/tiles/attention/23/0/0.png"), 422, "less than or equal to 22"),
    "layer that is not there": (get("/tiles/value/14/0/0.png"), 404, "no such maps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_has_its_reason_and_is_documented(port: int, documented: dict[str, Any], name: str) -> None:
    request, status, words = REFUSED[name]
    assert_refused(send(port, request), status, words)
    assert all(status in statuses for statuses in documented.values())
    assert send(port, get("/health"))[0] == 200


def test_who_sends_a_large_body_first_and_reads_then_is_told_why(port: int) -> None:
    body = b"x" * 9_000_000
    head = f"Content-Length: {len(body)}\r\nContent-Type: image/png\r\n".encode()
    assert_refused(send(port, post(head, body)), 413, "pictures are not taken")


def test_a_connection_too_many_is_told_to_come_again(shelved: ShelvedRun, served: Any) -> None:
    class Small(PatientProtocol):
        most_connections = 3

    with served(shelved, Small) as port:
        kept = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(3)]
        for connection in kept:
            connection.sendall(b"GET /health HTTP/1.1\r\n" + LOCAL + b"\r\n")
            assert read(connection)[0] == 200
        answer = send(port, get("/health"))
        assert_refused(answer, 503, "Too many connections")
        assert answer[1]["retry-after"] == "5"
        for connection in kept:
            connection.close()
        while send(port, get("/health"))[0] != 200:
            time.sleep(0.01)


def test_a_client_that_never_reads_is_cut_off(shelved: ShelvedRun, served: Any) -> None:
    class Hasty(PatientProtocol):
        reading_seconds = 0.3

    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: (  # type: ignore[method-assign]
        told.set() if record.__dict__["fields"].get("reason") == "unread answer" else None
    )
    logger = logging.getLogger("housevis.server")
    logger.addHandler(handler)
    with served(shelved, Hasty) as port, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        page = b"GET /atlas/pictures/large.png HTTP/1.1\r\n" + LOCAL + b"\r\n"
        connection.sendall(page * 20)
        assert told.wait(20)
        assert send(port, get("/health"))[0] == 200
    logger.removeHandler(handler)
