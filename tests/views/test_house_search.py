"""Houses by a part of their id or address."""

from __future__ import annotations

import pytest

from housevis.views.house_search import HouseSearch

IDS = ["A1", "a10", "B7", "10-B", "Ünter/9"]
ADDRESSES = ["10 Alder Lane", None, "3 Birch\nRoad", "A <b>Street</b>", "10 Äpfelweg"]


@pytest.fixture(scope="module")
def search() -> HouseSearch:
    return HouseSearch(IDS, ADDRESSES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a1", [0, 1]),
        ("10", [3, 0, 1, 4]),
        ("birch  ROAD", [2]),
        ("<b>", [3]),
        ("ünter", [4]),
        ("äpfel", [4]),
        ("b", [2, 3]),
        ("7 3", [2]),
        ("A1 10", [0]),
        ("nobody", []),
        ("  ", []),
        ("\ud800", []),
    ],
)
def test_text_is_found_in_ids_and_addresses_what_begins_with_it_first(search, text, found):
    assert search.find(text) == found


def test_so_many_are_found_at_most(search):
    assert search.find("1", most=2) == [3, 0]
    assert HouseSearch([], []).find("a") == []
