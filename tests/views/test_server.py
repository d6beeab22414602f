"""The server over real HTTP on loopback: pages, API, tiles, and what it refuses."""

from __future__ import annotations

import http.client
import io
import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from housevis.core.errors import ModelError, RunError, UsageError
from housevis.views.atlas import build_atlas
from housevis.views.heat_tiles import HeatTiles
from housevis.views.served import AttributeField, NewHouse, ServedRun, ShelvedRun
from housevis.views.server import TOKEN_VARIABLE, create_app, serve
from housevis.views.server_guard import Limits
from housevis.views.server_protocol import PatientProtocol
from housevis.views.viewport import Viewport

RUN_ID = "20250301-120000-ab12cd"
TOKEN = "a-secret-of-this-office"
NASTY = "=HYPERLINK(\"http://x\")<script>alert('1')</script>\u202eevil\U0001f3e0/../etc"
FIELDS = (
    AttributeField("area_m2", "Living area", "m2", 60, 300),
    AttributeField("bedrooms", "Bedrooms", "", 1, 6),
)


def run_of(folder: Path, atlas_data: Any) -> ServedRun:
    records = atlas_data.records.assign(confidence="high", effect=1000.0)
    records.loc[7, "house_id"] = NASTY
    shown = set(records["house_id"])

    def details(house_id: str) -> dict[str, Any] | None:
        record = records[records["house_id"] == house_id].iloc[0]
        money = {name: float(record[name]) for name in ("price", "estimate", "low", "high")}
        return {"house_id": house_id, "sale_date": "2024-09-01", "currency": "CAD", "address": NASTY, **money}

    def what_if(house_id: str, attributes: Mapping[str, float]) -> dict[str, Any]:
        assert house_id in shown
        if "pool" in attributes:
            raise UsageError("'pool' cannot be changed", remedy="What can be changed: bedrooms.")
        amounts = dict.fromkeys(("estimate", "low", "high", "difference", "difference_percent"), 1.0)
        return {**amounts, "outside_training": {}, "meaning": "association"}

    def estimate(house: NewHouse) -> dict[str, Any]:
        raise ModelError("this file is damaged", where="/home/somebody/secret", remedy="Run it again.")

    maps = HeatTiles(atlas_data.pictures.heat, atlas_data.pictures.heat_bounds, 1.0)
    return ServedRun(
        run_id=folder.name,
        name="alderbrook",
        title="Houses of Alderbrook",
        currency="CAD",
        area_unit="m2",
        interval=0.9,
        notice=None,
        attribution="Drawn for a test",
        folder=folder,
        viewport=Viewport(records),
        fields=FIELDS,
        maps={"attention": maps},
        details=details,
        what_if=what_if,
        estimate=estimate,
    )


