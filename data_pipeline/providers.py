"""Which provider a configuration means, and the rights gate.

A record says what a provider's terms allow. Imagery without a record is
"unknown, refused" until the user records a licence of their own.
"""

from __future__ import annotations

import difflib
from dataclasses import replace

from data_pipeline.addresses import (
    OWN_KEY_VARIABLE,
    PLACEHOLDER,
    RESOLUTION,
    access_key,
    check_address,
    check_template,
    redacted,
    tile_url,
)
from data_pipeline.provider_records import PROVIDERS, Provider
from housevis.core.config_sections import ImageryRecordSection, ImagerySection
from housevis.core.errors import ConfigError, RightsError

__all__ = [
    "DEFAULT_PROVIDER",
    "OWN_KEY_VARIABLE",
    "PROVIDERS",
    "SAMPLE_MARKET",
    "UNKNOWN",
    "Provider",
    "access_key",
    "as_files",
    "check_rights",
    "check_template",
    "find_provider",
    "redacted",
    "tile_url",
]

UNKNOWN = "unknown"
SAMPLE_MARKET = "sample-market"
DEFAULT_PROVIDER = "usgs-imagery"

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_DEEPEST_ZOOM = 24
_WAYS = ("url", "wmts", "source", "local_server")


def find_provider(imagery: ImagerySection) -> Provider:
    """The provider that the configuration means.

    Args:
        imagery: The ``[imagery]`` section.

    Returns:
        A known record, the user's own, or a record named ``"unknown"`` that
        allows nothing.

    Raises:
        ConfigError: The named provider is neither known here nor to
            xyzservices, the address is malformed, the zoom too deep, or the
            section says two things at once.
    """
    _check_ways(imagery)
    provider = _named(imagery) if imagery.record is None else _own(imagery, imagery.record)
    if imagery.attribution:
        provider = replace(provider, attribution=imagery.attribution)
    if imagery.retina:
        provider = _retina(provider)
    for zoom in (imagery.zoom, *imagery.further_zooms):
        check_zoom(provider, zoom)
    return provider


def check_zoom(provider: Provider, zoom: int) -> None:
    """Check that a provider has a zoom.

    Raises:
        ConfigError: The zoom is too deep.
    """
    if zoom > provider.zoom_maximum:
        raise ConfigError(
            f"{provider.name} has no zoom {zoom}, only up to {provider.zoom_maximum}",
            where="imagery.zoom",
            remedy=f"Set zoom = {provider.zoom_maximum} or choose another provider.",
        )


def check_rights(provider: Provider, rights_reference: str | None) -> str | None:
    """The rights gate: pass, or say how to go on.

    Args:
        provider: Where the imagery comes from.
        rights_reference: The user's own licence, as they recorded it.

    Returns:
        The reference that opened the gate, or None where the provider's terms
        allow storing and analysing without one.

    Raises:
        RightsError: The terms do not allow it, or are not known, and no
            licence is recorded.
    """
    allowed = provider.allows_storage and provider.allows_ml
    if allowed and not provider.needs_reference:
        return None
    reference = (rights_reference or "").strip()
    if reference:
        return reference
    if provider.name == UNKNOWN:
        what = "the terms of this imagery are unknown, so it is refused"
    elif allowed:
        what = f"what {provider.name} allows is your own word, and no licence of yours is recorded"
    else:
        denied = [
            name
            for name, granted in (("storing", provider.allows_storage), ("analysing", provider.allows_ml))
            if not granted
        ]
        what = f"the terms of {provider.name} do not allow {' and '.join(denied)} its tiles"
    raise RightsError(
        what,
        where=f"imagery ({provider.address or provider.name})",
        remedy='If you hold a licence, record it with --i-have-rights "reference" or '
        "imagery.rights_reference; open imagery needs none, for example "
        f'imagery.provider = "{DEFAULT_PROVIDER}".',
    )


def _check_ways(imagery: ImagerySection) -> None:
    ways = [name for name in _WAYS if getattr(imagery, name) is not None]
    if len(ways) > 1:
        raise ConfigError(
            f"imagery.{ways[0]} and imagery.{ways[1]} both say where the imagery is",
            where="imagery",
            remedy="Keep one of them.",
        )
    if imagery.record is not None and imagery.provider is not None:
        raise ConfigError(
            "imagery.provider names a record and imagery.record is another one",
            where="imagery",
            remedy="Keep one of them.",
        )
    if imagery.layer is not None and imagery.wmts is None and imagery.provider is None:
        raise ConfigError(
            "imagery.layer names a layer of a WMTS, and there is none",
            where="imagery.layer",
            remedy="Set imagery.wmts to the address of its capabilities document.",
        )


def _own(imagery: ImagerySection, record: ImageryRecordSection) -> Provider:
    if record.name in PROVIDERS or record.name == UNKNOWN:
        raise ConfigError(
            f"{record.name!r} is a record of housevis",
            where="imagery.record.name",
            remedy=f'Give yours another name, or set imagery.provider = "{record.name}" instead.',
        )
    if all(getattr(imagery, name) is None for name in _WAYS):
        raise ConfigError(
            "imagery.record does not say where the imagery is",
            where="imagery",
            remedy="Set imagery.url, imagery.wmts or imagery.source.",
        )
    settings = record.model_dump(exclude={"name", "terms", "licence"})
    return Provider(
        record.name,
        check_template(imagery.url) if imagery.url else "",
        "",
        **settings,
        terms=record.terms or "",
        licence=record.licence or "",
        capabilities=check_address(imagery.wmts, "imagery.wmts") if imagery.wmts else "",
        layer=imagery.layer or "",
        kind="xyz" if imagery.url else "wmts" if imagery.wmts else "files",
        needs_reference=True,
    )


