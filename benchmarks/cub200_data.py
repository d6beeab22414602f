"""Pictures with classes, boxes and masks: CUB-200-2011, CARS196, and the birds of MS COCO.

CUB-200-2011 in its official layout (``images.txt``, ``image_class_labels.txt``,
``bounding_boxes.txt``, ``images/``; ``segmentations/`` inside the folder or
beside it where it was unpacked), whole or in part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from housevis.core.errors import HousevisError

Framing = Literal["centre crop", "whole picture"]
"""What of a picture the network sees: the papers' crop, or all of it squeezed to a square."""

SHORTER_SIDE: Final = 256
CROP: Final = 224
"""The papers' framing: shorter side and centre crop, in pixels."""


class BenchmarkDataError(HousevisError):
    """The pictures of a benchmark are absent or not in their official layout."""


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures of one data set, in its order.

    Attributes:
        name: Of the data set.
        paths: Picture files, `n`.
        labels: Class numbers int64 ``(n,)`` as the data set gives them, from 1.
        boxes: ``x, y, width, height`` in pixels of the file, float64 ``(n, 4)``; None where there are none.
        masks: Segmentation files, `n`; None where the data set has none at hand.
    """

    name: str
    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64] | None
    masks: tuple[Path, ...] | None

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, wanted: NDArray[np.bool_]) -> PictureSet:
        """The pictures that a mask ``(n,)`` asks for."""
        places = np.flatnonzero(wanted)
        return replace(
            self,
            paths=tuple(self.paths[place] for place in places),
            labels=self.labels[places],
            boxes=None if self.boxes is None else self.boxes[places],
            masks=None if self.masks is None else tuple(self.masks[place] for place in places),
        )

    def of_classes(self, first: int, last: int) -> PictureSet:
        """The pictures of the classes `first` to `last`, both included.

        Raises:
            BenchmarkDataError: There are none.
        """
        found = self.rows((self.labels >= first) & (self.labels <= last))
        if not len(found):
            raise BenchmarkDataError(
                f"{self.name} holds no picture of the classes {first} to {last}",
                remedy=f"It holds the classes {self.labels.min()} to {self.labels.max()}.",
            )
        return found


def read_cub200(root: Path) -> PictureSet:
    """Read CUB-200-2011, or a part of it in the same layout.

    Args:
        root: The folder with ``images.txt``.

    Raises:
        BenchmarkDataError: A file of the layout is missing, or the files do not fit together.
    """
    names = dict(_lines(root, "images.txt"))
    labels = dict(_lines(root, "image_class_labels.txt"))
    boxes = dict(_lines(root, "bounding_boxes.txt"))
    for other, file in ((labels, "image_class_labels.txt"), (boxes, "bounding_boxes.txt")):
        absent = [key for key in names if key not in other]
        if absent:
            raise BenchmarkDataError(
                f"picture {absent[0]} has no line ({len(absent)} pictures in all)", where=str(root / file)
            )
    paths = tuple(root / "images" / name for name in names.values())
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise BenchmarkDataError(
            f"{len(missing)} of {len(paths)} pictures are missing",
            where=str(missing[0]),
            remedy="Unpack the data set again, or take the lines of missing pictures out of images.txt.",
        )
    return PictureSet(
        name="CUB-200-2011",
        paths=paths,
        labels=np.array([int(labels[key]) for key in names], dtype=np.int64),
        boxes=np.array([[float(value) for value in boxes[key].split()] for key in names]),
        masks=_segmentations(root, tuple(names.values())),
    )


def read_cars196(root: Path) -> PictureSet:
    """Read CARS196: ``cars_annos.mat`` beside ``car_ims/``, or one folder of pictures per class.

    Args:
        root: The folder with either.

    Raises:
        BenchmarkDataError: There is neither.
    """
    annotations = root / "cars_annos.mat"
    if annotations.is_file():
        from scipy.io import loadmat

        rows = loadmat(annotations, squeeze_me=True)["annotations"]
        corners = np.array([[float(row[f"bbox_{end}"]) for end in ("x1", "y1", "x2", "y2")] for row in rows])
        return PictureSet(
            name="CARS196",
            paths=tuple(root / str(row["relative_im_path"]) for row in rows),
            labels=np.array([int(row["class"]) for row in rows], dtype=np.int64),
            boxes=np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]]),
            masks=None,
        )
    folder = root / "images" if (root / "images").is_dir() else root
    classes = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = [
        (path, number)
        for number, directory in enumerate(classes, start=1)
        for path in sorted(directory.glob("*.jpg"))
    ]
    if not found:
        raise BenchmarkDataError(
            "there are no pictures of CARS196",
            where=str(root),
            remedy="Name a folder with cars_annos.mat and car_ims/, or with one folder per class.",
        )
    return PictureSet(
        name="CARS196",
        paths=tuple(path for path, _ in found),
        labels=np.array([number for _, number in found], dtype=np.int64),
        boxes=None,
        masks=None,
    )


def read_coco_birds(root: Path, part: str = "val2017") -> PictureSet:
    """Read the pictures of MS COCO that show a bird; the box is that of the largest one.

    Args:
        root: The folder with ``annotations/instances_<part>.json`` and ``<part>/``.
        part: Which part of the data set.

    Raises:
        BenchmarkDataError: They are not there.
    """
    file = root / "annotations" / f"instances_{part}.json"
    if not file.is_file():
        raise BenchmarkDataError("there are no annotations of MS COCO", where=str(file))
    content = json.loads(file.read_text(encoding="utf-8"))
    bird = {category["id"] for category in content["categories"] if category["name"] == "bird"}
    names = {image["id"]: image["file_name"] for image in content["images"]}
    largest: dict[int, list[float]] = {}
    for annotation in content["annotations"]:
        box = annotation["bbox"]
        known = largest.get(annotation["image_id"])
        larger = known is None or box[2] * box[3] > known[2] * known[3]
        if annotation["category_id"] in bird and not annotation.get("iscrowd") and larger:
            largest[annotation["image_id"]] = box
    present = [key for key in largest if (root / part / names[key]).is_file()]
    if not present:
        raise BenchmarkDataError("there are no pictures of birds of MS COCO", where=str(root / part))
    return PictureSet(
        name="MS COCO birds",
        paths=tuple(root / part / names[key] for key in present),
        labels=np.ones(len(present), dtype=np.int64),
        boxes=np.array([largest[key] for key in present], dtype=np.float64),
        masks=None,
    )


def picture(path: Path, framing: Framing, size: int) -> NDArray[np.uint8]:
    """A picture as the network sees it.

    Args:
        path: The file.
        framing: The papers' crop, or the whole picture.
        size: Pixels per side of the result.

    Returns:
        uint8 ``(size, size, 3)``, RGB.
    """
    with Image.open(path) as file:
        image = file.convert("RGB")
    if framing == "centre crop":
        left, top, side = _crop_window(image.size)
        image = image.resize((size, size), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    else:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def framed_boxes(pictures: PictureSet, framing: Framing) -> NDArray[np.float64]:
    """The true boxes as shares of what the network sees.

    Returns:
        float64 ``(n, 4)``: left, top, right, bottom within [0, 1].

    Raises:
        BenchmarkDataError: The data set has no boxes.
    """
    if pictures.boxes is None:
        raise BenchmarkDataError(f"{pictures.name} has no boxes here")
    framed = []
    for path, (x, y, width, height) in zip(pictures.paths, pictures.boxes, strict=True):
        with Image.open(path) as file:
            columns, rows = file.size
        left, top, side_x, side_y = 0.0, 0.0, float(columns), float(rows)
        if framing == "centre crop":
            left, top, side_x = _crop_window((columns, rows))
            side_y = side_x
        framed.append(
            [
                (x - left) / side_x,
                (y - top) / side_y,
                (x + width - left) / side_x,
                (y + height - top) / side_y,
            ]
        )
    return np.clip(np.array(framed), 0.0, 1.0)


def box_regions(boxes: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """The pixels whose centres lie in a box.

    Args:
        boxes: Left, top, right, bottom as shares ``(n, 4)``.
        size: Pixels per side.

    Returns:
        bool ``(n, size, size)``.
    """
    centres = (np.arange(size) + 0.5) / size
    columns = (centres >= boxes[:, :1]) & (centres <= boxes[:, 2:3])
    rows = (centres >= boxes[:, 1:2]) & (centres <= boxes[:, 3:4])
    return rows[:, :, None] & columns[:, None, :]


def mask_regions(pictures: PictureSet, framing: Framing, size: int) -> NDArray[np.bool_]:
    """The true segmentation as the network sees it; bool ``(n, size, size)``.

    Raises:
        BenchmarkDataError: The data set has no masks.
    """
    if pictures.masks is None:
        raise BenchmarkDataError(f"{pictures.name} has no segmentation masks here")
    return np.stack([picture(path, framing, size)[..., 0] > 127 for path in pictures.masks])


def class_range(text: str) -> tuple[int, int]:
    """A range of classes as it is written on the command line: ``"1-16"``, or one class ``"7"``.

    Raises:
        ValueError: It is no such range.
    """
    first, _, last = text.partition("-")
    found = int(first), int(last or first)
    if not 1 <= found[0] <= found[1]:
        raise ValueError(f"{text!r} is no range of classes such as 1-16")
    return found


def write_layout(
    root: Path,
    pictures: Sequence[NDArray[np.uint8]],
    labels: Sequence[int],
    boxes: Iterable[Sequence[float]],
) -> None:
    """Write pictures in the official layout of CUB-200-2011, with their boxes as segmentations.

    Args:
        root: The folder, made if it is not there.
        pictures: uint8 ``(H, W, 3)`` each.
        labels: Class numbers from 1.
        boxes: ``x, y, width, height`` in pixels.
    """
    lines: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "bounding_boxes")}
    for key, (pixels, label, box) in enumerate(zip(pictures, labels, boxes, strict=True), start=1):
        folder, name = f"{label:03}.Class_{label}", f"picture_{key:04}"
        for part in ("images", "segmentations"):
            (root / part / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "images" / folder / f"{name}.jpg", quality=95)
        mask = Image.new("L", (pixels.shape[1], pixels.shape[0]))
        x, y, width, height = box
        ImageDraw.Draw(mask).rectangle((x, y, x + width - 1, y + height - 1), fill=255)
        mask.save(root / "segmentations" / folder / f"{name}.png")
        lines["images"].append(f"{key} {folder}/{name}.jpg")
        lines["image_class_labels"].append(f"{key} {label}")
        lines["bounding_boxes"].append(f"{key} {x} {y} {width} {height}")
    for file, content in lines.items():
        (root / f"{file}.txt").write_text("\n".join(content) + "\n", encoding="utf-8")


def _crop_window(size: tuple[int, int]) -> tuple[float, float, float]:
    """Left, top and side of the papers' crop, in pixels of a file of this width and height."""
    side = min(size) * CROP / SHORTER_SIDE
    return (size[0] - side) / 2, (size[1] - side) / 2, side


def _lines(root: Path, name: str) -> list[tuple[str, str]]:
    path = root / name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchmarkDataError(
            f"{name} is missing, so this is no CUB-200-2011",
            where=str(path),
            remedy="Name the folder that holds images.txt.",
        ) from None
    split = [line.split(" ", 1) for line in text.splitlines() if line.strip()]
    wrong = [line for line in split if len(line) != 2]
    if wrong:
        raise BenchmarkDataError(f"a line reads {wrong[0][0]!r}, without a value", where=str(path))
    return [(key, value.strip()) for key, value in split]


def _segmentations(root: Path, names: Sequence[str]) -> tuple[Path, ...] | None:
    for folder in (root / "segmentations", root.parent / "segmentations"):
        paths = tuple((folder / name).with_suffix(".png") for name in names)
        if folder.is_dir() and all(path.is_file() for path in paths):
            return paths
    return None
