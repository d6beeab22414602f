"""Tiles made of GeoTIFFs (COGs, VRTs, JPEG 2000) with a coordinate system.

Files are warped to Web Mercator tile by tile, so that memory stays small
however large they are; overviews are used where tiles are coarser than the
file. Where files overlap, the sharper one is taken, then the first by name.
"""

from __future__ import annotations

import io
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mercantile
import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from data_pipeline.tiles import EARTH_RADIUS
from housevis.core.errors import ImageryError

LEAST_COVERED = 0.75
"""A tile of which less is covered counts as missing; what is missing of others is filled from the edges."""

_QUALITY = 92
_OPEN_FILES = 32
_LARGEST_WARP = 16_384
_SAMPLED_FILES = 16
_SAMPLES, _SAMPLE_PIXELS = 4, 128
_LEAST_MASK = 0.9
"""A band that is marked as transparency is one if this share of it is all or nothing."""
_WEB_MERCATOR = "EPSG:3857"

Values = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RasterFile:
    """What there is to know of a file before its pixels are read.

    Attributes:
        path: The file.
        address: What GDAL opens: the path, or the path with a choice of bands.
        bounds: Left, bottom, right, top in EPSG:3857.
        bands: Numbers of the bands that are red, green and blue, or the one band.
        palette: Whether the one band holds numbers of colours.
        metres_per_pixel: Ground sample distance, at the equator if `mercator`.
        mercator: Whether the file is in Web Mercator, whose metres shrink with the latitude.
        unit: Width of a pixel in metres of EPSG:3857.
        transparent: Whether a band of the file says where it is transparent.
        nodata: Value of the pixels that are none.
        eight_bits: Whether the values are 0 to 255.
    """

    path: Path
    address: str
    bounds: tuple[float, float, float, float]
    bands: tuple[int, ...]
    palette: bool
    metres_per_pixel: float
    mercator: bool
    unit: float
    transparent: bool
    nodata: float | None
    eight_bits: bool


