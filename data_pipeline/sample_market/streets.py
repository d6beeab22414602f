"""Streets, pavements, arterial roads and their markings."""

from __future__ import annotations

import random

import numpy as np

from data_pipeline.sample_market.geometry import Points, Warp
from data_pipeline.sample_market.plan import BLOCK_HEIGHT, BLOCK_WIDTH, Plan
from data_pipeline.sample_market.shapes import (
    CAR,
    FITTING,
    KERB,
    MARKING,
    ROAD,
    Colour,
    Scene,
    Tree,
    moved,
    vary,
)

STREET_WIDTH = 27.0
ARTERIAL_WIDTH = 80.0
"""Carriageway widths in pixels: 8 m, and 24 m for four lanes and a median."""
ASPHALT: Colour = (112, 113, 116)
PAVEMENT: Colour = (160, 158, 152)
WHITE: Colour = (222, 222, 216)
STEP = 40.0
"""Plan pixels between the corners of a street's centre line."""


def sample_line(warp: Warp, start: tuple[float, float], end: tuple[float, float]) -> Points:
    """Town pixels (n, 2) along the straight plan line from `start` to `end`."""
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    share = np.linspace(0.0, 1.0, max(2, int(length / STEP) + 1))[:, None]
    return warp(np.array(start) + share * (np.array(end) - np.array(start)))


def offset_line(line: Points, distance: float) -> Points:
    """The line (n, 2) moved sideways, to its right for a positive distance."""
    ahead = np.gradient(line, axis=0)
    ahead /= np.hypot(ahead[:, 0], ahead[:, 1])[:, None]
    return line + np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) * distance


def _dashes(scene: Scene, line: Points, period: float, share: float, colour: Colour, width: float) -> None:
    steps = np.hypot(*np.diff(line, axis=0).T)
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    starts = np.arange(period, distance[-1] - period, period)
    for offset in (0.0, period * share):
        place = starts + offset
        ends = np.stack(
            [np.interp(place, distance, line[:, 0]), np.interp(place, distance, line[:, 1])], axis=1
        )
        if offset == 0.0:
            begin = ends
    for first, last in zip(begin, ends, strict=True):
        scene.add(MARKING, np.array([first, last]), colour, width)


def _cars(
    scene: Scene, stream: random.Random, line: Points, offsets: tuple[float, ...], chance: float
) -> None:
    colours: tuple[Colour, ...] = (
        (226, 226, 228),
        (60, 62, 66),
        (146, 40, 36),
        (120, 124, 130),
        (50, 80, 132),
    )
    for number in range(len(line) - 1):
        if stream.random() > chance:
            continue
        lane = stream.choice(offsets)
        ahead = line[number + 1] - line[number]
        ahead = ahead / np.hypot(*ahead)
        side = np.array([-ahead[1], ahead[0]])
        middle = line[number] + side * lane
        length, half = (9.0, 3.2) if stream.random() < 0.93 else (16.0, 4.0)
        body = np.array(
            [
                middle - ahead * length - side * half,
                middle + ahead * length - side * half,
                middle + ahead * length + side * half,
                middle - ahead * length + side * half,
            ]
        )
        scene.shadows.append(moved(body, -2.0, -4.0))
        scene.add(CAR, body, vary(stream, stream.choice(colours), 4.0))
        glass = middle + ahead * length * 0.3
        pane = np.array([glass - side * 2.4, glass + side * 2.4])
        scene.add(FITTING, pane, (46, 52, 58), 2.5, cover="road")


def _street(scene: Scene, stream: random.Random, line: Points) -> None:
    tone = vary(stream, ASPHALT, 4.0)
    scene.add(KERB - 2, line, PAVEMENT, STREET_WIDTH + 13.0, cover="road")
    scene.add(KERB - 2, line, (108, 124, 78), STREET_WIDTH + 6.0)
    scene.add(KERB, line, tone, STREET_WIDTH)
    scene.add(MARKING, line, vary(stream, tone, 3.0), 4.0)
    _cars(scene, stream, line, (-9.5, 9.5), 0.10)
    for number in range(1, len(line) - 1):
        if stream.random() < 0.16:
            verge = offset_line(line, stream.choice((-1, 1)) * (STREET_WIDTH / 2 + 9.0))[number]
            scene.trees.append(
                Tree(round(verge[0]), round(verge[1]), stream.randrange(4, 8), stream.randrange(24))
            )


def _arterial(scene: Scene, stream: random.Random, line: Points) -> None:
    scene.add(KERB - 2, line, PAVEMENT, ARTERIAL_WIDTH + 9.0, cover="road")
    scene.add(KERB, line, (104, 105, 109), ARTERIAL_WIDTH, driver="arterial")
    scene.add(KERB, line, (98, 99, 103), ARTERIAL_WIDTH - 10.0)
    for side in (-1, 1):
        scene.add(MARKING, offset_line(line, side * (ARTERIAL_WIDTH / 2 - 4.0)), WHITE, 1.5)
        scene.add(MARKING, offset_line(line, side * 6.0), (214, 196, 120), 1.5)
        _dashes(scene, offset_line(line, side * 20.5), 26.0, 0.45, WHITE, 2.0)
    scene.add(MARKING, line, (126, 134, 96), 8.0, cover="lawn")
    _cars(scene, stream, line, (-28.0, -13.0, 13.0, 28.0), 0.40)


def add_streets(scene: Scene, plan: Plan, warp: Warp, column: int, row: int) -> None:
    """Add the street above a block and the street to its left."""
    stream = plan.stream("streets", column, row)
    left, top = plan.left + column * BLOCK_WIDTH, plan.top + row * BLOCK_HEIGHT
    across, down = plan.across(column, row), plan.down(column, row)
    if across in ("street", "arterial"):
        line = sample_line(warp, (left, top), (left + BLOCK_WIDTH, top))
        (_arterial if across == "arterial" else _street)(scene, stream, line)
    if down in ("street", "arterial"):
        line = sample_line(warp, (left, top), (left, top + BLOCK_HEIGHT))
        (_arterial if down == "arterial" else _street)(scene, stream, line)
    elif down == "path":
        line = sample_line(warp, (left, top), (left, top + BLOCK_HEIGHT))
        scene.add(ROAD, line, (112, 126, 80), 44.0, cover="lawn")
        scene.add(MARKING - 2, line, (178, 166, 142), 5.0)
        for number in range(1, len(line) - 1):
            if stream.random() < 0.5:
                x, y = line[number] + (stream.uniform(-16, 16), 12.0)
                scene.trees.append(Tree(round(x), round(y), stream.randrange(5, 10), stream.randrange(24)))
    _junction(scene, plan, warp, column, row)


def _junction(scene: Scene, plan: Plan, warp: Warp, column: int, row: int) -> None:
    """Round the corner where an arterial turns, and pave the middle of the crossing."""
    arms = (
        plan.across(column, row),
        plan.across(column - 1, row),
        plan.down(column, row),
        plan.down(column, row - 1),
    )
    left, top = plan.left + column * BLOCK_WIDTH, plan.top + row * BLOCK_HEIGHT
    middle = warp([(left, top)])[0]
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    if "arterial" in arms:
        scene.add(KERB, middle + circle * ARTERIAL_WIDTH / 2, (104, 105, 109), driver="arterial")
        scene.add(MARKING + 0, middle + circle * (ARTERIAL_WIDTH / 2 - 3.0), (100, 101, 105))
    elif sum(arm == "street" for arm in arms) >= 2:
        scene.add(KERB, middle + circle * (STREET_WIDTH / 2 + 3.0), ASPHALT)
