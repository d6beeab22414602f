"""The tile that is a house's picture, as the archive holds it."""

from __future__ import annotations

import io

import mercantile
import numpy as np
import pytest
from PIL import Image

from data_pipeline.archive import TileArchive
from data_pipeline.frames import house_image
from data_pipeline.house_tiles import house_tile

PLACE = (47.61, -122.33)


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(4).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "suffix"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
def test_the_tile_of_a_house_is_the_archives_own_bytes(tmp_path, kind, suffix):
    tile = mercantile.tile(PLACE[1], PLACE[0], 18)
    with TileArchive.create(
        tmp_path / "tiles.mbtiles", {"attribution": "Drawn", "format": suffix}
    ) as archive:
        archive.write([(tile, encoded(kind))])
        found = house_tile(archive, *PLACE, 18)
        picture = house_image(archive, *PLACE, framing="tile", zoom=18, size=224)
        assert house_tile(archive, PLACE[0] + 1, PLACE[1], 18) is None
    assert found is not None
    assert picture is not None
    assert (found.tile, found.data, found.kind, found.attribution) == (tile, encoded(kind), suffix, "Drawn")
    assert found.bounds == picture.bounds
    assert found.house == pytest.approx(tuple(at / 224 for at in picture.house_pixel))


def test_what_browsers_may_not_draw_is_no_house_tile(tmp_path):
    tile = mercantile.tile(PLACE[1], PLACE[0], 18)
    with TileArchive.create(tmp_path / "tiles.mbtiles", {}) as archive:
        archive.write([(tile, encoded("GIF"))])
        assert house_tile(archive, *PLACE, 18) is None
        assert house_image(archive, *PLACE, framing="tile", zoom=18, size=224) is not None
