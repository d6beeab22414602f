"""The benchmark on birds: its readers, and the whole command on generated pictures in the official layout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "benchmarks"))

import cub200_data as data  # noqa: E402

from housevis.explain.localisation import centre_box, fixed_box_overlaps, heat_in_region  # noqa: E402
from housevis.explain.metrics import mask_on_grid  # noqa: E402


def write_pictures(root: Path, classes: int, each: int) -> None:
    """Noisy squares, a colour and a texture per class, on a noisy ground."""
    generator = np.random.default_rng(0)
    pictures, labels, boxes = [], [], []
    for label in range(1, classes + 1):
        for _ in range(each):
            pixels = generator.integers(60, 110, (256 + 2 * label, 300, 3)).astype(np.uint8)
            left, top = (int(value) for value in generator.integers(40, 140, 2))
            colour = 100 + 20 * (label % 3), 90 + 30 * (label % 2), 120
            square = colour + generator.integers(-60, 60, (80, 90, 3))
            pixels[top : top + 80, left : left + 90] = square.clip(0, 255)
            pictures.append(pixels)
            labels.append(label)
            boxes.append((left, top, 90, 80))
    data.write_layout(root, pictures, labels, boxes)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of three pictures."""
    folder = tmp_path_factory.mktemp("cub") / "CUB_200_2011"
    write_pictures(folder, classes=6, each=3)
    return folder


def test_the_official_layout_is_read(root: Path):
    birds = data.read_cub200(root)
    assert len(birds) == 18
    assert birds.masks is not None
    part = birds.of_classes(2, 3)
    assert sorted(set(part.labels.tolist())) == [2, 3]
    assert len(part.masks or ()) == len(part) == 6
    with pytest.raises(data.BenchmarkDataError, match="classes 7 to 9"):
        birds.of_classes(7, 9)


def test_masks_beside_the_folder_are_found(root: Path, tmp_path: Path):
    copy = tmp_path / "CUB_200_2011"
    write_pictures(copy, classes=2, each=1)
    (copy / "segmentations").rename(tmp_path / "segmentations")
    assert data.read_cub200(copy).masks is not None
    (tmp_path / "segmentations").rename(tmp_path / "elsewhere")
    birds = data.read_cub200(copy)
    assert birds.masks is None
    with pytest.raises(data.BenchmarkDataError, match="no segmentation"):
        data.mask_regions(birds, "centre crop", 56)


@pytest.mark.parametrize("framing", ["centre crop", "whole picture"])
def test_boxes_fit_the_pictures_in_both_framings(root: Path, framing: data.Framing):
    birds = data.read_cub200(root).of_classes(1, 2)
    boxes = data.box_regions(data.framed_boxes(birds, framing), 112)
    masks = data.mask_regions(birds, framing, 112)
    overlap = (boxes & masks).sum(axis=(1, 2)) / (boxes | masks).sum(axis=(1, 2))
    assert overlap.min() > 0.9


def test_a_file_that_is_missing_is_named(root: Path, tmp_path: Path):
    with pytest.raises(data.BenchmarkDataError, match=r"images\.txt"):
        data.read_cub200(tmp_path)
    write_pictures(tmp_path, classes=1, each=2)
    (tmp_path / "bounding_boxes.txt").write_text("1 0 0 5 5\n")
    with pytest.raises(data.BenchmarkDataError, match="picture 2 has no line"):
        data.read_cub200(tmp_path)


def test_cars_are_read_from_one_folder_per_class(root: Path, tmp_path: Path):
    cars = data.read_cars196(root)
    assert len(cars) == 18
    assert cars.boxes is None
    with pytest.raises(data.BenchmarkDataError, match="no boxes"):
        data.framed_boxes(cars, "centre crop")
    with pytest.raises(data.BenchmarkDataError, match="CARS196"):
        data.read_cars196(tmp_path)


