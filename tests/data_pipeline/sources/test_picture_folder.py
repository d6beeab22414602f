"""The picture of a house is found by the house's id, whatever the file system made of it."""

from __future__ import annotations

import io
import math
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import mercantile
import numpy as np
import pytest
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.house_pictures import HousePicture, image_of_picture
from data_pipeline.sources.picture_folder import PictureFolder
from data_pipeline.tiles import EARTH_RADIUS
from housevis.core.errors import ImageryError


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


@pytest.mark.parametrize(
    ("house_id", "name"),
    [
        ("4217", "4217.jpg"),
        ("4217", "north/4217.PNG"),
        ("north/4217", "north/4217.webp"),
        ("AB-12", "ab-12.jpeg"),
        ("12/3-B", "12_3_b.jpg"),
        ("12/3 B", "12-3-B.jpg"),
        ("a:b*c", "a%3Ab%2Ac.png"),
        ("Straße 5", "STRASSE 5.jpg"),
        ("Göteborg 1", "Go\u0308teborg 1.jpg"),
        ("7.5", "7.5.jpg"),
        (" 9 ", "9.jpg"),
    ],
)
def test_a_picture_is_found(tmp_path: Path, house_id: str, name: str) -> None:
    folder = PictureFolder(put(tmp_path, name, "other.jpg", "notes.txt", ".hidden.jpg"), 0.3)
    found = folder.find(house_id)
    assert found is not None
    assert found.relative_to(tmp_path).as_posix() == name


def test_the_exact_name_goes_before_others(tmp_path: Path) -> None:
    folder = PictureFolder(put(tmp_path, "a-1.jpg", "A-1.jpg", "a_1.jpg"), 0.3)
    assert [folder.find(name) for name in ("a-1", "A-1", "a_1")] == [
        tmp_path / "a-1.jpg",
        tmp_path / "A-1.jpg",
        tmp_path / "a_1.jpg",
    ]
    assert folder.find("none") is None
    with pytest.raises(ImageryError, match="two pictures could be those of house a 1"):
        folder.find("a 1")
    twice = PictureFolder(put(tmp_path / "twice", "x/5.jpg", "y/5.jpg"), 0.3)
    with pytest.raises(ImageryError, match=r"x/5.jpg and .*y/5.jpg"):
        twice.find("5")
    assert twice.find("x/5") == tmp_path / "twice" / "x" / "5.jpg"


def test_metres_come_from_the_world_file_or_the_configuration(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.png")
    (tmp_path / "2.jgw").write_text("0.25\n0\n0\n-0.25\n500000\n5000000\n")
    (tmp_path / "3.wld").write_text("0.000003\n0\n0\n-0.000003\n-122\n47\n")
    (tmp_path / "4.pgw").write_text("0.3\n0.4\n0.4\n-0.3\n0\n0\n")
    folder = PictureFolder(tmp_path, 0.6)
    metres = {
        name: folder.read(name, folder.find(name) or Path()).metres_per_pixel for name in ("1", "2", "4")
    }
    assert metres == {"1": 0.6, "2": 0.25, "4": pytest.approx(0.5)}
    with pytest.raises(ImageryError, match="in metres and not in degrees"):
        folder.read("3", tmp_path / "3.jpg")
    with pytest.raises(ImageryError, match=r"imagery\.metres_per_pixel"):
        PictureFolder(tmp_path, None).read("1", tmp_path / "1.jpg")
    before = folder.stamp(tmp_path / "2.jpg")
    assert PictureFolder(tmp_path, 0.7).stamp(tmp_path / "2.jpg") != before


def test_a_picture_becomes_an_image_with_bounds(archive: TileArchive, kit: SimpleNamespace) -> None:
    pixels = np.zeros((300, 400, 3), dtype=np.uint8)
    pixels[:, :, 0] = np.arange(400) // 2
    pixels[150:, :, 1] = 200
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    picture = HousePicture("a", buffer.getvalue(), 0.2)
    image = image_of_picture(picture, 60.0, 10.0, 224, archive)
    assert image is not None
    assert image.pixels.shape == (224, 224, 3)
    assert image.house_pixel == (112, 112)
    assert image.metres_per_pixel == pytest.approx(0.2 * 300 / 224)
    assert image.native_metres_per_pixel == 0.2
    assert np.abs(image.pixels[:, 0, 0].astype(int) - 25).max() <= 1
    assert image.pixels[10, 10, 1] == 0
    assert image.pixels[200, 10, 1] == 200
    west, south, east, north = image.bounds
    degree = math.pi * EARTH_RADIUS / 180
    assert (north - south) * degree == pytest.approx(60)
    assert (east - west) * degree * math.cos(math.radians(60)) == pytest.approx(60)
    assert ((west + east) / 2, (south + north) / 2) == pytest.approx((10, 60))
    for nothing in (b"", b"no picture", kit.flat_picture()):
        assert image_of_picture(HousePicture("a", nothing, 0.2), 60.0, 10.0, 224, archive) is None


def test_pictures_are_kept_in_the_archive(archive: TileArchive, kit: SimpleNamespace) -> None:
    table = archive.house_pictures
    assert (table.read("a"), table.stamps(), table.digest()) == (None, {}, "")
    first = kit.picture(mercantile.Tile(1, 1, 5))
    table.write([HousePicture("a", first, 0.5, "s1"), HousePicture("b", first, 0.5, "s2")])
    assert table.read("a") == HousePicture("a", first, 0.5, "s1")
    digest = table.digest()
    assert len(digest) == 64
    table.write([HousePicture("a", first, 0.5, "another stamp")])
    assert table.digest() == digest
    table.write([HousePicture("a", first, 0.4, "s1")])
    assert table.digest() != digest
    assert (table.count(), table.damaged()) == (2, [])
    with sqlite3.connect(archive.path) as other:
        other.execute("UPDATE house_pictures SET picture = x'00' WHERE house_id = 'b'")
    other.close()
    assert table.damaged() == ["b"]
    table.remove(["a", "b"])
    assert (table.stamps(), table.digest()) == ({}, "")
    with TileArchive(archive.path) as reader:
        assert reader.house_pictures.read("a") is None
