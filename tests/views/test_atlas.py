from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from housevis.core.errors import LeakError
from housevis.explain.heatmap import heat_to_rgba, shared_scale
from housevis.views.atlas import build_atlas
from housevis.views.atlas_colours import price_limits
from housevis.views.atlas_data import CHUNK_SIZE, driver_bars, spatial_order
from housevis.views.heat import PIXELS_PER_CELL, drawn_scale, heat_uri
from housevis.views.words import money, script_json

SIDE_METRES = 0.0008 * 111_195
STATIC = Path(__file__).resolve().parents[2] / "housevis" / "views" / "static"


def read_first_view(folder: Path) -> dict:
    text = (folder / "data" / "houses.js").read_text()
    return json.loads(text.removeprefix("housevis.houses=").rstrip(";\n"))


def read_details(folder: Path, kind: str = "details", receiver: str = "receive") -> list[dict]:
    details = []
    for number in range(len(list((folder / "data").glob(f"{kind}-*.js")))):
        text = (folder / "data" / f"{kind}-{number}.js").read_text()
        details += json.loads(text.removeprefix(f"housevis.{receiver}({number},").removesuffix(");\n"))
    return details


def read_overlays(folder: Path) -> list[dict]:
    return [overlay or {} for overlay in read_details(folder, "overlays", "receiveOverlays")]


def pixels_of(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGBA"))


def test_nothing_is_loaded_from_elsewhere(atlas_data, tmp_path):
    build_atlas(atlas_data, tmp_path)
    for path in tmp_path.rglob("*"):
        if path.suffix not in {".html", ".js", ".css"} or "vendor" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`<>)]+|(?<=[\"'(])//[a-z][^\s\"'`<>)]+", text))
        allowed = {"https://leafletjs.com", "http://www.w3.org/2000/svg"}
        assert addresses <= allowed, path
    page = (tmp_path / "index.html").read_text()
    for source in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        if not source.startswith(("data:", "../report.html")):
            assert (tmp_path / source).is_file(), source
    assert "user-scalable" not in page
    assert '<html lang="en">' in page


def test_vendored_files_are_the_pinned_ones():
    manifest = json.loads((STATIC / "vendor" / "manifest.json").read_text())
    listed = {"manifest.json"}
    for package in manifest["packages"]:
        for name, digest in package["files"].items():
            listed.add(name)
            assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest, name
    assert {path.name for path in (STATIC / "vendor").iterdir()} == listed


