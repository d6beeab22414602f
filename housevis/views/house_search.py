"""Houses by what somebody types of their id or address, among a million of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

MOST_FOUND: Final = 8
"""So many houses are found at most."""


class HouseSearch:
    """Finds text in the ids and addresses of houses.

    All of them lie in one text, a line per house: looking through it is one
    search of bytes.

    Args:
        house_ids: The ids ``(n,)``.
        addresses: The addresses ``(n,)``, None where there is none.
    """

    def __init__(self, house_ids: Sequence[str], addresses: Sequence[str | None]) -> None:
        lines = [
            _plain(f"{house_id} {address or ''}")
            for house_id, address in zip(house_ids, addresses, strict=True)
        ]
        self._ends = np.cumsum([len(line) + 1 for line in lines], dtype=np.int64)
        self._text = b"\n" + b"\n".join(lines) + b"\n"

    def find(self, text: str, most: int = MOST_FOUND) -> list[int]:
        """The first houses with this text, those that begin with it before all others.

        Args:
            text: Part of an id or of an address, in any case.
            most: How many to find.
        """
        wanted = _plain(text)
        if not wanted:
            return []
        found = self._rows(b"\n" + wanted, most, behind=1)
        for row in self._rows(wanted, 2 * most):
            if len(found) < most and row not in found:
                found.append(row)
        return found

    def _rows(self, wanted: bytes, most: int, behind: int = 0) -> list[int]:
        """The lines of the first places of some bytes; `behind` bytes of them belong to the line before."""
        rows: list[int] = []
        place = self._text.find(wanted)
        while place >= 0 and len(rows) < most:
            row = int(np.searchsorted(self._ends, place + behind - 1, side="right"))
            rows.append(row)
            place = self._text.find(wanted, int(self._ends[row]))
        return rows


def _plain(text: str) -> bytes:
    return " ".join(text.lower().split()).encode("utf-8", "replace")
