"""The sales that support an estimate: which may, which may not, and at what price."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from housevis.core.errors import ModelError
from housevis.pricing import supporting_sales
from housevis.pricing.attributes import model_table
from housevis.pricing.model import HousePriceModel
from housevis.pricing.picture_likeness import PictureSpace
from housevis.pricing.supporting_sales import COLUMNS, Houses, SupportingSales
from housevis.pricing.supporting_words import distance_words, time_words

ATTRIBUTES = ("latitude", "longitude", "bedrooms", "bathrooms", "area_m2", "sale_month")
VISUAL = ("visual_1", "visual_2")
COUNT = 420
GROWTH = 0.02


def market(seed: int = 5, count: int = COUNT) -> tuple[pd.DataFrame, np.ndarray]:
    """Sales whose price follows size, place and a month's rise; pooled features of their pictures."""
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 720, count))
    area = random.normal(150, 45, count).clip(50)
    sales = pd.DataFrame(
        {
            "house_id": [f"h{number}" for number in range(count)],
            "latitude": 47 + random.uniform(0, 0.05, count),
            "longitude": -122 + random.uniform(0, 0.05, count),
            "sale_date": pd.Timestamp("2022-01-01") + pd.to_timedelta(days, "D"),
            "bedrooms": np.round(area / 45).clip(1),
            "bathrooms": random.integers(1, 4, count).astype(float),
            "area_m2": area,
        }
    )
    pooled = random.normal(size=(count, 12)).astype(np.float32)
    pooled[::21] = np.nan
    log_price = 8 + 0.9 * np.log(area) + 8 * (sales["latitude"] - 47) + GROWTH * days / 30.4
    log_price += 0.1 * np.nan_to_num(pooled[:, 0]) + random.normal(0, 0.03, count)
    sales["price"] = np.exp(log_price)
    sales["sale_id"] = sales["house_id"] + "@" + sales["sale_date"].dt.strftime("%Y-%m-%d")
    return sales, pooled


def houses_of(sales: pd.DataFrame, pooled: np.ndarray, space: PictureSpace) -> Houses:
    features = model_table(sales, ATTRIBUTES, pooled[:, :2])
    return Houses(sales, features, space.places(pooled), np.full(len(sales), ""))


def fitted(sales: pd.DataFrame, pooled: np.ndarray, **settings: object) -> HousePriceModel:
    options = {"rounds": 60, "leaves": 8, "minimum_leaf": 5, "num_threads": 1, **settings}
    attributes = options.pop("attributes", ATTRIBUTES)
    model = HousePriceModel(attributes=attributes, visual_names=VISUAL, **options)
    return model.fit(model_table(sales, ATTRIBUTES, pooled[:, :2]), sales["price"])


@pytest.fixture(scope="module")
def known() -> tuple[pd.DataFrame, np.ndarray]:
    sales, pooled = market()
    return sales.iloc[:360].reset_index(drop=True), pooled[:360]


@pytest.fixture(scope="module")
def space(known: tuple[pd.DataFrame, np.ndarray]) -> PictureSpace:
    return PictureSpace.fit(known[1])


@pytest.fixture(scope="module")
def asked(space: PictureSpace) -> Houses:
    sales, pooled = market()
    return houses_of(sales.iloc[360:].reset_index(drop=True), pooled[360:], space)


@pytest.fixture(scope="module")
def supporting(known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace) -> SupportingSales:
    return SupportingSales(fitted(*known, linear_base=True), houses_of(*known, space))


def test_every_house_has_six_from_the_training_sales_the_best_first(
    supporting: SupportingSales, known: tuple[pd.DataFrame, np.ndarray], asked: Houses
) -> None:
    table = supporting.of(asked)

    assert tuple(table.columns) == COLUMNS
    assert table["sale_id"].tolist() == np.repeat(asked.sales["sale_id"], 6).tolist()
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6] * len(asked.sales)
    assert set(table["comparable_sale_id"]) <= set(known[0]["sale_id"])
    assert not table.duplicated(["sale_id", "comparable_house_id"]).any()
    assert table["leaf_likeness"].between(0, 1).all()
    prices = known[0].set_index("sale_id")["price"]
    assert table["price"].to_numpy() == pytest.approx(prices[table["comparable_sale_id"]].to_numpy())


