"""Heat maps: where in the picture an embedding looks, and what is worth what there (papers C, E and L).

Usable on any embedding network. Names that need torch are loaded on first
use, so importing this package does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from housevis.explain.compression import compressed
from housevis.explain.database import SCALARS, ChannelOrder, GradWeightDatabase, GradWeightsAbout, Scalar
from housevis.explain.gradweights import rank_grad_weights
from housevis.explain.heatmap import Heatmap, Status, heat_to_png, heatmaps_of, shared_scale
from housevis.explain.metrics import HeatRatio, HeatShare, heat_ratio
from housevis.explain.transfer import Lender, Transfer, Transferred
from housevis.explain.under_heat import UnderHeat

if TYPE_CHECKING:
    from housevis.explain.embeddingcam import PriceBands, embedding_cam, mean_proxies, single_point_proxies
    from housevis.explain.example_weights import averaged_grad_weights, embedding_grad_weights
    from housevis.explain.examples import NPairs, OwnFeature, OwnPrice, RankPairs, Triplets
    from housevis.explain.filters import FilterSearch, FilterSettings
    from housevis.explain.gradcam import (
        example_grad_weights,
        grad_cam,
        keep_top,
        layer_grad_weights,
        weighted_map,
        weighted_sum,
    )
    from housevis.explain.l2caf import l2_caf, ordinary_l2_caf, recurrent_l2_caf
    from housevis.explain.landcover import LandCoverSegmenter
    from housevis.explain.networks import EmbeddingNetwork, LinearHead
    from housevis.explain.object_maps import ObjectSettings, object_maps
    from housevis.explain.retrieval import retrieval_grad_cam

_LOADED_ON_USE = {
    "EmbeddingNetwork": "networks",
    "FilterSearch": "filters",
    "FilterSettings": "filters",
    "LandCoverSegmenter": "landcover",
    "LinearHead": "networks",
    "NPairs": "examples",
    "ObjectSettings": "object_maps",
    "OwnFeature": "examples",
    "OwnPrice": "examples",
    "PriceBands": "embeddingcam",
    "RankPairs": "examples",
    "Triplets": "examples",
    "averaged_grad_weights": "example_weights",
    "embedding_cam": "embeddingcam",
    "embedding_grad_weights": "example_weights",
    "example_grad_weights": "gradcam",
    "grad_cam": "gradcam",
    "keep_top": "gradcam",
    "l2_caf": "l2caf",
    "layer_grad_weights": "gradcam",
    "mean_proxies": "embeddingcam",
    "object_maps": "object_maps",
    "ordinary_l2_caf": "l2caf",
    "recurrent_l2_caf": "l2caf",
    "retrieval_grad_cam": "retrieval",
    "single_point_proxies": "embeddingcam",
    "weighted_map": "gradcam",
    "weighted_sum": "gradcam",
}

__all__ = [
    "SCALARS",
    "ChannelOrder",
    "EmbeddingNetwork",
    "FilterSearch",
    "FilterSettings",
    "GradWeightDatabase",
    "GradWeightsAbout",
    "HeatRatio",
    "HeatShare",
    "Heatmap",
    "LandCoverSegmenter",
    "Lender",
    "LinearHead",
    "NPairs",
    "ObjectSettings",
    "OwnFeature",
    "OwnPrice",
    "PriceBands",
    "RankPairs",
    "Scalar",
    "Status",
    "Transfer",
    "Transferred",
    "Triplets",
    "UnderHeat",
    "averaged_grad_weights",
    "compressed",
    "embedding_cam",
    "embedding_grad_weights",
    "example_grad_weights",
    "grad_cam",
    "heat_ratio",
    "heat_to_png",
    "heatmaps_of",
    "keep_top",
    "l2_caf",
    "layer_grad_weights",
    "mean_proxies",
    "object_maps",
    "ordinary_l2_caf",
    "rank_grad_weights",
    "recurrent_l2_caf",
    "retrieval_grad_cam",
    "shared_scale",
    "single_point_proxies",
    "weighted_map",
    "weighted_sum",
]


def __getattr__(name: str) -> Any:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LOADED_ON_USE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
