"""The manifest of a map: every file with its size and its SHA-256."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from housevis.core.errors import StorageError
from housevis.core.storage import write_file
from housevis.views.integrity import hash_of

MANIFEST: Final = "manifest.json"

_PICTURES: Final = ("pictures", "base")

SCRIPT_FOLDERS: Final = ("atlas", "house", "vendor")
"""Folders of a map that hold its scripts and styles, as the package has them."""

_REMEDY: Final = "Delete the folder of the map and run the command again."


def write_manifest(folder: Path, run_id: str) -> dict[str, Any]:
    """Write ``manifest.json``: the run, and of every file in the folder its bytes and SHA-256.

    Args:
        folder: The folder of a map whose other files are all there.
        run_id: The run that is shown.
    """
    files = {}
    for name in _files(folder):
        content = (folder / name).read_bytes()
        files[name] = {"bytes": len(content), "sha256": hash_of(content)}
    manifest = {"run_id": run_id, "files": files}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """File -> its ``bytes`` and ``sha256``; nothing where there is no manifest.

    Raises:
        StorageError: The manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {
            str(name): {"bytes": int(of["bytes"]), "sha256": str(of["sha256"])} for name, of in files.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError("the manifest of this map is damaged", where=str(path), remedy=_REMEDY) from None


def changed_files(folder: Path) -> list[str]:
    """Files of a map that are not what its manifest says: changed, missing, or not listed.

    Raises:
        StorageError: The manifest is damaged.
    """
    listed = read_manifest(folder)
    there = set(_files(folder))
    differ = {name for name in listed.keys() & there if listed[name]["sha256"] != _digest(folder / name)}
    return sorted(differ | (listed.keys() ^ there))


def runs_as_built(folder: Path, pages: Sequence[str]) -> bool:
    """Whether a map's pages, scripts and styles are as they were built, by this version of housevis.

    Its data and pictures, which are many, are not looked at.

    Args:
        folder: The folder of the map.
        pages: Names of its pages.
    """
    try:
        listed = read_manifest(folder)
    except StorageError:
        return False
    with resources.as_file(resources.files("housevis.views") / "static") as static:
        ours = {
            f"{part}/{path.name}": _digest(path)
            for part in SCRIPT_FOLDERS
            for path in (static / part).iterdir()
            if path.is_file()
        }
    wanted = {name: listed.get(name, {}).get("sha256") for name in pages} | ours
    return all(
        listed.get(name, {}).get("sha256") == digest
        and (folder / name).is_file()
        and _digest(folder / name) == digest
        for name, digest in wanted.items()
    )


def drop_damaged_pictures(folder: Path) -> int:
    """Take pictures away that differ from the manifest, so that they are written again.

    A manifest that cannot be read vouches for no picture: then all go.

    Returns:
        How many went.
    """
    try:
        listed = read_manifest(folder)
    except StorageError:
        listed = {f"{part}/{name}": {"sha256": ""} for part in _PICTURES for name in _files(folder / part)}
    damaged = [
        folder / name
        for name, facts in listed.items()
        if name.split("/")[0] in _PICTURES
        and (folder / name).is_file()
        and facts["sha256"] != _digest(folder / name)
    ]
    for path in damaged:
        path.unlink()
    return len(damaged)


def check_vendored(folder: Path) -> None:
    """Refuse scripts and styles of others that are not the pinned ones.

    Args:
        folder: Holds them and their own ``manifest.json``.

    Raises:
        StorageError: Names the first that differs.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for package in manifest["packages"]:
        for name, digest in package["files"].items():
            if _digest(folder / name) != digest:
                raise StorageError(
                    f"{name} is not the released file of {package['package']} {package['version']}",
                    where=str(folder / name),
                    remedy="Install housevis again.",
                )


def _files(folder: Path) -> list[str]:
    """The files of a folder by their paths relative to it, in order, without hidden ones and the manifest."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(folder).as_posix()
        before = "" if inside == "." else f"{inside}/"
        found += [before + name for name in names if not name.startswith(".")]
    return sorted(set(found) - {MANIFEST})


def _digest(path: Path) -> str:
    return hash_of(path.read_bytes())
