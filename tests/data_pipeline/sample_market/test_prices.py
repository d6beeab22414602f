"""How the market of the town moves, and that it moves prices alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_pipeline.sample_market import SampleMarket
from data_pipeline.sample_market.__main__ import main
from data_pipeline.sample_market.prices import BASE_PRICE, SALE_DAYS, market_level
from housevis.core.config import Config, parse_config
from housevis.core.config_sections import SampleMarketSection
from housevis.core.errors import ConfigError, UsageError

MONTH = 365.25 / 12


@pytest.mark.parametrize(
    ("trend", "year", "end"),
    [("flat", 0.0, 0.0), ("steady", 0.03, 0.0699), ("falling", -0.04, -0.0932), ("turning", 0.05, 0.0235)],
)
def test_the_named_trends_are_what_they_were(trend: str, year: float, end: float) -> None:
    assert market_level(trend, 0) == 0.0  # type: ignore[arg-type]
    assert market_level(trend, 365) == pytest.approx(year, abs=1e-4)  # type: ignore[arg-type]
    assert market_level(trend, 851) == pytest.approx(end, abs=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [-1.0, 0.0, 1.5])
def test_a_monthly_change_compounds(change: float) -> None:
    assert market_level("steady", 0, change) == 0.0
    for months in (1, 12, 27):
        level = market_level("steady", round(months * MONTH), change)
        assert np.exp(level) == pytest.approx((1 + change / 100) ** months, rel=5e-4)


@pytest.mark.parametrize("change", [-1.0, 1.5])
def test_a_market_turns_where_it_is_told_to(change: float) -> None:
    turn = round(0.6 * SALE_DAYS)
    step = np.log1p(change / 100)
    before, at, after = (market_level("steady", turn + days, change, 0.6) for days in (-91, 0, 91))
    assert at == pytest.approx(step * turn / MONTH, abs=1e-3)
    assert at - before == pytest.approx(3 * step, abs=1e-3)
    assert after - at == pytest.approx(-3 * step, abs=1e-3)


def test_the_change_moves_prices_and_nothing_else() -> None:
    plain = SampleMarket(120, seed=4, trend="flat").houses()
    rising = SampleMarket(120, seed=4, monthly_change=1.5).houses()
    others = [column for column in plain if column not in ("price", "market_level")]
    assert plain[others].equals(rising[others])
    assert (plain["market_level"] == 0).all()
    ratio = rising["price"] / plain["price"]
    assert np.abs(np.log(ratio) - rising["market_level"]).max() < 500 / BASE_PRICE * 2
    assert rising["market_level"].max() > 0.3


def test_impossible_changes_are_refused() -> None:
    with pytest.raises(UsageError, match="-100 %"):
        SampleMarket(100, monthly_change=-100)
    with pytest.raises(UsageError, match=r"turn at 0\.5"):
        SampleMarket(100, turn_at=0.5)
    with pytest.raises(UsageError, match=r"turn at 1\.5"):
        SampleMarket(100, monthly_change=1, turn_at=1.5)


def section(**town: object) -> Config:
    return parse_config({"name": "town", "sample_market": town}, where="test", directory=Path())


def test_every_key_of_the_section_is_a_setting_of_the_town() -> None:
    found = section(houses=100, monthly_change=-1, turn_at=0.6).sample_market
    assert found is not None
    town = SampleMarket(**found.model_dump())
    assert (town.monthly_change, town.turn_at) == (-1, 0.6)
    assert SampleMarketSection().monthly_change is None
    with pytest.raises(ConfigError, match="turn_at needs monthly_change"):
        section(turn_at=0.6)
    with pytest.raises(ConfigError, match="monthly_change"):
        section(monthly_change=50)


def test_the_command_takes_the_change(tmp_path: Path) -> None:
    arguments = ["--houses", "100", "--seed", "9", "--no-truth", "--out"]
    for name, change in (("plain", []), ("rising", ["--monthly-change", "1.5", "--turn-at", "0.6"])):
        assert main([*arguments, str(tmp_path / name), *change]) == 0
    plain, rising = (
        (tmp_path / name / "listings.csv").read_text(encoding="utf-8").splitlines()
        for name in ("plain", "rising")
    )
    assert len(plain) == len(rising)
    assert plain != rising
    assert main([*arguments, str(tmp_path / "wrong"), "--turn-at", "0.6"]) == 2
