"""The pages of houses: found by id, escaped, out of sample, and gone when a house is removed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from housevis.core.errors import LeakError, StorageError
from housevis.views.house_chunks import (
    FOLDER,
    around_place,
    chunk_of,
    read_house,
    read_run,
    remove_houses,
    write_chunks,
)
from housevis.views.house_page import build_house_pages, render_house_page

ODD = ["7", "H00007", "a/b c", "ünïcode", "🏠", "شقة", "</script>", "__proto__", "x" * 300]


def houses(ids: list[str]) -> list[dict]:
    """As little of each as finding and removing needs; each leans on the next two."""
    found = []
    for number, house_id in enumerate(ids):
        others = [ids[(number + step) % len(ids)] for step in (1, 2)]
        found.append(
            {
                "house_id": house_id,
                "place": [45.123456 + number, -75.654321],
                "comparables": [{"rank": rank, "house_id": other} for rank, other in enumerate(others, 1)],
                "explained_by": {"house_id": others[0], "price": 1.0},
            }
        )
    return found


@pytest.fixture
def folder(tmp_path):
    found = houses(ODD)
    write_chunks({"around": [around_place(*each["place"]) for each in found]}, found, len(found), tmp_path)
    return tmp_path


def test_every_house_is_found_by_its_id_alone(folder):
    for number, house_id in enumerate(ODD):
        house = read_house(folder, house_id)
        assert house is not None
        assert house["place"] == [45.123456 + number, -75.654321]
    assert read_house(folder, "nobody") is None
    assert read_run(folder)["chunks"] == 3


def test_the_chunk_follows_from_the_id_as_in_the_reference_of_fnv():
    assert chunk_of("a", 2**32) == 0xE40C292C
    assert chunk_of("foobar", 2**32) == 0xBF9CF968
    assert chunk_of("", 7) == 0x811C9DC5 % 7


def test_no_text_ends_a_script(folder):
    for path in folder.glob("*.js"):
        text = path.read_text(encoding="ascii")
        assert "<" not in text


def test_a_removed_house_is_in_no_file(folder):
    assert remove_houses(folder, {"7", "🏠", "nobody"}) == 2
    assert read_house(folder, "7") is None
    everything = "".join(path.read_text() for path in folder.glob("*.js"))
    assert '"7"' not in everything
    assert r"\ud83c" not in everything
    leaning = read_house(folder, "ünïcode")
    assert leaning["explained_by"] is None
    assert leaning["comparables"] == [{"rank": 1, "house_id": "شقة"}]
    assert len(read_run(folder)["around"]) == len(ODD) - 2
    assert remove_houses(folder, {"7"}) == 0


def test_fewer_houses_leave_no_old_chunk(folder):
    write_chunks({"around": []}, houses(["only"]), 1, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["chunk-0.js", "run.js"]


def test_what_is_not_there_or_damaged_is_said(folder, tmp_path):
    assert remove_houses(tmp_path / "none", {"7"}) == 0
    with pytest.raises(StorageError, match="not built"):
        read_house(tmp_path / "none", "7")
    for path in folder.glob("chunk-*.js"):
        path.write_text("housevis.receiveHouses(0,[{")
    with pytest.raises(StorageError, match="damaged"):
        read_house(folder, "7")


def test_the_page_itself_holds_no_house_and_asks_nobody(house_pages):
    page = render_house_page(house_pages)
    assert "H00007" not in page
    assert "<b>Houses" not in page
    assert "&lt;b&gt;Houses" in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(not re.match(r"(?:https?:)?//", address) for address in addresses)


def test_what_all_houses_share_is_small(house_pages, tmp_path):
    report = build_house_pages(house_pages, tmp_path)
    assert report.houses == 60
    assert report.shared_bytes < 120_000
    assert (tmp_path / FOLDER / "run.js").stat().st_size < 60_000


def test_an_estimate_of_a_model_that_has_seen_the_house_is_refused(house_pages, tmp_path):
    seen = {name: {"H00003"} for name in house_pages.training_houses}
    with pytest.raises(LeakError, match="H00003"):
        build_house_pages(replace(house_pages, training_houses=seen), tmp_path)
    assert not (tmp_path / FOLDER).exists()
