"""The gallery as text: rows, columns, scores, one scale per method, and nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from housevis.core.errors import DataError
from housevis.explain.heatmap import Heatmap, heat_to_rgba, shared_scale
from housevis.views.gallery import (
    GalleryCell,
    GalleryData,
    GalleryPicture,
    GalleryScore,
    build_gallery,
    place_in_words,
    render_gallery,
)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def of(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.tags
            if name == tag and all(found.get(key.rstrip("_")) == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="module")
def page(gallery_data: GalleryData) -> Page:
    return Page(render_gallery(gallery_data))


def table(page: str, part: str) -> str:
    found = re.search(rf"<{part}>(.*?)</{part}>", page, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_one_row_per_house_and_one_column_per_method(gallery_data: GalleryData, page: Page) -> None:
    text = render_gallery(gallery_data)
    body = table(text, "tbody")
    assert body.count("<tr") == 5
    assert body.count("<td>") == 5 * 3
    assert len(page.of("th", scope="col")) == 4
    assert [each["abbr"] for each in page.of("th", scope="row") if "abbr" in each] == [
        f"House H{number:05d}" for number in range(5)
    ]
    for words in ("Houses of Alderbrook", "Grad-weight transfer", "A map to be wary of.", "CA$302,000"):
        assert words in page.words
    assert "association, not cause" in page.words


def test_every_picture_has_words(page: Page) -> None:
    shown = [image for image in page.of("img") if image.get("alt") != ""]
    assert len([image for image in shown if image.get("class") == "photo"]) == 5
    heats = page.of("img", class_="heat")
    assert len(heats) == 5 * 3 - 1
    assert all(image["alt"] for image in shown)
    assert any("adds most" in str(image["alt"]) and "takes most" in str(image["alt"]) for image in heats)
    assert page.words.count("Drawn for a test") == 5
    assert len(page.of("i", class_="mark", style="left:50.00%;top:25.00%")) == 5


def test_a_refused_map_is_said_and_not_drawn(gallery_data: GalleryData) -> None:
    row = table(render_gallery(gallery_data), "tbody").split("<tr")[2]
    assert row.count('class="heat"') == 2
    assert "its heat is the same in every cell" in row
    assert row.split("<td>")[3].count("<dd>–</dd>") == 3


def test_the_foot_holds_means_and_how_many(gallery_data: GalleryData) -> None:
    columns = [Page(part).words for part in table(render_gallery(gallery_data), "tfoot").split("<td>")[1:]]
    assert "−0.05 n 5" in " ".join(columns[0].split())
    assert "50.0 % n 5" in " ".join(columns[0].split())
    assert "0.50 n 5" in " ".join(columns[1].split())
    assert "– n 0" in " ".join(columns[1].split())
    assert "1.00 n 4" in " ".join(columns[2].split())
    assert "2.0 % n 4" in " ".join(columns[2].split())


def test_the_glossary_says_which_way_is_better(page: Page) -> None:
    words = " ".join(page.words.split())
    assert "Agreement ↑ higher is better Whether the order is the same." in words
    assert "Insertion ↓ lower is better How far it moves." in words
    assert "They cover 4 %" in words


def test_a_method_has_one_scale_for_all_rows(gallery_data: GalleryData, page: Page) -> None:
    heats = page.of("img", class_="heat")
    for column, drawn in ((0, [0, 3, 5, 8, 11]), (1, [1, 4, 6, 9, 12])):
        method = gallery_data.methods[column]
        maps = [row.cells[column].heatmap.values for row in gallery_data.rows]
        scale = shared_scale(np.stack(maps), signed=method.signed)
        for values, place in zip(maps, drawn, strict=True):
            png = base64.b64decode(str(heats[place]["src"]).split(",")[1])
            with Image.open(io.BytesIO(png)) as picture:
                found = np.asarray(picture.convert("RGBA"))
            wanted = heat_to_rgba(values, scale, pixels_per_cell=6, signed=method.signed)
            np.testing.assert_array_equal(found, wanted)


def test_the_legend_of_a_signed_map_is_in_currency(gallery_data: GalleryData, page: Page) -> None:
    words = " ".join(page.words.split())
    ends = re.search(r"−CA\$([\d,]+) ?0 ?\+CA\$([\d,]+)", words)
    assert ends is not None
    assert ends[1] == ends[2]
    assert "a cell of 5 × 5 m" in words
    total = float(gallery_data.rows[0].cells[1].heatmap.values.sum())
    assert f"{'+' if total > 0 else '−'}CA$" in words


def test_lenders_are_named_and_shown(gallery_data: GalleryData, page: Page) -> None:
    assert page.words.count("Weights lent by house") == 5
    assert len([image for image in page.of("img") if "lender, house L0" in str(image.get("alt"))]) == 3
    text = render_gallery(replace(gallery_data, lenders={}))
    assert "Picture of the lender" not in text
    assert Page(text).words.count("Weights lent by house") == 5


def test_nothing_is_asked_for_elsewhere(gallery_data: GalleryData, page: Page) -> None:
    text = render_gallery(gallery_data)
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name)
    without_data = re.sub(r"data:[^\")\']+", "", text)
    assert not re.findall(r"https?:|//[\w.]+\.|@import|url\((?!\))", without_data)
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"');--"


def test_hostile_text_stays_text(gallery_data: GalleryData) -> None:
    row = gallery_data.rows[0]
    cells = [replace(row.cells[0], lender=HOSTILE), *row.cells[1:]]
    hostile = replace(
        gallery_data,
        title=HOSTILE,
        meta=HOSTILE,
        notice=HOSTILE,
        lead=(HOSTILE,),
        methods=[
            replace(gallery_data.methods[0], title=HOSTILE, says=HOSTILE, caution=HOSTILE),
            *gallery_data.methods[1:],
        ],
        scores=[replace(gallery_data.scores[0], name=HOSTILE, meaning=HOSTILE, reference=HOSTILE)],
        rows=[
            replace(
                row,
                name=HOSTILE,
                facts=((HOSTILE, HOSTILE),),
                picture=replace(row.picture, attribution=HOSTILE),
                cells=cells,
            )
        ],
        lenders={HOSTILE: gallery_data.lenders["L0"]},
    )
    page = Page(render_gallery(hostile))
    assert len(page.of("script")) == 1
    assert not [image for image in page.of("img") if image.get("src") == "x"]
    assert page.words.count("alert(1)") > 10
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


def test_a_true_box_is_drawn_on_every_picture_of_its_row(gallery_data: GalleryData) -> None:
    boxed = GalleryPicture(gallery_data.rows[0].picture.pixels, "Drawn", box=(0.1, 0.2, 0.6, 0.9))
    rows = [replace(gallery_data.rows[0], picture=boxed), *gallery_data.rows[1:]]
    page = Page(render_gallery(replace(gallery_data, rows=rows, subject="picture")))
    style = "left:10.00%;top:20.00%;width:50.00%;height:70.00%"
    assert len(page.of("i", class_="box", style=style)) == 4
    assert "is the true box" in page.words
    assert "not an appraisal" not in page.words


def test_a_gallery_without_scores_or_maps(gallery_data: GalleryData) -> None:
    empty = Heatmap(np.zeros((7, 7), np.float32), "CAD", (0, 0, 1, 1), "value map", "flat", True)
    rows = [
        replace(row, cells=[row.cells[0], GalleryCell(empty), row.cells[2]]) for row in gallery_data.rows[:1]
    ]
    text = render_gallery(replace(gallery_data, scores=(), rows=rows))
    assert "<tfoot>" not in text
    assert "What the scores say" not in text
    assert "NaN" not in text


def test_rows_must_fit_the_methods(gallery_data: GalleryData) -> None:
    with pytest.raises(DataError, match="3 maps for 2 methods"):
        render_gallery(replace(gallery_data, methods=gallery_data.methods[:2]))
    with pytest.raises(DataError, match="needs a row"):
        render_gallery(replace(gallery_data, rows=()))


def test_the_file_is_written_whole_into_a_new_folder(gallery_data: GalleryData, tmp_path: Any) -> None:
    path = tmp_path / "new" / "gallery.html"
    size = build_gallery(gallery_data, path)
    assert path.stat().st_size == size
    assert [each.name for each in path.parent.iterdir()] == ["gallery.html"]
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ((0, 0), "upper left"),
        ((3, 3), "middle"),
        ((6, 6), "lower right"),
        ((3, 0), "left"),
        ((0, 3), "upper"),
    ],
)
def test_places_in_words(cell: tuple[int, int], words: str) -> None:
    assert place_in_words(*cell, 7, 7) == words


def test_scores_are_written_with_a_true_minus() -> None:
    plain = GalleryScore("a", "A", "", "higher")
    share = GalleryScore("b", "B", "", "lower", "percent")
    assert plain.text(-0.254) == "−0.25"
    assert share.text(0.1234) == "12.3 %"
    assert plain.text(-0.001) == "0.00"
