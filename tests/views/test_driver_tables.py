"""The report's section on where and when which driver counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from housevis.pricing.driver_tables import SaleDrivers, drivers_by_group
from housevis.pricing.location_and_picture import Exchanged, location_and_picture
from housevis.pricing.sale_groups import by_attribute, by_quarter
from housevis.views.driver_tables import (
    MOST_DRIVERS,
    MOST_GROUPS,
    DriverTables,
    driver_matrices,
    place_rows,
    place_sentences,
)
from housevis.views.report import render_report

NAMES = ("location", "comparable sales", *(f"room_{number}" for number in range(6)), "picture")


@pytest.fixture
def tables() -> DriverTables:
    random = np.random.default_rng(1)
    logs = random.normal(0, 1, (600, len(NAMES))) * np.linspace(0.2, 0.01, len(NAMES))
    logs[:, -1] += 0.1 * logs[:, 0]
    drivers = SaleDrivers(NAMES, logs, 500_000 * logs, np.full(600, 500_000.0))
    area = pd.Series(random.choice(["<b>hill</b>", *map(str, range(20))], 600))
    dates = pd.Timestamp("2024-01-01") + pd.to_timedelta(pd.Series(random.integers(0, 180, 600)), "D")
    tried = Exchanged(np.arange(100), random.uniform(0.01, 0.02, 100), random.normal(0, 0.004, 100))
    return DriverTables(
        drivers_by_group(drivers, [by_attribute(area, "area")]),
        drivers_by_group(drivers, [by_quarter(dates)]),
        location_and_picture(drivers, tried, repeats=50),
    )


def test_the_section_shows_signed_means_sizes_and_what_is_left_out(report_data, tables) -> None:
    page = render_report(replace(report_data, driver_tables=tables))
    for words in ("Where and when which driver counts", "By area", "Over time, by quarter of sale", "2024 Q2",
                  "All later sales", "Comparable sales", "Location and picture", "association, not cause",
                  "the log values, which do not, are in the exported tables", "Interaction"):  # fmt: skip
        assert words in page, words
    areas, quarters = driver_matrices(tables, "USD")
    assert areas.note == "In the exported table: 9 groups and 3 drivers more."
    assert quarters.note == "In the exported table: 3 drivers more."
    assert len(areas.rows) == 1 + MOST_GROUPS
    assert len(areas.drivers) == MOST_DRIVERS
    assert "Aerial picture" in areas.drivers
    assert "<b>hill" not in page


def test_bars_share_one_scale_and_point_the_way_of_the_mean(tables) -> None:
    matrix = driver_matrices(tables, "USD")[1]
    cells = [cell for row in matrix.rows for cell in row["cells"]]
    assert max(cell.width for cell in cells) == pytest.approx(100)
    assert all(cell.raises == (not cell.amount.startswith("−")) for cell in cells)
    assert not any(cell.size.startswith(("+", "−")) for cell in cells)


def test_tenths_of_places_in_order_with_their_intervals(tables) -> None:
    rows = place_rows(tables.location_and_picture, "USD")
    assert [row["name"] for row in rows] == [str(number) for number in range(1, 11)]
    assert rows[0]["location"].startswith("−")
    assert rows[-1]["location"].startswith("+")
    assert " to " in rows[0]["interval"]
    sentences = place_sentences(tables.location_and_picture, "USD")
    assert len(sentences) == 3
    untried = tables.location_and_picture.assign(swing_log=float("nan"), swing_log_low=float("nan"))
    assert len(place_sentences(untried, "USD")) == 2
    assert place_rows(untried, "USD")[0]["swing"] == "–"


def test_an_old_run_and_one_without_pictures_have_no_such_part(report_data, tables) -> None:
    assert report_data.driver_tables is None
    assert "which driver counts" not in render_report(report_data)
    page = render_report(replace(report_data, driver_tables=replace(tables, location_and_picture=None)))
    assert "which driver counts" in page
    assert "Location and picture" not in page


def test_one_area_or_quarter_alone_is_no_table(tables) -> None:
    one = tables.over_time[tables.over_time["group"].isin(["all sales", "2024 Q1"])]
    assert len(driver_matrices(replace(tables, over_time=one), "USD")) == 1
