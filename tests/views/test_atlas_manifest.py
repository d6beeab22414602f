"""The manifest of a map, and what is found and mended by it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from housevis.core.errors import StorageError
from housevis.views.atlas import build_atlas
from housevis.views.atlas_manifest import (
    MANIFEST,
    changed_files,
    check_vendored,
    read_manifest,
    runs_as_built,
    write_manifest,
)

STATIC = Path(__file__).resolve().parents[2] / "housevis" / "views" / "static"


def test_every_file_is_listed_with_its_hash(atlas_folder: Path) -> None:
    listed = read_manifest(atlas_folder)
    there = {path.relative_to(atlas_folder).as_posix() for path in atlas_folder.rglob("*") if path.is_file()}
    assert set(listed) == there - {MANIFEST}
    for name in ("index.html", "data/houses.js", "data/overlays-0.js", "vendor/leaflet.js"):
        content = (atlas_folder / name).read_bytes()
        assert listed[name] == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert changed_files(atlas_folder) == []
    assert json.loads((atlas_folder / MANIFEST).read_text())["run_id"] == "20250301-120000-ab12cd"


def test_what_differs_is_named(atlas_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(atlas_folder, folder)
    (folder / "data" / "houses.js").write_text("housevis.houses=null;")
    (folder / "atlas" / "card.js").unlink()
    (folder / "extra.js").write_text("")
    assert changed_files(folder) == ["atlas/card.js", "data/houses.js", "extra.js"]
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(StorageError, match="manifest"):
        read_manifest(folder)


@pytest.mark.parametrize("manifest", ["kept", "damaged"])
def test_a_damaged_picture_is_written_again(atlas_data, tmp_path: Path, manifest: str) -> None:
    build_atlas(atlas_data, tmp_path)
    victim = next(tmp_path.glob("pictures/*/*.jpg"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:100])
    if manifest == "damaged":
        (tmp_path / MANIFEST).write_text("nonsense")
    again = build_atlas(atlas_data, tmp_path)
    assert victim.read_bytes() == whole
    assert again.pictures_written == (1 if manifest == "kept" else 59)
    assert changed_files(tmp_path) == []


def test_scripts_of_others_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    vendor = tmp_path / "vendor"
    shutil.copytree(STATIC / "vendor", vendor)
    check_vendored(vendor)
    with (vendor / "leaflet.js").open("a") as file:
        file.write("alert(1)")
    with pytest.raises(StorageError, match=r"leaflet\.js is not the released file"):
        check_vendored(vendor)


@pytest.mark.parametrize("name", ["atlas/card.js", "house/house.css", "index.html", "house.html", MANIFEST])
def test_a_map_whose_scripts_or_pages_changed_is_not_as_built(
    house_folder: Path, tmp_path: Path, name: str
) -> None:
    pages = ("index.html", "house.html")
    folder = tmp_path / "map"
    shutil.copytree(house_folder, folder)
    assert runs_as_built(folder, pages)
    (folder / name).write_bytes((folder / name).read_bytes() + b" damaged")
    assert not runs_as_built(folder, pages)
    (folder / name).unlink()
    assert not runs_as_built(folder, pages)


def test_a_map_with_the_scripts_of_another_version_is_not_as_built(
    house_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "map"
    shutil.copytree(house_folder, folder)
    (folder / "atlas" / "card.js").write_text("another version")
    write_manifest(folder, "run")
    assert changed_files(folder) == []
    assert not runs_as_built(folder, ("index.html", "house.html"))
