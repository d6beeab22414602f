"""The two foreign files, as their publishers left them, through the example configurations."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

import pytest

from data_pipeline.listings import read_listings
from data_pipeline.steps import ingest
from db.session import open_database
from db.store import read_sales
from housevis.core.config import Config, load_config
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError
from housevis.core.workspace import Workspace

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TODAY = date(2025, 1, 1)

pytestmark = pytest.mark.shared


@pytest.fixture
def example(shared_data: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HOUSEVIS_SHARED", str(shared_data))
    return lambda name: load_config(EXAMPLES / f"{name}.toml")


@pytest.mark.parametrize("name", ["melbourne", "miami"])
def test_a_mapping_takes_ten_lines_at_most(name: str) -> None:
    table = tomllib.loads((EXAMPLES / f"{name}.toml").read_text(encoding="utf-8"))
    assert len(table["listings"]["columns"]) <= 10


def test_melbourne(example) -> None:  # type: ignore[no-untyped-def]
    config: Config = example("melbourne")
    listings = read_listings(config.listings, today=TODAY)
    assert listings.rows == 16_040
    assert len(listings.sales) == 12_655
    assert listings.reasons == {
        "impossible_area": 38,
        "missing_coordinate": 19,
        "not_arms_length": 3_312,
        "same_price_resale": 16,
    }
    assert listings.warnings == []
    assert listings.mapping.people == ["SellerG"]
    assert listings.unreadable == {}
    sales = listings.sales
    assert (sales["sale_date"].min().date(), sales["sale_date"].max().date()) == (
        date(2016, 1, 28),
        date(2018, 3, 17),
    )
    assert sales["latitude"].between(-39, -37).all()
    assert sales["area_m2"].notna().mean() > 0.4


def test_melbourne_needs_only_what_cannot_be_guessed(shared_data: Path) -> None:
    section = ListingsSection(
        path=shared_data / "data" / "other-markets" / "melbourne.csv",
        currency="AUD",
        columns={"id": "Suburb, Address"},
    )
    listings = read_listings(section, today=TODAY)
    assert listings.mapping.names["latitude"] == "Lattitude"
    assert any("day first" in note for note in listings.notes)
    assert "invalid_date" not in listings.reasons
    with pytest.raises(ConfigError, match="'SellerG' names owners, sellers"):
        read_listings(section.model_copy(update={"extra_attributes": ["SellerG"]}))


def test_miami(example) -> None:  # type: ignore[no-untyped-def]
    config: Config = example("miami")
    listings = read_listings(config.listings, today=TODAY)
    assert listings.rows == 13_932
    assert listings.reasons == {"duplicate_sale": 10, "same_price_resale": 6}
    assert "13,932 dates are known to the month only of 2016: stored as its first day" in listings.notes
    assert len(listings.warnings) == 1
    assert "'PARCELNO' is not unique: a spreadsheet has rounded it" in listings.warnings[0]
    assert set(listings.sales["sale_date"].dt.day) == {1}
    assert listings.sales["bedrooms"].isna().all()
    assert listings.sales["area_m2"].median() == pytest.approx(1877.5 * 0.3048**2, rel=0.01)


def test_rounded_parcel_numbers_are_no_ids(example) -> None:  # type: ignore[no-untyped-def]
    config: Config = example("miami")
    columns = {**config.listings.columns, "id": "PARCELNO"}
    with pytest.raises(ListingsError, match=r"shortened the ids.*id = \"LATITUDE, LONGITUDE\""):
        read_listings(config.listings.model_copy(update={"columns": columns}))


@pytest.mark.parametrize("name", ["melbourne", "miami"])
def test_each_becomes_a_market_that_holds_no_names(example, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    config: Config = example(name)
    workspace = Workspace(tmp_path / name)
    engine = open_database(workspace.database)
    report = ingest(config, workspace, engine)
    assert report.rows == report.sales + sum(report.rejected.values())
    assert report.flagged > 0
    sales = read_sales(engine)
    engine.dispose()
    assert set(config.pricing.attributes) <= {*sales.columns, "sale_month"}
    if name == "melbourne":
        content = b"".join(path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file())
        for seller in (b"hockingstuart", b"Biggin", b"Marshall White"):
            assert seller not in content
