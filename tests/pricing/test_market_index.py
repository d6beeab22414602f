"""The market index: what it learns, how it is carried, what it refuses, and how it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from housevis.core.config_sections import PricingSection
from housevis.core.errors import ConfigError, ModelError
from housevis.pricing.index_values import hedonic_log_values, rolling_residual_log_values
from housevis.pricing.market_index import (
    CARRIED_MONTHS,
    DAYS_PER_MONTH,
    KINDS,
    MINIMUM_PAIRS,
    MarketIndex,
    fit_market_index,
)

START = pd.Timestamp("2023-01-01")
ATTRIBUTES = ["latitude", "longitude", "bedrooms", "bathrooms", "area_m2", "sale_month"]
Path = Callable[[np.ndarray], np.ndarray]


def after(months: float | np.ndarray) -> pd.DatetimeIndex:
    """Moments so many months after the start."""
    return pd.DatetimeIndex(START + pd.to_timedelta(np.atleast_1d(months) * DAYS_PER_MONTH, unit="D"))


def learned(path: Path, months: float, count: int = 6000, noise: float = 0.05, seed: int = 1) -> MarketIndex:
    """An index of sales around a known log level; the last one ends the last month."""
    random = np.random.default_rng(seed)
    when = np.append(random.uniform(0, months, count - 1), months)
    return MarketIndex.fit(after(when), 12 + path(when) + random.normal(0, noise, count), kind="hedonic")


def straight(change: float) -> Path:
    return lambda months: change * months


def turned(months: np.ndarray) -> np.ndarray:
    return 0.015 * np.minimum(months, 17) - 0.015 * np.maximum(months - 17, 0)


@pytest.mark.parametrize("change", [-0.01, 0.0, 0.015])
def test_a_steady_trend_is_carried_three_months(change: float) -> None:
    index = learned(straight(change), 17)
    assert index.level(after([18, 19, 20])) == pytest.approx([change, 2 * change, 3 * change], abs=0.012)
    assert index.level(after([2, 9])) == pytest.approx([-15 * change, -8 * change], abs=0.012)


@pytest.mark.parametrize("shift", [0, 4, 7])
def test_a_season_is_not_carried_as_a_trend(shift: int) -> None:
    def season(months: np.ndarray) -> np.ndarray:
        return 0.02 * np.cos(2 * np.pi * (months - shift) / 12)

    index = learned(season, 20)
    months = np.array([21.0, 22.0, 23.0])
    assert index.level(after(months)) == pytest.approx(season(months) - season(np.array(20.0)), abs=0.015)


def test_noise_is_not_carried_as_a_trend() -> None:
    index = learned(straight(0.0), 12, count=300, noise=0.2)
    assert np.abs(index.level(after([13, 14, 15]))).max() < 0.03


def test_a_turn_is_followed_within_a_quarter() -> None:
    known = learned(turned, 20, count=8000)
    assert known.level(after([17, 18, 19])) == pytest.approx([0.045, 0.030, 0.015], abs=0.015)
    assert known.level(after([20.5, 21.5])) == pytest.approx([-0.0075, -0.0225], abs=0.015)


def test_the_interval_holds_the_truth_and_widens_ahead() -> None:
    index = learned(straight(0.01), 17)
    table = index.table(months_ahead=6)
    assert list(table.columns) == ["date", "level", "low", "high"]
    known, ahead = table[table["date"] <= index.last_day], table[table["date"] > index.last_day]
    assert 17 <= len(known) <= 18
    assert len(ahead) == 6
    last = known.iloc[-1]
    assert last["date"] == index.last_day
    assert last["level"] == last["low"] == last["high"] == 0
    assert (np.diff(ahead["high"] - ahead["low"]) > 0).all()
    truth = 0.01 * (ahead["date"] - index.last_day).dt.days / DAYS_PER_MONTH
    assert ((ahead["low"] < truth) & (truth < ahead["high"])).all()


def test_the_level_stays_where_it_is_no_longer_carried() -> None:
    index = learned(straight(0.01), 17)
    far = index.level(after([17 + CARRIED_MONTHS + 1, 17 + CARRIED_MONTHS + 100]))
    assert far[0] == far[1]
    assert index.level(after([-50]))[0] == index.level(after([0]))[0]


def test_the_order_of_the_sales_does_not_matter() -> None:
    random = np.random.default_rng(2)
    when, values = random.uniform(0, 12, 500), random.normal(0, 0.1, 500)
    there = MarketIndex.fit(after(when), values, kind="rolling-residual")
    back = MarketIndex.fit(after(when[::-1]), values[::-1], kind="rolling-residual")
    assert there.level(after([1, 14])) == pytest.approx(back.level(after([1, 14])), abs=1e-9)


@pytest.mark.parametrize("count", [1, 2, 40])
def test_sales_of_one_day_say_nothing_about_other_days(count: int) -> None:
    values = 12 + 0.1 * np.arange(count)
    index = MarketIndex.fit([START] * count, values, kind="hedonic")
    assert index.level(after([-3, 0, 3])) == pytest.approx([0, 0, 0], abs=1e-9)
    assert index.standard_error(after([0]))[0] == 0
    assert index.standard_error(after([3]))[0] > 0.005
    assert len(index.table(3)) == 4


def test_one_month_alone_is_hardly_carried() -> None:
    index = learned(straight(0.01), 1, count=60, noise=0.1)
    assert np.abs(index.level(after([4]))[0]) < 0.05


def test_months_without_sales_are_bridged() -> None:
    random = np.random.default_rng(3)
    when = np.concatenate([random.uniform(0, 5, 1500), random.uniform(14, 20, 1500)])
    index = MarketIndex.fit(after(when), 0.01 * when + random.normal(0, 0.05, 3000), kind="hedonic")
    change = index.level(after([9])) - index.level(after([4]))
    assert change[0] == pytest.approx(0.05, abs=0.03)
    assert np.isfinite(index.table()[["level", "low", "high"]]).all(axis=None)


def sold_twice(pairs: int, change: float) -> pd.DataFrame:
    """Houses of very different prices, each sold twice, a quarter of them soon again and much dearer."""
    random = np.random.default_rng(4)
    first = random.uniform(0, 14, pairs)
    gap = random.uniform(7, 12, pairs)
    rebuilt = np.arange(pairs) % 4 == 0
    gap[rebuilt] = random.uniform(1, 4, rebuilt.sum())
    house = random.normal(12, 1, pairs)
    second = house + change * gap + 0.3 * rebuilt
    noise = random.normal(0, 0.05, 2 * pairs)
    return pd.DataFrame(
        {
            "house_id": np.tile([f"h{number}" for number in range(pairs)], 2),
            "sale_date": after(np.concatenate([first, first + gap])),
            "price": np.exp(np.concatenate([house + change * first, second + change * first]) + noise),
        }
    )


@pytest.mark.parametrize("change", [-0.01, 0.015])
def test_houses_sold_twice_tell_the_market(change: float) -> None:
    sales = sold_twice(2000, change)
    index = fit_market_index("repeat-sales", sales, [])
    assert index.pairs == 1500
    last = index.last_day
    months = np.array([-12.0, 3.0])
    dates = last + pd.to_timedelta(months * DAYS_PER_MONTH, unit="D")
    assert index.level(dates) == pytest.approx(change * months, abs=0.02)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ModelError, match=f"needs {MINIMUM_PAIRS} houses sold twice .* have 30"):
        fit_market_index("repeat-sales", sold_twice(40, 0.0), [])
    with pytest.raises(ModelError, match="house ids"):
        MarketIndex.fit([START], [1.0], kind="repeat-sales")


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(ModelError, match="there are none"):
        MarketIndex.fit([], [], kind="hedonic")
    with pytest.raises(ModelError, match="1 of 2 dates are missing"):
        MarketIndex.fit([START, None], [1.0, 2.0], kind="hedonic")
    with pytest.raises(ModelError, match="1 of 2 sales have a price"):
        MarketIndex.fit([START, START], [1.0, np.nan], kind="hedonic")
    with pytest.raises(ModelError, match="do not fit"):
        MarketIndex.fit([START, START], [1.0], kind="hedonic")
    with pytest.raises(ModelError, match="unknown kind"):
        MarketIndex.fit([START], [1.0], kind="monthly")  # type: ignore[arg-type]
    index = MarketIndex.fit([START], [1.0], kind="hedonic")
    with pytest.raises(ModelError, match="dates are missing"):
        index.level([None])


def test_it_is_kept_as_json_and_comes_back_level_for_level() -> None:
    index = learned(straight(0.01), 6, count=400)
    again = MarketIndex.from_dict(json.loads(json.dumps(index.to_dict())))
    dates = after(np.linspace(-3, 40, 50))
    assert np.array_equal(again.level(dates), index.level(dates))
    assert np.array_equal(again.standard_error(dates), index.standard_error(dates))
    assert again.to_dict() == index.to_dict()


@pytest.mark.parametrize(
    "change", [{"kind": "no such"}, {"levels": [1.0]}, {"days": "soon"}, {"last_day": None}, {"noise": "x"}]
)
def test_a_damaged_index_is_refused(change: dict[str, object]) -> None:
    facts = learned(straight(0.0), 2, count=50).to_dict()
    with pytest.raises(ModelError):
        MarketIndex.from_dict(facts | change)
    with pytest.raises(ModelError):
        MarketIndex.from_dict({})


# -- from a sale frame ------------------------------------------------------------


@pytest.fixture(scope="module")
def rising(market: tuple[pd.DataFrame, np.ndarray]) -> pd.DataFrame:
    """The synthetic market, rising by 2 % a month; houses shrink meanwhile, and some areas are missing."""
    sales = market[0].copy()
    months = ((sales["sale_date"] - sales["sale_date"].min()).dt.days / DAYS_PER_MONTH).to_numpy()
    shrinking = 4.0 * months
    sales["area_m2"] -= shrinking
    sales["price"] *= np.exp(0.02 * months - 0.004 * shrinking)
    sales.loc[sales.index % 30 == 0, "area_m2"] = np.nan
    return sales


@pytest.fixture(scope="module")
def section() -> PricingSection:
    return PricingSection.model_validate({"rounds": 60, "learning_rate": 0.1, "leaves": 15, "folds": 3})


@pytest.mark.parametrize("kind", ["hedonic", "rolling-residual"])
def test_attributes_are_held_fixed(kind: str, rising: pd.DataFrame, section: PricingSection) -> None:
    """Prices as such do not rise; only for houses alike do they."""
    index = fit_market_index(kind, rising, ATTRIBUTES, section, seed=1)  # type: ignore[arg-type]
    months = np.array([-8.0, -4.0])
    level = index.level(index.last_day + pd.to_timedelta(months * DAYS_PER_MONTH, unit="D"))
    assert level == pytest.approx(0.02 * months, abs=0.06)
    assert index.kind == kind
    assert index.sales == len(rising)


@pytest.mark.parametrize("kind", ["hedonic", "rolling-residual"])
def test_the_same_seed_gives_the_same_index(kind: str, rising: pd.DataFrame, section: PricingSection) -> None:
    first, again = (fit_market_index(kind, rising, ATTRIBUTES, section, seed=2) for _ in range(2))  # type: ignore[arg-type]
    assert first.to_dict() == again.to_dict()


@pytest.mark.parametrize("kind", ["hedonic", "rolling-residual"])
@pytest.mark.parametrize("count", [1, 3, 12])
def test_a_few_sales_are_enough_for_a_sensible_index(
    kind: str, count: int, rising: pd.DataFrame, section: PricingSection
) -> None:
    few = rising.iloc[:: len(rising) // count].iloc[:count]
    index = fit_market_index(kind, few, ATTRIBUTES, section)  # type: ignore[arg-type]
    assert np.isfinite(index.table()[["level", "low", "high"]]).all(axis=None)
    assert np.abs(index.table()["level"]).max() < 1.5


def test_no_attributes_leave_the_log_prices(rising: pd.DataFrame, section: PricingSection) -> None:
    log_price = np.log(rising["price"].to_numpy())
    for values in (
        hedonic_log_values(rising, [], folds=3, seed=1),
        rolling_residual_log_values(rising, [], section, seed=1),
    ):
        assert np.ptp(log_price - values) == pytest.approx(0.0, abs=1e-9)


def test_a_wrong_attribute_or_price_is_refused(rising: pd.DataFrame) -> None:
    for kind in ("hedonic", "rolling-residual"):
        with pytest.raises(ConfigError, match="unknown attribute"):
            fit_market_index(kind, rising, ["bedroms"])  # type: ignore[arg-type]
    for kind in KINDS:
        with pytest.raises(ModelError, match="price that is missing"):
            fit_market_index(kind, rising.assign(price=0.0), ATTRIBUTES)
