"""Comparable sales of a run, and the report of a house, through the commands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import LeakError
from housevis.pipeline import evaluate, house_report
from housevis.pipeline.comparables import COMPARABLES, SUPPORTING, comparables_of, read_comparables
from housevis.pipeline.removal_files import remove_from_run
from housevis.pipeline.sold import load_sold_houses
from housevis.pipeline.training import model_folder
from housevis.pipeline.valuation import ValuationModel
from housevis.pricing.supporting_sales import COLUMNS
from housevis.runs import HOUSE_REPORTS, read_parquet, write_parquet


def judged_of(town) -> pd.DataFrame:
    return read_parquet(town.run.estimates)


def later_house(town) -> str:
    judged = judged_of(town)
    return str(judged.loc[(judged["sample"] == "later sale") & judged["used_picture"], "house_id"].iloc[5])


def test_every_judged_sale_has_six_from_the_sales_of_its_own_judge(town) -> None:
    table, judged = read_comparables(town.run), judged_of(town)
    assert table is not None
    assert tuple(table.columns) == COLUMNS
    assert table["sale_id"].tolist() == np.repeat(judged["sale_id"], 6).tolist()

    judge = judged.set_index("sale_id")["model_id"]
    for model_id, rows in table.groupby(judge[table["sale_id"]].to_numpy()):
        training = set(ValuationModel.load(model_folder(town.run, model_id)).training["sale_id"])
        assert set(rows["comparable_sale_id"]) <= training
        assert not set(rows["sale_id"]) & training
    assert (table["house_id"] != table["comparable_house_id"]).all()


def test_later_sales_are_supported_by_earlier_ones_alone(town) -> None:
    table, judged = read_comparables(town.run), judged_of(town).set_index("sale_id")
    assert table is not None
    facts = judged.loc[table["sale_id"]]
    after = table["sale_date"].to_numpy() > facts["sale_date"].to_numpy()
    later = (facts["sample"] == "later sale").to_numpy()

    assert not after[later].any()
    assert after[~later].any()
    assert (table["why"].str.contains("after the valuation date").to_numpy() == after).all()


def test_a_run_that_was_evaluated_before_gets_them_and_keeps_its_figures(project, town_copy) -> None:
    kept = (town_copy.run.folder / COMPARABLES).read_bytes()
    figures = town_copy.run.metrics()
    (town_copy.run.folder / COMPARABLES).unlink()
    (town_copy.run.serving / SUPPORTING).unlink()
    result = evaluate(project)

    assert result.skipped
    assert town_copy.run.metrics() == figures
    assert (town_copy.run.folder / COMPARABLES).read_bytes() == kept
    assert (town_copy.run.serving / SUPPORTING).is_file()


def test_they_are_found_once(project, town_copy) -> None:
    marked = read_comparables(town_copy.run).assign(why="as it was")
    write_parquet(marked, town_copy.run.folder / COMPARABLES)
    evaluate(project)

    assert set(read_comparables(town_copy.run)["why"]) == {"as it was"}
    again = comparables_of(project.config, town_copy.run, load_sold_houses(project))
    assert again["comparable_sale_id"].tolist() == marked["comparable_sale_id"].tolist()


def test_a_removed_house_supports_nothing_any_more(town_copy) -> None:
    table = read_comparables(town_copy.run)
    gone = str(table["comparable_house_id"].iloc[0])
    reports = town_copy.run.folder / HOUSE_REPORTS
    reports.mkdir()
    (reports / "h.html").write_text(f"names {gone}")
    removed = remove_from_run(town_copy.run, [gone])
    left = read_comparables(town_copy.run)

    assert removed["comparables of estimates"] >= len(table) - len(left) > 0
    assert removed["house reports"] == 1
    assert not reports.exists()
    assert gone not in set(left["house_id"]) | set(left["comparable_house_id"])
    assert gone not in set(read_parquet(town_copy.run.serving / SUPPORTING)["house_id"])


def test_new_houses_get_six_from_the_serving_model(town, tmp_path: Path, housevis) -> None:
    listings = town.write_listings("asked.csv", rows=12)
    out, comparables = tmp_path / "estimates.csv", tmp_path / "comparables.csv"
    done = housevis(
        *("estimate", listings, "--run", "small-town", "--runs", town.runs, "--imagery", town.archive),
        *("--out", out, "--comparables", comparables, "--as-of", "2026-06-01"),
    )
    assert done.code == 0, done.err
    estimates, table = pd.read_csv(out), pd.read_csv(comparables)

    assert str(comparables) in done.out.replace("\n", "")
    assert table["id"].tolist() == np.repeat(estimates["id"], 6).tolist()
    assert (table["id"] != table["comparable_id"]).all()
    assert table["leaf_likeness"].between(0, 1).all()
    middle = table.groupby("id", sort=False)["adjusted_price"].median().to_numpy()
    assert np.median(np.abs(middle / estimates["estimate"].to_numpy() - 1)) < 0.15


def test_new_houses_without_imagery_get_them_too(town, tmp_path: Path, housevis) -> None:
    listings = town.write_listings("blind.csv", rows=3)
    comparables = tmp_path / "comparables.csv"
    done = housevis(
        *("estimate", listings, "--run", "small-town", "--runs", town.runs),
        *("--out", tmp_path / "estimates.csv", "--comparables", comparables),
    )
    assert done.code == 0, done.err
    assert pd.read_csv(comparables)["picture_likeness"].isna().all()


def test_an_old_run_says_how_to_get_them(town_copy, tmp_path: Path, housevis) -> None:
    (town_copy.run.serving / SUPPORTING).unlink()
    done = housevis(
        *("estimate", town_copy.write_listings("few.csv"), "--run", "small-town", "--runs", town_copy.runs),
        *("--out", tmp_path / "estimates.csv", "--comparables", tmp_path / "comparables.csv"),
    )
    assert done.code == 1
    assert "housevis evaluate CONFIG" in done.err.replace("\n", " ")


def test_the_command_writes_the_two_pages_of_a_house(town_copy, housevis) -> None:
    house_id = later_house(town_copy)
    done = housevis("report", town_copy.config_file, "--house", house_id, "--runs", town_copy.runs)
    assert done.code == 0, done.err
    page = (town_copy.run.folder / HOUSE_REPORTS / f"{house_id}.html").read_text(encoding="utf-8")
    row = judged_of(town_copy).set_index("house_id").loc[house_id]

    assert page.count('<article class="page') == 2
    assert f"{float(f'{row.estimate:.4g}'):,.0f}" in page
    assert page.count("Aerial picture of comparable") == 6
    assert "Value map over the picture" in page
    assert "This town is fictional" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)


def test_a_cross_fitted_house_goes_into_the_file_that_was_asked_for(project, town_copy, tmp_path) -> None:
    judged = judged_of(town_copy)
    house_id = str(judged.loc[judged["sample"] == "cross-fitted", "house_id"].iloc[0])
    result = house_report(project, house_id, tmp_path / "deep" / "house.html")
    page = (tmp_path / "deep" / "house.html").read_text(encoding="utf-8")

    assert result.figures["comparables"] == 6
    assert "cross-fitted" in page or "later sale" not in page
    assert not (town_copy.run.folder / HOUSE_REPORTS).exists()


def test_a_run_without_comparables_still_has_its_report(project, town_copy, tmp_path: Path) -> None:
    (town_copy.run.folder / COMPARABLES).unlink()
    house_report(project, later_house(town_copy), tmp_path / "house.html")
    assert "housevis evaluate CONFIG" in (tmp_path / "house.html").read_text(encoding="utf-8")


def test_an_unknown_house_is_told_the_nearest_id(town, housevis) -> None:
    house_id = later_house(town)
    done = housevis("report", town.config_file, "--house", house_id + "x", "--runs", town.runs)

    assert done.code == 2
    assert "there is no sold house" in done.err
    assert repr(house_id) in done.err


def test_a_folder_or_an_option_too_many_is_refused(town, tmp_path: Path, housevis) -> None:
    house_id = later_house(town)
    done = housevis("report", town.config_file, "--house", house_id, "--out", tmp_path, "--runs", town.runs)
    assert (done.code, "this is a folder" in done.err) == (2, True)
    done = housevis("report", town.config_file, "--out", tmp_path / "x.html", "--runs", town.runs)
    assert (done.code, "--house" in done.err) == (2, True)


def test_an_estimate_by_a_model_that_has_seen_the_house_is_not_shown(project, town_copy, tmp_path) -> None:
    house_id, judged = later_house(town_copy), judged_of(town_copy)
    row = judged.loc[judged["house_id"] == house_id, ["sale_id", "house_id"]]
    file = town_copy.run.evaluation / "earlier" / "training.parquet"
    training = read_parquet(file)
    write_parquet(pd.concat([training, training.iloc[[0]].assign(**row.iloc[0])], ignore_index=True), file)

    with pytest.raises(LeakError, match="cannot be shown"):
        house_report(project, house_id, tmp_path / "house.html")
