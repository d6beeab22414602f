"""Tables of how fast L2-CAF is, what its class-specific filters tell apart, and all methods beside peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from table_text import markdown_table

Figures = Mapping[str, Any]


def l2caf_speed(figures: Figures) -> str:
    """Pictures per second of every way, by head, then ordinary beside fast."""
    rows = [
        [
            table["head"],
            way["way"],
            f"{way['pictures_per_second']:,.1f}",
            f"{way['times_one_at_a_time']:.1f}",
            f"{way['times_one_at_a_time_gram']:.1f}",
            f"{way['largest_difference_from_exact']:.0e}" if way["way"] != "exact" else "-",
        ]
        for table in figures["heads"]
        for way in table["ways"]
    ]
    header = [
        "head",
        "way",
        "pictures/s",
        "times one at a time",
        "times one at a time with the Gram matrix",
        "largest difference from the exact map",
    ]
    ordinary = figures["ordinary"]
    machine = figures["machine"]
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"Ordinary against fast, one picture at a time: {ordinary['ordinary_seconds']:.1f} s against "
        f"{ordinary['fast_seconds']:.2f} s a picture, {ordinary['speed_up']:.0f} times, "
        f"maps within {ordinary['largest_difference']:.0e} of each other. "
        f"EfficientNet-Lite0, {figures['grid'][0]} x {figures['grid'][1]} cells, "
        f"pictures: {figures['pictures']}, "
        f"batches of {figures['batch']}; {machine['processor']}, threads: {figures['threads']}."
    )


def l2caf_classes(figures: Figures) -> str:
    """How alike the filters of two classes of one picture are."""
    rows = [
        [
            name,
            f"{row['correlation_of_first_and_second_class']:.3f}",
            f"{row['correlation_of_first_and_last_class']:.3f}",
        ]
        for name, row in figures["classes"].items()
    ]
    return markdown_table(
        ["class-specific filters of EfficientNet-Lite0", "likeliest and second class", "likeliest and least"],
        rows,
    )


def cam_peers(figures: Figures) -> str:
    """Every method and peer: time, and rank correlations with what asks nothing."""
    rows = [
        [
            row["method"],
            f"{row['milliseconds_per_picture']:.2f}",
            *(
                "-" if row[name] is None else f"{row[name]:.3f}"
                for name in ("rank_correlation_with_embeddingcam", "rank_correlation_with_mean_feature_map")
            ),
        ]
        for row in figures["rows"]
    ]
    header = ["method", "ms a picture, without the trunk", "with EmbeddingCAM", "with the mean feature map"]
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"EfficientNet-Lite0, {figures['pictures']} pictures of the sample market, one batch; "
        f"{figures['machine']['processor']}, threads: {figures['threads']}."
    )


def class_maps(figures: Figures) -> str:
    """How alike the maps of different classes of one picture are, by method."""
    names = ("likeliest_and_second", "likeliest_and_least", "with_grad_cam")
    rows = [
        [
            row["method"],
            *("-" if row[name] is None else f"{row[name]:.3f}" for name in names),
            str(figures["pictures"] - row["least_without_heat"]),
        ]
        for row in figures["rows"]
    ]
    header = [
        "method",
        "likeliest and second class",
        "likeliest and least",
        "with grad-cam's GradCAM",
        "pictures with heat for the least",
    ]
    return (
        f"{markdown_table(header, rows)}\n\n"
        f"EfficientNet-Lite0's 1,000 class logits, {figures['pictures']} pictures ({figures['source']}); "
        f"mean rank correlation of the cells, over pictures with heat. Command: `{figures['command']}`."
    )
