"""Columns that are made of the price, or dated after the sale, are found; honest ones pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_pipeline.listings import read_listings
from housevis.core.config import load_config
from housevis.core.errors import ConfigError
from housevis.pricing.attribute_dates import check_dates
from housevis.pricing.attributes import present_attributes
from housevis.pricing.leak_checks import NOT_JUDGED, PASSED, STOPPED, LeakCheck, check_price_derived

SALES = 600
PLAIN = ["latitude", "longitude", "bedrooms", "bathrooms", "area_m2", "sale_month"]


def market(count: int = SALES, seed: int = 3) -> pd.DataFrame:
    """Sales whose price follows area, place and much that no attribute knows."""
    random = np.random.default_rng(seed)
    area = random.lognormal(4.8, 0.35, count).round()
    log_price = 8.2 + 0.8 * np.log(area) + random.normal(0, 0.25, count)
    days = np.sort(random.integers(0, 500, count))
    return pd.DataFrame(
        {
            "sale_id": [f"s{row}" for row in range(count)],
            "house_id": [f"h{row}" for row in range(count)],
            "sale_date": pd.Timestamp("2014-05-02") + pd.to_timedelta(days, unit="D"),
            "price": np.exp(log_price).round(-2),
            "latitude": random.uniform(47.2, 47.8, count),
            "longitude": random.uniform(-122.5, -121.5, count),
            "bedrooms": random.integers(1, 6, count).astype(float),
            "bathrooms": random.integers(1, 4, count).astype(float),
            "area_m2": area,
            "lot": random.lognormal(6.5, 0.8, count).round(),
        }
    )


def checked(sales: pd.DataFrame, *extra: str) -> LeakCheck:
    return check_price_derived(sales, [*PLAIN, "lot", *extra])


LEAKS = {
    "price itself": lambda sales: sales["price"],
    "in thousands, rounded": lambda sales: (sales["price"] / 1000).round(),
    "in another currency": lambda sales: 0.873 * sales["price"],
    "one over the price": lambda sales: 1 / sales["price"],
    "natural logarithm": lambda sales: np.log(sales["price"]),
    "decimal logarithm, rounded": lambda sales: np.log10(sales["price"]).round(3),
    "logarithm with an offset": lambda sales: 3 * np.log(sales["price"]) - 20,
    "square root": lambda sales: np.sqrt(sales["price"]),
    "rank": lambda sales: sales["price"].rank(),
    "rank, the dearest first": lambda sales: sales["price"].rank(ascending=False, method="first"),
    "decile": lambda sales: pd.qcut(sales["price"], 10, labels=False).astype(float),
    "per area": lambda sales: sales["price"] / sales["area_m2"],
    "per area, whole": lambda sales: (sales["price"] / sales["area_m2"]).round(),
    "per lot": lambda sales: sales["price"] / sales["lot"],
    "logarithm per area": lambda sales: np.log(sales["price"] / sales["area_m2"]),
    "times area": lambda sales: sales["price"] * sales["area_m2"],
    "area over price": lambda sales: sales["area_m2"] / sales["price"],
    "to the prices of a day": lambda sales: sales["price"] * 1.013 ** (sales["sale_date"].dt.month % 7),
}


@pytest.mark.parametrize("how", LEAKS)
@pytest.mark.parametrize("count", [80, SALES])
def test_a_column_made_of_the_price_is_found_and_named(how: str, count: int) -> None:
    sales = market(count)
    sales["made"] = LEAKS[how](sales)
    if how == "to the prices of a day" and count < SALES:
        pytest.skip("a constant for each month takes 20 sales of a month")
    check = checked(sales, "made")
    assert check.result == STOPPED
    (finding,) = check.findings
    assert "made" in (finding.column, finding.beside)
    assert "'made'" in check.says
    assert finding.share >= 0.75
    assert {"sale_id", "made", "price"} <= set(finding.examples[0])


@pytest.mark.parametrize("how", ["in another currency", "per area", "per lot"])
def test_wrong_and_missing_values_do_not_hide_it(how: str) -> None:
    sales = market()
    made = LEAKS[how](sales).to_numpy(copy=True)
    made[::3] = np.nan
    made[1::12] *= np.random.default_rng(0).uniform(0.3, 3, len(made[1::12]))
    made[4::30] = 0
    check = checked(sales.assign(made=made), "made")
    (finding,) = check.findings
    assert "made" in (finding.column, finding.beside)


def test_parts_of_the_price_are_found_by_their_sum() -> None:
    sales = market()
    share = np.random.default_rng(5).uniform(0.2, 0.6, SALES)
    sales = sales.assign(land=share * sales["price"], building=(1 - share) * sales["price"])
    check = checked(sales, "land", "building")
    assert check.result == STOPPED
    assert "the sum of 'land' and 'building'" in check.says


def honest(sales: pd.DataFrame) -> dict[str, pd.Series]:
    random = np.random.default_rng(9)
    price = sales["price"]
    asked = price * np.exp(random.normal(0, 0.03, len(price)))
    return {
        "assessor's value": price * np.exp(random.normal(0, 0.1, len(price))),
        "a very good assessor's value": price * np.exp(random.normal(0, 0.03, len(price))),
        "asking price, two in five exact": asked.where(random.uniform(size=len(price)) > 0.4, price).round(
            -3
        ),
        "another appraiser's price per area": asked / sales["area_m2"],
        "view": pd.Series((price > price.quantile(0.995)).astype(float) + (price == price.max())),
        "kind": pd.Series(np.where(price > price.median(), 2.0, 1.0)),
        "grade": (np.log(price) * 4 + random.normal(0, 0.5, len(price))).round(),
        "constant": pd.Series(1.0, index=sales.index),
        "price of the nearest": price.shift(1, fill_value=price.iloc[0]),
    }


@pytest.mark.parametrize("name", honest(market(80)))
@pytest.mark.parametrize("count", [80, 2000])
def test_honest_columns_pass_however_strong(name: str, count: int) -> None:
    sales = market(count)
    check = checked(sales.assign(strong=honest(sales)[name]), "strong")
    assert check.result == PASSED, check.says


def test_few_sales_and_one_price_are_not_judged() -> None:
    assert checked(market(25)).result == NOT_JUDGED
    assert checked(market(100).assign(price=250_000.0)).result == NOT_JUDGED


# -- dates ------------------------------------------------------------------------


def built(sales: pd.DataFrame) -> pd.Series:
    return (sales["sale_date"].dt.year - np.random.default_rng(2).integers(0, 80, len(sales))).astype(float)


def test_a_year_after_the_sale_stops_with_its_name_and_share() -> None:
    sales = market().assign(yr_built=built, yr_renovated=0.0)
    sales.loc[sales.index[::10], "yr_renovated"] = 2005.0
    sales.loc[sales.index[5::10], "yr_renovated"] = sales["sale_date"].dt.year[5::10] + 1.0
    check = check_dates(sales, [*PLAIN, "yr_built", "yr_renovated"])
    assert check.result == STOPPED
    assert check.columns == ("yr_built", "yr_renovated")
    (finding,) = check.findings
    assert (finding.column, finding.sales, finding.share) == ("yr_renovated", 60, 0.5)
    assert "60 of 120 dated sales (50.0%)" in check.says
    assert set(finding.examples[0]) == {"sale_id", "yr_renovated", "sale_date"}


@pytest.mark.parametrize(("later", "result"), [(2, PASSED), (6, PASSED), (7, STOPPED)])
def test_one_house_in_a_hundred_may_be_sold_off_plan(later: int, result: str) -> None:
    sales = market().assign(YearBuilt=built)
    sales.loc[sales.index[:later], "YearBuilt"] = 2016.0
    assert check_dates(sales, [*PLAIN, "YearBuilt"]).result == result


@pytest.mark.parametrize(("written", "late"), [("%Y%m%d", 1), ("%Y%m", 32)])
def test_months_and_days_are_compared_as_such(written: str, late: int) -> None:
    sales = market()

    def dated(days: int) -> pd.DataFrame:
        date = (sales["sale_date"] + pd.Timedelta(days=days)).dt.strftime(written).astype(float)
        return sales.assign(inspection_date=date)

    assert check_dates(dated(0), ["inspection_date"]).result == PASSED
    assert check_dates(dated(-200), ["inspection_date"]).result == PASSED
    assert check_dates(dated(late), ["inspection_date"]).result == STOPPED


def test_sizes_are_no_years() -> None:
    sales = market().assign(
        built_area=np.random.default_rng(1).uniform(900, 3000, SALES).round(), sqft=2100.0
    )
    check = check_dates(sales, [*PLAIN, "built_area", "sqft"])
    assert (check.result, check.columns) == (PASSED, ())


def test_the_date_of_another_column_can_be_stated() -> None:
    year = market()["sale_date"].dt.year
    sales = market().assign(tax_value=1.0, roll=(year + 1).astype(float), remodelled=(year + 1).astype(float))
    names = ["tax_value", "roll", "remodelled"]
    check = check_dates(sales, names, {"tax_value": "roll", "remodelled": "sale_date"})
    assert [finding.column for finding in check.findings] == ["tax_value"]
    assert "its date 'roll'" in check.says
    for wrong in ({"tax": "roll"}, {"tax_value": "rolls"}, {"roll": "tax_value"}):
        with pytest.raises(ConfigError):
            check_dates(sales, names, wrong)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["king-county", "melbourne", "miami"])
def test_real_markets_pass(name: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSEVIS_SHARED", str(shared_data))
    monkeypatch.setenv("HOUSEVIS_RIGHTS", "private measuring only")
    config = load_config(Path(__file__).resolve().parents[2] / "examples" / f"{name}.toml")
    if config.listings.path is None or not config.listings.path.is_file():
        pytest.skip(f"the shared data has no {name}")
    sales = read_listings(config.listings).sales.drop(columns="source_row")
    names = present_attributes(sales)
    for check in (check_price_derived(sales, names), check_dates(sales, names)):
        assert check.result == PASSED, check.says
    leaking = sales.assign(price_per_m2=(sales["price"] / sales["area_m2"]).round(1))
    (finding,) = check_price_derived(leaking, [*names, "price_per_m2"]).findings
    assert finding.column == "price_per_m2"
