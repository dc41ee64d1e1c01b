"""The broker: where launched runs wait, and where workers and runs say that they are there.

A Valkey or Redis server. Celery keeps its queues in it. Beside them there is one word of each
worker, and one of each run that is being made. Ages are measured by the broker's own clock: the
clocks of the hosts may differ.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from freshline.errors import BrokerAddressError

__all__ = ["SILENT_AFTER", "WORD_EVERY", "Broker", "BrokerError", "Worker", "serving"]

WORD_EVERY: Final = 3.0
"""Seconds between two words of a worker, and of a run."""
SILENT_AFTER: Final = 15.0
"""Seconds without a word after which a worker or a run counts as gone: five words were missed."""

_WORKERS: Final = "freshline:workers"
_SAID: Final = ("location", "places", "image", "leaving")
_RUNS: Final = "freshline:runs"
_CLAIMS: Final = "freshline:claim:"
_MADE: Final = "freshline:made"
_MADE_KEPT: Final = 10_000
_FORGOTTEN_AFTER: Final = 7 * 86_400.0
_ANSWER_SECONDS: Final = 3.0

BrokerError = redis.RedisError
"""Raised when the broker does not answer, or refuses."""


@dataclass(frozen=True)
class Worker:
    """What a worker said last."""

    name: str
    location: str
    places: int
    """How many runs it can make at a time."""
    image: str | None = None
    """The container image that it runs in; None: it runs in none, or was not told."""
    leaving: bool = False
    """Whether it takes no more runs."""
    age: float = 0.0
    """How many seconds ago it said so."""


class Broker:
    """The words at the broker of `url` (``redis://:PASSWORD@HOST:PORT/0``).

    Raises `BrokerAddressError`. Every method raises `BrokerError`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_timeout=_ANSWER_SECONDS,
                socket_connect_timeout=_ANSWER_SECONDS,
                # Once more for a connection that the broker has closed. Nobody waits for a broker
                # that cannot be reached: the client's own ten attempts take half a minute, in
                # which the daemon sees to no run and a worker takes none.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except ValueError as error:  # its text has no password
            raise BrokerAddressError(
                f"the address of the broker cannot be read ({error}); write it as in "
                "redis://:PASSWORD@HOST:6379/0, in FRESHLINE_BROKER_URL or where dagster.yaml has "
                "the broker of the run_launcher."
            ) from None

    def say_worker(self, worker: Worker) -> None:
        """Say that `worker` is there, in place of what it said before."""
        word = {
            "location": worker.location,
            "places": worker.places,
            "image": worker.image,
            "leaving": worker.leaving,
            "at": self._now(),
        }
        self._redis.hset(_WORKERS, worker.name, json.dumps(word))

    def workers(self) -> list[Worker]:
        """Return all workers of the last week, the one that was heard of last first."""
        now, workers = self._now(), []
        for name, text in self._redis.hgetall(_WORKERS).items():
            word = json.loads(text)
            age = max(0.0, now - word["at"])
            if age > _FORGOTTEN_AFTER:
                self._redis.hdel(_WORKERS, name)
                continue
            # A worker of a newer version may say more.
            known = {one: word[one] for one in _SAID if one in word}
            workers.append(Worker(name.decode(), **known, age=age))
        return sorted(workers, key=lambda worker: worker.age)

    def claim_run(self, run_id: str, process: str) -> bool:
        """Take the run for `process`, a name that no other has. Return whether nobody else has it.

        The broker may hand a run out twice, when a connection is lost at the wrong moment.
        """
        taken_by = self._redis.set(
            f"{_CLAIMS}{run_id}", process, nx=True, get=True, ex=int(_FORGOTTEN_AFTER)
        )
        return taken_by is None or taken_by.decode() == process

    def say_run(self, run_id: str, worker: str) -> None:
        """Say that `worker` is making the run."""
        self._redis.hset(_RUNS, run_id, json.dumps({"worker": worker, "at": self._now()}))

    def end_run(self, run_id: str) -> None:
        """Say nothing of the run any more."""
        self._redis.hdel(_RUNS, run_id)

    def run(self, run_id: str) -> tuple[str, float] | None:
        """Return which worker makes the run, and how many seconds ago it said so."""
        text = self._redis.hget(_RUNS, run_id)
        if text is None:
            return None
        word = json.loads(text)
        return word["worker"], max(0.0, self._now() - word["at"])

    def running(self, workers: Sequence[Worker]) -> set[str]:
        """Return the ids of the runs that `workers` are making."""
        names, now, running = {worker.name for worker in workers}, self._now(), set()
        for run_id, text in self._redis.hgetall(_RUNS).items():
            word = json.loads(text)
            if now - word["at"] > _FORGOTTEN_AFTER:  # it was killed
                self._redis.hdel(_RUNS, run_id)
            elif word["worker"] in names and now - word["at"] <= SILENT_AFTER:
                running.add(run_id.decode())
        return running

    def say_made(self, key: str) -> None:
        """Say that the asset `key` has a new version."""
        self._redis.xadd(_MADE, {"key": key}, maxlen=_MADE_KEPT)

    def made_after(self, place: str | None) -> tuple[str, list[str]]:
        """Return the assets with new versions after `place`, and the place to go on from.

        None is the end: what was said before is not returned.
        """
        if place is None:
            newest = self._redis.xrevrange(_MADE, count=1)
            return (newest[0][0].decode() if newest else "0"), []
        found = self._redis.xrange(_MADE, min=f"({place}")
        keys = [entry[b"key"].decode() for _, entry in found]
        return (found[-1][0].decode() if found else place), keys

    def _now(self) -> float:
        seconds, microseconds = self._redis.time()
        return float(seconds) + float(microseconds) / 1e6


def serving(workers: Sequence[Worker], location: str) -> list[Worker]:
    """Return those of `workers` that take runs of `location` now."""
    return [
        worker
        for worker in workers
        if worker.location == location and worker.age <= SILENT_AFTER and not worker.leaving
    ]
