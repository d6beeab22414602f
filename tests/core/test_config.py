"""The configuration: variables, paths, names and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from housevis.core.config import Config, load_config, parse_config
from housevis.core.errors import ConfigError

TOWN = {"name": "town", "sample_market": {"houses": 200}}


def parse(**table: Any) -> Config:
    return parse_config(TOWN | table, where="a.toml", directory=Path("/data/project"))


def test_relative_paths_start_from_the_file() -> None:
    config = parse(
        listings={"path": "../sales.csv"},
        vision={"weights": "/w/net.safetensors"},
        imagery={"local_server": {"source": "mbtiles", "path": "tiles.mbtiles"}},
        results="out/a.json",
    )
    assert config.listings.path == Path("/data/sales.csv")
    assert config.vision.weights == Path("/w/net.safetensors")
    assert config.imagery.local_server is not None
    assert config.imagery.local_server.path == Path("/data/project/tiles.mbtiles")
    assert config.results == Path("/data/project/out/a.json")


def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWN_FOLDER", "/elsewhere")
    monkeypatch.delenv("TOWN_CURRENCY", raising=False)
    config = parse(
        listings={
            "path": "${TOWN_FOLDER}/${TOWN_FILE:-sales}.csv",
            "currency": "${TOWN_CURRENCY:-EUR}",
            "extra_attributes": ["${TOWN_EXTRA:-lot}"],
        },
        imagery={"rights_reference": "${TOWN_RIGHTS:-}"},
    )
    assert config.listings.path == Path("/elsewhere/sales.csv")
    assert config.listings.currency == "EUR"
    assert config.listings.extra_attributes == ["lot"]
    assert config.imagery.rights_reference is None


def test_a_variable_that_is_not_set_names_key_and_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOWN_RIGHTS", raising=False)
    with pytest.raises(
        ConfigError, match=r"a\.toml: imagery\.rights_reference .* TOWN_RIGHTS, .*export TOWN_RIGHTS="
    ):
        parse(imagery={"rights_reference": "${TOWN_RIGHTS}"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sead": 3}, r"unknown key 'sead'\. Did you mean 'seed'\?"),
        ({"imagery": {"zooom": 18}}, r"unknown key 'imagery\.zooom'\. Did you mean 'zoom'\?"),
        ({"sample_market": {"house": 200}}, r"unknown key 'sample_market\.house'\. Did you mean 'houses'\?"),
        ({"imagery": {"local_server": {"sauce": "mbtiles"}}}, r"Did you mean 'source'\?"),
        ({"explain": {"xyzzy": 1}}, r"Known keys here: pairs, scalar, top_channels\."),
        ({"name": "../up"}, "names a folder"),
        ({"name": ""}, "names a folder"),
        ({"name": 3}, "name: "),
        ({"seed": -1}, "seed: .*It is -1 now"),
        ({"seed": 2**40}, "seed: "),
        ({"pricing": {"folds": 1}}, r"pricing\.folds: "),
        ({"pricing": 3}, "pricing: "),
        ({"sample_market": {"houses": 3}}, r"sample_market\.houses: "),
        ({"explain": {"scalar": "joy"}}, r"explain\.scalar: "),
        ({"sample_market": None}, r"listings\.path is missing"),
    ],
)
def test_a_wrong_table_is_one_sentence_and_a_remedy(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse(**table)
    assert str(caught.value).startswith("a.toml: ")
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_a_missing_name_is_named() -> None:
    with pytest.raises(ConfigError, match="name: Field required"):
        parse_config({"sample_market": {}}, where="a.toml", directory=Path())


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().seed = 3  # type: ignore[misc]


def test_every_example_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSEVIS_SHARED", "/shared")
    monkeypatch.setenv("HOUSEVIS_RIGHTS", "contract 7")
    examples = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.toml"))
    assert {path.stem for path in examples} >= {"king-county", "sample-market"}
    for path in examples:
        assert load_config(path).name == path.stem


def test_pooling_of_the_middle_needs_pictures_with_the_house_in_the_middle() -> None:
    table = {"name": "x", "listings": {"path": "sales.csv"}, "vision": {"pooling": "average-and-centre"}}
    assert parse_config(table, where="x.toml", directory=Path()).vision.pooling == "average-and-centre"
    with pytest.raises(ConfigError, match=r"needs imagery\.framing centred"):
        parse_config(table | {"imagery": {"framing": "tile"}}, where="x.toml", directory=Path())


def test_bounds_the_wrong_way_round() -> None:
    table = {"name": "x", "listings": {"path": "sales.csv", "bounds": [-122.0, 48.0, -121.0, 47.0]}}
    with pytest.raises(ConfigError, match="the south is not below the north"):
        parse_config(table, where="x.toml", directory=Path())


@pytest.mark.parametrize(("written", "read"), [(True, "always"), (False, "never"), ("auto", "auto")])
def test_the_base_map_of_earlier_versions_is_read(written: bool | str, read: str) -> None:
    assert parse(atlas={"base_map": written}).atlas.base_map == read
    with pytest.raises(ConfigError, match="base_map"):
        parse(atlas={"base_map": "sometimes"})
