"""What the house pages show, as script files of a few houses each, and how one house is found in them.

A page opened from disk may not fetch files, but it may add script elements.
The file of a house follows from its id alone (:func:`chunk_of`), so no index
has to be loaded, and taking a house out moves no other.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from housevis.core.errors import StorageError
from housevis.core.storage import write_file
from housevis.views.words import script_json

FOLDER: Final = "houses"
"""The folder beside the map that holds the chunks."""

RUN_FILE: Final = "run.js"
"""What all houses have in common."""

HOUSES_PER_CHUNK: Final = 4
"""On average; some hold four times as many, and a house of King County takes about 6.5 KB."""

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


def chunk_of(house_id: str, chunks: int) -> int:
    """The chunk that holds a house: FNV-1a (32 bit) of its id in UTF-8, modulo the number of chunks."""
    value = _FNV_OFFSET
    for byte in house_id.encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return value % chunks


def write_chunks(
    run: Mapping[str, Any], houses: Iterable[Mapping[str, Any]], count: int, folder: Path
) -> list[int]:
    """Write the chunks into a folder, and take those of an earlier call away.

    Args:
        run: What all houses have in common; ``chunks`` is added to it.
        houses: The details of each house, with ``house_id``.
        count: How many houses there are.
        folder: The folder; made if it is not there.

    Returns:
        The size of each chunk in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chunks = max(1, -(-count // HOUSES_PER_CHUNK))
    written: list[list[Mapping[str, Any]]] = [[] for _ in range(chunks)]
    for house in houses:
        written[chunk_of(house["house_id"], chunks)].append(house)
    sizes = [_write_chunk(folder, number, chunk) for number, chunk in enumerate(written)]
    names = {_name(number) for number in range(chunks)}
    for path in folder.glob("chunk-*.js"):
        if path.name not in names:
            path.unlink()
    _write_run(folder, {**run, "chunks": chunks})
    return sizes


def read_run(folder: Path) -> dict[str, Any]:
    """What all houses have in common.

    Raises:
        StorageError: The house pages are not there, or damaged.
    """
    return dict(_read(folder / RUN_FILE))


def read_house(folder: Path, house_id: str) -> dict[str, Any] | None:
    """The details of one house; None where there is no such house.

    Raises:
        StorageError: The house pages are not there, or damaged.
    """
    number = chunk_of(house_id, int(read_run(folder)["chunks"]))
    for house in _read(folder / _name(number)):
        if house["house_id"] == house_id:
            return dict(house)
    return None


def remove_houses(folder: Path, house_ids: Collection[str]) -> int:
    """Take houses out of the chunks: their own details, and where they stand in those of others.

    A process that is killed meanwhile leaves chunks that are each whole; a
    second call finishes it.

    Args:
        folder: The folder of the chunks. Nothing happens where there is none.
        house_ids: The houses.

    Returns:
        How many houses were shown.

    Raises:
        StorageError: A chunk is damaged.
    """
    if not house_ids or not (folder / RUN_FILE).is_file():
        return 0
    gone = set(house_ids)
    marks = [script_json(house_id) for house_id in gone]
    changed: dict[int, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("chunk-*.js")):
        text = path.read_text(encoding="ascii")
        if any(mark in text for mark in marks):
            changed[int(path.stem.removeprefix("chunk-"))] = _parsed(text, path)
    removed = [house for houses in changed.values() for house in houses if house["house_id"] in gone]
    if removed:
        # The places go first: who finishes a killed removal finds them by the houses.
        run, places = read_run(folder), [around_place(*house["place"]) for house in removed]
        _write_run(folder, {**run, "around": [place for place in run["around"] if place not in places]})
    for number, houses in changed.items():
        kept = [_without(house, gone) for house in houses if house["house_id"] not in gone]
        _write_chunk(folder, number, kept)
    return len(removed)


def _without(house: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    comparables = house["comparables"]
    if comparables is not None:
        comparables = [each for each in comparables if each["house_id"] not in gone]
        comparables = [{**each, "rank": rank} for rank, each in enumerate(comparables, start=1)]
    lender = house["explained_by"]
    if lender is not None and lender.get("house_id") in gone:
        lender = None
    return {**house, "comparables": comparables, "explained_by": lender}


def around_place(latitude: float, longitude: float) -> list[float]:
    """A place of another sale on the little map, degrees, to about a metre."""
    return [round(round(degrees, 6), 5) for degrees in (latitude, longitude)]


def _name(number: int) -> str:
    return f"chunk-{number}.js"


def _write_chunk(folder: Path, number: int, houses: list[Any]) -> int:
    return write_file(folder / _name(number), f"housevis.receiveHouses({number},{script_json(houses)});\n")


def _write_run(folder: Path, run: Mapping[str, Any]) -> None:
    write_file(folder / RUN_FILE, f"housevis.houses={script_json(run)};\n")


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        raise StorageError(
            "the house pages are not built", where=str(path), remedy="Run `housevis atlas CONFIG`."
        ) from None
    except UnicodeDecodeError:
        raise _damaged(path) from None
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> Any:
    try:
        start = text.index("=" if path.name == RUN_FILE else ",") + 1
        return json.loads(text[start:].rstrip().removesuffix(";").removesuffix(")"))
    except ValueError:
        raise _damaged(path) from None


def _damaged(path: Path) -> StorageError:
    return StorageError(
        "this file of the house pages is damaged",
        where=str(path),
        remedy="Delete the folder of the map and run `housevis atlas CONFIG` again.",
    )