class GeoTiffSource:
    """Tiles of one or many georeferenced rasters; use it from one thread or several.

    Args:
        paths: The files; their coordinate systems may differ.
        pixels: Pixels per side of a tile.

    Raises:
        ImageryError: A file cannot be read, or has no coordinate system.
    """

    format = "jpg"
    provider = "unknown"

    def __init__(self, paths: Sequence[Path], *, pixels: int = 256) -> None:
        self.tile_size = pixels
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Any] = OrderedDict()
        self.files, self.attribution = _read_headers(paths)
        self._bounds = np.array([file.bounds for file in self.files])
        self._range = _value_range([file for file in self.files if not file.eight_bits])

    @property
    def metadata(self) -> dict[str, str]:
        """What is kept of the source with the tiles that were made of it."""
        made = {"housevis_made_of": f"{len(self.files)} raster files"}
        if self._range is not None:
            made["housevis_value_range"] = "{:g} to {:g}".format(*self._range)
        return made

    @property
    def native_zoom(self) -> int | None:
        """The zoom whose pixels are about as large as those of most files."""
        units = sorted(file.unit for file in self.files)
        equator = 2 * math.pi * EARTH_RADIUS
        return min(max(round(math.log2(equator / 256 / units[len(units) // 2])), 0), 24)

    def native_metres_per_pixel(self, latitude: float) -> float:
        """Ground sample distance of the files, the median of them, in metres."""
        shrink = math.cos(math.radians(latitude))
        found = sorted(file.metres_per_pixel * (shrink if file.mercator else 1.0) for file in self.files)
        return found[len(found) // 2]

    def read(self, z: int, x: int, y: int) -> bytes | None:
        """A tile as JPEG, or None where less than three quarters of it are covered.

        Raises:
            ImageryError: A file is damaged.
        """
        with self._lock:
            found = self._pixels(tuple(mercantile.xy_bounds(x, y, z)))
        if found is None:
            return None
        buffer = io.BytesIO()
        Picture.fromarray(found).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
        return buffer.getvalue()

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _pixels(self, bounds: tuple[float, ...]) -> Pixels | None:
        left, bottom, right, top = bounds
        there = self._bounds
        meets = (there[:, 0] < right) & (there[:, 2] > left) & (there[:, 1] < top) & (there[:, 3] > bottom)
        size = self.tile_size
        canvas: Values = np.zeros((3, size, size), dtype=np.uint8)
        covered: Pixels = np.zeros((size, size), dtype=np.uint8)
        for number in np.flatnonzero(meets):
            colours, mask = self._warped(self.files[number], bounds)
            better = mask > covered
            canvas[:, better] = colours[:, better]
            covered = np.maximum(covered, mask)
            if covered.min() == 255:
                break
        share = float((covered > 0).mean())
        if share < LEAST_COVERED:
            return None
        if share < 1:
            from rasterio.fill import fillnodata

            gaps = (covered > 0).astype(np.uint8)
            canvas = np.stack([fillnodata(band, mask=gaps, max_search_distance=size) for band in canvas])
        return np.ascontiguousarray(canvas.transpose(1, 2, 0))

    def _warped(self, file: RasterFile, bounds: tuple[float, ...]) -> tuple[Pixels, Pixels]:
        """Colours uint8 (3, size, size) of a tile's place, and how much each pixel is covered, 0 to 255."""
        import rasterio
        from rasterio.enums import Resampling
        from rasterio.errors import RasterioError
        from rasterio.transform import from_bounds
        from rasterio.vrt import WarpedVRT

        size = self.tile_size
        finer = max(1, round((bounds[2] - bounds[0]) / file.unit / size))
        side = min(size * finer, _LARGEST_WARP)
        exact = Resampling.nearest if file.palette else Resampling.bilinear
        try:
            with (
                rasterio.Env(GDAL_CACHEMAX=64),
                WarpedVRT(
                    self._dataset(file),
                    crs=_WEB_MERCATOR,
                    transform=from_bounds(*bounds, side, side),
                    width=side,
                    height=side,
                    resampling=exact,
                    add_alpha=not file.transparent and file.nodata is None,
                ) as warped,
            ):
                coarser = exact if file.palette or side == size else Resampling.average
                shape = (len(file.bands), size, size)
                values = warped.read(file.bands, out_shape=shape, resampling=coarser)
                mask = warped.dataset_mask(out_shape=(size, size), resampling=coarser)
        except (RasterioError, OSError, ValueError) as problem:
            raise _unreadable(file.path, problem) from None
        return self._colours(file, values), mask.astype(np.uint8)

    def _colours(self, file: RasterFile, values: Values) -> Pixels:
        if file.palette:
            table = self._dataset(file).colormap(file.bands[0])
            colours = np.array([table.get(number, (0, 0, 0, 0))[:3] for number in range(256)], dtype=np.uint8)
            return colours[values[0]].transpose(2, 0, 1)
        if not file.eight_bits:
            assert self._range is not None
            low, high = self._range
            values = (values.astype(np.float64) - low) * (255.0 / (high - low))
        eight: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return eight if len(eight) == 3 else eight.repeat(3, axis=0)

    def _dataset(self, file: RasterFile) -> Any:
        import rasterio

        found = self._open.pop(file.address, None)
        if found is None:
            found = rasterio.open(file.address)
            if len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open[file.address] = found
        return found


def _read_headers(paths: Sequence[Path]) -> tuple[list[RasterFile], str]:
    import rasterio
    from rasterio.errors import CRSError, RasterioError

    files, credits_found = [], []
    for path in paths:
        try:
            with rasterio.open(path) as dataset:
                files.append(_header(path, dataset))
                credit = dataset.tags().get("TIFFTAG_COPYRIGHT", "")
        except (RasterioError, CRSError, OSError, ValueError) as problem:
            raise _unreadable(path, problem) from None
        if credit and credit not in credits_found:
            credits_found.append(credit)
    files.sort(key=lambda file: (round(file.unit, 3), file.path.name))
    return files, "; ".join(credits_found[:3])


def _header(path: Path, dataset: Any) -> RasterFile:
    from rasterio._err import CPLE_BaseError
    from rasterio.enums import ColorInterp
    from rasterio.warp import transform_bounds

    if dataset.crs is None:
        raise ImageryError(
            "the file has no coordinate system, so nobody knows where it lies",
            where=str(path),
            remedy="Assign one, for example with gdal_edit.py -a_srs EPSG:26910.",
        )
    meanings = dataset.colorinterp
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(colour in meanings for colour in wanted):
        bands = tuple(meanings.index(colour) + 1 for colour in wanted)
    else:
        bands = (1, 2, 3) if dataset.count >= 3 else (1,)
    transparent = ColorInterp.alpha in meanings
    address = str(path)
    if transparent and not _is_mask(dataset, meanings.index(ColorInterp.alpha) + 1):
        address = f"vrt://{path.absolute()}?bands={','.join(map(str, bands))}"
        bands, transparent = tuple(range(1, len(bands) + 1)), False
    try:
        bounds = transform_bounds(dataset.crs, _WEB_MERCATOR, *dataset.bounds, densify_pts=21)
    except CPLE_BaseError:
        raise ValueError("its coordinate system is not tied to the earth") from None
    if not all(math.isfinite(edge) for edge in bounds):
        raise ValueError("its corners cannot be brought into Web Mercator")
    mercator = dataset.crs.to_epsg() in (3857, 3785, 900913)
    _, metres = (1.0, 111_319.49) if dataset.crs.is_geographic else dataset.crs.linear_units_factor
    return RasterFile(
        path=path,
        address=address,
        bounds=bounds,
        bands=bands,
        palette=meanings[0] == ColorInterp.palette,
        metres_per_pixel=abs(dataset.res[1]) * metres,
        mercator=mercator,
        # A file across the date line has bounds around the world; its height is right all the same.
        unit=min((bounds[2] - bounds[0]) / dataset.width, (bounds[3] - bounds[1]) / dataset.height),
        transparent=transparent,
        nodata=dataset.nodata,
        eight_bits=dataset.dtypes[0] == "uint8",
    )


def _value_range(files: Sequence[RasterFile]) -> tuple[float, float] | None:
    """The values that become black and white, one pair for all files, so that neighbours fit together."""
    import rasterio
    from rasterio.errors import RasterioError

    if not files:
        return None
    samples = []
    step = max(1, len(files) // _SAMPLED_FILES)
    for file in files[::step][:_SAMPLED_FILES]:
        try:
            with rasterio.open(file.address) as dataset:
                samples.append(_sample(dataset, file.bands))
        except (RasterioError, OSError) as problem:
            raise _unreadable(file.path, problem) from None
    values = np.concatenate(samples)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    if values.min() >= 0 and values.max() <= 255 and values.max() > 1:
        return 0.0, 255.0
    low, high = np.percentile(values, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-9))


def _is_mask(dataset: Any, band: int) -> bool:
    """Whether a band says what is transparent; unmarked near infrared is taken for that by GDAL."""
    values = _sample(dataset, (band,), masked=False)
    return float(np.isin(values, (0, 255)).mean()) >= _LEAST_MASK


def _sample(dataset: Any, bands: Sequence[int], *, masked: bool = True) -> Values:
    """Values of small windows that are spread over a file, nodata left out."""
    from rasterio.windows import Window

    parts = []
    for down in range(_SAMPLES):
        for across in range(_SAMPLES):
            column = int((across + 0.5) / _SAMPLES * dataset.width) - _SAMPLE_PIXELS // 2
            row = int((down + 0.5) / _SAMPLES * dataset.height) - _SAMPLE_PIXELS // 2
            window = Window(max(column, 0), max(row, 0), _SAMPLE_PIXELS, _SAMPLE_PIXELS)
            whole = Window(0, 0, dataset.width, dataset.height)
            found = dataset.read(bands, window=window.intersection(whole), masked=masked)
            parts.append(found.compressed() if masked else found.ravel())
    return np.concatenate(parts).astype(np.float64)


def _unreadable(path: Path, problem: Exception) -> ImageryError:
    reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
    return ImageryError(
        f"the raster cannot be read ({reason})",
        where=str(path),
        remedy="Check that it opens in QGIS; if it is damaged, get it again.",
    )
