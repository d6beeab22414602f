"""Which columns of the sales hold any value at all."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sqlalchemy import Engine, func, select

from db.models import House, Sale
from db.session import read_transaction

_AT_ONCE = 1000


def typical_sale(engine: Engine) -> pd.DataFrame:
    """One row with the columns of a sale frame, and of each a value that some sale has.

    A value is missing only where no sale has one. Sales are read one after
    the other, and only until every attribute has turned up.

    Returns:
        A frame of one row, or of none where there are no sales.
    """
    columns = {
        "latitude": House.latitude,
        "longitude": House.longitude,
        "sale_date": Sale.sale_date,
        "price": Sale.price,
        "bedrooms": Sale.bedrooms,
        "bathrooms": Sale.bathrooms,
        "area_m2": Sale.area_m2,
    }
    known = select(*(func.max(column) for column in columns.values()))
    known = known.select_from(Sale).join(House, House.id == Sale.house_id)
    extra: dict[str, Any] = {}
    with read_transaction(engine) as connection:
        values = dict(zip(columns, connection.execute(known).one(), strict=True))
        if values["price"] is None:
            return pd.DataFrame(columns=list(columns))
        rows = connection.execution_options(yield_per=_AT_ONCE).scalars(select(Sale.attributes))
        for attributes in rows:
            extra |= {name: value for name, value in attributes.items() if extra.get(name) is None}
            if all(value is not None for value in extra.values()):
                break
        rows.close()
    frame = pd.DataFrame([{**values, **extra}])
    frame["sale_date"] = pd.to_datetime(frame["sale_date"])
    numbers = [name for name in frame.columns if name != "sale_date"]
    return frame.astype(dict.fromkeys(numbers, "float64"))