def test_every_sale_is_on_the_map_where_it_was(atlas_data, tmp_path):
    report = build_atlas(atlas_data, tmp_path)
    view, details = read_first_view(tmp_path), read_details(tmp_path)
    assert report.sales == len(view["house"]) == len(details) == 60
    assert len(list((tmp_path / "data").glob("details-*.js"))) == -(-60 // CHUNK_SIZE)
    records = atlas_data.records.set_index("house_id")
    for row, house in enumerate(view["house"]):
        record, detail = records.loc[house], details[row]
        assert view["origin"][0] + view["latitude"][row] * view["unit"] == pytest.approx(
            record["latitude"], abs=1e-6
        )
        assert view["price"][row] == round(record["price"])
        assert view["samples"][int(view["sample"][row])] == record["sample"]
        assert detail["model"] == record["model_id"]
        total = detail["base"] + sum(amount for _, amount in detail["drivers"])
        assert total == pytest.approx(record["estimate"], abs=6)
        if detail["neighbourRow"] is not None:
            assert view["house"][detail["neighbourRow"]] == record["neighbour_house_id"]


def test_statuses_decide_what_is_drawn(atlas_data, tmp_path):
    report = build_atlas(atlas_data, tmp_path)
    view, details = read_first_view(tmp_path), read_details(tmp_path)
    of = {house: details[row] for row, house in enumerate(view["house"])}
    over = dict(zip(view["house"], read_overlays(tmp_path), strict=True))
    assert [of[f"H0000{number}"]["status"] for number in range(5)] == [
        "ok", "flat", "no neighbour", "negligible", "no imagery",
    ]  # fmt: skip
    assert ["attention" in over[f"H0000{number}"] for number in range(5)] == [True, False, False, True, False]
    assert ["value" in over[f"H0000{number}"] for number in range(5)] == [True, True, True, True, False]
    assert of["H00004"]["picture"] is None
    assert report.without_imagery == 1
    assert view["pictures"]["sameWeights"] is False
    assert of["H00000"]["neighbour"] == "elsewhere-1"
    assert of["H00000"]["neighbourRow"] is None


def test_where_all_houses_have_the_same_weights_no_neighbour_is_named(atlas_data, tmp_path):
    build_atlas(replace(atlas_data, pictures=replace(atlas_data.pictures, same_weights=True)), tmp_path)
    assert read_first_view(tmp_path)["pictures"]["sameWeights"] is True
    details = read_details(tmp_path)
    assert any("attention" in overlay for overlay in read_overlays(tmp_path))
    assert {(detail["neighbour"], detail["neighbourRow"]) for detail in details} == {(None, None)}


def test_overlays_have_one_scale_for_the_set_and_their_place(atlas_data, tmp_path):
    build_atlas(atlas_data, tmp_path)
    view, overlays = read_first_view(tmp_path), read_overlays(tmp_path)
    pictures, statuses = atlas_data.pictures, atlas_data.records["status"].to_numpy()
    scale = drawn_scale(pictures.heat, statuses)
    drawn = pictures.values[atlas_data.records["value_status"] == "ok"]
    overlay = overlays[view["house"].index("H00010")]
    expected = heat_to_rgba(pictures.heat[10], scale, pixels_per_cell=PIXELS_PER_CELL)
    assert np.array_equal(pixels_of(overlay["attention"]), expected)
    expected = heat_to_rgba(
        pictures.values[10], shared_scale(drawn, signed=True), pixels_per_cell=PIXELS_PER_CELL, signed=True
    )
    assert np.array_equal(pixels_of(overlay["value"]), expected)
    assert overlay["bounds"] == pytest.approx(pictures.heat_bounds[10], abs=1e-7)
    assert heat_uri(np.zeros((7, 7), dtype=np.float32), 1.0).startswith("data:image/png;base64,")


def test_the_legend_of_the_value_map_is_an_amount_per_ground(atlas_data, tmp_path):
    build_atlas(atlas_data, tmp_path)
    pictures = atlas_data.pictures
    scale = shared_scale(pictures.values[atlas_data.records["value_status"] == "ok"], signed=True)
    side = SIDE_METRES / 7
    end = read_first_view(tmp_path)["pictures"]["legends"]["value"]["perSquareMetre"]
    assert end == pytest.approx(scale / side**2, rel=0.01)


def test_a_run_without_value_maps_or_grades_offers_none(atlas_data, tmp_path):
    records = atlas_data.records.drop(columns=["value_status", "confidence", "confidence_reasons"])
    build_atlas(
        replace(atlas_data, records=records, pictures=replace(atlas_data.pictures, values=None)), tmp_path
    )
    view = read_first_view(tmp_path)
    assert view["pictures"]["legends"]["value"] is None
    assert view["confidence"] is None
    assert not any("value" in overlay for overlay in read_overlays(tmp_path))


def test_what_houses_are_filtered_and_coloured_by(atlas_data, tmp_path):
    build_atlas(atlas_data, tmp_path)
    view, records = read_first_view(tmp_path), atlas_data.records.set_index("house_id")
    for row, house in enumerate(view["house"]):
        record = records.loc[house]
        assert view["bedrooms"][row] == record["bedrooms"]
        assert view["effect"][row] == round(dict(record["drivers"])["picture"])
        assert view["grades"][view["confidence"][row]] == record["confidence"]


def test_pictures_are_written_once_per_content_and_kept(atlas_data, tmp_path):
    pictures = atlas_data.pictures
    first_house = pictures.picture("H00000")
    calls: list[str] = []

    def shared(house_id: str):
        calls.append(house_id)
        image = pictures.picture(house_id)
        return (
            replace(image, pixels=first_house.pixels) if image is not None and house_id < "H00010" else image
        )

    report = build_atlas(replace(atlas_data, pictures=replace(pictures, picture=shared)), tmp_path)
    assert sorted(calls) == sorted(atlas_data.records["house_id"])
    assert report.pictures_written == 51
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    assert len(files) == 51
    victim = next(iter(files))
    victim.unlink()
    again = build_atlas(replace(atlas_data, pictures=replace(pictures, picture=shared)), tmp_path)
    assert (again.pictures_written, again.pictures_kept) == (1, 50)
    assert all(path.stat().st_mtime_ns == age for path, age in files.items() if path != victim)
    assert not list(tmp_path.rglob("*.part"))


def test_an_atlas_without_pictures_has_no_trace_of_them(bare_atlas_data, tmp_path):
    report = build_atlas(bare_atlas_data, tmp_path)
    assert report.without_imagery == report.houses == 60
    assert not (tmp_path / "pictures").exists()
    view, details = read_first_view(tmp_path), read_details(tmp_path)
    assert view["pictures"] is None
    assert not {"status", "neighbour", "picture", "heat"} & set(details[0])
    for house, detail in zip(view["house"], details, strict=True):
        assert "Aerial picture" not in dict(detail["drivers"]), house
        total = detail["base"] + sum(amount for _, amount in detail["drivers"])
        assert total == pytest.approx(view["estimate"][view["house"].index(house)], abs=6)
    page = (tmp_path / "index.html").read_text()
    assert "50.7 %" in page
    for word in ("icture", "points gained", "None", "ttention"):
        assert word not in page, word


def test_a_smaller_atlas_leaves_no_chunks_behind(atlas_data, tmp_path):
    build_atlas(atlas_data, tmp_path)
    small = replace(
        atlas_data,
        records=atlas_data.records.iloc[:20],
        pictures=replace(
            atlas_data.pictures,
            heat=atlas_data.pictures.heat[:20],
            values=atlas_data.pictures.values[:20],
            heat_bounds=atlas_data.pictures.heat_bounds[:20],
        ),
    )
    build_atlas(small, tmp_path)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "details-0.js", "houses.js", "overlays-0.js",
    ]  # fmt: skip