@pytest.fixture(scope="module")
def run_folder(atlas_data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / RUN_ID
    build_atlas(atlas_data, folder / "atlas")
    (folder / "report.html").write_text("<h1>report</h1>")
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def shelved(run_folder, atlas_data) -> ShelvedRun:
    return ShelvedRun(RUN_ID, run_folder, lambda: 0, lambda: run_of(run_folder, atlas_data))


class ShortPatience(PatientProtocol):
    header_seconds = 0.4


@pytest.fixture(scope="module")
def served(serving: Any) -> Callable[..., AbstractContextManager[int]]:
    """Serves runs with little patience, with a token and limits."""

    def serve(runs: list[ShelvedRun], token: str | None = None, **limits: Any) -> AbstractContextManager[int]:
        return serving(create_app(runs, token=token, limits=Limits(**limits)), ShortPatience)

    return serve


@pytest.fixture(scope="module")
def port(shelved, served) -> Iterator[int]:
    with served([shelved]) as port:
        yield port


Answer = tuple[int, dict[str, str], bytes]


def ask(port: int, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, named["content-type"] = json.dumps(body), "application/json"
    connection.request(method, path, body=body, headers=named)
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


def detail(answer: Answer) -> str:
    return str(json.loads(answer[2])["detail"])


def test_pages_are_served_with_an_etag_and_name_the_hashes_of_their_scripts(port, run_folder):
    status, headers, body = ask(port, "/atlas/index.html")
    assert status == 200
    assert b'integrity="sha256-' in body
    plain = re.sub(rb' integrity="[^"]*"', b"", body)
    assert plain == (run_folder / "atlas" / "index.html").read_bytes()
    again, _, nothing = ask(port, "/atlas/index.html", If_None_Match=headers["etag"])
    assert (again, nothing) == (304, b"")
    assert "default-src 'none'" in headers["content-security-policy"]
    scripts = headers["content-security-policy"].split("script-src")[1].split(";")[0]
    assert "unsafe-inline" not in scripts
    assert scripts.count("'sha256-") == plain.count(b"<script>") == 2
    assert "unsafe" not in ask(port, "/report.html")[1]["content-security-policy"].split("style-src")[0]
    assert ask(port, "/report.html")[0] == 200
    assert ask(port, "/")[1]["location"] == "/atlas/index.html"
    script = ask(port, "/atlas/server.js")[2]
    assert b"/runs/20250301-120000-ab12cd/api/" in script
    assert b'"attributes":[{"name":"area_m2","label":"Living area"' in script


def test_scripts_in_a_page_that_was_changed_since_the_build_do_not_run(port, run_folder):
    index = run_folder / "atlas" / "index.html"
    before = index.read_bytes()
    index.write_bytes(before + b"<script>alert(1)</script>")
    headers = ask(port, "/atlas/index.html")[1]
    index.write_bytes(before)
    assert "sha256-" not in headers["content-security-policy"]
    assert "sha256-" in ask(port, "/atlas/index.html")[1]["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/health", "/report.html", "/atlas/index.html"])
def test_head_is_answered_as_get_without_a_body(port, path):
    status, headers, _ = ask(port, path)
    again, same, body = ask(port, path, "HEAD")
    assert again == status < 400
    assert same.get("content-length") == headers.get("content-length")
    assert body == b""


def test_health_and_metrics_tell_of_the_server_and_of_no_house(port):
    ask(port, "/api/houses/H00003")
    status, _, body = ask(port, "/health")
    assert (status, json.loads(body)["runs"]) == (200, [RUN_ID])
    text = ask(port, "/metrics")[2].decode()
    assert 'housevis_requests_total{method="GET",route="/api/houses/{house_id:path}",status="200"}' in text
    assert f'housevis_houses{{run="{RUN_ID}"}} 60' in text
    assert "H00003" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/metrics.json",
        "/atlas/../metrics.json",
        "/atlas/%2e%2e/metrics.json",
        "/atlas/..%2fmetrics.json",
        "/atlas/..%5cmetrics.json",
        "/atlas//etc/passwd",
        "/atlas/%00",
        f"/runs/{RUN_ID}/metrics.json",
        f"/runs/{RUN_ID}/atlas/..%2f..%2fmetrics.json",
        "/houses/..%2fmetrics.json",
        "/runs/../metrics.json",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_served(port, path):
    assert ask(port, path)[0] == 404


def test_another_host_name_is_refused(port):
    answer = ask(port, "/health", Host="prices.example.com")
    assert answer[0] == 400
    assert "this machine only" in detail(answer)


def test_the_houses_of_a_viewport_come_with_an_etag(port):
    path = "/api/houses?bbox=-76,45,-75.5,45.5&zoom=12&price_from=300000"
    status, headers, body = ask(port, path)
    found = json.loads(body)
    assert status == 200
    assert found["count"] == len(found["houses"])
    assert all(house["price"] >= 300_000 for house in found["houses"])
    assert ask(port, path, If_None_Match=headers["etag"])[0] == 304
    assert ask(port, f"/runs/{RUN_ID}{path}")[2] == body


def test_text_of_listings_is_text(port):
    shown = json.loads(ask(port, "/api/houses?bbox=-77,44,-74,46&zoom=8")[2])["houses"]
    assert NASTY in {house["house_id"] for house in shown}
    status, headers, body = ask(port, f"/api/houses/{quote(NASTY, safe='')}")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert headers["x-content-type-options"] == "nosniff"
    assert json.loads(body)["address"] == NASTY


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/houses?bbox=1,2,3&zoom=3", 422, "four numbers"),
        ("/api/houses?bbox=1,2,3,x&zoom=3", 422, "four numbers"),
        ("/api/houses?bbox=1,2,0,3&zoom=3", 422, "no area"),
        ("/api/houses?bbox=0,0,1,1&zoom=33", 422, "zoom"),
        ("/api/houses?bbox=0,0,1,1&zoom=3&run=x", 404, "/api/runs"),
        ("/api/houses/nobody", 404, "no such house"),
        ("/tiles/attention/3/8/0.png", 422, "no such tile"),
        ("/tiles/value/3/1/1.png", 404, "no such maps"),
        ("/tiles/prices/3/1/1.png", 422, "layer"),
    ],
)
def test_a_wrong_question_is_refused_with_a_reason(port, path, status, words):
    answer = ask(port, path)
    assert answer[0] == status
    assert words in detail(answer)


