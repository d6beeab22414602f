"""One database holds the listings of one market: whose it is."""

from __future__ import annotations

from sqlalchemy import Engine, insert, select

from db.models import Market
from db.session import read_transaction, write_transaction
from housevis.core.errors import DatabaseError


def claim_market(engine: Engine, name: str) -> None:
    """Make sure that the database belongs to a configuration; a new one is given to it.

    Args:
        engine: The database.
        name: Name of the configuration.

    Raises:
        DatabaseError: It holds the market of another configuration.
    """
    with read_transaction(engine) as connection:
        owner = connection.scalar(select(Market.name))
    if owner is None:
        with write_transaction(engine) as connection:
            owner = connection.scalar(select(Market.name))
            if owner is None:
                connection.execute(insert(Market).values(name=name))
                owner = name
    if owner != name:
        raise DatabaseError(
            f"this database holds the market {owner!r}, not {name!r}",
            where="database",
            remedy="Give every configuration a database of its own, or the same name.",
        )
