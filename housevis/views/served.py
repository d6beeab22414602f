"""What the server shows of a run: carriers and callables that the pipeline fills."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from housevis.views.heat_tiles import HeatTiles
from housevis.views.viewport import Viewport

_LOOK_AGAIN: Final = 1.0
"""Seconds for which a run is taken to be as it was."""


@dataclass(frozen=True)
class AttributeField:
    """An attribute that a new house is asked for.

    Attributes:
        name: As the run's model calls it.
        label: In words.
        unit: ``"m2"`` of areas in square metres; empty otherwise, where the listings' own unit holds.
        lowest: The lowest value of the sales that the model learned from.
        highest: The highest.
    """

    name: str
    label: str
    unit: str
    lowest: float
    highest: float


@dataclass(frozen=True)
class NewHouse:
    """A house to be estimated.

    Attributes:
        latitude: Degrees north.
        longitude: Degrees east.
        valuation_date: The day that the estimate is of.
        attributes: A value for every attribute; None where it is not known to whoever asks.
    """

    latitude: float
    longitude: float
    valuation_date: date
    attributes: Mapping[str, float | None]


@dataclass(frozen=True)
class ServedRun:
    """One run, open and ready.

    Attributes:
        run_id: Its id.
        name: The name of its configuration.
        title: What its pages are called.
        currency: ISO 4217 code of all amounts.
        area_unit: Unit that its pages show areas in, ``"m2"`` or ``"ft2"``.
        interval: Nominal coverage of the ranges.
        notice: Sentence about the market, for example that it is fictional.
        attribution: Whose imagery its pictures are; None without pictures.
        folder: The run's folder, with ``atlas/`` and ``report.html``.
        viewport: The sold houses, out of sample.
        fields: What a new house is asked for.
        maps: Name of a layer -> its maps; ``attention`` and ``value``, empty without pictures.
        details: House id -> what its page shows; None where there is no such house.
        what_if: House id and changed attributes -> the changed estimate.
        estimate: A new house -> its estimate with range, confidence, drivers, comparables and maps.
        warm: Opens what the first estimate needs.
        map_settings: What the page of its map needs besides the houses; None where it loads their whole
            table however many they are.
    """

    run_id: str
    name: str
    title: str
    currency: str
    area_unit: str
    interval: float
    notice: str | None
    attribution: str | None
    folder: Path
    viewport: Viewport
    fields: tuple[AttributeField, ...]
    maps: Mapping[str, HeatTiles]
    details: Callable[[str], dict[str, Any] | None]
    what_if: Callable[[str, Mapping[str, float]], dict[str, Any]]
    estimate: Callable[[NewHouse], dict[str, Any]]
    warm: Callable[[], object] = lambda: None
    map_settings: Mapping[str, Any] | None = None


@dataclass
class ShelvedRun:
    """A run that is opened anew when its files change, so that removed houses vanish from what is served.

    Args:
        run_id: The run's id.
        folder: Its folder.
        state: Says cheaply in which state its files are.
        open_run: Opens it.
    """

    run_id: str
    folder: Path
    state: Callable[[], Hashable]
    open_run: Callable[[], ServedRun]
    _open: ServedRun | None = field(default=None, init=False)
    _state: Hashable = field(default=None, init=False)
    _looked: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def current(self) -> ServedRun:
        """The run as its files are now; looked at again after a second.

        Raises:
            HousevisError: It cannot be opened.
        """
        if self._open is not None and time.monotonic() - self._looked < _LOOK_AGAIN:
            return self._open
        with self._lock:
            state = self.state()
            if self._open is None or state != self._state:
                self._open = None
                self._open = self.open_run()
                self._state = state
            self._looked = time.monotonic()
            return self._open