def test_what_if_asks_the_run(port):
    status, _, body = ask(port, "/api/houses/H00003/what-if", "POST", {"attributes": {"bedrooms": 3}})
    assert (status, json.loads(body)["meaning"]) == (200, "association")
    refused = ask(port, "/api/houses/H00003/what-if", "POST", {"attributes": {"pool": 1}})
    assert (refused[0], detail(refused)) == (422, "'pool' cannot be changed. What can be changed: bedrooms.")
    assert ask(port, "/api/houses/nobody/what-if", "POST", {"attributes": {"bedrooms": 3}})[0] == 404


def test_missing_attributes_are_asked_for_and_never_filled_in(port):
    place = {"latitude": 45.2, "longitude": -75.7}
    answer = ask(port, "/api/estimate", "POST", {**place, "attributes": {"bedrooms": 3}})
    assert answer[0] == 422
    assert [each["name"] for each in json.loads(answer[2])["missing"]] == ["area_m2"]
    odd = ask(
        port, "/api/estimate", "POST", {**place, "attributes": {"bedrooms": 3, "area_m2": None, "x": 1}}
    )
    assert "does not use 'x'" in detail(odd)
    url = ask(port, "/api/estimate", "POST", {**place, "attributes": {}, "picture": "http://x/y.png"})
    assert url[0] == 422


def test_a_fault_of_the_run_is_told_without_its_place(port):
    question = {"latitude": 45.2, "longitude": -75.7, "attributes": {"bedrooms": 3, "area_m2": 100}}
    answer = ask(port, "/api/estimate", "POST", question)
    assert (answer[0], detail(answer)) == (503, "this file is damaged. Run it again.")


def test_a_tile_is_a_picture_with_an_etag(port):
    status, headers, body = ask(port, "/tiles/attention/3/1/1.png")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(body)).size == (256, 256)
    assert ask(port, "/tiles/attention/3/1/1.png", If_None_Match=headers["etag"])[0] == 304


def test_a_picture_of_10000_pixels_and_any_large_body_is_refused(port):
    picture = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (100, 100), np.uint8)
    Image.fromarray(noise).resize((10_000, 10_000), 0).save(picture, "PNG")
    answer = ask(port, "/api/estimate", "POST", picture.getvalue(), content_type="image/png")
    assert answer[0] == 413
    assert "pictures are not taken" in detail(answer)
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = b"POST /api/estimate HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    connection.sendall(head + b"10000\r\n" + b"x" * 65_536 + b"\r\n1\r\nx\r\n")
    assert b" 413 " in connection.recv(4096)
    connection.close()


