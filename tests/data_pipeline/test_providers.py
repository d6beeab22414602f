"""Provider records, the rights gate, and keys that stay secret."""

from __future__ import annotations

from typing import Any

import mercantile
import pytest

from data_pipeline.providers import (
    PROVIDERS,
    access_key,
    check_rights,
    check_template,
    find_provider,
    redacted,
    tile_url,
)
from housevis.core.config_sections import ImagerySection
from housevis.core.errors import ConfigError, RightsError

TILE = mercantile.Tile(41_000, 91_000, 18)
FOREIGN = "https://tiles.example.org/{z}/{x}/{y}.jpg?token=sesame"


def imagery(**settings: Any) -> ImagerySection:
    return ImagerySection.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"provider": "usgs-imagery"},
        {"provider": "sample-market", "url": "http://127.0.0.1:8000/{z}/{x}/{y}.png"},
        {"local_server": {"source": "sample-market"}},
        {"local_server": {"source": "mbtiles", "path": "t.mbtiles"}, "provider": "usgs-imagery"},
        {"url": PROVIDERS["usgs-imagery"].url},
        {"provider": "USGS.USImagery", "zoom": 16},
        {"provider": "SwissFederalGeoportal.SWISSIMAGE"},
        {"source": "naip/*.tif", "provider": "usgs-naip-files"},
    ],
)
def test_open_imagery_passes_without_a_reference(settings: dict[str, Any]) -> None:
    assert check_rights(find_provider(imagery(**settings)), None) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"provider": "esri-world-imagery", "zoom": 18},
        {"provider": "mapbox-satellite"},
        {"provider": "google-static"},
        {"provider": "Esri.WorldImagery"},
        {"url": FOREIGN},
        {"url": FOREIGN, "provider": "usgs-imagery"},
        {"url": FOREIGN, "provider": "our own aeroplane"},
        {"url": "http://127.0.0.1:8000/{z}/{x}/{y}.png"},
        {"local_server": {"source": "mbtiles", "path": "t.mbtiles"}},
        {"local_server": {"source": "mbtiles", "path": "t.mbtiles"}, "provider": "sample-market"},
        {"local_server": {"source": "mbtiles", "path": "t.mbtiles"}, "attribution": "someone"},
        {"local_server": {"source": "mbtiles", "path": "t.mbtiles"}, "provider": "esri-world-imagery"},
    ],
)
def test_other_imagery_is_refused_until_a_licence_is_recorded(settings: dict[str, Any]) -> None:
    provider = find_provider(imagery(**settings))
    for nothing in (None, "", "   "):
        with pytest.raises(RightsError, match="--i-have-rights") as caught:
            check_rights(provider, nothing)
        assert "sesame" not in str(caught.value)
        assert caught.value.exit_code == 2
    assert check_rights(provider, " contract 7 ") == "contract 7"


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'usgs-imagery'"):
        find_provider(imagery(provider="usgs-imagry"))


