from __future__ import annotations

import pandas as pd
import pytest

from housevis.pricing.confidence_table import confidence_table, reasons_table


@pytest.fixture
def later() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "price": [100.0, 100.0, 100.0, 100.0],
            "estimate": [105.0, 120.0, 95.0, 100.0],
            "low": [90.0, 105.0, 80.0, 50.0],
            "high": [120.0, 135.0, 110.0, 150.0],
            "confidence": ["high", "medium", "high", "low"],
            "confidence_reasons": [
                "",
                "bedrooms not known; unusual: living area above that of 99 % of the sales learned from",
                "",
                "houses like this one are often estimated far from their prices",
            ],
        }
    )


def test_each_grade_has_its_figures_from_high_to_low(later) -> None:
    found = confidence_table(later).set_index("grade")
    assert found.index.tolist() == ["high", "medium", "low"]
    assert found.loc["high", ["sales", "share", "pe10", "covered"]].tolist() == [2, 0.5, 1.0, 1.0]
    assert found.loc["high", "mdape"] == pytest.approx(0.05)
    assert found.loc["high", "width"] == pytest.approx((30 / 105 + 30 / 95) / 2)
    assert found.loc["medium", ["pe10", "covered"]].tolist() == [0.0, 0.0]
    assert found["sales"].sum() == len(later)


def test_a_sale_counts_for_each_of_its_reasons(later) -> None:
    found = reasons_table(later).set_index("reason")["sales"]
    assert found.to_dict() == {
        "an attribute is not known": 1,
        "an attribute is unusual": 1,
        "houses like it are often estimated far from their prices": 1,
        "none of these": 2,
    }
