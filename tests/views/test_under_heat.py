from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.land_cover import LAND_COVERS
from housevis.explain.under_heat import UnderHeat
from housevis.views.atlas import build_atlas
from housevis.views.atlas_data import under_rows
from housevis.views.report import render_report
from housevis.views.words import COVER_LABELS


def read_page_data(folder: Path) -> tuple[dict, dict[str, dict]]:
    """Settings of the page, and the details by house."""
    text = (folder / "data" / "houses.js").read_text()
    first = json.loads(text.removeprefix("housevis.houses=").rstrip(";\n"))
    details = []
    for number in range(len(list((folder / "data").glob("details-*.js")))):
        text = (folder / "data" / f"details-{number}.js").read_text()
        details += json.loads(text.removeprefix(f"housevis.receive({number},").removesuffix(");\n"))
    return first, dict(zip(first["house"], details, strict=True))


def test_every_class_has_a_name_on_the_pages() -> None:
    assert tuple(COVER_LABELS) == LAND_COVERS


def test_the_card_tells_what_is_under_the_heat(atlas_data, tmp_path: Path) -> None:
    build_atlas(atlas_data, tmp_path)
    first, details = read_page_data(tmp_path)
    assert first["pictures"]["underNotes"] == ["Roads are from a file: © Somebody."]
    under = atlas_data.pictures.under
    for row, record in enumerate(atlas_data.records.to_dict("records")):
        shown = details[record["house_id"]]["under"]
        if record["status"] == "no imagery":
            assert shown is None
            continue
        assert {line[0] for line in shown} == {"Roofs", "Lawn and other low green"}
        assert sum(line[2] for line in shown) == pytest.approx(1, abs=0.002)
        refused = record["status"] != "ok"
        assert all((line[1] is None) == refused for line in shown)
        assert all((line[3] is None) == (row % 3 == 2) for line in shown)
        if row % 3 != 2:
            assert sum(line[3] for line in shown) == pytest.approx(under.money[row].sum(), abs=2)


def test_a_map_of_before_land_cover_says_so(atlas_data, tmp_path: Path) -> None:
    pictures = replace(
        atlas_data.pictures,
        under=UnderHeat.unknown(len(atlas_data.records)),
        under_notes=("Explain the houses again.",),
    )
    build_atlas(replace(atlas_data, pictures=pictures), tmp_path)
    first, details = read_page_data(tmp_path)
    assert first["pictures"]["underNotes"] == ["Explain the houses again."]
    assert all(detail["under"] is None for detail in details.values())


def test_the_class_with_the_most_attention_comes_first_and_traces_are_left_out() -> None:
    shares = np.array([[0.3, 0.003, 0.2, 0.497, 0.0, 0.0, 0.0]])
    attention = np.array([[0.2, 0.001, 0.6, 0.199, 0.0, 0.0, 0.0]])
    under = UnderHeat(shares, attention, np.full((1, 7), np.nan))
    assert under_rows(under, 0) == [
        ["Trees", 0.6, 0.2, None],
        ["Roofs", 0.2, 0.3, None],
        ["Lawn and other low green", 0.199, 0.497, None],
    ]
    refused = UnderHeat(shares, np.full((1, 7), np.nan), np.full((1, 7), np.nan))
    assert [line[0] for line in under_rows(refused, 0)] == ["Lawn and other low green", "Roofs", "Trees"]


def test_the_report_has_a_table_over_the_market(report_data) -> None:
    page = render_report(report_data)
    assert "What is under the heat" in page
    for words in (
        "Pools",
        "2.00",
        "+CA$4,120",
        "Roads and paving",
        "−CA$1,320",
        "The classes were learned elsewhere.",
    ):
        assert words in page, words
    assert "Bare ground" not in page, "a class that no picture shows has no line"
    none = replace(
        report_data, pictures=replace(report_data.pictures, covers=(), cover_notes=("Not measured.",))
    )
    assert "Not measured." in render_report(none)
    silent = replace(report_data, pictures=replace(report_data.pictures, covers=(), cover_notes=()))
    assert "What is under the heat" not in render_report(silent)
