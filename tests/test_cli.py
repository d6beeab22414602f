"""The command line without a run: help, bad configurations and bad data, one message each."""

from __future__ import annotations

import os
import re
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from data_pipeline.archive import TileArchive

ROOT = Path(__file__).resolve().parents[1]
ROWS = """id,date,price,latitude,longitude,bedrooms,bathrooms,area_m2
a,2014-05-02,500000,47.6001,-122.3301,3,2,120
b,2014-05-03,600000,47.6002,-122.3312,4,2,150
c,2014-05-04,n/a,47.6003,-122.3303,4,2,150
d,2014-05-05,650000,95.0,-122.3303,4,2,150
"""
CONFIG = """
name = "test"
[listings]
path = "sales.csv"
[imagery]
rights_reference = "contract 7"
[imagery.local_server]
source = "mbtiles"
path = "source.mbtiles"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration with listings and an empty archive."""
    (tmp_path / "test.toml").write_text(CONFIG)
    (tmp_path / "sales.csv").write_text(ROWS)
    with TileArchive.create(tmp_path / "source.mbtiles", {"format": "png"}):
        pass
    return tmp_path


def is_one_message(err: str) -> bool:
    text = err.strip().splitlines()[-1]
    return "Traceback" not in err and bool(re.match(r"Error: .+\. .+[.?…]$", text))


def test_help_says_which_reader_a_command_is_for(housevis: Callable[..., Any]) -> None:
    commands = ("run", "ingest", "tiles", "embed", "train", "explain", "evaluate")
    commands += ("atlas", "report", "serve", "estimate")
    listed = housevis("--help").out
    for command in commands:
        assert command in listed
        shown = housevis(command, "--help")
        assert shown.code == 0
        assert re.search(r"(Analysts|Agents|Managers)[^:]*:", shown.out), command
    assert housevis("--version").out.startswith("housevis ")


