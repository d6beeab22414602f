"""The gallery of the small town: who is shown, by which model, with which scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_pipeline.archive import TileArchive
from housevis.core.errors import LeakError, RunError
from housevis.pipeline import gallery, gallery_page, method_maps
from housevis.pipeline.attention import load_parts
from housevis.pipeline.embedding import PictureLoader
from housevis.pipeline.explaining import shown_sales
from housevis.pipeline.gallery_parts import GalleryDesk, GalleryPart
from housevis.pipeline.gallery_scores import AGREEMENT, DELETION, DRIVERS, INSERTION
from housevis.pipeline.project import open_project
from housevis.pipeline.sold import EARLIER, load_sold_houses
from housevis.vision.backbones import load_backbone
from housevis.vision.engines import FeatureEngine, open_engine

SHOWN = ("transfer", "value", "grad-cam")


@pytest.fixture(scope="module")
def engine(town: Any) -> Iterator[FeatureEngine]:
    """The real network, prepared once for all galleries of this file."""
    vision = town.config.vision
    with closing(open_engine(load_backbone(vision), vision.engine, vision.batch_size)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def one_engine(engine: FeatureEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Kept:
        """The engine, which stays open."""

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def close(self) -> None:
            pass

    monkeypatch.setattr(gallery_page, "load_backbone", lambda _: engine.backbone)
    monkeypatch.setattr(gallery_page, "open_engine", lambda *_: Kept())


@pytest.fixture
def command(town: Any, housevis: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: housevis("gallery", town.config_file, "--runs", town.runs, *arguments)


def shown(page: str) -> list[str]:
    return re.findall(r'<th scope="row" class="first" abbr="House ([^"]+)"', page)


@pytest.fixture(scope="module")
def later(town: Any) -> pd.DataFrame:
    judged = pd.read_parquet(town.run.estimates)
    return judged[judged["sample"] == "later sale"].set_index("house_id")


def test_a_page_of_later_sales_spread_over_their_prices(
    town: Any, tmp_path: Path, command: Callable[..., Any]
) -> None:
    out = tmp_path / "new" / "page.html"
    arguments = ("--houses", 4, "--methods", "transfer,value,grad-cam", "--out", out)
    before = {path: path.stat().st_mtime_ns for path in town.run.folder.rglob("*")}
    done = command(*arguments)
    assert done.code == 0, done.err
    assert f"gallery: 4 houses, 3 methods, run {town.run.run_id}: {out.as_uri()}" in done.out
    assert "association, not cause" in done.out
    page = out.read_text(encoding="utf-8")
    houses = shown(page)
    ordered = shown_houses(town).sort_values(["price", "sale_id"])["house_id"].tolist()
    parts = np.array_split(np.array(ordered), 4)
    assert [house in part for house, part in zip(houses, parts, strict=True)] == [True] * 4
    assert page.count('<th scope="col">') == 3
    assert page.count('class="heat"') + page.count("frame under refused") == 12
    assert "A global map: the learner is linear" in page
    assert "Weights lent by house" not in page
    assert "a fictional town made by housevis" in page
    assert "This town is fictional" in page
    for words in ("Agreement", "Deletion", "Insertion", "Concentration", "True drivers"):
        assert words in page
    again = command(*arguments)
    assert again.code == 0
    assert out.read_text(encoding="utf-8") == page
    assert {path: path.stat().st_mtime_ns for path in town.run.folder.rglob("*")} == before


def shown_houses(town: Any) -> pd.DataFrame:
    with open_project(town.config, town.runs, reads_only=True) as project:
        table = shown_sales(load_sold_houses(project))
    return table[(table["model_id"] == EARLIER) & (table["image_key"] != "")]


@pytest.fixture
def parts(town: Any, engine: FeatureEngine) -> Iterator[list[GalleryPart]]:
    """Two houses of later sales and one of an earlier one, with some methods."""
    with open_project(town.config, town.runs, reads_only=True) as project:
        sold = load_sold_houses(project)
        table = shown_sales(sold)
        row_of = pd.Series(np.arange(len(sold.sales)), index=sold.sales["sale_id"])
        table = table.assign(row=row_of[table["sale_id"]].to_numpy())
        some = pd.concat(
            [table[table["model_id"] == EARLIER].head(2), table[table["model_id"] != EARLIER].head(1)]
        )
        config = town.config
        with TileArchive(town.archive) as archive:
            desk = GalleryDesk(
                town.run, config, sold, engine, PictureLoader(archive, config.imagery, config.vision)
            )
            made = []
            for model_id, houses in some.groupby("model_id"):
                part = desk.picture_part(str(model_id), houses.reset_index(drop=True))
                for name in SHOWN:
                    part.add(name, desk)
                made.append(part)
            yield made


def test_maps_and_scores_are_those_of_the_model_that_has_not_seen_the_sale(
    town: Any, parts: list[GalleryPart]
) -> None:
    stored = load_parts(town.run.maps)
    row_of = {house_id: row for row, house_id in enumerate(stored.houses["house_id"])}
    assert {part.model_id for part in parts} > {EARLIER}
    for part in parts:
        rows = [row_of[house_id] for house_id in part.batch.houses["house_id"]]
        assert set(stored.houses["model_id"].iloc[rows]) == {part.model_id}
        transferred, values = part.found["transfer"], part.found["value"]
        same = np.array(transferred.lenders) == stored.houses["neighbour_house_id"].iloc[rows].to_numpy()
        for found, wanted in (
            (transferred.heats[same], stored.heats[rows][same]),
            (values.heats, stored.values[rows]),
        ):
            np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max(initial=0))
        assert set(transferred.lenders) <= set(part.model.training["house_id"])
        assert not set(part.batch.houses["house_id"]) & set(part.model.training["house_id"])
        for name, scored in part.scored.items():
            refused = np.array([status != "ok" for status in part.found[name].statuses])
            assert scored[refused].isna().all(axis=None)
            kept = scored[~refused]
            assert kept[[DELETION, INSERTION]].notna().all(axis=None)
            assert (kept[[DELETION, INSERTION]] >= 0).all(axis=None)
            assert kept[AGREEMENT].dropna().between(-1.0001, 1.0001).all()
            assert part.cover is not None
            np.testing.assert_array_equal(kept[DRIVERS].isna(), part.cover[~refused] == 0)
        own = part.scored["grad-cam"][AGREEMENT].dropna()
        np.testing.assert_allclose(own, 1.0)


def test_named_houses_in_the_order_asked_for_with_their_lenders(
    town: Any,
    tmp_path: Path,
    command: Callable[..., Any],
    later: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if the learner had another direction for every house."""
    monkeypatch.setattr(method_maps, "has_same_weights", lambda _: False)
    judged = pd.read_parquet(town.run.estimates)
    earlier = next(each for each in judged["house_id"] if each not in later.index)
    houses = [later.index[3], earlier, later.index[0]]
    out = tmp_path / "named.html"
    done = command(
        *(word for house in houses for word in ("--house", house)), "--methods", "transfer", "--out", out
    )
    assert done.code == 0, done.err
    page = out.read_text(encoding="utf-8")
    assert shown(page) == houses
    lenders = re.findall(r"Weights lent by house <b><bdi>([^<]+)</bdi></b>", page)
    assert len(lenders) == len(houses)
    assert all(lender != house for lender, house in zip(lenders, houses, strict=True))
    assert set(lenders) <= set(judged["house_id"])
    assert page.count('alt="Picture of the lender, house ') == len(houses)
    assert "A global map" not in page
    assert "The 3 houses that were asked for" in page


