"""What is known of each imagery provider; the records themselves stand in ``providers.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal
from urllib.parse import urlsplit

from data_pipeline.addresses import PLACEHOLDER, redacted

Kind = Literal["xyz", "wmts", "static", "export", "files", "sample"]
USUAL_BYTES = 16_000
"""A tile's size where nothing is known of the provider: a rough figure for a JPEG of 256 pixels."""

BLANK_HEADERS = (("X-VE-Tile-Info", "no-tile"),)
"""Known headers of "no imagery here"; this one is of Bing Maps."""


@dataclass(frozen=True)
class Provider:
    """Where imagery comes from and what the terms allow.

    Attributes:
        name: Name of the record.
        url: Address template, see :mod:`data_pipeline.addresses`. Never
            printed: it may hold a key. Empty for files, and for a WMTS whose
            capabilities are not read yet.
        attribution: Credit that every map and page shows.
        zoom_maximum: The deepest zoom that is served.
        tile_size: Pixels per side of a served tile.
        allows_storage: Whether the terms let tiles be kept.
        allows_ml: Whether the terms let tiles be analysed by models.
        terms: Where the terms stand.
        key_variable: Environment variable of the access key, if one is needed.
        requests_per_second: Rate that the fetcher keeps to; None for no limit.
        kind: ``xyz`` tiles, ``wmts``, ``static`` pictures of a map service,
            ``export`` of a window by its corners, ``files`` on this machine,
            or the ``sample`` market.
        licence: Name of the licence.
        note: What else there is to know.
        region: Where there is imagery.
        secret_variable: Environment variable of the secret that signs addresses.
        connections: Requests under way at once.
        zoom_native: The deepest zoom that shows more than the one above it.
        native_metres_per_pixel: Ground sample distance of the original
            imagery, usually.
        pixel_ratio: 2 where retina tiles are asked for.
        price_per_thousand: Price of a thousand requests, where known.
        currency: Of that price.
        bytes_per_tile: Usual size of a tile.
        capabilities: Address of the WMTS capabilities.
        layer: Layer of the WMTS.
        matrices: Zoom -> name of the tile matrix, as pairs, where the name is
            not the zoom.
        needs_reference: What it allows is the user's own word, which counts
            only with a recorded licence.
        blank_headers: Headers, with a part of their value, that mark an answer
            as "no imagery here", whatever picture comes with it.
        blank_sha256: Hex SHA-256 of the provider's pictures of no imagery.
    """

    name: str
    url: str = field(repr=False)
    attribution: str
    zoom_maximum: int = 22
    tile_size: int = 256
    allows_storage: bool = False
    allows_ml: bool = False
    terms: str = ""
    key_variable: str | None = None
    requests_per_second: float | None = 5.0
    kind: Kind = "xyz"
    licence: str = ""
    note: str = ""
    region: str = ""
    secret_variable: str | None = None
    connections: int = 8
    zoom_native: int | None = None
    native_metres_per_pixel: float | None = None
    pixel_ratio: int = 1
    price_per_thousand: float | None = None
    currency: str = "USD"
    bytes_per_tile: int | None = None
    capabilities: str = field(default="", repr=False)
    layer: str = ""
    matrices: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    needs_reference: bool = False
    blank_headers: tuple[tuple[str, str], ...] = BLANK_HEADERS
    blank_sha256: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Host name of the address."""
        return urlsplit(PLACEHOLDER.sub("0", self.url or self.capabilities)).hostname or ""

    @property
    def address(self) -> str:
        """The address without its query string, fit for messages."""
        return redacted(self.url or self.capabilities)


def _read_records() -> dict[str, Provider]:
    text = resources.files("data_pipeline").joinpath("providers.toml").read_text(encoding="utf-8")
    return {name: _record(name, table) for name, table in tomllib.loads(text).items()}


def _record(name: str, table: dict[str, Any]) -> Provider:
    allowed = table.pop("open", False)
    if table.get("kind") == "sample":
        table["requests_per_second"] = None
    url = table.pop("url", "")
    return Provider(name, url, **{"allows_storage": allowed, "allows_ml": allowed, **table})


PROVIDERS: dict[str, Provider] = _read_records()
"""The provider records by name."""
