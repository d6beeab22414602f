"""Tables of what the grad-weight database costs to build, and what an explanation by transfer costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table

Figures = Mapping[str, Any]

_NAMES = {
    "resnet50-trunk": "ResNet-50 conv1 to layer3",
    "efficientnet-lite0": "EfficientNet-Lite0",
    "resnet50": "ResNet-50",
}


def _machine(figures: Figures) -> str:
    return f"{figures['machine']['processor']}, threads: {figures['threads']}"


def grad_weight_database(figures: Figures) -> str:
    """Closed form beside back-propagation, then the database of a whole market."""
    rows = [
        [
            _NAMES[row["backbone"]],
            f"{row['milliseconds_per_pair']['naive A']:,.0f}",
            f"{row['milliseconds_per_pair']['naive B']:.2f}",
            f"{row['milliseconds_per_house']['feature pass']:.1f}",
            f"{1000 * row['milliseconds_per_house']['closed form']:.1f}",
            f"{row['times_a']:,.0f}",
            f"{row['times_b']:,.0f}",
            f"{row['largest_difference_from_b']:.0e}",
        ]
        for row in figures["rows"]
    ]
    header = [
        "network",
        "A: whole network, ms a pair",
        "B: remembered maps, ms a pair",
        "features, ms a house",
        "closed form, µs a house",
        "times A, with the features",
        "times B",
        "largest difference",
    ]
    market = markdown_table(
        ["network", "houses", "built and written in", "peak memory", "file"],
        [
            [
                _NAMES[row["backbone"]],
                f"{row['database']['houses']:,}",
                f"{row['database']['seconds']:.1f} s",
                f"{row['database']['peak_gigabytes']:.2f} GB",
                f"{row['database']['file_megabytes']:.1f} MB",
            ]
            for row in figures["rows"]
        ],
    )
    few = " and ".join(f"{row['times_b_of_50_houses']:,.0f}" for row in figures["rows"])
    frozen = " and ".join(f"{row['times_a_to_the_feature_map']:,.0f}" for row in figures["rows"])
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"{figures['pairs']} pairs a house. B was run for all pairs of {figures['houses']} houses, A for "
        f"{figures['rows'][0]['network_pairs']} pairs, both are scaled; the closed form is that of the whole "
        f"market below, pairs drawn, channels ranked and file written. For {figures['houses']} houses alone, "
        f"whose file costs as much to write as the weights, it is {few} times B. Where A stops its backward "
        f"pass at the feature map, the ratio is {frozen}. The largest difference is by the largest weight. "
        f"{_machine(figures)}.\n\n{market}"
    )


def transfer_cost(figures: Figures) -> str:
    """Milliseconds a picture of every way, and the ratios."""
    ways = list(figures["rows"][0]["milliseconds_per_picture"])
    names = [_NAMES[row["backbone"]] for row in figures["rows"]]
    times = markdown_table(
        ["ms a picture", *names],
        [[way, *(f"{row['milliseconds_per_picture'][way]:.2f}" for row in figures["rows"])] for way in ways],
    )
    ratios = {
        "explained by transfer, times the bare forward pass": "transfer_by_bare",
        "grad-cam, times transfer in PyTorch": "times_grad_cam_same_engine",
        "grad-cam with the trunk frozen, times transfer in PyTorch": "times_grad_cam_trunk_frozen",
        "grad-cam, times transfer with the engine": "times_grad_cam_our_engine",
    }
    table = markdown_table(
        ["ratio", *names],
        [[what, *(f"{row[name]:.2f}" for row in figures["rows"])] for what, name in ratios.items()],
    )
    engines = {row["engine"] for row in figures["rows"]}
    return (
        f"{times}\n\n{table}\n\nBatches of {figures['batch']}, {figures['houses']:,} houses that may lend; "
        f"engine: {', '.join(sorted(engines))}; PyTorch in float32; {_machine(figures)}."
    )


def lender_lookup(figures: Figures) -> str:
    """Every look-up: how long it takes, and how often it finds the nearest."""
    rows = [
        [
            f"{row['embeddings']:,}",
            str(row["dimension"]),
            f"`{row['index']}`",
            f"{row['build_seconds']:.1f} s",
            f"{row['microseconds_per_query']:,.1f}",
            f"{row['found']:.3f}",
        ]
        for row in figures["rows"]
    ]
    header = ["embeddings", "dimensions", "look-up", "made in", "µs a query", "found the nearest"]
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"{figures['queries']:,} queries at once; made-up embeddings in clusters; {_machine(figures)}."
    )