def test_coco_birds_are_those_with_a_bird(root: Path, tmp_path: Path):
    with pytest.raises(data.BenchmarkDataError, match="MS COCO"):
        data.read_coco_birds(tmp_path)
    (tmp_path / "val2017").mkdir()
    source = data.read_cub200(root).paths[0]
    (tmp_path / "val2017" / "1.jpg").write_bytes(source.read_bytes())
    (tmp_path / "annotations").mkdir()
    annotations = [
        {"image_id": 1, "category_id": 16, "bbox": [1, 2, 10, 10]},
        {"image_id": 1, "category_id": 16, "bbox": [5, 5, 50, 40]},
        {"image_id": 2, "category_id": 16, "bbox": [5, 5, 50, 40]},
        {"image_id": 1, "category_id": 3, "bbox": [0, 0, 200, 200]},
    ]
    content = {
        "categories": [{"id": 16, "name": "bird"}, {"id": 3, "name": "car"}],
        "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": annotations,
    }
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    birds = data.read_coco_birds(tmp_path)
    assert len(birds) == 1
    assert birds.boxes is not None
    assert birds.boxes.tolist() == [[5, 5, 50, 40]]


@pytest.mark.parametrize("text", ["0-3", "5-2", "a-b"])
def test_what_is_no_range_of_classes_is_refused(text: str):
    assert data.class_range("21-40") == (21, 40)
    assert data.class_range("7") == (7, 7)
    with pytest.raises(ValueError, match=r".+"):
        data.class_range(text)


@pytest.mark.slow
def test_the_whole_command(root: Path, tmp_path: Path):
    pytest.importorskip("pytorch_metric_learning")
    out = tmp_path / "birds.json"
    command = [sys.executable, str(PROJECT / "benchmarks" / "cub200.py"), "--root", str(root)]
    command += ["--train-classes", "1-4", "--test-classes", "5-6", "--seeds", "1", "--removal-pictures", "1"]
    command += ["--cache", str(tmp_path / "cache"), "--out", str(out)]
    command += ["--gallery", str(tmp_path / "birds.html")]
    environment = {**os.environ, "HOUSEVIS_PROGRESS": "off", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert figures["data"]["train"]["classes"] == [1, 3]
    assert figures["data"]["held"]["classes"] == [4, 4]
    rows = {row["method"]: row for row in figures["methods"]}
    assert figures["best"]["method"] in rows
    assert rows["uniform"]["pointing"] == 0
    for row in rows.values():
        assert 0 <= row["ratio"] <= 1
        assert row["mask_ratio"] == pytest.approx(row["ratio"], abs=0.05)
    assert "skipped" in figures["coco"]
    assert "skipped" in figures["cars196"]
    assert (tmp_path / "cache").is_dir()
    page = (tmp_path / "birds.html").read_text(encoding="utf-8")
    assert page.count('<th scope="row" class="first" abbr="Picture ') == 6
    shown, refused = page.count('class="heat"'), page.count('class="frame under refused"')
    assert shown + refused == 6 * page.count('<th scope="col">')
    assert page.count('class="box"') == 6 + shown
    assert "Weights lent by picture" in page
    assert "Box ratio" in page


def test_what_is_no_data_set_ends_in_a_message(tmp_path: Path):
    command = [sys.executable, str(PROJECT / "benchmarks" / "cub200.py"), "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "images.txt" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.shared
def test_the_shared_birds_stand_where_they_were_measured(shared_data: Path):
    birds = data.read_cub200(shared_data / "data" / "cub-001-040").of_classes(21, 40)
    regions = data.box_regions(data.framed_boxes(birds, "centre crop"), 112)
    assert heat_in_region(np.ones((len(birds), 7, 7)), regions).mean() == pytest.approx(0.552, abs=0.005)
    limit = heat_in_region(mask_on_grid(regions, 7, 7), regions).mean()
    assert limit == pytest.approx(0.873, abs=0.003)
    whole = data.framed_boxes(birds, "whole picture")
    assert (fixed_box_overlaps(centre_box(0.6), whole) >= 0.5).mean() == pytest.approx(0.60, abs=0.01)