def test_a_zoom_that_is_too_deep() -> None:
    with pytest.raises(ConfigError, match="no zoom 22"):
        find_provider(imagery(zoom=22))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.org/{z}/{x}/{y}", "http"),
        ("tiles/{z}/{x}/{y}", "http"),
        ("https://example.org/{z}/{x}", "which tile"),
        ("https://example.org/{z}/{x}/{y}/{style}", "placeholder {style}"),
    ],
)
def test_addresses_that_cannot_work(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_provider(imagery(url=url))


def test_placeholders_are_filled() -> None:
    def filled(url: str) -> str:
        return tile_url(find_provider(imagery(url=url)), TILE, "k")

    assert filled("https://e.org/{z}/{x}/{y}?k={key}") == "https://e.org/18/41000/91000?k=k"
    assert filled("https://e.org/{z}/{x}/{-y}") == f"https://e.org/18/41000/{2**18 - 1 - 91_000}"
    assert filled("https://e.org/{q}.png") == f"https://e.org/{mercantile.quadkey(TILE)}.png"
    assert filled("https://{s}.e.org/{z}/{x}/{y}").split(".")[0][-1] in "abc"
    assert filled("https://e.org/{TileMatrix}/{TileRow}/{TileCol}") == "https://e.org/18/91000/41000"
    assert (
        filled("https://e.org/{z-1}/{x}/{y}/{z}{r}?{scale},{pixels}")
        == "https://e.org/17/41000/91000/18?1,256"
    )
    corners = filled("https://e.org/?b={west},{south},{east},{north}").split("=")[1].split(",")
    assert [float(edge) for edge in corners] == pytest.approx(list(mercantile.xy_bounds(TILE)), abs=1e-5)
    latitude, longitude = filled("https://e.org/{z}?{latitude},{longitude}").split("?")[1].split(",")
    assert mercantile.tile(float(longitude), float(latitude), 18) == TILE


def test_a_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = PROVIDERS["mapbox-satellite"]
    monkeypatch.delenv("MAPBOX_ACCESS_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="MAPBOX_ACCESS_TOKEN"):
        access_key(provider)
    monkeypatch.setenv("MAPBOX_ACCESS_TOKEN", "sesame")
    assert access_key(provider) == "sesame"
    assert access_key(PROVIDERS["usgs-imagery"]) is None


def test_no_text_about_a_provider_shows_its_query() -> None:
    provider = find_provider(imagery(url="https://me:pass@e.org/{z}/{x}/{y}?token=sesame#part"))
    assert provider.address == redacted(provider.url) == "https://e.org/{z}/{x}/{y}"
    assert "sesame" not in repr(provider)


def test_records_are_complete() -> None:
    for name, record in PROVIDERS.items():
        assert name == record.name
        assert record.attribution
        assert record.licence
        assert record.terms.startswith("https://") or name == "sample-market"
        assert record.url or record.capabilities or record.kind in ("files", "sample")
        if record.url:
            assert check_template(record.url) == record.url
        if "{key}" in record.url:
            assert record.key_variable
        assert (record.zoom_native or 0) <= record.zoom_maximum
        assert record.allows_storage == record.allows_ml


def test_retina_tiles_are_asked_for_where_the_address_has_a_place_for_it() -> None:
    def filled(**settings: Any) -> str:
        return tile_url(find_provider(imagery(retina=True, **settings)), TILE, "k")

    assert filled(url="https://e.org/{z}/{x}/{y}{r}.png").endswith("/91000@2x.png")
    assert filled(provider="mapbox-satellite").startswith(
        "https://api.mapbox.com/v4/mapbox.satellite/18/41000/91000@2x"
    )
    assert find_provider(imagery(retina=True, provider="google-static")).tile_size == 512
    for settings in ({"provider": "swisstopo-swissimage"}, {"url": FOREIGN}):
        with pytest.raises(ConfigError, match="no retina tiles"):
            filled(**settings)


def test_xyzservices_knows_more_addresses_but_no_terms() -> None:
    mapped = find_provider(imagery(provider="MapTiler.Satellite"))
    assert mapped.key_variable == "HOUSEVIS_IMAGERY_KEY"
    assert "{key}" in mapped.url
    assert "<insert" not in mapped.url
    assert not mapped.allows_storage
    assert find_provider(imagery(provider="USGS.USImagery", zoom=16)).name == "usgs-basemap"
    with pytest.raises(ConfigError, match="not in Web Mercator"):
        find_provider(imagery(provider="Esri.ArcticImagery"))


def test_a_record_of_ones_own_counts_with_a_reference_only() -> None:
    record = {"name": "city", "licence": "CC BY 4.0", "allows_storage": True, "allows_ml": True}
    settings = {"url": FOREIGN, "record": record | {"zoom_maximum": 19, "requests_per_second": 2.5}}
    provider = find_provider(imagery(**settings, zoom=19))
    assert (provider.name, provider.licence, provider.requests_per_second) == ("city", "CC BY 4.0", 2.5)
    with pytest.raises(RightsError, match="your own word"):
        check_rights(provider, None)
    assert check_rights(provider, "letter 5") == "letter 5"
    with pytest.raises(ConfigError, match="no zoom 20"):
        find_provider(imagery(**settings, zoom=20))
    assert "sesame" not in repr(provider)


def test_the_default_has_imagery_at_the_default_zoom() -> None:
    provider = find_provider(imagery())
    assert (provider.name, provider.region) == ("usgs-imagery", "United States")
    assert provider.zoom_maximum >= imagery().zoom


def test_a_layer_may_be_chosen_where_there_are_layers() -> None:
    assert find_provider(imagery(provider="geobasis-nrw-dop", layer="nw_vdop")).layer == "nw_vdop"
    with pytest.raises(ConfigError, match="no WMTS"):
        find_provider(imagery(provider="usgs-imagery", layer="x"))
