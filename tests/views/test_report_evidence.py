"""The sections of the report on pictures, misses, fairness, market and model."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from data_pipeline.frames import HouseImage
from housevis.core.errors import LeakError
from housevis.pricing.equity import gini, lorenz_curves
from housevis.pricing.miss_diagnosis import biggest_misses
from housevis.pricing.picture_gain import moved_most, picture_gain
from housevis.pricing.price_level import price_level
from housevis.pricing.ratio_groups import ratio_groups
from housevis.pricing.representativeness import compare_by_picture
from housevis.pricing.sale_groups import PRICE, groupings
from housevis.views.curve_charts import level_chart, lorenz_chart, tenths_chart
from housevis.views.market_map import FEWEST_SALES, map_cells, market_maps
from housevis.views.moved_houses import moved_pictures
from housevis.views.report import build_report, render_report
from housevis.views.report_evidence import CardRow, Evidence, MarketLevel

HOSTILE = "<img src=x onerror=alert(1)>"


def later_sales(data) -> pd.DataFrame:
    """The made-up later sales with all that the evidence needs."""
    random = np.random.default_rng(8)
    table = data.estimates.copy()
    count = len(table)
    table["sale_date"] = pd.Timestamp("2024-09-01") + pd.to_timedelta(np.arange(count) % 120, "D")
    table["latitude"] = 45.2 + random.normal(0, 0.02, count)
    table["longitude"] = -75.7 + random.normal(0, 0.03, count)
    table["without_picture"] = table["price"] * np.exp(random.normal(0, 0.16, count))
    table["low"], table["high"] = table["estimate"] * 0.8, table["estimate"] * 1.25
    table["bedrooms"] = random.integers(1, 6, count).astype(float)
    table["area_m2"] = table["price"] / 3000
    table["used_picture"] = np.arange(count) % 10 > 0
    table["picture_effect"] = random.normal(0, 0.1, count)
    table["picture"] = table["picture_effect"] * table["estimate"]
    return table


def picture_of(number: int) -> HouseImage:
    random = np.random.default_rng(number)
    pixels = random.integers(0, 255, (224, 224, 3)).astype(np.uint8)
    return HouseImage(pixels, (0.0, 0.0, 1.0, 1.0), 0.4, "test", "Drawn for a test", (112.0, 112.0), 0)


@pytest.fixture
def evident(report_data):
    """The report with all of its sections."""
    later = later_sales(report_data)
    price, estimate = later["price"].to_numpy(), later["estimate"].to_numpy()
    known = later.assign(
        house_id="K" + later["house_id"], sale_id="K" + later["sale_id"], sale_date=pd.Timestamp("2023-05-01")
    )
    moved = moved_most(later).assign(surroundings=1234.0)
    images = {sale: picture_of(number) for number, sale in enumerate(moved["sale_id"])}
    values = {sale: np.random.default_rng(1).normal(0, 50, (14, 14)) for sale in list(images)[:8]}
    evidence = Evidence(
        misses=biggest_misses(later, known, ["bedrooms", "area_m2"]),
        lorenz=lorenz_curves(estimate, price),
        gini_prices=gini(price),
        gini_estimates=gini(estimate, price),
        cells=map_cells(later),
        level=MarketLevel(price_level(later["sale_date"], price, estimate), "How it is made."),
        valuation="As of the day of the sale.",
        card=(CardRow("Meant for", ("Checking values.",)),),
        gain=picture_gain(later, [each for each in groupings(later) if each.by != PRICE], repeats=100),
        moved=moved,
        moved_pictures=moved_pictures(images, values, "Drawn for a test"),
        by_picture=compare_by_picture(later),
    )
    studies = ratio_groups(later, repeats=20)
    return replace(report_data, estimates=later, evidence=evidence, ratio_groups=studies)


def test_every_section_is_there_and_listed_in_the_contents(evident):
    page = render_report(evident)
    for name in ("changed", "market", "equity", "misses", "dates", "representative", "card"):
        assert f'<h2 id="{name}">' in page
        assert f'<a href="#{name}">' in page
    assert "None" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    assert not re.search(r"<script|<link rel=.stylesheet|url\((?!#)|@import", page)


def test_the_gain_of_every_group_is_printed(evident):
    page = render_report(evident)
    gain = evident.evidence.gain
    for row in gain[gain["by"].isin(["area", "kind", "decile of estimate"])].to_dict("records"):
        assert f"{row['gain'] * 100:+.1f}".replace("-", "−") in page
    assert "would be clear of zero by chance alone" in page


def test_ten_houses_with_pictures_maps_and_one_legend(evident):
    page = render_report(evident)
    assert page.count('class="moved-house"') == 10
    assert page.count("data:image/webp;base64,") == 10
    assert page.count('<use href="#photo-') == 8
    assert page.count("No value map: the picture") == 2
    assert "per 100 m² of ground" in page
    assert "+CA$1,230" in page
    assert "Imagery: <bdi>Drawn for a test</bdi>" in page


def test_value_maps_are_money_per_ground():
    image = picture_of(1)
    flat = np.full((14, 14), 6.4**2 * 7)
    drawn = moved_pictures({"a": image}, {"a": flat}, "x")
    assert drawn.most == pytest.approx(7)


@pytest.mark.parametrize("part", ["misses", "moved"])
def test_a_house_that_was_not_checked_is_not_shown(evident, part, tmp_path):
    table = getattr(evident.evidence, part).copy()
    table.loc[0, "sale_id"] = "removed@2020-01-01"
    with pytest.raises(LeakError, match="removed@2020"):
        build_report(
            replace(evident, evidence=replace(evident.evidence, **{part: table})), tmp_path / "r.html"
        )
    assert not (tmp_path / "r.html").exists()


def test_text_from_outside_is_escaped(evident):
    misses = evident.evidence.misses.assign(house_id=HOSTILE, reasons=HOSTILE)
    gain = evident.evidence.gain.assign(group=HOSTILE)
    card = (CardRow(HOSTILE, (HOSTILE,)),)
    evidence = replace(
        evident.evidence,
        misses=misses,
        gain=gain,
        card=card,
        valuation=HOSTILE,
        moved=evident.evidence.moved.assign(house_id=HOSTILE),
    )
    page = render_report(replace(evident, evidence=evidence, title=HOSTILE, currency="<b>"))
    assert "<img src=x" not in page


def test_a_run_without_pictures_shows_the_rest(evident, bare_report_data):
    evidence = replace(evident.evidence, gain=None, moved=None, moved_pictures=None, by_picture=None)
    bare = replace(bare_report_data, estimates=evident.estimates, ratio_groups=evident.ratio_groups)
    page = render_report(replace(bare, evidence=evidence))
    assert "The biggest misses" in page
    assert "What the pictures changed" not in page
    assert 'id="representative"' not in page


def test_an_old_run_without_ratio_studies_says_how_to_get_them(evident):
    page = render_report(replace(evident, ratio_groups=None))
    assert "This run has no ratio studies by tenth" in page


def test_cells_hold_every_sale_once():
    random = np.random.default_rng(2)
    for middle in (0.0, 179.99):
        longitude = (middle + random.normal(0, 0.05, 3000) + 180) % 360 - 180
        sales = pd.DataFrame(
            {
                "latitude": 45 + random.normal(0, 0.03, 3000),
                "longitude": longitude,
                "price": 100.0,
                "estimate": 90.0,
                "picture_effect": -0.02,
            }
        )
        cells = map_cells(sales)
        assert cells["sales"].sum() == 3000
        np.testing.assert_allclose(cells["median_ratio"], 0.9)
        np.testing.assert_allclose(cells["picture_effect"], -0.02)
        assert cells["east"].abs().max() < 50_000
        assert cells.loc[cells["sales"] >= FEWEST_SALES, "sales"].sum() >= 0.9 * 3000
        maps = market_maps(cells)
        assert len(maps) == 2
        assert "0.90 to 0.95" in str(maps[0].classes)
        assert "c1" in maps[0].drawing


def test_one_place_makes_one_cell():
    sales = pd.DataFrame(
        {
            "latitude": [45.0] * 12,
            "longitude": [-75.0] * 12,
            "price": 100.0,
            "estimate": np.linspace(90, 110, 12),
        }
    )
    cells = map_cells(sales)
    assert len(cells) == 1
    assert len(market_maps(cells)) == 1


def test_curves_hold_what_they_draw():
    rows = pd.DataFrame(
        {"position": [0, 1], "value": [0.9, 1.1], "low": [0.8, np.nan], "high": [1.0, np.nan]}
    )
    drawn = tenths_chart(rows, (0.95, 1.05), line=1.0, title="<t>", axis="<a>")
    assert drawn.count('class="dot"') == 2
    assert drawn.count('class="whisker"') == 1
    assert "<t>" not in drawn
    assert "<a>" not in drawn
    assert lorenz_chart(lorenz_curves(np.array([1.0, 2.0]), np.array([2.0, 1.0]))).count("<path") > 3
    level = pd.DataFrame(
        {
            "date": pd.to_datetime(["2024-01-31", "2024-02-29", "2024-03-31"]),
            "level": [0.0, 0.01, 0.02],
            "low": [-0.01, 0.0, 0.0],
            "high": [0.01, 0.02, 0.04],
        }
    )
    assert 'class="curve dashed"' in level_chart(level, last_sale=pd.Timestamp("2024-02-29"))
    assert "dashed" not in level_chart(level)
