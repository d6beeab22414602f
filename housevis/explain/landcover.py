"""What covers the ground of an aerial picture: the packaged segmenter.

Its weights are our own and learned on the fictional town alone
(``benchmarks/land_cover.py``). How far they carry to real pictures is counted
in ``docs/explanations.md``: :data:`TRANSFER` is the sentence for it.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from housevis.core.errors import ModelError, WeightsError
from housevis.explain.landcover_network import MULTIPLE, LandCoverNetwork

TRANSFER = (
    "The classes of land cover were learned on a fictional town; "
    "on real pictures 60 of 102 points were right, of those on roads and paving 4 of 12."
)
"""What to say beside land cover of real pictures; counted in ``docs/results/land-cover-real.json``."""

WEIGHTS = Path(__file__).with_name("land-cover.safetensors")

EngineKind = Literal["auto", "openvino", "torch"]

_BATCH = 8

_Scores = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class LandCoverSegmenter:
    """Gives every cell of a picture a class of :data:`data_pipeline.land_cover.LAND_COVERS`.

    Args:
        network: The network.
        engine: ``"auto"`` takes PyTorch where there is a CUDA GPU, else
            OpenVINO where it is installed, else PyTorch.
        threads: Processor threads for OpenVINO; None takes all.
    """

    def __init__(
        self, network: LandCoverNetwork, engine: EngineKind = "auto", threads: int | None = None
    ) -> None:
        self._network = network.eval()
        self._threads = threads
        installed = importlib.util.find_spec("openvino") is not None
        cuda = torch.cuda.is_available()
        self._openvino = engine == "openvino" or (engine == "auto" and installed and not cuda)
        self._device = torch.device("cuda" if cuda else "cpu")
        self._scores: dict[tuple[int, int], _Scores] = {}
        self._one_at_a_time = threading.Lock()

    @classmethod
    def load(
        cls, path: Path = WEIGHTS, engine: EngineKind = "auto", threads: int | None = None
    ) -> LandCoverSegmenter:
        """Open the packaged weights, or those of another file.

        Raises:
            WeightsError: The file is missing, damaged, or of another network.
        """
        network = LandCoverNetwork()
        try:
            stored = {name: part.float() for name, part in load_file(path).items()}
            network.load_state_dict(stored, strict=False)
            missing = {name for name, _ in network.named_parameters()} - set(stored)
        except (OSError, SafetensorError, RuntimeError) as problem:
            raise _bad_weights(path, str(problem).splitlines()[0]) from None
        if missing:
            raise _bad_weights(path, f"{sorted(missing)[0]} is missing")
        return cls(network, engine, threads)

    def classes(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The class of every cell; any number of threads may ask.

        Args:
            pictures: uint8 ``(N, H, W, 3)``, 0.3 to 0.6 m per pixel. Sides
                that are no multiple of 16 are stretched to the next one.

        Returns:
            uint8 ``(N, h, w)``, numbers of the classes; the cells together
            are the whole picture, each about 4 x 4 pixels.

        Raises:
            ModelError: These are no such pictures.
        """
        if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8:
            raise ModelError(
                "land cover is found in uint8 pictures (N, H, W, 3), "
                f"not {pictures.dtype} of the shape {pictures.shape}"
            )
        fitted = _fitted(pictures)
        size = (fitted.shape[1], fitted.shape[2])
        found = []
        with self._one_at_a_time:
            if size not in self._scores:
                self._scores[size] = self._compiled(size) if self._openvino else self._torch_scores
            for start in range(0, len(fitted), _BATCH):
                part = fitted[start : start + _BATCH]
                padding = np.zeros((_BATCH - len(part), *part.shape[1:]), np.uint8)
                scores = self._scores[size](np.concatenate([part, padding]))
                found.append(scores.argmax(axis=1)[: len(part)])
        cells = (size[0] // 4, size[1] // 4)
        return np.concatenate(found).astype(np.uint8) if found else np.zeros((0, *cells), np.uint8)

    def _torch_scores(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            network = self._network.to(self._device)
            return network(torch.from_numpy(pictures).to(self._device)).cpu().numpy()

    def _compiled(self, size: tuple[int, int]) -> _Scores:
        import openvino

        core = openvino.Core()
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        shape = [_BATCH, *size, 3]
        with torch.no_grad():
            model = openvino.convert_model(
                self._network,
                example_input=torch.zeros(shape, dtype=torch.uint8),
                input=[(shape, openvino.Type.u8)],
            )
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if has_bf16 else "f32",
        }
        if self._threads is not None:
            settings |= {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}
        request = core.compile_model(model, "CPU", settings).create_infer_request()

        def scores(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            request.infer([pictures])
            return request.get_output_tensor(0).data

        return scores


def save_weights(network: LandCoverNetwork, path: Path) -> None:
    """Write a network's weights in half precision."""
    state = network.state_dict()
    kept = {
        name: part.half().contiguous() for name, part in state.items() if not name.endswith("batches_tracked")
    }
    save_file(kept, path)


def _fitted(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in pictures.shape[1:3])
    if (height, width) == pictures.shape[1:3]:
        return np.ascontiguousarray(pictures)
    values = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float()
    stretched = torch.nn.functional.interpolate(values, (height, width), mode="bilinear", align_corners=False)
    return stretched.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _bad_weights(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"the weights of the land cover cannot be used ({reason})",
        where=str(path),
        remedy="Install housevis again; the file is part of the package.",
    )
