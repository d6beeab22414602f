"""Estimates and attention maps of new houses, by the serving model."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.tile_server import TileServer
from housevis.pipeline import new_houses
from housevis.pipeline.result_files import overlay_names
from housevis.vision.backbones import load_backbone
from housevis.vision.engines import open_engine

COLUMNS = [
    "id", "estimate", "low", "high", "currency", "valuation_date", "imagery", "confidence",
    "confidence_reasons",
]  # fmt: skip
FAR_AWAY = "far,10.5,20.5,3,2,120"


@pytest.fixture(scope="module")
def engines() -> dict[Any, Any]:
    return {}


@pytest.fixture(autouse=True)
def one_engine(engines: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The real network, prepared once for all commands of this file."""

    def prepared_backbone(section: Any) -> Any:
        if "backbone" not in engines:
            engines["backbone"] = load_backbone(section)
        return engines["backbone"]

    def prepared_engine(backbone: Any, kind: str, batch_size: int) -> Any:
        if (kind, batch_size) not in engines:
            engines[kind, batch_size] = open_engine(backbone, kind, batch_size)
        return engines[kind, batch_size]

    monkeypatch.setattr(new_houses, "load_backbone", prepared_backbone)
    monkeypatch.setattr(new_houses, "open_engine", prepared_engine)


@pytest.fixture
def tile_server(town: Any) -> Iterator[TileServer]:
    with TileArchive(town.archive) as archive, TileServer(archive) as server:
        yield server


def anonymous(town: Any, path: Path) -> Path:
    """The town's tiles without a word of where they come from."""
    with TileArchive(town.archive) as source, TileArchive.create(path, {"format": source.format}) as made:
        made.write([(tile, source.read(18, tile.x, tile.y)) for tile in list(source.tiles(18))])
    return path


@pytest.fixture
def estimate(town: Any, tmp_path: Path, housevis: Callable[..., Any]) -> Callable[..., pd.DataFrame]:
    def command(listings: Path, *arguments: object, run: str = "small-town") -> pd.DataFrame:
        out = tmp_path / "results" / "estimates.csv"
        ended = housevis("estimate", listings, "--run", run, "--out", out, "--runs", town.runs, *arguments)
        assert ended.code == 0, ended.err
        assert "estimates, not appraisals" in ended.out
        frame = pd.read_csv(out)
        assert list(frame.columns) == COLUMNS
        assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
        frame.attrs["out"] = ended.out
        return frame

    return command


def listings(town: Any, tmp_path: Path, rows: int = 4, extra: str = "") -> Path:
    made = town.write_listings("new.csv", rows, extra)
    return made.rename(tmp_path / "new.csv")


def test_an_estimate_needs_no_price_and_marks_missing_imagery(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame]
) -> None:
    found = estimate(listings(town, tmp_path, 4, FAR_AWAY), "--imagery", town.archive)
    assert found["imagery"].tolist() == ["yes"] * 4 + ["none"]
    assert found["id"].iloc[-1] == "far"
    assert (found["low"] < found["estimate"]).all()
    assert (found["estimate"] < found["high"]).all()
    assert (found["currency"] == "USD").all()
    assert (found["valuation_date"] == date.today().isoformat()).all()
    assert "1 of them have no imagery" in found.attrs["out"]
    assert "a fictional town made by housevis" in found.attrs["out"]
    blind = estimate(tmp_path / "new.csv")
    assert (blind["imagery"] == "none").all()
    assert (blind["estimate"] > 0).all()
    assert blind["estimate"].iloc[-1] == found["estimate"].iloc[-1]
    assert (blind["estimate"].iloc[:4] != found["estimate"].iloc[:4]).any()


def test_the_name_and_the_id_of_a_run_mean_the_same(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame]
) -> None:
    path = listings(town, tmp_path)
    by_name = estimate(path, "--imagery", town.archive)
    by_id = estimate(path, "--imagery", town.archive, run=town.run.run_id)
    pd.testing.assert_frame_equal(by_name, by_id)