def _named(imagery: ImagerySection) -> Provider:
    local, name = imagery.local_server, imagery.provider
    if imagery.source is not None:
        return _of_files(name)
    if imagery.wmts is not None:
        return _wmts(imagery.wmts, imagery.layer or "", name)
    url = check_template(imagery.url) if imagery.url else ""
    if name is None and local is not None and local.source == "sample-market":
        name = SAMPLE_MARKET
    if name is None and not url and local is None:
        name = DEFAULT_PROVIDER
    if name is None:
        return _at_address(url)
    record = PROVIDERS.get(name) or _from_xyzservices(name)
    if record is None:
        if url or local is not None:
            return replace(_at_address(url), attribution=name)
        raise _unknown_name(name)
    if local is not None:
        if (record.name == SAMPLE_MARKET) != (local.source == "sample-market"):
            return replace(_at_address(""), attribution=record.attribution)
        return replace(record, requests_per_second=None, zoom_maximum=22)
    if url:
        elsewhere = replace(record, url=url, capabilities="", layer="")
        if elsewhere.host in _LOOPBACK:
            return replace(elsewhere, requests_per_second=None)
        return elsewhere if elsewhere.host == record.host else _at_address(url)
    if record.kind == "files":
        raise ConfigError(
            f"{record.name} stands for files on this machine",
            where="imagery",
            remedy='Set imagery.source, for example source = "naip/*.tif".',
        )
    if imagery.layer is not None:
        if not record.capabilities:
            raise ConfigError(
                f"{record.name} is no WMTS whose layers can be chosen",
                where="imagery.layer",
                remedy="Leave imagery.layer out.",
            )
        return replace(record, layer=imagery.layer)
    if not record.url and not record.capabilities:
        raise ConfigError(
            f"{record.name} needs an address of tiles",
            where="imagery",
            remedy='Set [imagery.local_server] source = "sample-market".',
        )
    return record


def _unknown_name(name: str) -> ConfigError:
    nearest = difflib.get_close_matches(name, PROVIDERS, n=1, cutoff=0.5)
    remedy = f"Did you mean {nearest[0]!r}?" if nearest else f"Known: {', '.join(sorted(PROVIDERS))}."
    return ConfigError(f"unknown imagery provider {name!r}", where="imagery.provider", remedy=remedy)


def _of_files(name: str | None) -> Provider:
    """The record under which files on this machine are used."""
    record = Provider(UNKNOWN, "", "") if name is None else PROVIDERS.get(name) or _from_xyzservices(name)
    if record is None:
        raise _unknown_name(str(name))
    if record.name == SAMPLE_MARKET:
        record = Provider(UNKNOWN, "", record.attribution)
    return as_files(record)


def as_files(record: Provider) -> Provider:
    """A record for files on this machine: its terms and its credit, but no address, no rate and no price."""
    return replace(
        record,
        url="",
        capabilities="",
        kind="files",
        requests_per_second=None,
        price_per_thousand=None,
        key_variable=None,
        secret_variable=None,
        zoom_maximum=_DEEPEST_ZOOM,
    )


def _wmts(capabilities: str, layer: str, name: str | None) -> Provider:
    check_address(capabilities, "imagery.wmts")
    record = None if name is None else PROVIDERS.get(name)
    if name is not None and record is None:
        raise _unknown_name(name)
    unknown = Provider(UNKNOWN, "", "", kind="wmts", key_variable=OWN_KEY_VARIABLE)
    found = replace(record or unknown, url="", kind="wmts", capabilities=capabilities, layer=layer)
    if record is not None and found.host not in {*_LOOPBACK, record.host}:
        found = replace(unknown, capabilities=capabilities, layer=layer, attribution=record.attribution)
    return replace(found, requests_per_second=None) if found.host in _LOOPBACK else found


def _at_address(url: str) -> Provider:
    known = next((record for record in PROVIDERS.values() if url and record.url == url), None)
    if known is not None:
        return known
    unknown = Provider(UNKNOWN, url, "", key_variable=OWN_KEY_VARIABLE)
    return replace(unknown, requests_per_second=None) if unknown.host in {*_LOOPBACK, ""} else unknown


def _retina(provider: Provider) -> Provider:
    placeholders = set(PLACEHOLDER.findall(provider.url))
    if provider.kind != "files" and not placeholders & RESOLUTION:
        raise ConfigError(
            f"{provider.name} has no retina tiles that housevis knows of",
            where="imagery.retina",
            remedy="Leave retina out, or write {r} into the address where the provider wants @2x.",
        )
    return replace(provider, pixel_ratio=2, tile_size=512)


def _from_xyzservices(name: str) -> Provider | None:
    import xyzservices.providers

    try:
        found = xyzservices.providers.query_name(name)
    except ValueError:
        return None
    if found.get("crs", "EPSG:3857") != "EPSG:3857":
        raise ConfigError(
            f"the tiles of {found.name} are in {found['crs']}, not in Web Mercator (EPSG:3857)",
            where="imagery.provider",
            remedy="Choose another provider.",
        )
    tokens = {key: "{key}" for key, value in found.items() if str(value).startswith("<insert your")}
    url = found.build_url(x="{x}", y="{y}", z="{z}", scale_factor="{r}", fill_subdomain=True, **tokens)
    same = next((record for record in PROVIDERS.values() if record.url == url), None)
    return same or Provider(
        found.name,
        url,
        found.get("attribution", ""),
        zoom_maximum=int(found.get("max_zoom", 22)),
        key_variable=OWN_KEY_VARIABLE if tokens else None,
        note="Not recorded in housevis.",
    )