def test_the_middle_of_their_prices_is_nearer_than_that_of_the_nearest(
    supporting: SupportingSales, known: tuple[pd.DataFrame, np.ndarray], asked: Houses
) -> None:
    middle = supporting.of(asked).groupby("sale_id", sort=False)["adjusted_price"].median().to_numpy()
    places = known[0][["latitude", "longitude"]].to_numpy()
    nearest = [
        np.median(known[0]["price"].to_numpy()[np.argsort(((places - place) ** 2).sum(axis=1))[:6]])
        for place in asked.sales[["latitude", "longitude"]].to_numpy()
    ]
    price = asked.sales["price"].to_numpy()

    assert np.median(np.abs(middle / price - 1)) < 0.6 * np.median(np.abs(np.array(nearest) / price - 1))


def test_never_the_house_itself_nor_its_other_sales_nor_a_twin(
    known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace
) -> None:
    sales, pooled = known
    again = sales.iloc[[10]].assign(sale_id="h10@earlier", price=lambda row: row["price"] * 0.9)
    twin = sales.iloc[[10]].assign(house_id="another id", sale_id="twin@2023-01-01")
    more = pd.concat([sales, again, twin], ignore_index=True)
    both = np.vstack([pooled, pooled[[10, 10]]])
    table = SupportingSales(fitted(more, both), houses_of(more, both, space)).of(
        houses_of(sales.iloc[[10]].reset_index(drop=True), pooled[[10]], space)
    )

    assert len(table) == 6
    assert not set(table["comparable_house_id"]) & {"h10", "another id"}


def test_a_house_sold_twice_counts_once(known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace) -> None:
    sales, pooled = known
    twice = sales.assign(sale_id=sales["sale_id"] + " again", price=sales["price"] * 1.01)
    more, both = pd.concat([sales, twice], ignore_index=True), np.vstack([pooled, pooled])
    asked = houses_of(sales.iloc[:40].reset_index(drop=True), pooled[:40], space)
    table = SupportingSales(fitted(more, both), houses_of(more, both, space)).of(asked)

    assert not table.duplicated(["sale_id", "comparable_house_id"]).any()


def test_prices_are_carried_by_the_models_own_market_index(
    known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace, asked: Houses
) -> None:
    model = fitted(*known, market_index="hedonic")
    table = SupportingSales(model, houses_of(*known, space)).of(asked)
    assert model.market_index_ is not None
    dates = asked.sales.set_index("sale_id")["sale_date"][table["sale_id"]]
    change = model.market_index_.level(dates) - model.market_index_.level(table["sale_date"])

    assert (table["adjusted_price"] / table["price"]).to_numpy() == pytest.approx(np.exp(change))
    assert change.mean() > 0.05


def test_without_an_index_the_month_of_sale_carries_prices(
    supporting: SupportingSales, asked: Houses
) -> None:
    table = supporting.of(asked)
    months = asked.sales.set_index("sale_id")["sale_date"][table["sale_id"]].to_numpy() - table["sale_date"]
    expected = GROWTH * (months / pd.Timedelta(days=30.4)).to_numpy()
    found = np.log(table["adjusted_price"] / table["price"]).to_numpy()

    assert np.corrcoef(expected, found)[0, 1] > 0.9
    assert found.mean() == pytest.approx(expected.mean(), rel=0.4)


def test_a_model_that_knows_no_time_leaves_prices_as_they_were(
    known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace, asked: Houses
) -> None:
    model = fitted(*known, attributes=ATTRIBUTES[:-1])
    table = SupportingSales(model, houses_of(*known, space)).of(asked)

    assert table["adjusted_price"].tolist() == table["price"].tolist()


def test_a_house_without_picture_is_compared_by_the_trees_without_pictures(
    supporting: SupportingSales, asked: Houses
) -> None:
    table = supporting.of(asked).set_index("sale_id")
    blind = asked.sales["sale_id"][~np.isfinite(asked.pictures).all(axis=1)]

    assert len(blind)
    assert table.loc[blind, "picture_likeness"].isna().all()
    assert (table.loc[blind].groupby(level=0).size() == 6).all()
    assert table.drop(index=blind)["picture_likeness"].between(0, 1).all()


