"""Addresses to coordinates, through a server of the user's choice.

Every answer is kept in a file of the workspace, so nothing is asked twice,
whatever happens to the run. The file holds addresses; it stays on this machine.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from housevis import __version__
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError
from housevis.core.progress import progress_bar
from housevis.core.storage import write_file

_FILE = "geocoded.json"
_SAVED_AFTER = 50
_TIMEOUT = 30
_RETRIES = 3
_WAIT_AFTER_ERROR = 5.0

Place = tuple[float, float] | None


def open_geocoder(
    section: ListingsSection, folder: Path, *, wait_after_error: float = _WAIT_AFTER_ERROR
) -> Callable[[Sequence[str]], dict[str, Place]]:
    """A function that finds the places of addresses.

    Args:
        section: `geocoder` and `geocoder_requests_per_second` are read.
        folder: Where answers are kept.
        wait_after_error: Seconds before a request that failed is tried again.

    Returns:
        Addresses -> latitude and longitude; None where the server knows no
        such address. It raises ListingsError where the server does not answer.

    Raises:
        ConfigError: The address of the server cannot be one.
    """
    assert section.geocoder is not None
    parts = urlsplit(section.geocoder)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.password:
        raise ConfigError(
            "this is no usable address of a geocoder",
            where="listings.geocoder",
            remedy='Give the address of a Nominatim-compatible server without keys, as "https://host/path".',
        )
    cache = folder / _FILE
    server = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    pause = 1 / section.geocoder_requests_per_second

    def geocode(addresses: Sequence[str]) -> dict[str, Place]:
        known = _read(cache, server)
        ask = [address for address in addresses if address not in known]
        if ask:
            _ask(ask, server, known, cache, pause, wait_after_error)
        return {address: known[address] for address in addresses}

    return geocode


def forget_addresses(folder: Path, addresses: Collection[str]) -> int:
    """Take addresses out of the file of answers.

    Returns:
        How many there were.
    """
    cache = folder / _FILE
    if not addresses or not cache.is_file():
        return 0
    everything = json.loads(cache.read_text(encoding="utf-8"))
    forgotten = 0
    for known in everything.values():
        for address in set(known) & set(addresses):
            del known[address]
            forgotten += 1
    if forgotten:
        write_file(cache, json.dumps(everything, ensure_ascii=False, indent=0))
    return forgotten


def _ask(
    addresses: Sequence[str], server: str, known: dict[str, Place], cache: Path, pause: float, wait: float
) -> None:
    from geopy.exc import GeopyError
    from geopy.extra.rate_limiter import RateLimiter
    from geopy.geocoders import Nominatim

    logging.getLogger("geopy").setLevel(logging.CRITICAL)
    parts = urlsplit(server)
    nominatim = Nominatim(
        scheme=parts.scheme,
        domain=f"{parts.netloc}{parts.path}".rstrip("/"),
        user_agent=f"housevis/{__version__}",
        timeout=_TIMEOUT,
    )
    limited = RateLimiter(
        nominatim.geocode,
        min_delay_seconds=pause,
        max_retries=_RETRIES,
        error_wait_seconds=max(wait, pause),
        swallow_exceptions=False,
    )
    asked = 0
    try:
        with progress_bar("addresses", len(addresses)) as bar:
            for address in addresses:
                try:
                    found = limited(address)
                except GeopyError as problem:
                    raise ListingsError(
                        f"the geocoder does not answer ({problem.__class__.__name__})",
                        where=server,
                        remedy=f"{len(known):,} addresses are kept; run the command again to go on.",
                    ) from None
                known[address] = (float(found.latitude), float(found.longitude)) if found else None
                bar.advance()
                asked += 1
                if asked % _SAVED_AFTER == 0:
                    _write(cache, server, known)
    finally:
        _write(cache, server, known)


def _read(cache: Path, server: str) -> dict[str, Place]:
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return {
            address: (float(place[0]), float(place[1])) if place else None
            for address, place in kept.get(server, {}).items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):
        raise ListingsError(
            "the file of geocoded addresses is damaged",
            where=str(cache),
            remedy="Remove it; the addresses are asked for again.",
        ) from None


def _write(cache: Path, server: str, known: dict[str, Place]) -> None:
    everything: dict[str, object] = {}
    if cache.is_file():
        everything = json.loads(cache.read_text(encoding="utf-8"))
    everything[server] = known
    write_file(cache, json.dumps(everything, ensure_ascii=False, indent=0))
