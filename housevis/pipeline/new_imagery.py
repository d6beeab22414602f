"""Imagery for new houses: a provider, an address, an archive, rasters or a folder of pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from data_pipeline.addresses import PLACEHOLDER, RESOLUTION
from data_pipeline.archive import TileArchive
from data_pipeline.fetch import FetchReport
from data_pipeline.providers import find_provider
from data_pipeline.sources.copying import copy_pictures
from data_pipeline.sources.kinds import source_at
from data_pipeline.sources.picture_folder import PictureFolder
from data_pipeline.supply import Supply, fill_archive, open_supply
from db.session import open_database
from housevis.core.config import Config
from housevis.core.config_sections import ImagerySection
from housevis.core.errors import ConfigError, ImageryError, UsageError

_KEPT = ("zoom", "framing", "window", "retina", "metres_per_pixel")
"""Keys of the run's configuration that hold for new houses too."""


@contextmanager
def open_new_imagery(
    imagery: str,
    config: Config,
    houses: pd.DataFrame,
    rights_reference: str | None,
    notes: list[str] | None = None,
) -> Iterator[TileArchive]:
    """Pass the rights gate and open the imagery of new houses, fetched or copied first where need be.

    Args:
        imagery: Name of a provider, address with placeholders, or a path.
        config: Configuration of the run.
        houses: The houses: `house_id`, `latitude`, `longitude`.
        rights_reference: The user's own right to use the imagery.
        notes: Takes what is to be said of tiles that could not be fetched.

    Raises:
        UsageError: `imagery` is none of these.
        RightsError: The imagery's terms do not allow it.
        ImageryError: The imagery cannot be read, or nothing of it could be fetched.
    """
    section = _section(imagery, config, rights_reference)
    supply = open_supply(section)
    if supply.source is not None and supply.source.kind == "mbtiles":
        with TileArchive(supply.source.path) as archive:
            yield archive
        return
    with tempfile.TemporaryDirectory(prefix="housevis-") as folder:
        engine = open_database(Path(folder) / "manifest.sqlite")
        try:
            with TileArchive.create(Path(folder) / "tiles.mbtiles", supply.metadata()) as archive:
                if supply.has_pictures:
                    _copy(supply, houses, archive)
                else:
                    needed = list(supply.needed(houses, config.vision.image_size))
                    failures = _failures(supply, fill_archive(supply, needed, archive, engine))
                    if notes is not None:
                        notes += failures
                yield archive
        finally:
            engine.dispose()


def _section(imagery: str, config: Config, rights_reference: str | None) -> ImagerySection:
    kept = {name: getattr(config.imagery, name) for name in _KEPT}
    kept["rights_reference"] = rights_reference
    if "://" in imagery:
        kept["retina"] = kept["retina"] and bool(RESOLUTION & set(PLACEHOLDER.findall(imagery)))
        return ImagerySection(url=imagery, **kept)
    try:
        source_at(Path(imagery))
    except ImageryError as problem:
        if Path(imagery).exists():
            raise
        section = ImagerySection(provider=imagery, **kept)
        try:
            find_provider(section)
        except ConfigError as unknown:
            if "unknown imagery provider" not in unknown.what:
                raise
            raise UsageError(
                "there is no such file or folder, and it is no provider and no tile address either",
                where=imagery,
                remedy="Give an MBTiles or PMTiles file, a GeoTIFF, a folder, the name of a provider, "
                "or an address with {z}, {x} and {y}.",
            ) from problem
        return section
    return ImagerySection(source=Path(imagery).absolute(), **kept)


def _failures(supply: Supply, report: FetchReport) -> list[str]:
    if not report.failed:
        return []
    causes = ", ".join(sorted(report.errors))
    if report.failed == report.needed:
        raise ImageryError(
            f"not one of {report.needed} tiles could be fetched ({causes})",
            where=supply.provider.address or supply.provider.name,
            remedy="Check that the server runs and that the address and the key are right, "
            "then run the command again.",
        )
    return [
        f"{report.failed:,} of {report.needed:,} tiles could not be fetched ({causes}); "
        "run the command again to have them too"
    ]


def _copy(supply: Supply, houses: pd.DataFrame, archive: TileArchive) -> None:
    assert supply.source is not None
    folder = PictureFolder(supply.source.path, supply.section.metres_per_pixel)
    copy_pictures(houses["house_id"].astype(str).tolist(), folder, archive)
