"""Which column is which of ours, what is never read, and what the preview says."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_pipeline.columns import map_columns
from data_pipeline.ingest_text import describe_preview, mapping_line
from data_pipeline.listings import read_listings
from data_pipeline.people import names_people
from data_pipeline.steps import report_of
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ConfigError, ListingsError


def mapped(header: str, **changes: object) -> dict[str, str]:
    section = ListingsSection(path=Path("sales.csv"), **changes)  # type: ignore[arg-type]
    return map_columns(section, header.split(";"), where="sales.csv").names


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            "Objekt-ID;Verkaufsdatum;Kaufpreis (EUR);Breitengrad;Längengrad;Wohnfläche;Schlafzimmer",
            {"id": "Objekt-ID", "date": "Verkaufsdatum", "area": "Wohnfläche", "longitude": "Längengrad"},
        ),
        (
            "id_mutation;date_mutation;valeur_fonciere;latitude;longitude;surface_reelle_bati",
            {"price": "valeur_fonciere", "area": "surface_reelle_bati", "id": "id_mutation"},
        ),
        (
            "ID;Verkoopdatum;Koopsom;Lat;Lng;Woonoppervlakte;Slaapkamers;Adres",
            {"price": "Koopsom", "bedrooms": "Slaapkamers", "address": "Adres"},
        ),
        (
            "referencia;fecha de venta;Precio;Latitud;Longitud;Superficie construida;Baños;Habitaciones",
            {"bathrooms": "Baños", "area": "Superficie construida", "date": "fecha de venta"},
        ),
        (
            "MLS#;CLOSE DATE;CLOSE PRICE;LATITUDE;LONGITUDE;BEDS;BATHS;URL",
            {"id": "MLS#", "listing_url": "URL", "bathrooms": "BATHS"},
        ),
        ("PID;YrSold;MoSold;SalePrice;lat;lon;GrLivArea", {"year": "YrSold", "month": "MoSold"}),
    ],
)
def test_usual_names_of_several_countries(header: str, expected: dict[str, str]) -> None:
    columns = {}
    if "Kaufpreis (EUR)" in header:
        columns["price"] = "Kaufpreis (EUR)"
    if header.startswith("PID"):
        columns["id"] = "PID"
    names = mapped(header, columns=columns)
    assert {ours: names.get(ours) for ours in expected} == expected


def test_what_is_configured_is_marked_and_never_guessed_twice() -> None:
    section = ListingsSection(path=Path("sales.csv"), columns={"price": "sold", "x": "E", "y": "N"})
    header = ["id", "date", "price", "sold", "E", "N", "lat"]
    mapping = map_columns(section, header, where="sales.csv")
    assert mapping.names["price"] == "sold"
    assert (mapping.names["longitude"], mapping.names["latitude"]) == ("E", "N")
    assert mapping.sources["price"] == "configured"
    assert mapping.sources["date"] == "guessed"
    assert mapping.unused == ["price", "lat"]
    assert "price = sold (configured)" in mapping_line(mapping.names, mapping.sources)


@pytest.mark.parametrize(
    "column",
    [
        *("SellerG", "owner_name", "OWNER1", "Buyer", "Listing Agent", "grantee", "Käufer", "propriétaire"),
        *("vendeur", "contact_name", "Name", "surname", "Makler", "koper", "e-mail of owner", "phone_number"),
    ],
)
def test_columns_that_name_people_are_recognised(column: str) -> None:
    assert names_people(column)


@pytest.mark.parametrize(
    "column",
    [
        *("Suburb", "owner_occupied", "ownership", "street_name", "price", "Propertycount", "buyer_count"),
        *("seller_type", "bathrooms", "sale_type", "wall_material", "copper_roof"),
    ],
)
def test_other_columns_are_not(column: str) -> None:
    assert not names_people(column)


@pytest.mark.parametrize(
    "changes",
    [
        {"extra_attributes": ["SellerG"]},
        {"columns": {"address": "SellerG"}},
        {"columns": {"id": "address, SellerG"}},
        {"arms_length": {"SellerG": ["Biggin"]}},
    ],
)
def test_names_of_people_are_refused_wherever_they_are_asked_for(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    path = tmp_path / "sales.csv"
    path.write_text("id,date,price,lat,lon,address,SellerG\na,2014-05-02,1,47.5,-122.1,x,Biggin\n")
    with pytest.raises(ConfigError, match="'SellerG' names owners, sellers, buyers or agents"):
        read_listings(ListingsSection(path=path, **changes))  # type: ignore[arg-type]


def test_addresses_without_coordinates_need_a_geocoder() -> None:
    with pytest.raises(
        ListingsError, match=r"addresses \('address'\) and no coordinates.*listings\.geocoder"
    ):
        mapped("id;date;price;address")
    names = mapped("id;date;price;address", geocoder="http://127.0.0.1:1")
    assert "latitude" not in names


def test_a_file_without_ids_is_offered_one() -> None:
    with pytest.raises(ListingsError, match=r'id = "lat, lon"'):
        mapped("date;price;lat;lon")
    with pytest.raises(ListingsError, match=r'id = "address"'):
        mapped("date;price;lat;lon;address")


def test_months_need_a_year() -> None:
    with pytest.raises(ListingsError, match=r"'month_sold' gives months.*listings\.sale_year"):
        mapped("id;price;lat;lon;month_sold")
    assert mapped("id;price;lat;lon;month_sold", sale_year=2016)["month"] == "month_sold"


def test_an_area_in_the_other_unit_is_said() -> None:
    section = ListingsSection(path=Path("sales.csv"), area_unit="m2")
    header = ["id", "date", "price", "lat", "lon", "sqft_living"]
    assert "area_unit = 'ft2'" in map_columns(section, header, where="sales.csv").warnings[0]


def test_the_preview_shows_columns_values_and_reasons(tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text(
        "id,Date,price,lat,lon,beds,SellerG,colour\n"
        "a,23/05/2014,500000,47.5,-122.1,3,Biggin,red\n"
        "b,24/05/2014,n/a,47.5,-122.1,3,Biggin,red\n"
    )
    listings = read_listings(ListingsSection(path=path, currency="EUR"))
    text = "\n".join(describe_preview(listings, report_of(listings)))
    assert "date       Date   guessed" in text
    assert "never read, as they name people: SellerG" in text
    assert "not read: colour" in text
    assert "2014-05-23" in text
    assert "2 rows = 1 sales of 1 houses that would be kept + 1 that would be rejected" in text
    assert "invalid_price: 1" in text
    assert "line 3: n/a" in text
    assert "prices: EUR" in text
    assert "%d/%m/%Y (guessed: 23/05/2014 can only be day first)" in text
    assert text.endswith("nothing was stored")
    assert "Biggin" not in text
