"""Engines: run a backbone fast, on whatever the machine has.

OpenVINO on processors without a GPU (bfloat16 where the processor has it,
several requests at a time), PyTorch elsewhere. Both take uint8 pictures and
give float32 arrays; both are asynchronous underneath, so that decoding the
next pictures overlaps with computing.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import queue
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
import torch

from housevis.core.errors import ConfigError, ModelError
from housevis.vision.backbones import Backbone, check_pictures

Want = Literal["pooled", "maps", "both"]
EngineKind = Literal["auto", "openvino", "torch"]

_REQUEST_PICTURES = 4


@dataclass(frozen=True)
class Features:
    """What an engine computed for one batch; what was not asked for is None.

    Attributes:
        maps: float32 `(N, K, h, w)`.
        pooled: float32 `(N, K)`.
    """

    maps: np.ndarray | None
    pooled: np.ndarray | None


class FeatureEngine(Protocol):
    """A backbone, ready to run on batches of pictures."""

    backbone: Backbone
    batch_size: int
    description: str
    """Engine and number format, for example ``"openvino bf16"``."""

    def submit(self, images: np.ndarray, want: Want = "pooled") -> Future[Features]:
        """Start computing uint8 `(N, H, W, 3)`; `N` may be any number."""
        ...

    def feature_maps(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(N, H, W, 3)` to float32 `(N, K, h, w)`."""
        ...

    def pooled(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(N, H, W, 3)` to float32 `(N, K)`."""
        ...

    def both(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 `(N, H, W, 3)` to feature maps and pooled features."""
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...


class _Engine(ABC):
    def __init__(self, backbone: Backbone, batch_size: int, description: str) -> None:
        self.backbone = backbone
        self.batch_size = batch_size
        self.description = description

    @abstractmethod
    def submit(self, images: np.ndarray, want: Want = "pooled") -> Future[Features]: ...

    @abstractmethod
    def close(self) -> None: ...

    def feature_maps(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(N, H, W, 3)` to float32 `(N, K, h, w)`."""
        maps = self.submit(images, "maps").result().maps
        assert maps is not None
        return maps

    def pooled(self, images: np.ndarray) -> np.ndarray:
        """uint8 `(N, H, W, 3)` to float32 `(N, K)`."""
        pooled = self.submit(images, "pooled").result().pooled
        assert pooled is not None
        return pooled

    def both(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 `(N, H, W, 3)` to feature maps and pooled features."""
        features = self.submit(images, "both").result()
        assert features.maps is not None
        assert features.pooled is not None
        return features.maps, features.pooled

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, images: np.ndarray) -> None:
        check_pictures(images.shape, images.dtype == np.uint8, self.backbone.input_size)

    def _empty(self, count: int, want: Want) -> Features:
        channels, grid = self.backbone.channels, self.backbone.grid
        return Features(
            None if want == "pooled" else np.empty((count, channels, *grid), dtype=np.float32),
            None if want == "maps" else np.empty((count, channels), dtype=np.float32),
        )