def test_the_valuation_date_is_the_listings_own_then_as_of_then_today(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame]
) -> None:
    path = listings(town, tmp_path, 2)
    header, *rows = path.read_text().splitlines()
    path.write_text(f"{header},date\n{rows[0]},2024-03-01\n{rows[1]},\n")
    found = estimate(path, "--as-of", "2025-07-15")
    assert found["valuation_date"].tolist() == ["2024-03-01", "2025-07-15"]
    assert estimate(path)["valuation_date"].tolist() == ["2024-03-01", date.today().isoformat()]


def test_the_valuation_date_moves_the_estimate(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame]
) -> None:
    sold = pd.read_parquet(town.run.estimates)["sale_date"]
    path = listings(town, tmp_path, 50)
    first = estimate(path, "--as-of", sold.min().date())["estimate"]
    last = estimate(path, "--as-of", sold.max().date())["estimate"]
    assert (first != last).mean() > 0.5


def test_tiles_may_come_from_an_address(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame], tile_server: TileServer
) -> None:
    path = listings(town, tmp_path)
    found = estimate(path, "--imagery", tile_server.url, "--i-have-rights", "my own town")
    assert tile_server.requests > 0
    assert "by right of: my own town" in found.attrs["out"]
    pd.testing.assert_frame_equal(found, estimate(path, "--imagery", town.archive))


def test_rejected_rows_are_reported_and_the_others_estimated(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame]
) -> None:
    path = listings(town, tmp_path, 3, "north,95,20.5,3,2,120\nnowhere,,,3,2,120")
    found = estimate(path)
    assert len(found) == 3
    assert "left out 2 rows" in found.attrs["out"]
    rejects = pd.read_csv(tmp_path / "results" / "estimates.csv.rejects.csv")
    assert rejects["reason"].tolist() == ["impossible_coordinate", "missing_coordinate"]
    assert rejects["row"].tolist() == [5, 6]


def test_one_house_may_be_valued_at_two_dates(
    town: Any, tmp_path: Path, estimate: Callable[..., pd.DataFrame], housevis: Callable[..., Any]
) -> None:
    path = listings(town, tmp_path, 1)
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},date\n{row},2024-03-01\n{row},2025-03-01\n")
    found = estimate(path, "--imagery", town.archive)
    assert found["imagery"].tolist() == ["yes", "yes"]
    done = explain(town, housevis, path, tmp_path / "out")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out").glob("*.png"))) == 2


def explain(town: Any, housevis: Callable[..., Any], path: Path, out: Path, *arguments: object) -> Any:
    imagery = () if "--imagery" in arguments else ("--imagery", town.archive)
    return housevis(
        "explain", path, "--run", "small-town", "--out", out, "--runs", town.runs, *imagery, *arguments
    )


def test_an_attention_map_of_every_house(town: Any, tmp_path: Path, housevis: Callable[..., Any]) -> None:
    path = listings(town, tmp_path, 5, FAR_AWAY)
    out = tmp_path / "attention"
    done = explain(town, housevis, path, out)
    assert done.code == 0, done.err
    assert "1 houses have no imagery and no map" in done.out
    ids = pd.read_csv(path)["id"].tolist()[:5]
    with np.load(out / "heatmaps.npz", allow_pickle=False) as stored:
        assert stored["ids"].tolist() == ids
        assert stored["maps"].dtype == np.float32
        assert stored["maps"].shape == (5, 7, 7)
        assert np.isfinite(stored["maps"]).all()
        assert stored["bounds"].shape == (5, 4)
        west, south, east, north = stored["bounds"].T
        places = pd.read_csv(path).iloc[:5]
        assert ((west < places["longitude"]) & (places["longitude"] < east)).all()
        assert ((south < places["latitude"]) & (places["latitude"] < north)).all()
        assert str(stored["method"]) == "grad-weight transfer"
        assert stored["files"].tolist() == [f"{house_id}.png" for house_id in ids]
        assert stored["status"].shape == (5,)
    for house_id in ids:
        with Image.open(out / f"{house_id}.png") as picture:
            assert picture.size == (224, 224)
    tables = {"heatmaps.npz", "under-heat.csv"}
    assert {path.name for path in out.iterdir()} == {f"{name}.png" for name in ids} | tables


