"""The usual names of columns, in several countries; capitals, accents and separators do not count."""

from __future__ import annotations

import unicodedata

LATITUDE_COLUMN = "geometry_latitude"
LONGITUDE_COLUMN = "geometry_longitude"
"""Columns that the points of a geometry file become."""

USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "id": (
        *(
            "id",
            "houseid",
            "propertyid",
            "parcelid",
            "parcelno",
            "parcelnumber",
            "parcelnum",
            "parcel",
            "pin",
        ),
        *("apn", "parid", "bbl", "uprn", "folio", "folionumber", "accountnumber", "propertykey", "propid"),
        *("listingid", "mlsnumber", "mlsnum", "mlsid", "mls", "gispin", "idparcelle", "kennung", "objektid"),
        *("immobilienid", "refcatastral", "referenciacatastral", "referencia", "objectid", "idmutation"),
    ),
    "date": (
        *("date", "saledate", "solddate", "datesold", "dateofsale", "salesdate", "closingdate", "closedate"),
        *(
            "closeddate",
            "dateoftransfer",
            "transferdate",
            "transactiondate",
            "contractdate",
            "settlementdate",
        ),
        *("soldon", "deeddate", "documentdate", "recordingdate", "datum", "verkaufsdatum", "kaufdatum"),
        *("vertragsdatum", "datemutation", "datevente", "datedevente", "verkoopdatum", "transactiedatum"),
        *("fechaventa", "fechadeventa", "fecha", "datavendita", "datadivendita", "data", "salgsdato"),
    ),
    "year": ("saleyear", "yearsold", "yrsold", "soldyear", "yearofsale", "verkaufsjahr", "anneevente"),
    "month": ("salemonth", "monthsold", "mosold", "soldmonth", "monthofsale", "verkaufsmonat", "moisvente"),
    "day": ("saleday", "daysold", "soldday"),
    "price": (
        *("price", "saleprice", "soldprice", "salesprice", "saleprc", "saleamount", "saleamt", "pricepaid"),
        *("closeprice", "closingprice", "closedprice", "sellingprice", "sellprice", "transactionprice"),
        *("purchaseprice", "contractprice", "soldfor", "soldamount", "consideration", "considerationamount"),
        *("saleconsideration", "kaufpreis", "verkaufspreis", "preis", "valeurfonciere", "prixdevente"),
        *("prixvente", "prix", "verkoopprijs", "transactieprijs", "koopsom", "koopprijs", "prijs"),
        *("precioventa", "preciodeventa", "precio", "prezzodivendita", "prezzo", "salgspris", "pris"),
        *("totalprice", "amount"),
    ),
    "latitude": (
        *("latitude", "lat", "lattitude", "latitud", "latitudine", "breitengrad", "geobreite", "breite"),
        *("geolat", "gpslat", "gpslatitude", "ylat", "latwgs84", "wgs84lat", "decimallatitude", "latdd"),
        *("laty", "propertylatitude"),
        "geometrylatitude",
    ),
    "longitude": (
        *("longitude", "long", "lon", "lng", "longtitude", "longitud", "longitudine", "langengrad"),
        *("laengengrad", "geolange", "geolaenge", "lange", "laenge", "geolon", "geolong", "geolng", "gpslon"),
        *("gpslong", "gpslongitude", "xlong", "xlon", "lonwgs84", "wgs84lon", "decimallongitude", "londd"),
        *("longdd", "lonx", "longx", "propertylongitude"),
        "geometrylongitude",
    ),
    "bedrooms": (
        *("bedrooms", "beds", "bedroom", "bed", "bedroom2", "nbedrooms", "nbeds", "numbedrooms", "numbeds"),
        *(
            "noofbedrooms",
            "numberofbedrooms",
            "bedroomcount",
            "bedroomstotal",
            "bedstotal",
            "totalbedrooms",
            "bedrms",
        ),
        *("bdrms", "br", "bedroomabvgr", "schlafzimmer", "anzahlschlafzimmer", "chambres", "nbchambres"),
        *("nombredechambres", "slaapkamers", "aantalslaapkamers", "dormitorios", "habitaciones"),
        *("camere", "cameredaletto", "sovrum", "quartos"),
    ),
    "bathrooms": (
        *("bathrooms", "baths", "bathroom", "bath", "nbathrooms", "nbaths", "numbathrooms", "numbaths"),
        *("noofbathrooms", "numberofbathrooms", "bathroomcount", "bathroomstotal", "totalbathrooms"),
        *("bathstotal", "totalbaths", "fullbath", "badezimmer", "anzahlbadezimmer", "bader", "baeder"),
        *("sallesdebain", "sallesdebains", "nbsallesdebain", "badkamers", "aantalbadkamers", "banos"),
        *("bagni", "badrum", "banheiros"),
    ),
    "address": (
        *("address", "streetaddress", "fulladdress", "siteaddress", "propertyaddress", "situsaddress"),
        *("addressline1", "adresse", "anschrift", "adres", "direccion", "domicilio", "indirizzo", "endereco"),
        *("adress", "addr", "fulladdr", "siteaddr", "propaddr", "propertyaddr", "streetaddr"),
    ),
    "unit": (
        "unit",
        "unitnumber",
        "unitno",
        "unitnum",
        "apartment",
        "apartmentnumber",
        "aptno",
        "apt",
        "flat",
    ),
    "listing_url": ("listingurl", "url", "link", "permalink", "weblink", "listinglink", "propertyurl"),
}
"""Our name of a column -> its usual names, the likeliest first."""

