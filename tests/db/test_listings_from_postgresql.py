"""Listings out of a real PostgreSQL server: types, streaming, and a password that nothing shows."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import date

import pytest
import sqlalchemy
from pydantic import SecretStr

from data_pipeline.listings import read_listings
from housevis.core.config_sections import ListingsSection
from housevis.core.errors import ListingsError

SECRET = "correct-horse-battery"
ROWS = 25


@pytest.fixture
def table(postgresql_server: str) -> Iterator[str]:
    """A table of sales in the server, by its name."""
    name = f"sold_{uuid.uuid4().hex}"
    admin = sqlalchemy.create_engine(
        f"{postgresql_server.replace('postgresql', 'postgresql+psycopg')}/postgres",
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE {name} (parcel bigint, sold_on date, price numeric(12, 2), lat float8, lon float8,"
            " bedrooms int, seller text)"
        )
        connection.exec_driver_sql(
            f"INSERT INTO {name} SELECT n, date '2014-05-02' + n::int, 500000.50 + n, 47.5, 8.5,"
            f" CASE WHEN n %% 2 = 0 THEN 3 END, 'Biggin' FROM generate_series(1, {ROWS}) AS n"
        )
        yield name
        connection.exec_driver_sql(f"DROP TABLE {name}")
    admin.dispose()


def address(server: str) -> SecretStr:
    return SecretStr(server.replace("tester@", f"tester:{SECRET}@") + "/postgres")


def test_types_of_the_server_are_understood(postgresql_server: str, table: str) -> None:
    section = ListingsSection(
        query=f"SELECT * FROM {table} WHERE parcel::text LIKE '%' ORDER BY parcel",
        database=address(postgresql_server),
        columns={"id": "parcel", "date": "sold_on"},
    )
    listings = read_listings(section, today=date(2020, 1, 1), part_rows=10)
    assert (listings.rows, listings.reasons) == (ROWS, {})
    assert listings.sales["sale_id"][0] == "1@2014-05-03"
    assert listings.sales["price"].tolist() == [500_000.5 + number for number in range(1, ROWS + 1)]
    assert listings.sales["bedrooms"].isna().sum() == 13
    assert listings.mapping.people == ["seller"]


@pytest.mark.parametrize("query", ["SELECT * FROM nowhere", "DELETE FROM {table}", "SELECT 1/0"])
def test_a_query_that_fails_shows_no_password_and_changes_nothing(
    postgresql_server: str, table: str, query: str
) -> None:
    section = ListingsSection(query=query.format(table=table), database=address(postgresql_server))
    with pytest.raises(ListingsError, match=r"listings\.query") as caught:
        read_listings(section)
    assert SECRET not in str(caught.value)
    assert "tester:***@" in str(caught.value)
    whole = ListingsSection(
        query=f"SELECT * FROM {table}",
        database=address(postgresql_server),
        columns={"id": "parcel", "date": "sold_on"},
    )
    assert read_listings(whole, today=date(2020, 1, 1)).rows == ROWS