def test_ids_cannot_leave_the_folder(town: Any, tmp_path: Path, housevis: Callable[..., Any]) -> None:
    path = listings(town, tmp_path, 7)
    lines = path.read_text().splitlines()
    ids = ["../../outside", "..", "/etc/house", "Sørensens gård 4 🏡", "界" * 190, "a\\b:c*?", ".hidden"]
    rows = [f'"{new}",{line.split(",", 1)[1]}' for new, line in zip(ids, lines[1:], strict=True)]
    path.write_text("\n".join([lines[0], *rows]) + "\n")
    out = tmp_path / "deep" / "attention"
    before = {path for path in tmp_path.rglob("*") if out not in path.parents}
    done = explain(town, housevis, path, out)
    assert done.code == 0, done.err
    after = {path for path in tmp_path.rglob("*") if out not in path.parents}
    assert after - before == {out.parent, out}
    with np.load(out / "heatmaps.npz", allow_pickle=False) as stored:
        assert stored["ids"].tolist() == ids
        names = stored["files"].tolist()
    assert len(set(names)) == len(ids)
    assert {path.name for path in out.iterdir()} == {*names, "heatmaps.npz", "under-heat.csv"}
    assert not any(name.startswith(".") or "/" in name for name in names)


def test_names_of_overlays_differ_even_where_a_disk_ignores_case() -> None:
    names = overlay_names(["a", "A", "a", "x" * 200, "x" * 199 + "y"])
    assert names[:3] == ["a.png", "A (2).png", "a (3).png"]
    assert len({name.lower() for name in names}) == 5
    assert max(len(name) for name in names) < 200


def test_explain_with_a_configuration_is_the_step(town: Any, housevis: Callable[..., Any]) -> None:
    done = housevis("explain", town.config_file, "--runs", town.runs)
    assert done.code == 0
    assert "attention maps: 298 houses" in done.out or "attention maps:" in done.out


@pytest.mark.parametrize("command", ["estimate", "explain"])
@pytest.mark.parametrize("kind", ["archive", "address"])
def test_imagery_without_a_record_is_refused_until_a_right_is_named(
    town: Any, tmp_path: Path, housevis: Callable[..., Any], tile_server: TileServer, command: str, kind: str
) -> None:
    path = listings(town, tmp_path)
    imagery = anonymous(town, tmp_path / "own.mbtiles") if kind == "archive" else tile_server.url
    out = tmp_path / ("out.csv" if command == "estimate" else "out")
    arguments = [
        command,
        path,
        "--run",
        "small-town",
        "--imagery",
        imagery,
        "--out",
        out,
        "--runs",
        town.runs,
    ]
    refused = housevis(*arguments)
    assert refused.code == 2
    assert "--i-have-rights" in refused.err
    assert "unknown, so it is refused" in refused.err
    assert tile_server.requests == 0
    assert not out.is_file()
    assert not list(tmp_path.rglob("heatmaps.npz"))
    allowed = housevis(*arguments, "--i-have-rights", "contract 7")
    assert allowed.code == 0, allowed.err
    assert "contract 7" in allowed.out


class Problem:
    """A command that must fail, and what its message must say."""

    def __init__(self, code: int, says: str, *arguments: str, content: str | bytes | None = None) -> None:
        self.code, self.says, self.arguments, self.content = code, says, arguments, content


