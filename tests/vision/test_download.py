from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from housevis.core.errors import WeightsError
from housevis.vision.download import download

CONTENT = bytes(range(256)) * 1000


def test_a_file_arrives_whole(file_server, tmp_path: Path) -> None:
    file_server.files["/w.pth"] = CONTENT
    target = tmp_path / "sub" / "w.pth"
    download(f"{file_server.url}/w.pth", target, hashlib.sha256(CONTENT).hexdigest()[:8])
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_another_file_than_expected_is_not_kept(file_server, tmp_path: Path) -> None:
    file_server.files["/w.pth"] = CONTENT
    with pytest.raises(WeightsError, match="expected 00000000"):
        download(f"{file_server.url}/w.pth", tmp_path / "w.pth", "00000000")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/silent", "/drops"])
def test_a_server_that_hangs_is_given_up(file_server, tmp_path: Path, path: str) -> None:
    file_server.files["/drops"] = CONTENT
    started = time.monotonic()
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        download(file_server.url + path, tmp_path / "w.pth", "00000000", patience=0.5)
    assert time.monotonic() - started < 5
    assert not (tmp_path / "w.pth").exists()


def test_no_server_and_no_file_are_said_plainly(file_server, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Not Found"):
        download(f"{file_server.url}/absent.pth", tmp_path / "w.pth", "00000000")
    with pytest.raises(WeightsError, match="refused"):
        download("http://127.0.0.1:9/w.pth", tmp_path / "w.pth", "00000000")
