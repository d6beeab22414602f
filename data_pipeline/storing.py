"""Answers into the archive and the manifest: first the pictures, then their rows.

A process that is killed between the two leaves pictures without rows, which
the next fetch takes up (:func:`data_pipeline.fetch.unsettled_tiles`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import mercantile

from data_pipeline.archive import TileArchive
from data_pipeline.download import Answer
from data_pipeline.pictures import picture_status
from data_pipeline.provider_records import Provider
from db.store import ManifestWriter

Row = dict[str, Any]


def store_answers(
    answers: Sequence[Answer],
    provider: Provider,
    archive: TileArchive,
    manifest: ManifestWriter,
    earlier: Mapping[mercantile.Tile, Row] | None = None,
) -> None:
    """Write answers: one transaction for the pictures, then one for the manifest.

    Args:
        answers: What became of the tiles.
        provider: Where they came from.
        archive: Takes the pictures.
        manifest: Takes the rows.
        earlier: The rows of tiles that were stored before and asked for
            again. Their pictures are only replaced by other pictures.
    """
    pictures = [(answer.tile, answer.data) for answer in answers if answer.data is not None]
    if pictures:
        if "format" not in archive.metadata:
            archive.describe(format=next(answer.format for answer in answers if answer.format))
        archive.write(pictures)
    now = datetime.now(UTC)
    rows = []
    for answer in answers:
        before = None if earlier is None else earlier.get(answer.tile)
        if before is None or answer.data is not None:
            rows.append(manifest_row(answer, provider, now))
        else:
            rows.append(_row_again(answer, before, now))
    manifest.save(rows)


def picture_at_hand(tile: mercantile.Tile, data: bytes) -> Answer | None:
    """What a picture comes to that nobody has to be asked for, None if it is no whole picture."""
    judged = picture_status(data)
    if judged is None:
        return None
    digest = hashlib.sha256(data).hexdigest()
    return Answer(tile, judged.status, judged.format, data, attempts=1, sha256=digest, size=len(data))


def manifest_row(answer: Answer, provider: Provider, now: datetime) -> Row:
    """The row of the manifest for an answer."""
    return {
        "zoom": answer.tile.z,
        "x": answer.tile.x,
        "y": answer.tile.y,
        "provider": provider.name,
        "status": answer.status,
        "http_status": answer.http_status,
        "attempts": answer.attempts,
        "bytes": answer.size,
        "sha256": answer.sha256,
        "fetched_at": now,
        "error": answer.error,
        "etag": answer.etag,
        "last_modified": answer.last_modified,
    }


def _row_again(answer: Answer, before: Row, now: datetime) -> Row:
    """The row of a tile that keeps its picture after it was asked for again."""
    if answer.status != "unchanged":
        why = answer.error or f"HTTP {answer.http_status}"
        return before | {"error": f"kept; when asked again: {answer.status} ({why})"}
    marks = {"etag": answer.etag, "last_modified": answer.last_modified}
    return before | {
        "http_status": answer.http_status,
        "attempts": answer.attempts,
        "fetched_at": now,
        "error": None,
        **{name: mark for name, mark in marks.items() if mark is not None},
    }