def test_in_sample_records_write_no_page(atlas_data, tmp_path):
    records = atlas_data.records.copy()
    records.loc[0, "model_id"] = "serving"
    with pytest.raises(LeakError, match="H00000@"):
        build_atlas(replace(atlas_data, records=records), tmp_path / "atlas")
    assert not (tmp_path / "atlas").exists()


def test_listing_text_cannot_become_markup(atlas_data, tmp_path):
    hostile = "</script><img src=x onerror=alert(1)> {{ 7 * 7 }}"
    build_atlas(replace(atlas_data, title=hostile, notice=hostile), tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page
    assert "</" not in (tmp_path / "data" / "houses.js").read_text()
    assert read_first_view(tmp_path)["address"].count("<b>1 </script><script>alert(1)</script> Lane</b>") == 1


def test_script_json_escapes_and_keeps_the_text():
    text = "</script> <!-- & \u2028 é"
    written = script_json(text)
    assert not set(written) & set("<>&\u2028é")
    assert json.loads(written) == text


def test_neighbours_on_the_ground_are_neighbours_in_the_order():
    rows, columns = np.mgrid[0:16, 0:16]
    order = spatial_order(rows.ravel() / 10.0, columns.ravel() / 10.0)
    assert sorted(order) == list(range(256))
    quarter = {(rows.ravel()[index] // 8, columns.ravel()[index] // 8) for index in order[:64]}
    assert len(quarter) == 1


def test_price_limits_are_round_and_ascending():
    prices = np.exp(np.random.default_rng(1).normal(13, 0.5, 5000))
    limits = price_limits(prices)
    assert limits == sorted(set(limits))
    assert len(limits) == 6
    assert all(limit % 10_000 == 0 for limit in limits)
    assert price_limits(np.full(10, 250_000.0)) == [250_000.0]


def test_drivers_with_one_label_are_added_up():
    bars = driver_bars([("latitude", 100.0), ("lot_area", -500.0), ("longitude", 50.4), ("picture", 10.0)])
    assert bars == [["Lot area", -500], ["Location", 150], ["Aerial picture", 10]]


def test_money_is_rounded_to_significant_digits():
    assert money(452_318.2, "USD", digits=3) == "$452,000"
    assert money(-1_234.5, "CAD") == "−CA$1,234"
    assert money(0, "CHF", digits=3) == "CHF 0"
