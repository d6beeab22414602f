from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from housevis.core.errors import RunError, UsageError
from housevis.views.atlas import build_atlas
from housevis.views.report import build_report
from housevis.views.server import create_app, serve


@pytest.fixture
def run_folder(atlas_data, report_data, tmp_path) -> Path:
    folder = tmp_path / "20250301-120000-ab12cd"
    build_atlas(atlas_data, folder / "atlas")
    build_report(report_data, folder / "report.html")
    (folder / "metrics.json").write_text("{}")
    return folder


@pytest.fixture
def port(run_folder) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(create_app(run_folder), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    answer = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return answer


def test_pages_are_served_with_an_etag(port, run_folder):
    status, headers, body = get(port, "/atlas/index.html")
    assert status == 200
    assert body == (run_folder / "atlas" / "index.html").read_bytes()
    again, _, nothing = get(port, "/atlas/index.html", **{"If-None-Match": headers["etag"]})
    assert (again, nothing) == (304, b"")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert get(port, "/report.html")[0] == 200
    assert get(port, "/")[1]["location"] == "/atlas/index.html"


@pytest.mark.parametrize("path", ["/", "/health", "/report.html", "/atlas/index.html"])
def test_head_is_answered_as_get_without_a_body(port, path):
    status, headers, _ = get(port, path)
    again, same, body = get(port, path, "HEAD")
    assert again == status < 400
    assert same.get("content-length") == headers.get("content-length")
    assert body == b""


def test_health_names_the_run(port):
    status, _, body = get(port, "/health")
    assert status == 200
    assert b"20250301-120000-ab12cd" in body


@pytest.mark.parametrize(
    "path",
    [
        "/metrics.json",
        "/atlas/../metrics.json",
        "/atlas/%2e%2e/metrics.json",
        "/atlas/..%2fmetrics.json",
        "/atlas//etc/passwd",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_else_is_served(port, path):
    assert get(port, path)[0] == 404


def test_another_host_name_is_refused(port):
    assert get(port, "/health", Host="prices.example.com")[0] == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com", ""])
def test_only_loopback_is_served(run_folder, host):
    with pytest.raises(UsageError, match=r"127\.0\.0\.1"):
        serve(run_folder, host=host)


def test_a_folder_without_a_map_is_refused(tmp_path):
    with pytest.raises(RunError, match="no map"):
        create_app(tmp_path)
