from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import LeakError
from housevis.pricing.ratio_groups import ratio_groups
from housevis.views.charts import hexagon_counts, price_ticks
from housevis.views.data import Headline
from housevis.views.report import build_report, finding, ratio_rows, render_report


def test_the_report_is_one_file_with_the_figures(report_data, tmp_path):
    path = tmp_path / "run" / "report.html"
    size = build_report(report_data, path)
    page = path.read_text(encoding="utf-8")
    assert size == path.stat().st_size
    for words in ("55.2 %", "50.7 %", "+4.5", "+1.2 to +7.8", "600 sales", "73.1 %", "9f2c1d7e55aa",
                  "20250301-120000-ab12cd", "not an appraisal", "fictional town", "1,537 rows read",
                  "1,500 sales kept", "No price", "Drawn for a test", "CA$92,300", "outside"):  # fmt: skip
        assert words in page, words
    assert not re.search(r"<script|<link rel=.stylesheet|url\((?!#)|@import", page)
    assert re.findall(r"https?://[^\s\"'<)&]+", page) == ["http://www.w3.org/2000/svg"]


def test_what_is_absent_is_not_mentioned(report_data):
    page = render_report(
        replace(
            report_data,
            pictures=replace(report_data.pictures, attention=(), rank_accuracy=None),
            notice=None,
            rejects={},
            atlas_link=None,
            stages={},
        )
    )
    assert "the ranker names" not in page
    assert "attention fall" not in page
    assert "fictional" not in page
    assert "turned away." in page
    assert "Time by step" not in page


def test_the_report_says_whether_the_maps_are_global(report_data):
    page = render_report(report_data)
    assert "borrows the weights" in page
    assert "<b>Global</b>" not in page
    page = render_report(replace(report_data, pictures=replace(report_data.pictures, same_weights=True)))
    assert "<b>Global</b>" in page
    assert "borrows the weights" not in page


def test_a_report_without_pictures_says_so_and_nothing_else_of_them(bare_report_data):
    page = render_report(bare_report_data)
    for words in ("50.7 %", "This run uses no pictures", "What each set of attributes reaches", "39.1 %",
                  "Gradient boosting on the attributes"):  # fmt: skip
        assert words in page, words
    told = page.replace("This run uses no pictures", "").replace("no pictures.", "")
    told = re.sub(r"<style>.*?</style>", "", told, flags=re.DOTALL)
    for word in ("picture", "Imagery", "imagery", "Backbone", "tiles", "VF", "ranker", "None", "gained"):
        assert word not in told, word


def test_text_from_outside_is_escaped(report_data):
    hostile = "<script>alert(1)</script>"
    page = render_report(
        replace(
            report_data,
            title=hostile,
            pictures=replace(report_data.pictures, attribution=hostile),
            currency="<b>",
            rejects={hostile: 1},
        )
    )
    assert "<script" not in page
    assert "<b>0" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_in_sample_estimates_are_refused(report_data, tmp_path):
    sale = report_data.estimates["sale_id"][3]
    leaking = replace(report_data, training_sales={"evaluation": {sale}})
    with pytest.raises(LeakError, match=sale):
        build_report(leaking, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.02, "help"),
        (-0.02, 0.02, "includes zero"),
        (-0.03, -0.01, "hurt"),
        (0.0, 0.1, "includes zero"),
    ],
)
def test_the_finding_follows_the_interval(report_data, low, high, words):
    assert words in finding(replace(report_data, headline=Headline(600, 0.5, 0.5, 0.0, low, high)))


def test_few_sales_are_not_judged(report_data):
    assert [row["verdict"] for row in ratio_rows(report_data.ratios)] == [
        "inside",
        "inside",
        "inside",
        "outside",
    ]
    few = replace(report_data.ratios, sales=29)
    assert {row["verdict"] for row in ratio_rows(few)} == {"not judged"}


def test_hexagons_lose_no_point_and_lie_near():
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 300, (2, 4000))
    centres, counts = hexagon_counts(x, y, radius=7.0)
    assert counts.sum() == 4000
    distance = np.hypot(x[:, None] - centres[:, 0], y[:, None] - centres[:, 1]).min(axis=1)
    assert distance.max() <= 7.001


def test_price_ticks_are_few_and_inside():
    ticks = price_ticks(80_000, 7_500_000)
    assert ticks[0] >= 80_000
    assert ticks[-1] <= 7_500_000
    assert len(ticks) <= 6


def with_groups(report_data, **changes):
    random = np.random.default_rng(11)
    estimate = np.exp(random.normal(13, 0.4, 600))
    sales = pd.DataFrame(
        {
            "estimate": estimate,
            "price": estimate * np.exp(random.normal(0, 0.1, 600)),
            "low": estimate * np.exp(-0.1645),
            "high": estimate * np.exp(0.1645),
            "sale_date": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 180, 600), "D"),
            "district": random.integers(1, 50, 600).astype(float),
            "house_type": random.choice(["semi", "<b>row</b>"], 600),
        }
    )
    sales.loc[sales["house_type"] == "semi", "estimate"] *= 0.8
    studies = ratio_groups(sales.assign(**changes), repeats=20)
    return replace(report_data, ratio_groups=studies), studies


def test_the_report_says_for_whom_estimates_are_wrong(report_data):
    data, studies = with_groups(report_data)
    page = render_report(data)
    for words in ("Fair to whom", "By estimated price, in tenths", "By area", "By quarter of sale", "2024 Q2",
                  "% too low", "not judged", "9 more are in", "If dear and cheap houses were treated",
                  "Within ±0.5 % of the price", "&lt;b&gt;row"):  # fmt: skip
        assert words in page, words
    kinds = studies[(studies["by"] == "kind") & (studies["figure"] == "cod")]
    for value in kinds["value"]:
        assert f"{value:.1f}</td>" in page
    assert "<b>row" not in page


def test_estimates_that_equal_their_prices_are_told(report_data):
    page = render_report(with_groups(report_data)[0])
    assert "look for sales chasing" not in page
    data, studies = with_groups(report_data)
    chased = studies.copy()
    near = (chased["by"] == "nearness to price") & (chased["figure"] == "share")
    chased.loc[near, "verdict"] = "outside"
    assert "look for sales chasing" in render_report(replace(data, ratio_groups=chased))


def test_a_run_without_ratio_studies_has_no_such_section(report_data):
    assert report_data.ratio_groups is None
    assert "Fair to whom" not in render_report(report_data)