@pytest.mark.parametrize(
    "arguments", [["explode"], ["run"], ["run", "a.toml", "--faster"], ["estimate", "a.csv"]]
)
def test_a_wrong_command_is_a_mistake_in_usage(housevis: Callable[..., Any], arguments: list[str]) -> None:
    ended = housevis(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err


CONFIG_PROBLEMS = {
    "typo": ("[vision]\nbackbon = 'auto'", "Did you mean 'backbone'?"),
    "typo of a section": ("[visoin]\nbackbone = 'auto'", "Did you mean 'vision'?"),
    "not TOML": ("name = = 3", "not valid TOML"),
    "wrong type": ("[pricing]\nfolds = 'many'", "pricing.folds"),
    "out of range": ("[imagery]\nzoom = 99", "imagery.zoom"),
    "negative seed": ("seed = -1", "seed"),
    "unknown choice": ("[vision]\nbackbone = 'vgg'", "vision.backbone"),
    "unset variable": ("[listings]\npath = '${HOUSEVIS_NOT_SET}/a.csv'", "HOUSEVIS_NOT_SET"),
    "no listings": ("", "listings.path is missing"),
    "unknown provider": ("[listings]\npath = 'sales.csv'\n[imagery]\nprovider = 'usgs'", "usgs-imagery"),
}


@pytest.mark.parametrize("name", CONFIG_PROBLEMS)
def test_a_wrong_configuration_names_the_key_and_the_remedy(
    folder: Path, housevis: Callable[..., Any], name: str
) -> None:
    text, says = CONFIG_PROBLEMS[name]
    config = folder / "wrong.toml"
    config.write_text(f'name = "wrong"\n{text}\n')
    ended = housevis("run", config, "--runs", folder / "runs")
    assert ended.code == 2
    assert says in ended.err
    assert is_one_message(ended.err), ended.err


@pytest.mark.parametrize("kind", ["missing", "folder", "below a file", "latin-1"])
def test_an_unreadable_configuration(folder: Path, housevis: Callable[..., Any], kind: str) -> None:
    (folder / "latin.toml").write_bytes('name = "gård"'.encode("latin-1"))
    paths = {"missing": "no.toml", "folder": ".", "below a file": "test.toml/a.toml", "latin-1": "latin.toml"}
    ended = housevis("run", folder / paths[kind], "--runs", folder / "runs")
    assert ended.code == 2
    assert is_one_message(ended.err), ended.err
    assert not (folder / "runs").exists()


def test_imagery_that_needs_a_right_waits_for_the_variable(
    folder: Path, housevis: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of King County, without its variables."""
    monkeypatch.delenv("HOUSEVIS_RIGHTS", raising=False)
    monkeypatch.setenv("HOUSEVIS_SHARED", str(folder))
    example = ROOT / "examples" / "king-county.toml"
    ended = housevis("run", example, "--runs", folder / "runs")
    assert ended.code == 2
    assert "HOUSEVIS_RIGHTS" in ended.err
    assert is_one_message(ended.err)
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("command", ["tiles", "run"])
def test_the_rights_gate_opens_with_the_option_it_names(
    folder: Path, housevis: Callable[..., Any], command: str
) -> None:
    config = folder / "test.toml"
    config.write_text(CONFIG.replace('rights_reference = "contract 7"\n', ""))
    assert housevis("ingest", config, "--runs", folder / "runs").code == 0
    refused = housevis(command, config, "--runs", folder / "runs")
    assert refused.code == 2
    assert "--i-have-rights" in refused.err
    assert is_one_message(refused.err)
    assert not (folder / "runs" / "test" / "tiles.mbtiles").exists()
    housevis("tiles", config, "--i-have-rights", "contract 8", "--runs", folder / "runs")
    with TileArchive(folder / "runs" / "test" / "tiles.mbtiles") as archive:
        assert archive.metadata["housevis_rights_reference"] == "contract 8"


def test_rows_that_cannot_be_kept_are_counted_with_their_reasons(
    folder: Path, housevis: Callable[..., Any]
) -> None:
    done = housevis("ingest", folder / "test.toml", "--runs", folder / "runs")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("columns: id = id (guessed); date = date (guessed); price = price (guessed)")
    assert lines[1] == (
        "listings: 4 rows in, 2 sales of 2 houses kept, 2 rejected (1 impossible_coordinate, 1 invalid_price)"
    )


def test_a_preview_shows_the_columns_and_stores_nothing(folder: Path, housevis: Callable[..., Any]) -> None:
    done = housevis("ingest", folder / "test.toml", "--preview", "--runs", folder / "runs")
    assert done.code == 0
    assert "first rows as understood:" in done.out
    assert "invalid_price: 1" in done.out
    assert done.out.rstrip().endswith("nothing was stored")
    assert not (folder / "runs").exists()


def stored_sales(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "runs" / "test" / "housevis.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM sales").fetchone()[0])


LISTING_PROBLEMS: dict[str, tuple[bytes | None, str]] = {
    "missing file": (None, "no such listings file"),
    "empty file": (b"", "empty"),
    "no rows": (b"id,date,price,latitude,longitude\n", "no rows"),
    "wrong column": (ROWS.replace("price", "prize").encode(), "nearest that is there: 'prize'"),
    "latin-1": (ROWS.replace("a,2014", "gård,2014").encode("latin-1"), 'encoding = "latin-1"'),
    "not a table": (b"\x00\x01\x02" * 99, "remedy"),
    "only bad rows": (ROWS.replace("2014-", "later ").encode(), "none of 4 rows can be kept"),
    "open quote": (ROWS.replace("a,2014", '"a,2014').encode(), "double quote"),
}


@pytest.mark.parametrize("name", LISTING_PROBLEMS)
def test_bad_listings_lose_nothing_of_what_was_stored(
    folder: Path, housevis: Callable[..., Any], name: str
) -> None:
    assert housevis("ingest", folder / "test.toml", "--runs", folder / "runs").code == 0
    content, says = LISTING_PROBLEMS[name]
    (folder / "sales.csv").unlink()
    if content is not None:
        (folder / "sales.csv").write_bytes(content)
    ended = housevis("run", folder / "test.toml", "--runs", folder / "runs")
    assert ended.code == 1
    assert says in ended.err or says == "remedy"
    assert is_one_message(ended.err), ended.err
    assert stored_sales(folder) == 2


def test_houses_without_imagery_end_in_one_message(folder: Path, housevis: Callable[..., Any]) -> None:
    ended = housevis("run", folder / "test.toml", "--runs", folder / "runs")
    assert ended.code == 1
    assert "not one house has a picture" in ended.err
    assert is_one_message(ended.err)
    assert stored_sales(folder) == 2


def test_a_tile_server_that_is_down(folder: Path, housevis: Callable[..., Any]) -> None:
    config = folder / "down.toml"
    config.write_text(
        'name = "test"\n[listings]\npath = "sales.csv"\n[imagery]\nprovider = "sample-market"\n'
        'url = "http://127.0.0.1:9/{z}/{x}/{y}.png?token=sesame"\n'
    )
    ended = housevis("run", config, "--runs", folder / "runs")
    assert ended.code == 1
    assert "127.0.0.1:9" in ended.err
    assert "sesame" not in ended.err
    assert is_one_message(ended.err), ended.err
    assert stored_sales(folder) == 2


@pytest.mark.parametrize(
    ("file", "says"),
    [("source.mbtiles", "no MBTiles archive"), ("runs/test/tiles.mbtiles", "no MBTiles archive"),
     ("runs/test/housevis.sqlite", "no SQLite database")],
)  # fmt: skip
def test_a_file_that_is_not_what_it_should_be(
    folder: Path, housevis: Callable[..., Any], file: str, says: str
) -> None:
    (folder / "runs" / "test").mkdir(parents=True)
    (folder / file).write_bytes(b"this is neither a database nor an archive " * 99)
    ended = housevis("run", folder / "test.toml", "--runs", folder / "runs")
    assert ended.code == 1
    assert says in ended.err
    assert is_one_message(ended.err), ended.err


@pytest.mark.parametrize("runs", ["sales.csv", "sales.csv/runs", "/proc/none"])
def test_a_folder_of_runs_that_cannot_be_made(folder: Path, housevis: Callable[..., Any], runs: str) -> None:
    ended = housevis("run", folder / "test.toml", "--runs", folder / runs)
    assert ended.code == 1
    assert "the rights of its folder" in ended.err
    assert is_one_message(ended.err), ended.err
    assert (folder / "sales.csv").read_text() == ROWS


def test_the_password_of_a_database_is_never_shown(folder: Path, housevis: Callable[..., Any]) -> None:
    (folder / "test.toml").write_text(
        CONFIG.replace('"test"\n', '"test"\ndatabase = "postgresql://me:sesame@127.0.0.1:9/houses"\n', 1)
    )
    ended = housevis("ingest", folder / "test.toml", "--runs", folder / "runs")
    assert ended.code == 1
    assert "sesame" not in ended.out + ended.err
    assert "127.0.0.1" in ended.err or "driver" in ended.err
    assert is_one_message(ended.err), ended.err


def in_a_process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOUSEVIS_PROGRESS": "off", **options.pop("environment", {})}
    code = "from housevis.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_a_full_disk_ends_in_one_message(folder: Path) -> None:
    """No file may grow beyond 4 KiB, as on a disk that is full."""

    def full_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    (folder / "town.toml").write_text('name = "test"\n[sample_market]\nhouses = 200\n')
    ended = in_a_process("run", "town.toml", cwd=folder, preexec_fn=full_disk)
    assert ended.returncode == 1
    assert is_one_message(ended.stderr), ended.stderr


def test_a_terminal_that_lacks_letters_still_gets_the_message(folder: Path) -> None:
    ended = in_a_process(
        "estimate",
        "größe.csv",
        "--run",
        "Fußgängerzone",
        cwd=folder,
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "there is no finished run" in ended.stderr


def test_importing_housevis_is_light() -> None:
    code = "import sys, housevis, housevis.cli, data_pipeline, db; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "torchvision", "openvino", "lightgbm", "faiss", "sklearn"}
