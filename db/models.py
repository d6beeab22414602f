"""The tables, as SQLAlchemy 2 typed classes.

Coordinates are EPSG:4326 degrees, areas square metres, prices the currency of
the configuration, times UTC.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The root of all tables."""


class House(Base):
    """One house: a place that sold at least once."""

    __tablename__ = "houses"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    latitude: Mapped[float] = mapped_column(Double)
    longitude: Mapped[float] = mapped_column(Double)
    address: Mapped[str | None] = mapped_column(Text)
    unit: Mapped[str | None] = mapped_column(Text)
    """Number of the flat, where one is given."""
    listing_url: Mapped[str | None] = mapped_column(Text)


class Sale(Base):
    """One sale of a house; `id` is ``"<house_id>@<YYYY-MM-DD>"``."""

    __tablename__ = "sales"
    __table_args__ = (Index("ix_sales_house_id", "house_id"), Index("ix_sales_sale_date", "sale_date"))

    id: Mapped[str] = mapped_column(String(220), primary_key=True)
    house_id: Mapped[str] = mapped_column(ForeignKey("houses.id", ondelete="CASCADE"))
    sale_date: Mapped[date] = mapped_column(Date)
    price: Mapped[float] = mapped_column(Double)
    bedrooms: Mapped[float | None] = mapped_column(Double)
    bathrooms: Mapped[float | None] = mapped_column(Double)
    area_m2: Mapped[float | None] = mapped_column(Double)
    attributes: Mapped[dict[str, float | None]] = mapped_column(JSON)
    """Further numeric attributes by their column name in the listings."""
    source_row: Mapped[int] = mapped_column(Integer)
    """Line of the listings file, the header being line 1."""
    previous_sale_id: Mapped[str | None] = mapped_column(String(220))
    """The sale of the same house before this one."""
    outlier_reasons: Mapped[list[str]] = mapped_column(JSON, server_default=text("'[]'"))
    """Codes of why this sale stands out, three at most; empty where it does not."""
    outlier_rules: Mapped[str | None] = mapped_column(String(40))
    """Version of the rules that judged it."""


class Reject(Base):
    """One row of the listings that could not be kept, and why."""

    __tablename__ = "rejects"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    source: Mapped[str] = mapped_column(Text)
    row: Mapped[int] = mapped_column(Integer)
    house_id: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(String(60), index=True)
    detail: Mapped[str] = mapped_column(Text)


class Tile(Base):
    """The manifest of fetched tiles: what became of each request."""

    __tablename__ = "tiles"

    zoom: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    x: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    y: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    provider: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(10))
    """``ok``, ``blank`` (one flat colour), ``missing`` (none at the provider) or ``failed``."""
    http_status: Mapped[int | None] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    fetched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    error: Mapped[str | None] = mapped_column(Text)
    etag: Mapped[str | None] = mapped_column(Text)
    last_modified: Mapped[str | None] = mapped_column(Text)
    """Both as the server sent them, to ask later whether the tile changed."""


class Image(Base):
    """One house-centred picture, cut from the tiles of the archive."""

    __tablename__ = "images"

    house_id: Mapped[str] = mapped_column(ForeignKey("houses.id", ondelete="CASCADE"), primary_key=True)
    framing: Mapped[str] = mapped_column(String(20), primary_key=True)
    zoom: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    image_key: Mapped[str | None] = mapped_column(String(64), index=True)
    """SHA-256 over shape and pixels; None where there is no imagery at all."""
    west: Mapped[float | None] = mapped_column(Double)
    south: Mapped[float | None] = mapped_column(Double)
    east: Mapped[float | None] = mapped_column(Double)
    north: Mapped[float | None] = mapped_column(Double)
    metres_per_pixel: Mapped[float | None] = mapped_column(Double)
    missing_tiles: Mapped[int | None] = mapped_column(Integer)
    native_metres_per_pixel: Mapped[float | None] = mapped_column(Double)
    """Ground sample distance of the imagery itself, coarser where tiles are enlarged."""
    provider: Mapped[str | None] = mapped_column(String(200))


class Step(Base):
    """One finished step of the pipeline and the fingerprint of its input."""

    __tablename__ = "steps"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(200))
    finished_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)


class Estimate(Base):
    """One estimate of a sale by one run."""

    __tablename__ = "estimates"
    __table_args__ = (Index("ix_estimates_sale_id", "sale_id"),)

    run_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    sale_id: Mapped[str] = mapped_column(ForeignKey("sales.id", ondelete="CASCADE"), primary_key=True)
    model_id: Mapped[str] = mapped_column(String(100))
    estimate: Mapped[float] = mapped_column(Double)
    low: Mapped[float | None] = mapped_column(Double)
    high: Mapped[float | None] = mapped_column(Double)


class Removal(Base):
    """A house that was taken out for good: ingest keeps it out from then on."""

    __tablename__ = "removals"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    house_id: Mapped[str] = mapped_column(String(200), index=True)
    removed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    receipt: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What went and what remains; None until the removal is finished."""


class Market(Base):
    """The one market that this database holds: the name of its configuration."""

    __tablename__ = "markets"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
