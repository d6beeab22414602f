"""Addresses of databases: read with care, and shown without their secrets."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_HIDDEN = "***"


def read_address(address: str) -> URL | None:
    """An SQLAlchemy address; that of a PostgreSQL server names its driver, psycopg.

    Returns:
        None where it cannot be read. Then nothing of it may be shown: a
        password may stand anywhere in it.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        return None
    if "@" in (url.host or ""):
        return None
    if url.drivername in {"postgres", "postgresql"}:
        return url.set(drivername="postgresql+psycopg")
    return url


def shown_address(url: URL) -> str:
    """The address without its password and its options, which may hold secrets too."""
    return url.set(query={}).render_as_string(hide_password=True)


def told_cause(problem: Exception, url: URL) -> str:
    """The first line of what the driver says, without the secrets of the address."""
    lines = str(getattr(problem, "orig", None) or problem).strip().splitlines()
    text = lines[0] if lines else problem.__class__.__name__
    secrets = [str(url.password)] if url.password else []
    for value in url.query.values():
        secrets += [value] if isinstance(value, str) else list(value)
    spellings = {form for secret in secrets if secret for form in (secret, quote(secret), quote_plus(secret))}
    for secret in sorted(spellings, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text
