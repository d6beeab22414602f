"""Fetching as shards: workers ask and return answers, whoever called them stores.

A shard holds tiles, the provider's record and a share of the rate and of the
connections. It holds no key: each worker reads that from its own environment,
as the caller does. Only an address with a key written into it (not as
``{key}``) travels with the shard, over Dask's connections, which stay on
loopback or speak TLS.

A worker keeps what it found out about a host's limit from one shard to the
next. A shard whose worker dies is asked for again as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import mercantile

from data_pipeline.asking import Asking
from data_pipeline.download import Answer, RetryRules, Validators
from data_pipeline.limiter import HostLimiter
from data_pipeline.provider_records import Provider
from housevis.core.errors import ImageryError

_TILES_PER_SHARD = 256
_TILES_AT_LEAST = 16
_SECONDS_PER_SHARD = 10.0

Known = Mapping[mercantile.Tile, Validators]


@dataclass(frozen=True)
class FetchShard:
    """Tiles for one worker; all of it can be pickled.

    Attributes:
        tiles: The tiles, all of one zoom.
        known: What is known of those that are asked for again.
        provider: Where they come from.
        connections: The worker's share, for each host.
        rate: The worker's share of the requests per second, for each host.
        rules: Timeouts and retries.
    """

    tiles: Sequence[mercantile.Tile]
    known: Known
    provider: Provider
    connections: int
    rate: float | None
    rules: RetryRules


@dataclass(frozen=True)
class ShardAnswers:
    """What became of a shard: the answers, the requests sent, and why it ended early, if it did."""

    answers: list[Answer] = field(default_factory=list)
    requests: int = 0
    problem: ImageryError | None = None


def shards_of(
    tiles: Sequence[mercantile.Tile],
    known: Known,
    provider: Provider,
    connections: int,
    rate: float | None,
    rules: RetryRules,
    workers: int,
) -> Iterator[FetchShard]:
    """Cut tiles into shards, small enough that an answer is stored within seconds of its arrival."""
    share = None if rate is None else rate / workers
    size = _TILES_PER_SHARD
    if share is not None:
        size = max(_TILES_AT_LEAST, min(size, int(share * _SECONDS_PER_SHARD)))
    for start in range(0, len(tiles), size):
        part = tuple(tiles[start : start + size])
        yield FetchShard(
            tiles=part,
            known={tile: known[tile] for tile in part if tile in known},
            provider=provider,
            connections=max(1, connections // workers),
            rate=share,
            rules=rules,
        )


def fetch_shard(shard: FetchShard) -> ShardAnswers:
    """Ask for the tiles of a shard; the same answers as on one machine.

    Returns:
        The answers; where the server was given up, with the error.

    Raises:
        ConfigError: An access key is needed and not set in the worker's environment.
    """
    limiters = _limiters.setdefault((shard.provider.name, shard.rate), {})
    asking = Asking(shard.provider, shard.connections, shard.rate, shard.rules, limiters)
    answers: list[Answer] = []
    problem = None
    try:
        for batch in asking.answers(shard.tiles, shard.known):
            answers.extend(batch)
    except ImageryError as given_up:
        problem = given_up
    return ShardAnswers(answers, asking.health.requests, problem)


_limiters: dict[tuple[str, float | None], dict[str, HostLimiter]] = {}
"""What this process knows of the hosts' limits."""
