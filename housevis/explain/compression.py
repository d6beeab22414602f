"""A grad-weight database made small: k-means centres with averaged weights (C section 3.3)."""

from __future__ import annotations

from dataclasses import replace

import faiss
import numpy as np

from housevis.core.errors import ModelError
from housevis.explain.database import GradWeightDatabase
from housevis.explain.gradweights import keep_top_channels
from housevis.explain.transfer import lending_rows, summed_weights

CENTRES = 50
"""C's number of centres."""


def compressed(database: GradWeightDatabase, centres: int = CENTRES, *, seed: int = 1) -> GradWeightDatabase:
    """The database of the k-means centres of its embeddings.

    Each centre lends the mean weights of its houses; a channel that a house
    did not store counts as 0, and the highest channels of the mean are kept.
    The id of a centre is that of the house nearest to it.

    Args:
        database: The grad-weights; houses without any are left out.
        centres: How many, at most as many as there are houses with weights.
        seed: Of k-means.

    Returns:
        A database of the same kind; `pairs` holds the valid pairs of all houses of a centre.

    Raises:
        ModelError: No centre is asked for, or no house has weights.
    """
    rows = lending_rows(database)
    if centres < 1 or len(rows) == 0:
        raise ModelError(
            f"{len(rows)} houses with weights cannot be compressed to {centres} centres",
            remedy="Ask for at least one centre, of a database with weights.",
        )
    points = np.ascontiguousarray(database.embeddings[rows])
    search = faiss.Kmeans(
        points.shape[1],
        min(centres, len(rows)),
        niter=25,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=len(rows),
    )
    search.train(points)
    _, member = search.index.search(points, 1)
    used, group, sizes = np.unique(member[:, 0], return_inverse=True, return_counts=True)
    means = summed_weights(database, rows, group, len(used)) / sizes[:, None]
    channels, weights, scales = keep_top_channels(means, database.top_channels)
    places = np.ascontiguousarray(np.asarray(search.centroids)[used], dtype=np.float32)
    nearest = faiss.IndexFlatL2(points.shape[1])
    nearest.add(points)
    named = rows[nearest.search(places, 1)[1][:, 0]]
    valid = np.bincount(group, weights=database.pairs[rows], minlength=len(used))
    return GradWeightDatabase(
        house_ids=tuple(database.house_ids[row] for row in named),
        embeddings=places,
        channels=channels,
        weights=weights,
        scales=scales,
        pairs=np.minimum(valid, np.iinfo(np.int32).max).astype(np.int32),
        about=replace(database.about, compressed_from=len(rows)),
    )
