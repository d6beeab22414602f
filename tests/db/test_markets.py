"""One database, one market."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from db.markets import claim_market
from housevis.core.errors import DatabaseError


def test_a_database_belongs_to_one_configuration(engine: Engine) -> None:
    claim_market(engine, "king-county")
    claim_market(engine, "king-county")
    with pytest.raises(DatabaseError, match="holds the market 'king-county', not 'miami'"):
        claim_market(engine, "miami")
