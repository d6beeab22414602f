"""What if: houses estimated with changed attributes, by the command and in Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.listings import read_new_listings
from housevis.core.config import Config
from housevis.core.errors import UsageError
from housevis.pipeline.new_houses import ESTIMATE_COLUMNS
from housevis.pipeline.what_if import CHANGED_COLUMNS, WhatIf, read_changes

CONFIG = Config.model_validate(
    {
        "name": "any",
        "sample_market": {"houses": 300},
        "listings": {"area_unit": "ft2", "columns": {"area": "sqft"}, "extra_attributes": ["floors", "lot"]},
        "pricing": {
            "attributes": [
                "latitude",
                "longitude",
                "bedrooms",
                "bathrooms",
                "area_m2",
                "floors",
                "sale_month",
            ]
        },
    }
)


def test_a_setting_names_an_attribute_or_the_listings_own_column() -> None:
    assert read_changes(["bathrooms=2½", " floors = 2"], CONFIG) == {"bathrooms": 2.5, "floors": 2.0}
    square_metres = pytest.approx(1000 * 0.09290304)
    assert read_changes(["area=1,000"], CONFIG) == {"area_m2": square_metres}
    assert read_changes(["sqft=1000"], CONFIG) == {"area_m2": square_metres}
    assert read_changes(["area_m2=120"], CONFIG) == {"area_m2": 120.0}
    assert read_changes(["area=120 m2"], CONFIG) == {"area_m2": 120.0}
    assert read_changes([], CONFIG) == {}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("bathrom=3", "unknown attribute 'bathrom'. Did you mean 'bathrooms'?"),
        ("squft=3", "Did you mean 'sqft'?"),
        ("zzz=3", "unknown attribute 'zzz'. It uses: bedrooms, bathrooms, area_m2, floors."),
        ("lot=500", "does not use 'lot'. It uses: bedrooms, bathrooms, area_m2, floors."),
        ("price=1", "does not use 'price'"),
        ("latitude=47", "does not move"),
        ("sale_month=3", "--as-of"),
        ("bathrooms=21", "21 is impossible for bathrooms. Give a value from 0 to 20."),
        ("bedrooms=-1", "impossible for bedrooms"),
        ("area=0", "impossible for area_m2"),
        ("area_m2=100001", "at most 100,000"),
        ("floors=many", "'many' is no number"),
        ("floors=nan", "is no number"),
        ("bathrooms", "changes nothing"),
        ("bathrooms=", "changes nothing"),
        ("=3", "changes nothing"),
    ],
)
def test_what_cannot_be_changed_is_refused_with_the_way_on(setting: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_changes([setting], CONFIG)
    assert words in str(refused.value)


def test_an_attribute_is_set_once() -> None:
    with pytest.raises(UsageError, match="set twice"):
        read_changes(["area=1000", "area_m2=90"], CONFIG)


def new_houses(town: Any, tmp_path: Path, rows: int = 6) -> Path:
    return town.write_listings("what-if.csv", rows).rename(tmp_path / "what-if.csv")


def test_the_file_has_both_estimates_and_their_difference(
    town: Any, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    path, out = new_houses(town, tmp_path), tmp_path / "out.csv"
    common = (path, "--run", "small-town", "--out", out, "--runs", town.runs, "--as-of", "2024-06-01")
    assert housevis("estimate", *common).code == 0
    plain = pd.read_csv(out)
    done = housevis("estimate", *common, "--set", "bathrooms=3", "--set", "area_m2=180")
    assert done.code == 0, done.err
    found = pd.read_csv(out)
    assert list(found.columns)[-len(CHANGED_COLUMNS) :] == list(CHANGED_COLUMNS)
    pd.testing.assert_frame_equal(found[list(plain.columns)], plain)
    assert list(plain.columns)[: len(ESTIMATE_COLUMNS)] == ESTIMATE_COLUMNS
    assert (found["change"] == "bathrooms=3, area_m2=180").all()
    assert np.allclose(found["difference"], found["changed_estimate"] - found["estimate"], atol=0.006)
    assert np.allclose(found["difference_percent"], 100 * found["difference"] / found["estimate"], atol=0.006)
    assert (found["changed_low"] < found["changed_estimate"]).all()
    assert (found["changed_estimate"] < found["changed_high"]).all()
    assert found["difference"].abs().max() > 1
    assert "not what a renovation would bring" in done.out
    by_hand = pd.read_csv(path).assign(bathrooms=3, area_m2=180)
    by_hand.to_csv(path, index=False)
    assert housevis("estimate", *common).code == 0
    assert np.allclose(pd.read_csv(out)["estimate"], found["changed_estimate"])
    refused = housevis("estimate", *common, "--set", "bathroms=3")
    assert refused.code == 2
    assert "Did you mean 'bathrooms'?" in refused.err


def test_one_house_with_many_changes_at_once(town: Any, tmp_path: Path) -> None:
    config, folder = town.config, town.run.serving
    houses, _ = read_new_listings(new_houses(town, tmp_path, 2), config.listings, attributes=["bedrooms"])
    houses["sale_date"] = pd.Timestamp("2024-06-01")
    pooled = np.full((2, town.run.record["backbone"]["channels"]), np.nan, dtype=np.float32)
    what_if = WhatIf.load(folder, houses, pooled)
    changes = [{"bathrooms": float(number)} for number in range(1, 5)]
    found = what_if.changed([{}, *changes, {"bathrooms": 2.0, "area_m2": 150.0}])
    assert found["house_id"].tolist() == [name for name in houses["house_id"] for _ in range(6)]
    assert found["change"].tolist() == [0, 1, 2, 3, 4, 5] * 2
    unchanged = found[found["change"] == 0]
    assert np.array_equal(unchanged["estimate"], what_if.as_they_stand["estimate"])
    assert not unchanged["difference"].any()
    one = WhatIf.load(folder, houses.iloc[[1]].reset_index(drop=True), pooled[:1]).changed([changes[2]])
    same = found[(found["house_id"] == houses["house_id"].iloc[1]) & (found["change"] == 3)]
    assert one["estimate"].tolist() == same["estimate"].tolist()
    with pytest.raises(UsageError, match="does not use 'grade'"):
        what_if.changed([{"grade": 7.0}])
    beyond = what_if.outside_training({"bathrooms": 19.0, "bedrooms": 3.0})
    assert set(beyond) == {"bathrooms"}
    assert beyond["bathrooms"][1] < 19
