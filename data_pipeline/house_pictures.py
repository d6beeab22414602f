"""Pictures that belong to one house each, kept in the archive beside the tiles.

They come from a folder of pictures. A picture shows its house in the middle,
north at the top.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture

from data_pipeline.decoding import in_colour, open_picture
from data_pipeline.frames import HouseImage, PictureSource
from data_pipeline.pictures import picture_status
from data_pipeline.tiles import EARTH_RADIUS
from housevis.core.errors import ImageryError

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS house_pictures (house_id TEXT PRIMARY KEY, picture BLOB NOT NULL,"
    " metres_per_pixel REAL NOT NULL, sha256 TEXT NOT NULL, stamp TEXT NOT NULL)"
)
_METRES_PER_DEGREE = EARTH_RADIUS * math.pi / 180


@dataclass(frozen=True)
class HousePicture:
    """One house's own picture.

    Attributes:
        house_id: The house.
        data: JPEG, PNG or WebP.
        metres_per_pixel: Ground sample distance.
        stamp: Tells whether the file that it came from has changed.
    """

    house_id: str
    data: bytes
    metres_per_pixel: float
    stamp: str = ""


class HousePictures:
    """The table of house pictures of an archive.

    Args:
        connect: Hands out the archive's connection for the calling thread.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._there = False

    def read(self, house_id: str) -> HousePicture | None:
        """The picture of a house, None if the archive has none."""
        if not self._is_there():
            return None
        row = (
            self._connect()
            .execute(
                "SELECT picture, metres_per_pixel, stamp FROM house_pictures WHERE house_id = ?", (house_id,)
            )
            .fetchone()
        )
        return None if row is None else HousePicture(house_id, bytes(row[0]), row[1], row[2])

    def write(self, pictures: Iterable[HousePicture]) -> None:
        """Write pictures in one transaction, over older ones.

        Raises:
            ImageryError: The disk is full, or the archive is open for reading only.
        """
        connection = self._connect()
        rows = [
            (found.house_id, found.data, found.metres_per_pixel, _sha256(found.data), found.stamp)
            for found in pictures
        ]
        try:
            with connection:
                connection.execute(_SCHEMA)
                connection.executemany("INSERT OR REPLACE INTO house_pictures VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as problem:
            raise ImageryError(
                f"the pictures cannot be written ({problem})",
                remedy="Free disk space and run the command again; what was stored stays.",
            ) from None

    def remove(self, house_ids: Iterable[str]) -> None:
        """Take the pictures of houses out, in one transaction; their bytes are overwritten."""
        if not self._is_there():
            return
        connection = self._connect()
        connection.execute("PRAGMA secure_delete = ON")
        with connection:
            connection.executemany(
                "DELETE FROM house_pictures WHERE house_id = ?", [(house_id,) for house_id in house_ids]
            )

    def count(self) -> int:
        """How many pictures there are."""
        if not self._is_there():
            return 0
        return int(self._connect().execute("SELECT COUNT(*) FROM house_pictures").fetchone()[0])

    def damaged(self) -> list[str]:
        """The houses whose picture no longer has the SHA-256 that was stored with it."""
        if not self._is_there():
            return []
        rows = self._connect().execute("SELECT house_id, picture, sha256 FROM house_pictures")
        return [house_id for house_id, picture, sha256 in rows if _sha256(bytes(picture)) != sha256]

    def stamps(self) -> dict[str, str]:
        """House -> stamp of its picture."""
        if not self._is_there():
            return {}
        return dict(self._connect().execute("SELECT house_id, stamp FROM house_pictures"))

    def digest(self) -> str:
        """Hex SHA-256 over all houses and the contents of their pictures; empty if there are none."""
        if not self._is_there():
            return ""
        digest = hashlib.sha256()
        count = 0
        for row in self._connect().execute(
            "SELECT house_id, sha256, metres_per_pixel FROM house_pictures ORDER BY house_id"
        ):
            digest.update(repr(row).encode())
            count += 1
        return digest.hexdigest() if count else ""

    def _is_there(self) -> bool:
        if not self._there:
            found = self._connect().execute("SELECT 1 FROM sqlite_master WHERE name = 'house_pictures'")
            self._there = found.fetchone() is not None
        return self._there


def image_of_picture(
    picture: HousePicture, latitude: float, longitude: float, size: int, archive: PictureSource
) -> HouseImage | None:
    """A house's own picture as the network sees it: its middle square, resized.

    Args:
        picture: The picture.
        latitude: Degrees, of the house.
        longitude: Degrees, of the house.
        size: Pixels per side of the result.
        archive: Says whose imagery it is.

    Returns:
        The picture with its bounds on the ground; None if the bytes are no
        whole picture, or show one flat colour.
    """
    judged = picture_status(picture.data)
    if judged is None or judged.status != "ok":
        return None
    with open_picture(picture.data) as opened:
        colour = in_colour(opened)
    side = min(colour.size)
    left, top = (colour.width - side) // 2, (colour.height - side) // 2
    square = colour.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Picture.Resampling.LANCZOS)
    reach = side * picture.metres_per_pixel / 2 / _METRES_PER_DEGREE
    across = reach / math.cos(math.radians(latitude))
    return HouseImage(
        np.asarray(square),
        (longitude - across, latitude - reach, longitude + across, latitude + reach),
        picture.metres_per_pixel * side / size,
        archive.provider,
        archive.attribution,
        (size / 2, size / 2),
        native_metres_per_pixel=picture.metres_per_pixel,
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
