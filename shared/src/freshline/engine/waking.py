"""Lets Dagster's daemon run a sensor as soon as what its location waits for is there.

By itself, the daemon looks at sensors every five seconds. A chain over several locations has such a
wait between any two of them. Runs tell the broker what they have made, and freshline's sensors keep
in their cursors what their locations wait for. All other sensors tick as before.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from dagster._core.remote_representation.external import RemoteSensor
from dagster._core.scheduler.instigation import InstigatorState
from dagster._daemon import sensor as daemon

from freshline.engine.broker import Broker, BrokerError
from freshline.sensor.cursor import Cursor

__all__ = ["News", "wake_sensors"]

_LOOK_EVERY: Final = 1
"""Seconds between two looks of the daemon at all sensors."""
_NOT_ASKED: Final = 10.0
"""Seconds for which a broker that did not answer is not asked."""
_NEWS_FOR: Final = 30.0
"""Seconds after which what was made is no news: a tick at the usual time has seen it."""

_logger = logging.getLogger(__name__)


def wake_sensors(broker: Broker) -> None:
    """Have the sensors of this process's daemon woken from now on. Call it once."""
    try:
        _look_more_often(News(broker))
    except AttributeError:
        _logger.warning("This daemon's Dagster is another one: sensors wait for its interval")


def _look_more_often(news: News) -> None:
    """Let the daemon look every second, and take a sensor that nothing wakes at its old pace."""
    usual_interval, usually_early = daemon.MIN_INTERVAL_LOOP_TIME, daemon.is_under_min_interval

    def is_early(
        state: InstigatorState,
        remote_sensor: RemoteSensor,
        minimum_allowed_min_interval: int | None = None,
    ) -> bool:
        elapsed = daemon.get_elapsed(state)
        if elapsed is None:
            return False
        data: Any = state.instigator_data
        if news.wakes(data.cursor, time.time() - elapsed):
            return False
        return elapsed < usual_interval or usually_early(
            state, remote_sensor, minimum_allowed_min_interval
        )

    daemon.is_under_min_interval = is_early
    daemon.MIN_INTERVAL_LOOP_TIME = _LOOK_EVERY


class News:
    """What runs have made just now."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._place: str | None = None
        self._noticed: dict[str, float] = {}
        """When a new version was noticed (epoch seconds of this host), by asset."""
        self._ask_at = 0.0

    def wakes(self, cursor: str | None, last_tick: float) -> bool:
        """Return whether what a sensor with this cursor waits for was made since its last tick.

        `last_tick` is in epoch seconds.
        """
        self._ask()
        news = {key for key, at in self._noticed.items() if at > last_tick}
        return bool(news and news.intersection(Cursor.read(cursor).awaits))

    def _ask(self) -> None:
        """Ask the broker, once for all sensors that are looked at together."""
        now = time.time()
        if now < self._ask_at:
            return
        self._ask_at = now + _LOOK_EVERY / 2
        try:
            self._place, made = self._broker.made_after(self._place)
        except BrokerError:
            self._ask_at = now + _NOT_ASKED
            return
        kept = {key: at for key, at in self._noticed.items() if now - at < _NEWS_FOR}
        self._noticed = kept | dict.fromkeys(made, now)
