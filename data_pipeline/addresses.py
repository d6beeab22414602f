"""Address templates of imagery: their placeholders, how they are filled, how an address is signed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import mercantile

from housevis.core.errors import ConfigError

if TYPE_CHECKING:
    from data_pipeline.provider_records import Provider

OWN_KEY_VARIABLE = "HOUSEVIS_IMAGERY_KEY"
"""Fills ``{key}`` in an address of the user's own."""

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
PLACEHOLDERS = frozenset(
    {"z", "x", "y", "-y", "q", "s", "r", "scale", "pixels", "key", "z-1"}
    | {"TileMatrix", "TileRow", "TileCol"}
    | {"latitude", "longitude", "west", "south", "east", "north"}
)
"""What an address template may hold, each in braces."""

RESOLUTION = frozenset({"r", "scale", "pixels"})
"""The placeholders that ask for tiles of 512 pixels."""

_WHICH_TILE = (
    {"z", "x", "y"},
    {"z", "x", "-y"},
    {"q"},
    {"TileMatrix", "TileRow", "TileCol"},
    {"latitude", "longitude"},
    {"west", "south", "east", "north"},
)
_EXAMPLE = 'For example url = "https://tiles.example.org/{z}/{x}/{y}.jpg".'


def tile_url(provider: Provider, tile: mercantile.Tile, key: str | None) -> str:
    """The address of one tile, with the access key filled in, and signed where the provider wants it.

    The signing secret is read from the environment here and stands nowhere else.

    Raises:
        ConfigError: The signing secret is malformed.
    """
    template = provider.url
    found = set(PLACEHOLDER.findall(template))
    matrix = dict(provider.matrices).get(tile.z, str(tile.z))
    values = {
        "z": str(tile.z),
        "x": str(tile.x),
        "y": str(tile.y),
        "z-1": str(tile.z - 1),
        "-y": str(2**tile.z - 1 - tile.y),
        "TileMatrix": matrix,
        "TileRow": str(tile.y),
        "TileCol": str(tile.x),
        "s": "abc"[(tile.x + tile.y) % 3],
        "r": "@2x" if provider.pixel_ratio == 2 else "",
        "scale": str(provider.pixel_ratio),
        "pixels": str(provider.tile_size),
    }
    if "q" in found:
        values["q"] = mercantile.quadkey(tile)
    if found & {"latitude", "longitude", "west"}:
        west, south, east, north = mercantile.xy_bounds(tile)
        longitude, latitude = mercantile.lnglat((west + east) / 2, (south + north) / 2)
        values |= {"latitude": f"{latitude:.8f}", "longitude": f"{longitude:.8f}"}
        values |= {"west": f"{west:.6f}", "south": f"{south:.6f}", "east": f"{east:.6f}"}
        values["north"] = f"{north:.6f}"
    if key is not None:
        values["key"] = quote(key, safe="")
    url = PLACEHOLDER.sub(lambda match: values[match[1]], template)
    secret = signing_secret(provider)
    return url if secret is None else signed(url, secret)


def access_key(provider: Provider) -> str | None:
    """The access key from the environment, or None where the address needs none.

    Raises:
        ConfigError: A key is needed and its environment variable is not set,
            or the signing secret is malformed.
    """
    secret = signing_secret(provider)
    if secret is not None:
        signed("https://example.org/", secret)
    if "{key}" not in provider.url + provider.capabilities:
        return None
    variable = provider.key_variable or OWN_KEY_VARIABLE
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"{provider.name} needs an access key",
            where=f"environment variable {variable}",
            remedy=f"Set it: export {variable}=…",
        )
    return value


def signing_secret(provider: Provider) -> str | None:
    """The secret that signs the provider's addresses, from the environment; None to send them unsigned."""
    if provider.secret_variable is None:
        return None
    return os.environ.get(provider.secret_variable, "").strip() or None


def signed(url: str, secret: str) -> str:
    """An address with ``signature``: HMAC-SHA1 over its path and query, as Google Maps Platform wants it.

    Args:
        url: The whole address.
        secret: The signing secret, base64 for addresses (``-`` and ``_``).

    Raises:
        ConfigError: The secret is no base64.
    """
    try:
        key = base64.b64decode(secret, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(
            "the signing secret is no base64 text",
            where="the environment",
            remedy="Copy the URL signing secret again as the provider shows it.",
        ) from None
    parts = urlsplit(url)
    text = f"{parts.path}?{parts.query}" if parts.query else parts.path
    digest = hmac.new(key, text.encode(), hashlib.sha1).digest()
    joint = "&" if parts.query else "?"
    return f"{url}{joint}signature={base64.urlsafe_b64encode(digest).decode()}"


def redacted(url: str) -> str:
    """An address without query string, fragment, user and password."""
    base = url.split("?", 1)[0].split("#", 1)[0]
    return re.sub(r"//[^/@]*@", "//", base)


def check_address(url: str, where: str) -> str:
    """Check that an address is one of the web.

    Returns:
        The address.

    Raises:
        ConfigError: It is no http(s) address.
    """
    parts = urlsplit(PLACEHOLDER.sub("0", url))
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            "the address of the imagery must begin with http:// or https://",
            where=f"{where} ({redacted(url)})",
            remedy=f"{_EXAMPLE} A file on this machine belongs in imagery.source.",
        )
    return url


def check_template(url: str) -> str:
    """Check an address template.

    Returns:
        The template.

    Raises:
        ConfigError: It is no http(s) address, or its placeholders are wrong.
    """
    check_address(url, "imagery.url")
    found = set(PLACEHOLDER.findall(url))
    if strange := found - PLACEHOLDERS:
        raise ConfigError(
            f"the address has the unknown placeholder {{{min(strange)}}}",
            where=f"imagery.url ({redacted(url)})",
            remedy=f"Known placeholders: {', '.join('{' + name + '}' for name in sorted(PLACEHOLDERS))}.",
        )
    if not any(needed <= found for needed in _WHICH_TILE):
        raise ConfigError(
            "the address must say which tile is meant",
            where=f"imagery.url ({redacted(url)})",
            remedy=_EXAMPLE,
        )
    return url
