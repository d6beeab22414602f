"""WMTS: from a capabilities document to the address of one layer's tiles in Web Mercator."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from data_pipeline.addresses import access_key, check_template, redacted
from data_pipeline.connecting import USER_AGENT, quiet_about
from data_pipeline.provider_records import Provider
from data_pipeline.tiles import EARTH_RADIUS
from housevis.core.errors import ConfigError, ImageryError
from housevis.core.storage import write_file

_FORMATS = ("image/jpeg", "image/jpg", "image/webp", "image/png", "image/png8")
_PIXEL_METRES = 0.00028
"""What OGC takes a pixel to measure, in scale denominators."""

_HALF_WORLD = math.pi * EARTH_RADIUS
_WEB_MERCATOR = ("3857", "900913", "3785")
_TIMEOUT = (10.0, 60.0)
_MOST_BYTES = 64 * 2**20
_LAYERS_SHOWN = 30


def with_layer(provider: Provider, cache: Path | None) -> Provider:
    """The provider with the address of its WMTS layer's tiles.

    Args:
        provider: A record with `capabilities` and `layer`.
        cache: Folder where the capabilities document is kept; None asks for it anew.

    Returns:
        The record with `url`, `matrices`, `zoom_maximum` and `tile_size` as
        the service describes them. A provider without capabilities is
        returned as it is.

    Raises:
        ImageryError: The document cannot be fetched or read.
        ConfigError: There is no such layer, or it has no tiles in Web
            Mercator; the access key is not set.
    """
    if not provider.capabilities or provider.url:
        return provider
    file = None if cache is None else capabilities_file(provider, cache)
    if file is not None and file.is_file():
        document = file.read_bytes()
        return _described(provider, document)
    document = _fetch(provider)
    found = _described(provider, document)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, document)
    return found


def capabilities_file(provider: Provider, folder: Path) -> Path:
    """Where the capabilities document of a provider is kept; the name holds no key."""
    name = hashlib.sha256(provider.capabilities.encode()).hexdigest()[:16]
    return folder / f"wmts-{name}.xml"


def _fetch(provider: Provider) -> bytes:
    """The document, with the access key taken out again where the server repeats it."""
    key = access_key(provider)
    where = redacted(provider.capabilities)
    address = provider.capabilities
    if key is not None:
        address = address.replace("{key}", quote(key, safe=""))
    try:
        with (
            quiet_about([key]),
            requests.get(
                address, headers={"User-Agent": USER_AGENT}, timeout=_TIMEOUT, stream=True
            ) as response,
        ):
            code, parts, size = response.status_code, [], 0
            for part in response.iter_content(65_536):
                parts.append(part)
                size += len(part)
                if size > _MOST_BYTES:
                    break
    except requests.RequestException as problem:
        raise ImageryError(
            f"the WMTS capabilities cannot be fetched ({type(problem).__name__})",
            where=where,
            remedy="Check imagery.wmts, the network and that the server runs.",
        ) from None
    if code != 200 or size > _MOST_BYTES:
        reason = f"HTTP {code}" if code != 200 else "too large"
        raise ImageryError(
            f"the WMTS capabilities cannot be fetched ({reason})",
            where=where,
            remedy="Check imagery.wmts: it is the address of the capabilities document.",
        )
    document = b"".join(parts)
    if key is not None:
        for spelling in {key, quote(key, safe="")}:
            document = document.replace(spelling.encode(), b"{key}")
    return document


def _described(provider: Provider, document: bytes) -> Provider:
    from lxml.etree import LxmlError
    from owslib.util import ServiceException
    from owslib.wmts import WebMapTileService

    where = redacted(provider.capabilities)
    try:
        service = WebMapTileService(where, xml=document)
        layers: Mapping[str, Any] = service.contents
        sets: Mapping[str, Any] = service.tilematrixsets
    except (LxmlError, ServiceException, AttributeError, LookupError, TypeError, ValueError):
        raise ImageryError(
            "this is no WMTS capabilities document",
            where=where,
            remedy="imagery.wmts is the address of the document, often ending in WMTSCapabilities.xml.",
        ) from None
    layer = layers.get(provider.layer)
    if layer is None:
        raise _no_layer(provider, layers)
    matrix_set = _web_mercator(provider, layer, sets)
    media = next((kind for kind in _FORMATS if kind in layer.formats), None)
    if media is None:
        raise ConfigError(
            f"the layer has no pictures that housevis reads, only {', '.join(layer.formats) or 'none'}",
            where=f"imagery.layer ({provider.layer})",
            remedy="Choose another layer.",
        )
    style = next((name for name, about in layer.styles.items() if about.get("isDefault")), None)
    style = style or next(iter(layer.styles), "default")
    deepest = max(matrix_set.names)
    return replace(
        provider,
        url=check_template(
            _rest_address(layer, media, style, matrix_set.name)
            or _query_address(service, provider, media, style, matrix_set.name)
        ),
        matrices=tuple(sorted(matrix_set.names.items())),
        zoom_maximum=deepest,
        tile_size=matrix_set.tile_size,
    )


@dataclass(frozen=True)
class _MatrixSet:
    name: str
    names: dict[int, str]
    tile_size: int


def _web_mercator(provider: Provider, layer: Any, sets: Mapping[str, Any]) -> _MatrixSet:
    """The layer's deepest matrix set on the grid of web maps; its zooms are told by scale, not by name."""
    found = []
    for name, link in layer.tilematrixsetlinks.items():
        if name in sets and any(code in str(sets[name].crs) for code in _WEB_MERCATOR):
            sizes: dict[int, dict[int, str]] = {}
            for matrix in sets[name].tilematrix.values():
                zoom = _zoom_of(matrix)
                limited = not link.tilematrixlimits or matrix.identifier in link.tilematrixlimits
                if zoom is not None and limited:
                    sizes.setdefault(int(matrix.tilewidth), {})[zoom] = str(matrix.identifier)
            found += [_MatrixSet(name, names, size) for size, names in sizes.items() if size in (256, 512)]
    if not found:
        systems = sorted({str(sets[name].crs) for name in layer.tilematrixsetlinks if name in sets})
        raise ConfigError(
            f"the layer has no tiles in Web Mercator (EPSG:3857), only in {', '.join(systems) or 'none'}",
            where=f"imagery.layer ({provider.layer})",
            remedy="Choose another layer, or download GeoTIFFs and name them in imagery.source.",
        )
    return max(found, key=lambda one: (max(one.names), len(one.names), -one.tile_size))


