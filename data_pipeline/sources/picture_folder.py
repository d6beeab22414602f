"""A folder of pictures that are named by house: ``<house_id>.jpg``."""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

from data_pipeline.house_pictures import HousePicture
from data_pipeline.sources.kinds import PICTURES
from housevis.core.errors import ImageryError

_WORLD_FILES = (".wld", ".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".webpw")
_OTHER_CHARACTERS = re.compile(r"[\W_]+")
_SMALLEST_METRES, _LARGEST_METRES = 1e-3, 1000.0


class PictureFolder:
    """Finds the picture of a house by the house's id.

    A picture is looked for under the id as it is (also as a path below the
    folder), then without regard to capitals, then with all signs other than
    letters and digits taken as one and the same (``12/3-B`` is ``12_3_b.jpg``).

    Args:
        path: The folder; subfolders are searched too.
        metres_per_pixel: Ground sample distance of pictures without a world file.
    """

    def __init__(self, path: Path, metres_per_pixel: float | None) -> None:
        self.path = path
        self._metres_per_pixel = metres_per_pixel
        self._names: list[dict[str, list[Path]]] = [{}, {}, {}]
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in PICTURES and not file.name.startswith(".") and file.is_file():
                self._add(file)

    def find(self, house_id: str) -> Path | None:
        """The file of a house, None if there is none.

        Raises:
            ImageryError: Two files could be meant.
        """
        for names, form in zip(self._names, (_as_it_is, str.casefold, _letters_and_digits), strict=True):
            found = names.get(form(_as_it_is(house_id)))
            if found is None:
                continue
            if len(found) > 1:
                raise ImageryError(
                    f"two pictures could be those of house {house_id}",
                    where=f"{found[0]} and {found[1]}",
                    remedy="Name one of them by the id exactly, or remove one.",
                )
            return found[0]
        return None

    def stamp(self, file: Path) -> str:
        """A text that changes with the file, its world file and the configuration."""
        state = file.stat()
        world = _world_file(file)
        beside = "" if world is None else f" {world.stat().st_mtime_ns}"
        return f"{state.st_size} {state.st_mtime_ns} {self._metres_per_pixel}{beside}"

    def read(self, house_id: str, file: Path) -> HousePicture:
        """The picture of a house.

        Raises:
            ImageryError: The file cannot be read, or nobody knows how much ground it shows.
        """
        try:
            return HousePicture(house_id, file.read_bytes(), self._metres(file), self.stamp(file))
        except OSError as problem:
            raise ImageryError(
                f"the picture cannot be read ({problem.strerror})",
                where=str(file),
                remedy="Check its rights.",
            ) from None

    def _add(self, file: Path) -> None:
        inside = file.relative_to(self.path).with_suffix("").as_posix()
        for name in {file.stem, inside, unquote(file.stem)}:
            plain = _as_it_is(name)
            for names, key in zip(
                self._names, (plain, plain.casefold(), _letters_and_digits(plain)), strict=True
            ):
                known = names.setdefault(key, [])
                if file not in known:
                    known.append(file)

    def _metres(self, file: Path) -> float:
        world = _world_file(file)
        found = self._metres_per_pixel if world is None else _metres_of_world_file(world)
        if found is None:
            raise ImageryError(
                "nobody knows how much ground this picture shows",
                where=str(file),
                remedy="Set imagery.metres_per_pixel, or give the picture a world file in metres.",
            )
        return found


def _as_it_is(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _letters_and_digits(name: str) -> str:
    return _OTHER_CHARACTERS.sub("_", name.casefold()).strip("_")


def _world_file(file: Path) -> Path | None:
    return next((path for path in map(file.with_suffix, _WORLD_FILES) if path.is_file()), None)


def _metres_of_world_file(path: Path) -> float:
    """Metres per pixel as a world file has it: the length of the step from one column to the next."""
    try:
        step_x, step_y = (float(line) for line in path.read_text(encoding="ascii").split()[:2])
        metres = math.hypot(step_x, step_y)
    except (OSError, ValueError):
        metres = math.nan
    if not _SMALLEST_METRES <= metres <= _LARGEST_METRES:
        raise ImageryError(
            "the world file does not say how many metres a pixel measures",
            where=str(path),
            remedy="Its first line is the width of a pixel, in metres and not in degrees.",
        )
    return metres