PROBLEMS = {
    "unknown house": (
        ("--house", "h000-006-1l"),
        "there is no sold house 'h000-006-1l'",
        "Did you mean 'h00",
    ),
    "unknown method": (
        ("--methods", "transfer,grad-cma"),
        "no method 'grad-cma'",
        "Did you mean 'grad-cam'?",
    ),
    "both": (("--houses", 3, "--house", "a"), "exclude each other", "or name them"),
    "none": (("--houses", 0), "--houses", "1"),
    "a folder": (("--out", "."), "this is a folder", "HTML file"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_bad_input_gives_one_message_with_a_remedy(command: Callable[..., Any], name: str) -> None:
    arguments, says, remedy = PROBLEMS[name]
    ended = command(*arguments)
    assert ended.code == 2
    assert says in ended.err
    assert remedy in ended.err
    assert "Traceback" not in ended.err


def test_a_gallery_needs_a_finished_explain(
    town_copy: Any, tmp_path: Path, housevis: Callable[..., Any]
) -> None:
    town_copy.config_file.write_text(
        town_copy.config_file.read_text().replace("penalty = 60.0", "penalty = 61.0")
    )
    out = tmp_path / "gallery.html"
    ended = housevis("gallery", town_copy.config_file, "--runs", town_copy.runs, "--out", out)
    assert ended.code == 1
    assert "Run `housevis explain CONFIG` first" in ended.err
    assert not out.exists()


def test_a_run_without_pictures_has_no_gallery(town: Any, tmp_path: Path) -> None:
    pricing = town.config.pricing.model_copy(update={"visual_features": "none"})
    config = town.config.model_copy(update={"pricing": pricing})
    with (
        open_project(config, town.runs, reads_only=True) as project,
        pytest.raises(RunError, match="uses no pictures"),
    ):
        gallery(project, out=tmp_path / "gallery.html")
    assert not list(tmp_path.iterdir())


def test_a_house_that_its_model_has_seen_is_refused(
    town: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(sold: Any) -> pd.DataFrame:
        table = shown_sales(sold)
        return table.assign(model_id=np.where(table["model_id"] == EARLIER, "fold-0", EARLIER))

    monkeypatch.setattr(gallery_page, "shown_sales", shifted)
    with open_project(town.config, town.runs, reads_only=True) as project, pytest.raises(LeakError):
        gallery(project, houses=2, out=tmp_path / "gallery.html")
    assert not list(tmp_path.iterdir())
