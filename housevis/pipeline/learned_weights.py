"""Where the weights lie that `finetune` learned: in the user's cache, never in a repository."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def weights_file(market: str, job: str) -> Path:
    """The file of one trained network.

    Args:
        market: The configuration's name.
        job: Fingerprint of what was learned from what.
    """
    return _folder() / f"resnet50-{market}-{job[:12]}.safetensors"


def learned_weights(market: str) -> list[Path]:
    """The files of all networks that were trained for a configuration's name."""
    name = f"resnet50-{market}-"
    return sorted(
        path
        for path in _folder().glob("resnet50-*.safetensors")
        if path.name.startswith(name) and "-" not in path.stem.removeprefix(name)
    )


def _folder() -> Path:
    return platformdirs.user_cache_path("housevis") / "weights"
