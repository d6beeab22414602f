"""The first tables.

Revision ID: 0001
Revises: none
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables of version 0.1."""
    op.create_table(
        "houses",
        sa.Column("id", sa.String(200), primary_key=True),
        sa.Column("latitude", sa.Double(), nullable=False),
        sa.Column("longitude", sa.Double(), nullable=False),
        sa.Column("address", sa.Text()),
        sa.Column("listing_url", sa.Text()),
    )
    op.create_table(
        "sales",
        sa.Column("id", sa.String(220), primary_key=True),
        sa.Column("house_id", sa.String(200), sa.ForeignKey("houses.id", ondelete="CASCADE"), nullable=False),
        sa.Column("sale_date", sa.Date(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("bedrooms", sa.Double()),
        sa.Column("bathrooms", sa.Double()),
        sa.Column("area_m2", sa.Double()),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("source_row", sa.Integer(), nullable=False),
    )
    op.create_index("ix_sales_house_id", "sales", ["house_id"])
    op.create_index("ix_sales_sale_date", "sales", ["sale_date"])
    op.create_table(
        "rejects",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("house_id", sa.Text()),
        sa.Column("reason", sa.String(60), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )
    op.create_index("ix_rejects_reason", "rejects", ["reason"])
    op.create_table(
        "tiles",
        sa.Column("zoom", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("x", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("y", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("provider", sa.String(200), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("http_status", sa.Integer()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Text()),
    )
    op.create_table(
        "images",
        sa.Column(
            "house_id", sa.String(200), sa.ForeignKey("houses.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("framing", sa.String(20), primary_key=True),
        sa.Column("zoom", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("image_key", sa.String(64)),
        sa.Column("west", sa.Double()),
        sa.Column("south", sa.Double()),
        sa.Column("east", sa.Double()),
        sa.Column("north", sa.Double()),
        sa.Column("metres_per_pixel", sa.Double()),
        sa.Column("missing_tiles", sa.Integer()),
    )
    op.create_index("ix_images_image_key", "images", ["image_key"])
    op.create_table(
        "steps",
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("fingerprint", sa.String(200), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
    )
    op.create_table(
        "estimates",
        sa.Column("run_id", sa.String(100), primary_key=True),
        sa.Column("sale_id", sa.String(220), sa.ForeignKey("sales.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("model_id", sa.String(100), nullable=False),
        sa.Column("estimate", sa.Double(), nullable=False),
        sa.Column("low", sa.Double()),
        sa.Column("high", sa.Double()),
    )


def downgrade() -> None:
    """Drop all tables of version 0.1."""
    for table in ("estimates", "steps", "images", "tiles", "rejects", "sales", "houses"):
        op.drop_table(table)