def test_slow_clients_are_cut_off_with_a_reason(shelved, served):
    with served([shelved], body_seconds=0.4) as port:
        for sent in (
            b"GET /health HTT",
            b"POST /api/estimate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nx",
        ):
            connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            connection.sendall(sent)
            answer = b""
            while part := connection.recv(4096):
                answer += part
            assert b" 408 " in answer
            assert b"too slowly" in answer
            connection.close()
        assert ask(port, "/health")[0] == 200


def test_a_client_that_asks_too_much_is_told_to_wait(shelved, served):
    with served([shelved], requests_per_second=0.1, burst=3) as port:
        answers = [ask(port, "/api/runs") for _ in range(4)]
    assert [answer[0] for answer in answers] == [200, 200, 200, 429]
    assert int(answers[-1][1]["retry-after"]) >= 1
    assert "wait" in detail(answers[-1])


def test_a_token_is_asked_for_on_every_path(shelved, served):
    with served([shelved], token=TOKEN) as port:
        assert ask(port, "/api/runs")[0] == 401
        assert ask(port, "/health", Authorization=f"Bearer {TOKEN}x")[0] == 401
        assert ask(port, "/health", Authorization=f"Bearer {TOKEN}", Host="prices.example.com")[0] == 200
        assert ask(port, "/atlas/index.html", Accept="text/html")[1]["location"] == "/sign-in"
        assert b"Token of this server" in ask(port, "/sign-in")[2]
        assert ask(port, "/sign-in", "POST", "token=wrong")[0] == 401
        status, headers, _ = ask(port, "/sign-in", "POST", f"token={TOKEN}")
        cookie = headers["set-cookie"]
        assert status == 303
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert ask(port, "/atlas/index.html", Cookie=cookie.partition(";")[0])[0] == 200


def test_the_log_names_no_house_no_place_and_nobody(port):
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(json.dumps([record.getMessage(), record.__dict__["fields"]]))  # type: ignore[method-assign]
    logger = logging.getLogger("housevis.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    ask(port, "/api/houses/H00003")
    ask(port, "/api/houses?bbox=-76,45.25,-75.5,45.5&zoom=12")
    patience = time.monotonic() + 10
    while not any('"route": "/api/houses"' in line for line in lines) and time.monotonic() < patience:
        time.sleep(0.01)
    logger.removeHandler(handler)
    told = " ".join(lines)
    assert '"route": "/api/houses"' in told
    assert not any(word in told for word in ("H00003", "45.25", "127.0.0.1"))


def test_several_runs_stand_side_by_side(shelved, served, atlas_data, tmp_path):
    folder = tmp_path / "other"
    build_atlas(atlas_data, folder / "atlas")
    other = ShelvedRun("other", folder, lambda: 0, lambda: run_of(folder, atlas_data))
    with served([shelved, other]) as port:
        runs = json.loads(ask(port, "/api/runs")[2])["runs"]
        assert [run["run_id"] for run in runs] == [RUN_ID, "other"]
        assert b"/runs/other/api/" in ask(port, "/runs/other/atlas/server.js")[2]
        assert (
            json.loads(ask(port, "/runs/other/api/houses?bbox=-77,44,-74,46&zoom=8")[2])["run_id"] == "other"
        )


def test_a_run_is_opened_anew_when_its_files_change(run_folder, atlas_data):
    opened: list[int] = []
    state = [0]

    def open_run() -> ServedRun:
        opened.append(state[0])
        return run_of(run_folder, atlas_data)

    run = ShelvedRun(RUN_ID, run_folder, lambda: state[0], open_run)
    first = run.current()
    assert run.current() is first
    state[0] = 1
    run._looked = 0
    assert run.current() is not first
    assert opened == [0, 1]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com", ""])
def test_other_machines_need_a_token(shelved, host, monkeypatch):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(UsageError, match=TOKEN_VARIABLE):
        serve([shelved], host=host)
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(UsageError, match="easily guessed"):
        serve([shelved], host=host)


def test_a_folder_without_a_map_is_refused(tmp_path):
    with pytest.raises(RunError, match="no map"):
        create_app([ShelvedRun("x", tmp_path, lambda: 0, lambda: None)])
