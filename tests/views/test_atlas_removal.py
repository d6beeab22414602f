"""Houses that are taken out of a map that is already built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from housevis.core.errors import StorageError
from housevis.views.atlas import build_atlas
from housevis.views.atlas_manifest import changed_files
from housevis.views.atlas_removal import AtlasRemoval, remove_from_atlas


def chunks(folder: Path, kind: str) -> list:
    """What the chunks of a kind hold."""
    content = []
    for number in range(len(list((folder / "data").glob(f"{kind}-*.js")))):
        text = (folder / "data" / f"{kind}-{number}.js").read_text()
        content += json.loads(text[text.index(",") + 1 :].removesuffix(");\n"))
    return content


def read(folder: Path) -> tuple[dict, list[dict]]:
    """The first view and the details of a map."""
    text = (folder / "data" / "houses.js").read_text()
    return json.loads(text[text.index("=") + 1 :].rstrip(";\n")), chunks(folder, "details")


def facts(folder: Path) -> dict[str, tuple]:
    """What belongs to each house, wherever it stands in the files."""
    view, details = read(folder)
    columns = (
        view["latitude"],
        view["longitude"],
        view["day"],
        view["price"],
        view["estimate"],
        view["sample"],
        view["bedrooms"],
        view["confidence"],
        view["effect"] or view["price"],
    )
    overlays = chunks(folder, "overlays") or view["house"]
    rows = zip(view["house"], *columns, details, overlays, strict=True)
    return {
        house: (*known, detail["base"], detail.get("picture"), overlay)
        for house, *known, detail, overlay in rows
    }


@pytest.mark.parametrize("kind", ["atlas_data", "bare_atlas_data"])
def test_the_others_stay_as_they_were(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    built = build_atlas(request.getfixturevalue(kind), tmp_path)
    expected = facts(tmp_path)
    gone = list(expected)[3:40:4]
    for house_id in gone:
        del expected[house_id]
    removed = remove_from_atlas(tmp_path, set(gone))
    assert removed.sales == len(gone)
    assert facts(tmp_path) == expected
    view, details = read(tmp_path)
    for detail in details:
        assert detail.get("neighbour") not in gone
        row = detail.get("neighbourRow")
        assert row is None or view["house"][row] == detail["neighbour"]
    assert f"<dd>{len(expected):,}</dd>" in built.page.read_text()
    shown = {detail["picture"]["file"] for detail in details if detail.get("picture")}
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.glob("pictures/*/*.jpg")} == shown
    assert changed_files(tmp_path) == []
    assert remove_from_atlas(tmp_path, set(gone)) == AtlasRemoval(0, 0)


def test_a_swap_that_was_killed_is_finished(atlas_data, tmp_path: Path) -> None:
    build_atlas(atlas_data, tmp_path)
    before = facts(tmp_path)
    gone = next(iter(before))
    shutil.copytree(tmp_path / "data", tmp_path / "data-old")
    remove_from_atlas(tmp_path, {gone})
    (tmp_path / "data").rename(tmp_path / "data-new")
    remove_from_atlas(tmp_path, {gone})
    assert facts(tmp_path) == {house: known for house, known in before.items() if house != gone}
    assert changed_files(tmp_path) == []
    assert not (tmp_path / "data-new").exists()
    assert not (tmp_path / "data-old").exists()


def test_no_map_is_no_mistake_and_a_damaged_one_is_told(atlas_data, tmp_path: Path) -> None:
    assert remove_from_atlas(tmp_path, {"a"}) == AtlasRemoval(0, 0)
    build_atlas(atlas_data, tmp_path)
    (tmp_path / "data" / "details-0.js").write_text("nonsense")
    with pytest.raises(StorageError, match="damaged"):
        remove_from_atlas(tmp_path, {"a"})
