"""Columns that name people: they are never read.

Who owned, sold, bought or brokered a house is nobody's business here, and no
model may learn from it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from housevis.core.errors import ConfigError

_STEMS = (
    *("owner", "seller", "buyer", "agent", "agency", "vendor", "grantor", "grantee", "realtor", "broker"),
    *("landlord", "tenant", "occupant", "taxpayer", "mortgagor", "mortgagee", "purchaser", "proprietor"),
    *(
        "surname",
        "firstname",
        "lastname",
        "fullname",
        "middlename",
        "maidenname",
        "email",
        "phone",
        "telephone",
    ),
    *("eigentumer", "eigentuemer", "besitzer", "verkaufer", "verkaeufer", "kaufer", "kaeufer", "makler"),
    *("nachname", "vorname", "proprietaire", "vendeur", "acheteur", "acquereur", "notaire"),
    *("eigenaar", "verkoper", "koper", "makelaar", "propietari", "vendedor", "comprador", "inmobiliaria"),
    *("proprietario", "venditore", "acquirente", "saljare", "kopare", "maklare", "saelger", "koeber"),
)
_HARMLESS = {"ownership", "occupied", "occupancy", "count", "type", "code", "category", "ownertype"}
_OF_A_PERSON = {"first", "last", "full", "middle", "contact", "customer", "client", "person", "legal"}


def names_people(column: str) -> bool:
    """Whether a column's name says that it holds names of people: ``SellerG``, ``owner_name``, ``Käufer``."""
    words = _words(column)
    if not words or set(words) & _HARMLESS:
        return False
    if words == ["name"] or ("name" in words and set(words) & _OF_A_PERSON):
        return True
    joined = "".join(words)
    return any(word.startswith(_STEMS) for word in words) or joined.startswith(_STEMS)


def refuse_people(columns: Iterable[str], *, where: str) -> None:
    """Check that none of the columns that are to be read names people.

    Raises:
        ConfigError: One does.
    """
    for column in columns:
        if names_people(column):
            raise ConfigError(
                f"column {column!r} names owners, sellers, buyers or agents, and housevis never reads names",
                where=where,
                remedy="Take it out; if it holds no names, rename it in the file.",
            )


def _words(column: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", column.replace("ß", "ss"))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    return [word for word in re.split(r"[^a-z0-9]+", apart.lower()) if word]
