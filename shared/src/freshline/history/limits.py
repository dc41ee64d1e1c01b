"""Limits: how many runs the instance lets run at once, and how many in each pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dagster import DagsterInstance

__all__ = ["Limits", "LimitsReader"]

_READ_EVERY: Final = 60.0  # seconds between two reads of what people may change in Dagster's UI


@dataclass(frozen=True, slots=True)
class Limits:
    """What the instance's settings allow to be under way at once."""

    slots: int | None = None
    """Runs; None: any number."""
    pools: Mapping[str, int] = field(default_factory=dict)
    """Places in each pool that the graph names; a pool that is missing here has any number."""
    by_step: bool = False
    """Whether a step takes a place in a pool as long as it runs, and not a whole run."""
    tried_again_within: float = 0.0
    """Seconds within which Dagster tries to launch a run again that it could not launch."""


_ATTEMPT: Final = 30.0
"""Seconds that an attempt to launch a run may take, besides the pause before it."""


class LimitsReader:
    """Reads the limits, those of pools from the database once a minute."""

    def __init__(self) -> None:
        self._limits = Limits()
        self._pools: frozenset[str] = frozenset()
        self._read_at = -inf

    def read(self, instance: DagsterInstance, pools: frozenset[str], now: float) -> Limits:
        """Return the limits, of `pools` among others, at `now` (UTC, epoch seconds).

        Raises what the storage raises.
        """
        if self._pools != pools or now - self._read_at >= _READ_EVERY:
            self._limits, self._pools, self._read_at = _limits_of(instance, pools), pools, now
        return self._limits

    def differ(self, instance: DagsterInstance, now: float) -> bool:
        """Return whether the limits are others at `now` than those that were read last."""
        known = self._limits
        return self.read(instance, self._pools, now) != known


def _limits_of(instance: DagsterInstance, pools: frozenset[str]) -> Limits:
    settings = instance.get_concurrency_config()
    queue = settings.run_queue_config
    slots = None if queue is None or queue.max_concurrent_runs < 0 else queue.max_concurrent_runs
    granularity = settings.pool_config.pool_granularity
    by_step = granularity is None or granularity.value != "run"
    if queue is None and not by_step:
        return Limits()  # only the queue would keep a run out of a pool
    again = 0.0 if queue is None else 2 * queue.user_code_failure_retry_delay + _ATTEMPT
    storage = instance.event_log_storage
    own: dict[str, int] = {}
    if pools and storage.supports_global_concurrency_limits:
        own = {it.name: it.limit for it in storage.get_pool_limits() if not it.from_default}
    default = settings.pool_config.default_pool_limit
    limits = {pool: own.get(pool, default) for pool in sorted(pools)}
    known = {pool: limit for pool, limit in limits.items() if limit is not None}
    return Limits(slots, known, by_step, again)