AREA_NAMES: dict[str, tuple[str, ...]] = {
    "m2": (
        *("aream2", "livingaream2", "areasqm", "livingareasqm", "floorareasqm", "sizesqm", "sqm", "m2"),
        *("area", "livingarea", "buildingarea", "floorarea", "totalfloorarea", "internalarea", "floorsize"),
        *(
            "grosslivingarea",
            "wohnflache",
            "wohnflaeche",
            "wohnflachem2",
            "wohnflaechem2",
            "surfacehabitable",
        ),
        *("surfacereellebati", "surfacem2", "surface", "woonoppervlakte", "gebruiksoppervlakte"),
        *("oppervlakte", "superficieconstruida", "superficieutil", "superficiem2", "superficie"),
        *("metriquadri", "boarea", "boligareal", "flache", "flaeche"),
    ),
    "ft2": (
        *("sqftliving", "areaft2", "areasqft", "livingareasqft", "livingsqft", "sqft", "squarefeet"),
        *("squarefootage", "totalsqft", "buildingsqft", "bldgsqft", "bldgsf", "finishedsqft", "sizesqft"),
        *("livingarea", "totlvgarea", "grlivarea", "grosslivingarea", "finishedarea", "heatedarea"),
        *("floorarea", "buildingarea", "area"),
    ),
}
"""Unit -> usual names of the living area, the likeliest first."""

PLACE_NAMES: tuple[str, ...] = (
    *(
        "point",
        "geopoint",
        "geopoint2d",
        "thegeom",
        "geom",
        "geometry",
        "wkt",
        "geolocation",
        "geocodedcolumn",
    ),
    *("georeference", "latlong", "latlon", "latlng", "coordinates", "coordinate", "coords", "location1"),
    *("koordinaten", "coordonnees", "coordenadas", "coordinate", "location"),
)
"""Columns that hold latitude and longitude in one: ``POINT (-122.3 47.6)``, ``(47.6, -122.3)``."""

PROJECTED_NAMES: dict[str, tuple[str, ...]] = {
    "latitude": ("y", "northing", "northings", "ycoord", "ycoordinate", "coordy", "hochwert", "rdy", "utmy"),
    "longitude": ("x", "easting", "eastings", "xcoord", "xcoordinate", "coordx", "rechtswert", "rdx", "utmx"),
}
"""Names of coordinates in metres or feet: looked at first where ``listings.crs`` is projected, else last."""


def simplified(name: str) -> str:
    """A column's name without capitals, accents and separators: ``Sale_Price`` is ``saleprice``."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    return "".join(
        letter for letter in plain.lower() if letter.isalnum() and not unicodedata.combining(letter)
    )
