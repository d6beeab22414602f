"""Tables of the land cover: how well the classes are told, and what telling them costs."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from table_text import markdown_table

Figures = Mapping[str, Any]


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score."""
    if count == 0:
        return 0.0, 1.0
    share, room = right / count, z * z / count
    middle = (share + room / 2) / (1 + room)
    half = z * sqrt(share * (1 - share) / count + room / (4 * count)) / (1 + room)
    return middle - half, middle + half


def _with_interval(right: int, count: int) -> list[str]:
    low, high = wilson(right, count)
    return [f"{right} of {count}", f"{100 * low:.0f} to {100 * high:.0f} %"]


def land_cover(figures: Figures) -> str:
    """Intersection over union of every class on towns that were not learned from."""
    plain, varied = figures["plain"], figures["varied"]
    rows = [
        [
            f"`{name}`",
            f"{100 * plain['share'][name]:.1f} %",
            f"{plain['iou'][name]:.2f}",
            f"{varied['iou'][name]:.2f}",
        ]
        for name in plain["iou"]
    ]
    rows.append(["pixels right", "", f"{100 * plain['accuracy']:.1f} %", f"{100 * varied['accuracy']:.1f} %"])
    table = markdown_table(["class", "of the ground", "IoU, as painted", "IoU, varied as in training"], rows)
    towns = ", ".join(map(str, figures["test_towns"]))
    text = (
        f"{plain['pictures']} pictures of the towns {towns}; learned from "
        f"{figures['training']['pictures']:,} pictures of {len(figures['training']['towns'])} other towns. "
        f"{figures['parameters']:,} parameters, {figures['bytes'] / 1000:.0f} kB."
    )
    return f"{table}\n\n{text} Command: `{figures['command']}`."


def land_cover_cost(figures: Figures) -> str:
    """What telling the ground takes beside the maps."""
    added = figures["with_ms"] - figures["without_ms"]
    return (
        f"Telling the ground and measuring what is under both maps takes {added:.1f} ms of processor time "
        f"a house, {100 * figures['share_of_step']:.0f} % of the {figures['with_ms']:.1f} ms that the step "
        f"takes with EfficientNet-Lite0 (medians of {figures['rounds']}). "
        f"{figures['machine']['processor']}. Command: `{figures['command']}`."
    )


def land_cover_real(figures: Figures) -> str:
    """What was right at points of real pictures, by class."""
    classes, table = figures["classes"], figures["confusion"]
    rows = []
    for number, name in enumerate(classes):
        count, said = sum(table[number]), sum(row[number] for row in table)
        if count + said == 0:
            continue
        mistaken = sorted(
            ((table[number][other], classes[other]) for other in range(len(classes)) if other != number),
            reverse=True,
        )
        taken = ", ".join(f"{other} {times}" for times, other in mistaken if times)
        found = _with_interval(table[number][number], count) if count else ["–", "–"]
        rows.append([f"`{name}`", *found, taken or "–", f"{table[number][number]} of {said}"])
    right = sum(table[number][number] for number in range(len(classes)))
    total = sum(map(sum, table))
    rows.append(["all", *_with_interval(right, total), "", ""])
    header = ["class", "found at", "95 % interval (Wilson)", "taken for", "right where it was said"]
    return "\n\n".join(
        [
            markdown_table(header, rows),
            f"{figures['unclear']} further points could not be told by eye and are left out. Pictures are "
            f"tiles of zoom 18 at {figures['side']} pixels, as the King County run takes them.",
        ]
    )
