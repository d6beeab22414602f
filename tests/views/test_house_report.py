"""The two pages of one house: what they say, that text stays text, and that they print as two pages."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from housevis.views.data import Headline
from housevis.views.house_charts import locator_chart, range_chart, waterfall_chart
from housevis.views.house_report import (
    MOST_DRIVERS,
    HouseComparable,
    HouseMap,
    HousePhoto,
    HousePictures,
    HouseReportData,
    build_house_report,
    driver_steps,
    render_house_report,
)

HOSTILE = '<b>7 </script><script>alert(1)</script> "Lane" & Co</b>'


def photo(number: int = 0) -> HousePhoto:
    pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    return HousePhoto(pixels, (0.5, 0.5), 67.0, "Sample imagery", number % 2)


def pictures(**changes: Any) -> HousePictures:
    values = np.zeros((14, 14), np.float32)
    values[3, 4], values[9, 9] = 5000, -2000
    found = HousePictures(
        photo=photo(),
        value=HouseMap(values, 4000.0),
        surroundings=-1200.0,
        attention=HouseMap(np.abs(values), 5000.0),
        attention_note="Weights lent by house h7.",
        under=[["Lawn", 0.61, 0.7, -1500], ["Pools", None, 0.002, None]],
        under_notes=["How far to trust it."],
        credit="Sample imagery",
        rights="licence 7",
    )
    return replace(found, **changes)


def comparables(count: int = 6, with_photo: bool = True) -> list[HouseComparable]:
    return [
        HouseComparable(
            rank=number,
            house_id=f"c{number}",
            address=f"{number} Alder Lane",
            place=(47.6 + 0.001 * number, -122.3 + 0.002 * (number % 3)),
            sale_date=pd.Timestamp("2024-01-10") + pd.Timedelta(days=90 * number),
            price=400_000.0 + 5_000 * number,
            adjusted_price=405_000.0 + 5_000 * number,
            metres=120.0 * number,
            why=f"same leaf in {80 - number} % of trees; {120 * number} m away; 3 bedrooms as here",
            photo=photo(number) if with_photo else None,
        )
        for number in range(1, count + 1)
    ]


def house(**changes: Any) -> HouseReportData:
    drivers = [("latitude", 12_000.0), ("longitude", 3_000.0), ("area_m2", 20_000.0), ("picture", -8_000.0)]
    found = HouseReportData(
        market="Sample market",
        run_id="20240101-000000-abc",
        created="made 2024-01-01",
        house_id="h1",
        address="1 Alder Lane",
        place=(47.6, -122.3),
        facts=[("bedrooms", "3")],
        currency="USD",
        area_unit="ft2",
        valuation_date=pd.Timestamp("2024-08-01"),
        estimate=427_000.0,
        low=380_000.0,
        high=470_000.0,
        interval=0.9,
        price=440_000.0,
        sample="later sale",
        base=400_000.0,
        drivers=drivers,
        without_picture=431_000.0,
        used_picture=True,
        headline=Headline(500, 0.61, 0.6, 0.01, -0.01, 0.03),
        pictures=pictures(),
        comparables=comparables(),
        adjustment="Prices are adjusted to the valuation date.",
        around=np.array([[47.601, -122.301], [47.602, -122.302]]),
    )
    return replace(found, **changes)


def long_house() -> HouseReportData:
    """As much text as a report can be given."""
    words = "An uncommonly long account of what stands in the listing, "
    many = [(f"attribute_with_a_long_name_{number}", 9_000.0 - 700 * number) for number in range(24)]
    far = [
        replace(
            one,
            address=words,
            house_id="id-" * 40,
            why=words * 8,
            price=12_345_678.0,
            sale_date=pd.Timestamp("2024-12-01"),
        )
        for one in comparables()
    ]
    total = 400_000.0 + sum(amount for _, amount in many) + 100.0
    return house(
        market=words * 3,
        address=words * 9 + "unbroken" * 40,
        house_id="x" * 300,
        facts=[("a fact with a long name of its own", words)] * 12,
        notice=words * 9,
        drivers=[*many, ("picture", 100.0)],
        estimate=total,
        confidence="low",
        confidence_reasons=[words * 5] * 9,
        sample="cross-fitted",
        pictures=pictures(
            attention_note=words * 9,
            credit=words * 9,
            rights=words * 9,
            under=[[f"Ground of class {number}", 0.1, 0.1, 1e6] for number in range(7)],
            under_notes=[words * 9] * 2,
            photo=replace(photo(1), attribution=words * 5),
        ),
        comparables=far,
        adjustment=words * 4,
    )


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("</style>")[1]))


def test_both_pages_say_that_it_is_an_estimate_and_who_judged_it() -> None:
    page = text_of(render_house_report(house()))

    assert page.lower().count("not an appraisal") == 2
    assert "Estimate as of 1 August 2024" in page
    assert "$427,000" in page
    assert "$380,000 to $470,000" in page
    assert "Judged by a model that has not seen it: it learned from earlier sales only" in page
    assert "may predate the sale" in page
    assert "Used by right of: licence 7" in page
    assert "3.0 % below it" in page


def test_the_value_map_speaks_of_ground_in_the_listings_unit() -> None:
    assert "(blue), per 1,000 sq ft of ground" in text_of(render_house_report(house()))
    assert "(blue), per 100 m² of ground" in text_of(render_house_report(house(area_unit="m2")))


def test_comparables_after_the_valuation_date_are_marked() -> None:
    page = text_of(render_house_report(house(sample="cross-fitted")))

    assert page.count("made after the valuation date") == 1
    assert len(re.findall(r"sold \d+ \w+ \d{4}, after", page)) == 4
    none_after = [one for one in comparables() if one.sale_date <= pd.Timestamp("2024-08-01")]
    assert "after the valuation date" not in text_of(render_house_report(house(comparables=none_after)))


def test_confidence_and_its_reasons_stand_where_the_run_has_grades() -> None:
    page = text_of(render_house_report(house(confidence="low", confidence_reasons=["few sales nearby"])))

    assert "Confidence: low" in page
    assert "few sales nearby" in page
    assert "Confidence" not in text_of(render_house_report(house()))


def test_text_of_listings_stays_text() -> None:
    hostile = replace(comparables(1)[0], address=HOSTILE, why=HOSTILE, house_id=HOSTILE)
    page = render_house_report(
        house(
            address=HOSTILE, house_id=HOSTILE, comparables=[hostile], drivers=[(HOSTILE, 5.0)], market=HOSTILE
        )
    )

    assert "<script" not in page
    assert "<b>7" not in page
    assert "alert(1)" in page


def test_nothing_is_asked_from_elsewhere() -> None:
    page = render_house_report(house())
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert "url(" not in page


def test_a_run_without_pictures_has_pages_without_them() -> None:
    page = render_house_report(
        house(pictures=None, used_picture=False, comparables=comparables(with_photo=False))
    )

    assert "<img" not in page
    assert "picture" not in text_of(page).lower()
    assert "value map" not in text_of(page).lower()
    assert "Sales that support this estimate" in page


def test_a_house_without_imagery_says_so() -> None:
    page = text_of(render_house_report(house(pictures=pictures(photo=None), used_picture=False)))
    assert "There is no imagery of this house" in page


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (None, "it may predate the sale"),
        (date(2020, 6, 1), "Taken about June 2020, 4 years before the sale."),
        (date(2025, 1, 1), "Taken about January 2025, 5 months after the sale."),
        (date(2024, 7, 30), "near the sale."),
    ],
)
def test_the_date_of_the_picture_is_told_where_it_is_known(taken: date | None, words: str) -> None:
    assert words in text_of(render_house_report(house(pictures=pictures(taken=taken))))


def test_a_refused_value_map_says_why() -> None:
    refused = pictures(value=HouseMap(np.zeros((2, 2)), 1.0, "The method points nowhere in this picture."))
    page = text_of(render_house_report(house(pictures=refused)))
    assert "The method points nowhere in this picture." in page
    assert "−$8,000" in page


def test_a_run_without_comparables_says_how_to_get_them() -> None:
    page = text_of(render_house_report(house(comparables=None)))
    assert "housevis evaluate CONFIG" in page


def test_drivers_with_one_label_are_one_bar_and_small_ones_are_put_together() -> None:
    few = driver_steps([("latitude", 3.0), ("longitude", -1.0), ("picture", 0.5)])
    assert few == [("Location", 2.0, False), ("Aerial picture", 0.5, True)]

    many = driver_steps([*((f"a{number}", 100.0 - number) for number in range(20)), ("picture", 0.25)])
    assert len(many) == MOST_DRIVERS + 1
    assert ("Aerial picture", 0.25, True) in many
    assert sum(amount for _, amount, _ in many) == pytest.approx(sum(100.0 - n for n in range(20)) + 0.25)
    assert many[-1][0] == "12 smaller drivers"


def test_the_waterfall_ends_where_the_estimate_is() -> None:
    steps = driver_steps(house().drivers)
    root = ElementTree.fromstring(str(waterfall_chart(400_000.0, steps, 427_000.0, "USD")))
    bars = [part for part in root.iter() if part.tag.endswith("rect")]
    mark = [part for part in root.iter() if part.get("class") == "mark"]
    last, first = bars[-1], bars[0]
    x = float(re.findall(r"M([\d.]+)", mark[0].get("d", ""))[0])

    assert [part.get("class") for part in bars] == ["adds", "adds", "takes picture"]
    assert float(first.get("width", 0)) / float(last.get("width", 1)) == pytest.approx(20 / 8, rel=0.02)
    assert float(last.get("x", 0)) == pytest.approx(x, abs=0.2)


@pytest.mark.parametrize("price", [None, 100_000.0, 440_000.0, 3_000_000.0])
def test_the_range_holds_what_it_should_and_stays_in_its_drawing(price: float | None) -> None:
    drawing = str(range_chart(427_000.0, 380_000.0, 470_000.0, price, [1.0, 430_000.0, 1e9], "USD"))
    root = ElementTree.fromstring(drawing)
    circles = [float(part.get("cx", -1)) for part in root.iter() if part.tag.endswith("circle")]

    assert len(circles) == 3
    assert all(0 <= x <= 440 for x in circles)
    assert ("sold for" in drawing) == (price is not None)


@pytest.mark.parametrize(
    "places",
    [
        [(47.6, -122.3)] * 6,
        [(47.601, -122.3), (47.602, -122.31), (48.9, -121.0)],
        [(47.6, 179.999), (47.6, -179.999)],
        [],
    ],
)
def test_the_little_map_keeps_discs_inside_and_apart(places: list[tuple[float, float]]) -> None:
    house_place = places[-1] if len(places) == 2 else (47.6, -122.3)
    root = ElementTree.fromstring(str(locator_chart(house_place, places, np.empty((0, 2)))))
    discs = [
        (float(part.get("cx", -1)), float(part.get("cy", -1)))
        for part in root.iter()
        if part.get("class", "").startswith("disc")
    ]

    assert len(discs) == len(places)
    assert all(0 < x < 330 and 0 < y < 205 for x, y in discs)
    for number, one in enumerate(discs):
        assert all(math.dist(one, other) > 14 for other in discs[:number])


@pytest.mark.browser
@pytest.mark.parametrize(
    "data",
    [
        house(),
        long_house(),
        house(pictures=None, used_picture=False, comparables=comparables(with_photo=False)),
        replace(long_house(), pictures=None, used_picture=False),
    ],
    ids=["plain", "long texts and many drivers", "no pictures", "long, no pictures"],
)
def test_it_prints_as_two_pages_and_nothing_runs_into_the_foot(
    browser: Any, tmp_path: Path, data: HouseReportData
) -> None:
    file = tmp_path / "house.html"
    build_house_report(data, file)
    page = browser.new_page(viewport={"width": 794, "height": 1123})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
    page.context.set_offline(True)
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    printed = page.pdf(prefer_css_page_size=True, print_background=True)
    room = page.evaluate(
        """() => [...document.querySelectorAll('article.page')].map(sheet => {
            const foot = sheet.querySelector('footer').getBoundingClientRect().top;
            const parts = [...sheet.children].filter(part => part.tagName !== 'FOOTER');
            const rights = [...sheet.querySelectorAll('*')].map(part => part.getBoundingClientRect().right);
            return [foot - Math.max(...parts.map(part => part.getBoundingClientRect().bottom)),
                    sheet.getBoundingClientRect().right - Math.max(...rights)];
        })"""
    )
    page.close()

    assert said == []
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) == 2
    assert len(room) == 2
    for below, beside in room:
        assert below >= 0
        assert beside >= 0


@pytest.mark.browser
def test_it_can_be_read_by_everyone(browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = browser.new_page(viewport={"width": 1024, "height": 900})
    for shown in (house(), house(pictures=None, comparables=None), long_house()):
        page.set_content(render_house_report(shown))
        found = axe.run(page).response["violations"]
        places = [(rule["id"], rule["nodes"][0]["html"][:120]) for rule in found]
        assert places == []
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("data", [house(), long_house()], ids=["plain", "long texts and many drivers"])
def test_on_a_phone_it_is_as_wide_as_the_screen(browser: Any, data: HouseReportData) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.set_content(render_house_report(data))
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    cut = page.evaluate(
        "[...document.querySelectorAll('article *')].filter(part => !part.closest('.drivers')"
        " && part.getBoundingClientRect().right > 360).map(part => part.outerHTML.slice(0, 120))"
    )
    assert cut == []
    assert page.evaluate("getComputedStyle(document.querySelector('footer')).position") == "static"
    assert [rule["id"] for rule in axe.run(page).response["violations"]] == []
    page.close()
