"""Removals, outlier flags, linked sales, and more of what is known about tiles and pictures.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ADDED = {
    "houses": ("unit",),
    "sales": ("previous_sale_id", "outlier_reasons", "outlier_rules"),
    "tiles": ("etag", "last_modified"),
    "images": ("native_metres_per_pixel", "provider"),
}


def upgrade() -> None:
    """Add the columns, and the tables of removals and of the market."""
    op.add_column("houses", sa.Column("unit", sa.Text()))
    op.add_column("sales", sa.Column("previous_sale_id", sa.String(220)))
    no_reasons = sa.text("'[]'")
    op.add_column("sales", sa.Column("outlier_reasons", sa.JSON(), nullable=False, server_default=no_reasons))
    op.add_column("sales", sa.Column("outlier_rules", sa.String(40)))
    op.add_column("tiles", sa.Column("etag", sa.Text()))
    op.add_column("tiles", sa.Column("last_modified", sa.Text()))
    op.add_column("images", sa.Column("native_metres_per_pixel", sa.Double()))
    op.add_column("images", sa.Column("provider", sa.String(200)))
    op.create_index("ix_estimates_sale_id", "estimates", ["sale_id"])
    op.create_table(
        "removals",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("house_id", sa.String(200), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("receipt", sa.JSON()),
    )
    op.create_index("ix_removals_house_id", "removals", ["house_id"])
    op.create_table("markets", sa.Column("name", sa.String(200), primary_key=True))


def downgrade() -> None:
    """Take them away again."""
    op.drop_table("markets")
    op.drop_table("removals")
    op.drop_index("ix_estimates_sale_id", "estimates")
    for table, names in _ADDED.items():
        for name in names:
            op.drop_column(table, name)