PLACE = "60.0089061,-24.0058442"
ESTIMATE = ("estimate", "{new}", "--run", "small-town", "--out", "{tmp}/out.csv")
EXPLAIN = ("explain", "{new}", "--run", "small-town", "--imagery", "{archive}", "--out", "{tmp}/out")
PROBLEMS = {
    "unknown run": Problem(1, "Known names: small-town", "estimate", "{new}", "--run", "smal-town"),
    "unknown run to serve": Problem(1, "no finished run 'x'", "serve", "x"),
    "no such listings": Problem(
        1, "no such listings file", "estimate", "{tmp}/no.csv", "--run", "small-town"
    ),
    "listings are a folder": Problem(1, "this is a folder", "estimate", "{tmp}", "--run", "small-town"),
    "empty listings": Problem(1, "empty", *ESTIMATE, content=""),
    "header only": Problem(1, "no row can be used", *ESTIMATE, content="id,latitude,longitude\n"),
    "no coordinates": Problem(1, "no column 'longitude'", *ESTIMATE, content="id,latitude\na,1\n"),
    "only bad rows": Problem(1, "impossible_coordinate", *ESTIMATE, content="id,lat,lon\na,95,3\n"),
    "latin-1": Problem(
        1, "latin-1", *ESTIMATE, content=f"id,latitude,longitude\ngård,{PLACE}\n".encode("latin-1")
    ),
    "unknown kind": Problem(1, "cannot be read", "estimate", "{archive}", "--run", "small-town"),
    "no such archive": Problem(2, "no such file or folder", *ESTIMATE, "--imagery", "{tmp}/no.mbtiles"),
    "imagery is another folder": Problem(1, "neither GeoTIFFs nor pictures", *ESTIMATE, "--imagery", "{tmp}"),
    "archive is text": Problem(1, "no imagery that housevis reads", *ESTIMATE, "--imagery", "{new}"),
    "address without tiles": Problem(
        2, "which tile is meant", *ESTIMATE, "--imagery", "http://127.0.0.1/a.png"
    ),
    "server down": Problem(
        1,
        "127.0.0.1",
        *ESTIMATE,
        "--imagery",
        "http://127.0.0.1:9/{{z}}/{{x}}/{{y}}.png",
        "--i-have-rights",
        "x",
    ),
    "out is a folder": Problem(2, "this is a folder", *ESTIMATE[:4], "--out", "{tmp}"),
    "out is the listings": Problem(2, "replace the listings", *ESTIMATE[:4], "--out", "{new}"),
    "out below a file": Problem(1, "Check the path", *ESTIMATE[:4], "--out", "{new}/out.csv"),
    "out on no disk": Problem(1, "Check the path", *ESTIMATE[:4], "--out", "/proc/none/out.csv"),
    "maps below a file": Problem(1, "Check the path", *EXPLAIN[:6], "--out", "{new}/out"),
    "maps into a file": Problem(1, "Check the path", *EXPLAIN[:6], "--out", "{new}"),
    "far from the imagery": Problem(1, "not one listing lies on", *EXPLAIN, content="id,lat,lon\na,10,20\n"),
    "explain without run": Problem(2, "--run RUN", "explain", "{new}"),
    "explain without out": Problem(2, "--out FOLDER", "explain", "{new}", "--run", "small-town"),
    "config and out": Problem(2, "--run RUN", "explain", "{config}", "--out", "{tmp}/x"),
    "other machines": Problem(2, "this machine alone", "serve", "small-town", "--host", "0.0.0.0"),
    "no date": Problem(2, "--as-of", *ESTIMATE, "--as-of", "soon"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_bad_input_gives_one_message_with_a_remedy(
    town: Any, tmp_path: Path, housevis: Callable[..., Any], name: str
) -> None:
    problem = PROBLEMS[name]
    new = listings(town, tmp_path)
    if problem.content is not None:
        content = problem.content
        new.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = new.read_bytes()
    places = {"new": new, "tmp": tmp_path, "archive": town.archive, "config": town.config_file}
    arguments = [argument.format(**places) for argument in problem.arguments]
    ended = housevis(*arguments, "--runs", town.runs)
    assert ended.code == problem.code, ended
    assert problem.says in ended.err
    assert "Traceback" not in ended.err
    if name != "no date":
        assert len(ended.err.strip().splitlines()) == 1
        assert re.search(r"\. [A-Z].*\.$", ended.err.strip()), "there is no remedy"
    assert new.read_bytes() == before
    assert not (tmp_path / "out.csv").exists()
    assert not [path for path in tmp_path.rglob("*") if "writing" in path.name]


def test_serving_needs_a_free_port(town: Any, tile_server: TileServer, housevis: Callable[..., Any]) -> None:
    ended = housevis("serve", "small-town", "--port", tile_server.port, "--runs", town.runs)
    assert ended.code == 2
    assert f"port {tile_server.port} of 127.0.0.1" in ended.err
    assert "--port" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_result_appears_whole_or_not_at_all(
    town: Any, tmp_path: Path, housevis: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = listings(town, tmp_path), tmp_path / "out"
    assert explain(town, housevis, path, out).code == 0
    before = {path: path.read_bytes() for path in out.iterdir()}

    def full(stream: io.BufferedIOBase, **_: Any) -> None:
        stream.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    ended = explain(town, housevis, path, out)
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert {path: path.read_bytes() for path in out.iterdir()} == before
