"""The instance that a sensor asks at its ticks, opened once.

Dagster opens one for each tick. With dagster-postgres, that is five connections and a look at all
tables, which costs several times what a tick asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster import DagsterInstance, SensorEvaluationContext
from dagster._core.instance.ref import InstanceRef

from freshline.connections import kept_connections

__all__ = ["TickInstance"]


class TickInstance:
    """Opens the instance that a tick names, unless the tick before has named it too."""

    def __init__(self) -> None:
        self._opened: tuple[InstanceRef, DagsterInstance] | None = None

    @contextmanager
    def of(self, context: SensorEvaluationContext) -> Iterator[DagsterInstance]:
        """Yield the instance of a tick; it has no connections afterwards.

        Raises what the instance's storage raises.
        """
        instance = self._instance(context)
        with kept_connections(instance):
            yield instance

    def _instance(self, context: SensorEvaluationContext) -> DagsterInstance:
        named = context.instance_ref
        if named is None:  # a test's context has the instance itself
            return context.instance
        if self._opened is None or self._opened[0] != named:
            if self._opened is not None:
                self._opened[1].dispose()
            self._opened = named, DagsterInstance.from_ref(named)
        return self._opened[1]