class OpenVinoEngine(_Engine):
    """OpenVINO on the CPU: one graph from uint8 to map and pooled feature.

    A batch is cut into requests of a fixed number of pictures, the last one
    padded; as many requests run at a time as OpenVINO finds best, each with a
    thread that waits for it.
    """

    def __init__(self, backbone: Backbone, batch_size: int, threads: int | None = None) -> None:
        import openvino

        core = openvino.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if has_bf16 else "f32"
        super().__init__(backbone, batch_size, f"openvino {precision}")
        self._pictures = min(batch_size, _REQUEST_PICTURES)
        side = backbone.input_size
        shape = [self._pictures, side, side, 3]
        model = openvino.convert_model(
            backbone.module,
            example_input=torch.zeros(shape, dtype=torch.uint8),
            input=[(shape, openvino.Type.u8)],
        )
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            # Not pinned: several processes that share a machine would all take its first cores.
            settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
        compiled = core.compile_model(model, "CPU", settings)
        count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(count):
            self._idle.put(compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="openvino-engine")
        self._one_batch = threading.Lock()

    def submit(self, images: np.ndarray, want: Want = "pooled") -> Future[Features]:
        """Start computing uint8 `(N, H, W, 3)`; waits while all requests are busy.

        Any number of threads may call it; their batches are computed one after the other.
        """
        self._check(images)
        batch = _Batch(self._empty(len(images), want), -(-len(images) // self._pictures))
        with self._one_batch:
            for start in range(0, len(images), self._pictures):
                part = images[start : start + self._pictures]
                if len(part) < self._pictures:
                    padding = np.zeros((self._pictures - len(part), *part.shape[1:]), dtype=np.uint8)
                    part = np.concatenate([part, padding])
                request = self._threads.submit(self._infer, self._idle.get(), part, batch.features, start)
                request.add_done_callback(batch.request_done)
        return batch.future

    def close(self) -> None:
        """Wait for the requests that still run."""
        self._threads.shutdown()

    def _infer(self, request: Any, part: np.ndarray, features: Features, start: int) -> None:
        try:
            request.infer([part])
            for output, target in enumerate((features.maps, features.pooled)):
                if target is not None:
                    rows = target[start : start + self._pictures]
                    rows[...] = request.get_output_tensor(output).data[: len(rows)]
        except RuntimeError as problem:
            raise ModelError(
                f"OpenVINO could not compute a batch of pictures ({problem})",
                where="vision.engine",
                remedy='Give the same command again; if it stays, set vision.engine = "torch".',
            ) from None
        finally:
            self._idle.put(request)


class _Batch:
    def __init__(self, features: Features, requests: int) -> None:
        self.features = features
        self.future: Future[Features] = Future()
        self._open = requests
        self._lock = threading.Lock()
        if requests == 0:
            self.future.set_result(features)

    def request_done(self, request: Future[None]) -> None:
        """Count a request; the last one ends the batch, and so does the first that failed."""
        problem = request.exception()
        with self._lock:
            self._open -= 1
            if self.future.done():
                return
            if problem is not None:
                self.future.set_exception(problem)
            elif self._open == 0:
                self.future.set_result(self.features)


class TorchEngine(_Engine):
    """PyTorch: channels-last, bfloat16 autocast where supported, CUDA if there."""

    def __init__(self, backbone: Backbone, batch_size: int) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._bf16 = (
            torch.cuda.is_bf16_supported()
            if self._device.type == "cuda"
            else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        )
        super().__init__(
            backbone, batch_size, f"torch {'bf16' if self._bf16 else 'f32'} on {self._device.type}"
        )
        self._module = copy.deepcopy(backbone.module).to(self._device)
        self._module = self._module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="torch-engine")

    def submit(self, images: np.ndarray, want: Want = "pooled") -> Future[Features]:
        """Start computing uint8 `(N, H, W, 3)`."""
        self._check(images)
        return self._worker.submit(self._compute, images, want)

    def close(self) -> None:
        """Wait for the batches that still run."""
        self._worker.shutdown()

    def _compute(self, images: np.ndarray, want: Want) -> Features:
        features = self._empty(len(images), want)
        precision = (
            torch.autocast(self._device.type, dtype=torch.bfloat16)
            if self._bf16
            else contextlib.nullcontext()
        )
        with torch.inference_mode(), precision:
            for start in range(0, len(images), self.batch_size):
                part = torch.from_numpy(np.ascontiguousarray(images[start : start + self.batch_size]))
                outputs = self._module(part.to(self._device))
                for output, target in zip(outputs, (features.maps, features.pooled), strict=True):
                    if target is not None:
                        target[start : start + len(part)] = output.cpu().numpy()
        return features


def open_engine(
    backbone: Backbone, kind: EngineKind = "auto", batch_size: int = 32, *, threads: int | None = None
) -> FeatureEngine:
    """Open an engine for a backbone.

    Args:
        backbone: The network.
        kind: ``"auto"`` takes PyTorch where there is a CUDA GPU, else
            OpenVINO where it is installed, else PyTorch.
        batch_size: Pictures per batch.
        threads: Processor threads for OpenVINO; None takes all.

    Raises:
        ConfigError: OpenVINO is asked for and not installed.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if kind == "openvino" and not installed:
        raise ConfigError(
            "OpenVINO is not installed",
            where="vision.engine",
            remedy='Install openvino, or set vision.engine = "torch".',
        )
    if kind == "torch" or not installed or (kind == "auto" and torch.cuda.is_available()):
        return TorchEngine(backbone, batch_size)
    return OpenVinoEngine(backbone, batch_size, threads)
