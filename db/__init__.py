"""The database of housevis: tables, sessions and bulk reading and writing.

It knows houses, sales, tiles, pictures and estimates, and no model. Import
from the modules: :mod:`db.session` opens, :mod:`db.store` reads and writes,
:mod:`db.models` holds the tables.
"""
