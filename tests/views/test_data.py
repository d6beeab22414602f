from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from housevis.core.errors import DataError, LeakError
from housevis.views.data import Headline, check_out_of_sample


def test_out_of_sample_records_pass(atlas_data):
    check_out_of_sample(atlas_data.records, atlas_data.training_sales, atlas_data.training_houses)


def test_a_sale_its_model_was_fitted_on_is_named(atlas_data):
    sale = atlas_data.records["sale_id"][0]
    training = {name: set(sales) for name, sales in atlas_data.training_sales.items()}
    training["evaluation"].add(sale)
    with pytest.raises(LeakError, match=f"sale {sale} .* this very sale"):
        check_out_of_sample(atlas_data.records, training, atlas_data.training_houses)


def test_another_sale_of_the_same_house_is_a_leak(atlas_data):
    training = {name: set(houses) for name, houses in atlas_data.training_houses.items()}
    training["evaluation-fold-2"].add("H00002")
    with pytest.raises(LeakError, match="another sale of house H00002"):
        check_out_of_sample(atlas_data.records, atlas_data.training_sales, training)


@pytest.mark.parametrize("sample", ["training", None, float("nan"), ""])
def test_a_record_without_an_honest_sample_is_refused(atlas_data, sample):
    records = atlas_data.records.copy()
    records["sample"] = records["sample"].astype(object)
    records.loc[5, "sample"] = sample
    with pytest.raises(LeakError, match=r"H00005@.* its sample is"):
        check_out_of_sample(records, atlas_data.training_sales, atlas_data.training_houses)


def test_a_model_of_unknown_training_is_refused(atlas_data):
    records = atlas_data.records.copy()
    records["model_id"] = records["model_id"].astype(object)
    records.loc[9, "model_id"] = None
    with pytest.raises(LeakError, match=r"H00009@.* nothing is known"):
        check_out_of_sample(records, atlas_data.training_sales, atlas_data.training_houses)


def test_a_missing_column_is_named(atlas_data):
    with pytest.raises(DataError, match="'base' is missing"):
        replace(atlas_data, records=atlas_data.records.drop(columns="base"))


def test_heat_must_fit_the_records_and_be_finite(atlas_data):
    with pytest.raises(DataError, match=r"need \(60, h, w\)"):
        replace(atlas_data, pictures=replace(atlas_data.pictures, heat=atlas_data.pictures.heat[:3]))
    heat = atlas_data.pictures.heat.copy()
    heat[7, 0, 0] = np.nan
    with pytest.raises(DataError, match="no number"):
        replace(atlas_data, pictures=replace(atlas_data.pictures, heat=heat))


def test_pictures_need_their_columns(atlas_data):
    with pytest.raises(DataError, match="'status' is missing"):
        replace(atlas_data, records=atlas_data.records.drop(columns="status"))


def test_a_share_in_percent_is_refused():
    with pytest.raises(DataError, match="fraction"):
        Headline(10, 55.2, 50.7, 4.5, 1.2, 7.8)


def test_a_headline_without_pictures_has_no_comparison():
    assert Headline(10, None, 0.4, None, None, None).share == 0.4
    assert Headline(10, 0.5, 0.4, 0.1, 0.0, 0.2).share == 0.5
    with pytest.raises(DataError, match="only a part"):
        Headline(10, None, 0.4, 0.1, 0.0, 0.2)
