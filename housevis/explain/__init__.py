"""Heat maps: where in the picture the price ranking looks (paper C).

The names here need no torch; the general path by back-propagation is in
:mod:`housevis.explain.gradcam`.
"""

from __future__ import annotations

from housevis.explain.database import SCALARS, ChannelOrder, GradWeightDatabase, GradWeightsAbout, Scalar
from housevis.explain.gradweights import rank_grad_weights
from housevis.explain.heatmap import Heatmap, Status, heat_to_png, shared_scale
from housevis.explain.metrics import HeatRatio, HeatShare, heat_ratio
from housevis.explain.transfer import Transfer, Transferred

__all__ = [
    "SCALARS",
    "ChannelOrder",
    "GradWeightDatabase",
    "GradWeightsAbout",
    "HeatRatio",
    "HeatShare",
    "Heatmap",
    "Scalar",
    "Status",
    "Transfer",
    "Transferred",
    "heat_ratio",
    "heat_to_png",
    "rank_grad_weights",
    "shared_scale",
]
