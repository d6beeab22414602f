from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_pipeline.sample_market import DRIVERS, SampleMarket
from data_pipeline.sample_market.__main__ import main
from data_pipeline.sample_market.geometry import world_pixel
from data_pipeline.sample_market.truth import read_masks
from housevis.core.errors import DataError, UsageError


@pytest.fixture(scope="module")
def town() -> SampleMarket:
    return SampleMarket(120, seed=6)


@pytest.fixture(scope="module")
def middle_tile(town: SampleMarket) -> tuple[int, int]:
    house = town.houses().iloc[60]
    x, y = world_pixel(house["latitude"], house["longitude"])
    return int(x) // 256, int(y) // 256


@pytest.mark.parametrize("format", ["jpg", "png"])
def test_a_source_gives_image_files(town: SampleMarket, middle_tile: tuple[int, int], format: str) -> None:
    source = town.source(format)
    assert source.format == format
    content = source.read(18, *middle_tile)
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    tile = town.tile(18, *middle_tile)
    assert tile is not None
    assert np.abs(pixels.astype(int) - tile.astype(int)).mean() < (0.1 if format == "png" else 5.0)
    assert source.read(18, 1, 1) is None


def test_a_source_refuses_a_format_it_cannot_write(town: SampleMarket) -> None:
    with pytest.raises(UsageError, match="tiff"):
        town.source("tiff")


def test_several_threads_read_the_same_tiles(town: SampleMarket, middle_tile: tuple[int, int]) -> None:
    fresh = SampleMarket(120, seed=6).source("png")
    x, y = middle_tile
    wanted = [(x + east, y + south) for east in range(-1, 2) for south in range(-1, 2)]
    found: dict[tuple[int, int, int], bytes | None] = {}

    def read(reader: int) -> None:
        for place in wanted:
            found[(reader, *place)] = fresh.read(18, *place)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = town.source("png")
    assert all(found[(reader, *place)] == alone.read(18, *place) for reader in range(4) for place in wanted)


def test_exported_truth_is_what_the_town_says(town: SampleMarket, tmp_path: Path) -> None:
    town.export_truth(tmp_path / "truth")
    houses = town.houses()
    exported = pd.read_parquet(tmp_path / "truth" / "drivers.parquet")
    exported["sale_date"] = pd.to_datetime(exported["sale_date"])
    pd.testing.assert_frame_equal(exported, houses, check_dtype=False)
    ids = list(houses["id"][::7])
    assert np.array_equal(read_masks(tmp_path / "truth", ids), town.driver_masks(ids))
    settings = json.loads((tmp_path / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert settings["seed"] == 6
    assert settings["drivers"] == list(DRIVERS)


def test_reading_masks_that_were_never_written_says_how_to_write_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--out FOLDER"):
        read_masks(tmp_path, ["h000-000-00"])


def test_the_command_writes_listings_and_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "town"
    assert main(["--houses", "100", "--seed", "9", "--trend", "falling", "--out", str(out)]) == 0
    assert (out / "listings.csv").is_file()
    assert (out / "truth" / "masks.parquet").is_file()
    assert "100 houses of town 9 (falling)" in capsys.readouterr().out


def test_the_command_can_leave_the_truth_out(tmp_path: Path) -> None:
    assert main(["--houses", "100", "--out", str(tmp_path), "--no-truth"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["listings.csv"]


def test_the_command_names_a_mistake_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--houses", "0", "--out", str(tmp_path)]) == 2
    assert "Ask for at least one house" in capsys.readouterr().err
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["--houses", "100", "--out", str(tmp_path / "file" / "town")]) == 1
    assert "Traceback" not in capsys.readouterr().err