def _zoom_of(matrix: Any) -> int | None:
    """The zoom of web maps that a matrix is, None if it is on another grid."""
    try:
        span = float(matrix.scaledenominator) * _PIXEL_METRES * float(matrix.tilewidth)
        zoom = math.log2(2 * _HALF_WORLD / span)
        nearest = round(zoom)
        left, top = (float(edge) for edge in matrix.topleftcorner)
    except (ArithmeticError, TypeError, ValueError):
        return None
    at_corner = max(abs(left + _HALF_WORLD), abs(top - _HALF_WORLD)) < 1.0
    if not at_corner or abs(zoom - nearest) > 1e-3 or not 0 <= nearest <= 24:
        return None
    return nearest


def _rest_address(layer: Any, media: str, style: str, matrix_set: str) -> str | None:
    for resource in layer.resourceURLs:
        if resource.get("resourceType") == "tile" and resource.get("format") == media:
            address = str(resource["template"])
            values = {"Style": style, "style": style, "TileMatrixSet": matrix_set}
            for name, dimension in layer.dimensions.items():
                values[name] = dimension.get("default") or next(iter(dimension.get("values", [])), "")
            for name, value in values.items():
                address = address.replace(f"{{{name}}}", quote(str(value), safe=":"))
            return address
    return None


def _query_address(service: Any, provider: Provider, media: str, style: str, matrix_set: str) -> str:
    methods: list[Any] = next((found.methods for found in service.operations if found.name == "GetTile"), [])
    base = next((method["url"] for method in methods if method["type"] == "Get"), None)
    base = str(base or provider.capabilities.split("?", 1)[0])
    joint = "" if base.endswith(("?", "&")) else "&" if urlsplit(base).query else "?"
    settings = {"LAYER": provider.layer, "STYLE": style, "TILEMATRIXSET": matrix_set, "FORMAT": media}
    query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in settings.items())
    key = "&key={key}" if "{key}" in provider.capabilities and "{key}" not in base else ""
    return (
        f"{base}{joint}SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&{query}"
        f"&TILEMATRIX={{TileMatrix}}&TILEROW={{TileRow}}&TILECOL={{TileCol}}{key}"
    )


def _no_layer(provider: Provider, layers: Mapping[str, Any]) -> ConfigError:
    names = sorted(layers)
    shown = ", ".join(names[:_LAYERS_SHOWN]) + (", …" if len(names) > _LAYERS_SHOWN else "")
    what = f"the WMTS has no layer {provider.layer!r}" if provider.layer else "imagery.layer is not set"
    return ConfigError(what, where=redacted(provider.capabilities), remedy=f"Its layers: {shown or 'none'}.")