def test_a_market_without_pictures_has_comparables_too(known: tuple[pd.DataFrame, np.ndarray]) -> None:
    sales, nothing = known[0], np.empty((len(known[0]), 0), np.float32)
    model = HousePriceModel(attributes=ATTRIBUTES, rounds=40, minimum_leaf=5, num_threads=1)
    model.fit(model_table(sales, ATTRIBUTES, nothing), sales["price"])
    space = PictureSpace.fit(nothing)
    houses = Houses(
        sales, model_table(sales, ATTRIBUTES, nothing), space.places(nothing), np.full(len(sales), "")
    )
    table = SupportingSales(model, houses).of(houses)

    assert (table.groupby("sale_id").size() == 6).all()
    assert table["picture_likeness"].isna().all()


def test_the_very_same_picture_is_found_wherever_it_lies(
    supporting: SupportingSales, known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace
) -> None:
    sales, pooled = known
    house = sales.iloc[[7]].assign(house_id="new", sale_id="new@2024-01-01", latitude=47.2)
    table = supporting.of(houses_of(house.reset_index(drop=True), pooled[[7]], space), count=60)
    like = table.set_index("comparable_house_id")["picture_likeness"]

    assert like["h7"] == pytest.approx(1.0, abs=1e-5)
    assert "picture alike" in table.set_index("comparable_house_id").loc["h7", "why"]


def test_pieces_and_order_make_no_difference(
    supporting: SupportingSales, asked: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = supporting.of(asked)
    monkeypatch.setattr(supporting_sales, "_CHUNK", 7)
    assert whole.drop(columns=["metres", "leaf_likeness", "picture_likeness"]).equals(
        supporting.of(asked).drop(columns=["metres", "leaf_likeness", "picture_likeness"])
    )


def test_few_training_sales_give_fewer_comparables(
    known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace, asked: Houses
) -> None:
    few, pooled = known[0].iloc[1:5].reset_index(drop=True), known[1][1:5]
    model = fitted(*known)
    table = SupportingSales(model, houses_of(few, pooled, space)).of(asked)

    assert set(table.groupby("sale_id").size()) == {4}


def test_the_reason_names_leaves_distance_rooms_and_time(supporting: SupportingSales, asked: Houses) -> None:
    table = supporting.of(asked)
    for row in table.to_dict("records"):
        parts = row["why"].split("; ")
        assert parts[0] == f"same leaf in {100 * row['leaf_likeness']:.0f} % of trees"
        assert parts[1] == f"{distance_words(row['metres'])} away"
        assert "bedroom" in parts[2]
    assert (table["sale_date"] <= asked.sales["sale_date"].max()).all()


def test_a_sale_after_the_valuation_date_says_so(
    supporting: SupportingSales, known: tuple[pd.DataFrame, np.ndarray], space: PictureSpace
) -> None:
    early = known[0].iloc[[0]].assign(house_id="new", sale_id="new@2022-01-01")
    table = supporting.of(houses_of(early.reset_index(drop=True), known[1][[0]], space))
    after = table["sale_date"] > early["sale_date"].iloc[0]

    assert after.any()
    assert table.loc[after, "why"].str.contains("after the valuation date").all()
    assert not table.loc[~after, "why"].str.contains("after the valuation date").any()


def test_tables_that_do_not_fit_are_refused(supporting: SupportingSales, asked: Houses) -> None:
    with pytest.raises(ModelError, match="do not fit each other"):
        supporting.of(replace(asked, picture_keys=asked.picture_keys[:-1]))


@pytest.mark.parametrize(
    ("metres", "words"), [(3.4, "3 m"), (87, "87 m"), (318, "320 m"), (996, "1.0 km"), (1440, "1.4 km")]
)
def test_distances_in_words(metres: float, words: str) -> None:
    assert distance_words(metres) == words


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, "sold on the valuation date"),
        (-1, "sold 1 day before"),
        (-30, "sold 30 days before"),
        (-91, "sold 3 months before"),
        (122, "sold 4 months after the valuation date"),
        (-1100, "sold 3 years before"),
    ],
)
def test_times_in_words(days: float, words: str) -> None:
    assert time_words(days) == words
