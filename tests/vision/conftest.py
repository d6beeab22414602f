from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from housevis.core.config_sections import VisionSection
from housevis.vision.backbones import Backbone, load_backbone

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def efficientnet() -> Backbone:
    """The packaged network with its real weights."""
    return load_backbone(VisionSection(backbone="efficientnet-lite0"))


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """Smooth coloured pictures, uint8 (7, 224, 224, 3)."""
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, size=(7, 8, 8, 3)).astype(np.float32)
    tensor = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).permute(0, 3, 1, 2), size=(224, 224), mode="bilinear"
    )
    return tensor.permute(0, 2, 3, 1).numpy().astype(np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty cache folders of housevis and of torch."""
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: folder / name)
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    return folder


class FileServer:
    """Serves bytes on loopback: at once, never, or by drops."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/silent"):
                    outer.released.wait(30)
                    return
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.path.startswith("/drops"):
                    self._drip(content)
                else:
                    self.wfile.write(content)

            def _drip(self, content: bytes) -> None:
                for byte in content:
                    if outer.released.wait(0.1):
                        return
                    try:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                    except OSError:
                        return

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()
