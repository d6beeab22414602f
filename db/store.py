"""Bulk reading and writing of the tables, as pandas frames.

Each writing function is one transaction: it happens as a whole or not at all.
The functions live with what they are about; here they are together.
"""

from __future__ import annotations

from db.image_store import forget_images, read_images, save_images
from db.listings_store import (
    SALE_COLUMNS,
    SALE_FLAGS,
    read_houses,
    read_rejects,
    read_sale_flags,
    read_sales,
    removed_houses,
    replace_listings,
)
from db.run_store import (
    count_rows,
    finish_step,
    finished_step,
    last_step,
    read_estimates,
    save_estimates,
)
from db.tile_store import (
    ManifestWriter,
    forget_tiles,
    manifest_digest,
    open_manifest,
    read_tile_rows,
    read_tile_statuses,
    save_tiles,
)

__all__ = [
    "SALE_COLUMNS",
    "SALE_FLAGS",
    "ManifestWriter",
    "count_rows",
    "finish_step",
    "finished_step",
    "forget_images",
    "forget_tiles",
    "last_step",
    "manifest_digest",
    "open_manifest",
    "read_estimates",
    "read_houses",
    "read_images",
    "read_rejects",
    "read_sale_flags",
    "read_sales",
    "read_tile_rows",
    "read_tile_statuses",
    "removed_houses",
    "replace_listings",
    "save_estimates",
    "save_images",
    "save_tiles",
]
