"""Ticks of sensors on one instance. `Workspace` does with a tick what Dagster's daemon does."""

from __future__ import annotations

from typing import Any

import dagster as dg
from freshline.location import with_freshline


def tick_context(instance: dg.DagsterInstance, **options: Any) -> dg.SensorEvaluationContext:
    """Return the context in which a code server evaluates a sensor."""
    # With it, Dagster looks for partitions that were added at run time.
    reference = instance.get_ref() if instance.is_persistent else None
    return dg.build_sensor_context(instance=instance, instance_ref=reference, **options)


class Workspace:
    """Locations that share an instance and a clock, with what the daemon does in a tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.locations: dict[str, dg.RepositoryDefinition] = {}
        self.cursors: dict[str, str | None] = {}
        self.run_keys: set[str | None] = set()
        self._definitions: dict[str, dg.Definitions] = {}

    def load(self, location: str, *assets: Any, **options: Any) -> None:
        """Load or reload a location, as a new process that remembers nothing."""
        definitions = with_freshline(
            dg.Definitions(assets=list(assets), **options), location=location
        )
        self._definitions[location] = definitions
        self.locations[location] = definitions.get_repository_def()

    def tick(self, location: str) -> dg.SensorResult:
        """Evaluate the location's sensor and record its events; start no run."""
        result = self.evaluate(location)
        self.record(location, result)
        return result

    def evaluate(self, location: str) -> dg.SensorResult:
        """Evaluate the location's sensor. Dagster judges the requests, as it does in a tick."""
        repository = self.locations[location]
        with tick_context(
            self.instance,
            repository_def=repository,
            cursor=self.cursors.get(location),
            sensor_name="update_sensor",
        ) as context:
            sensor = repository.get_sensor_def("update_sensor")
            result = sensor(context)
            assert isinstance(result, dg.SensorResult)
            requests = sensor.resolve_run_requests(
                result.run_requests or [], context, sensor.asset_selection, []
            )
        return result._replace(run_requests=requests)

    def record(self, location: str, result: dg.SensorResult) -> None:
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursors[location] = result.cursor

    def run(self, location: str, result: dg.SensorResult) -> None:
        """Run what a tick requested, once for each run key."""
        for request in result.run_requests or ():
            if request.run_key in self.run_keys:
                continue
            self.run_keys.add(request.run_key)
            # The tags say which partitions, if any.
            part = self.job(location).get_subset(
                asset_selection=set(request.asset_selection or ()),
                asset_check_selection=set(request.asset_check_keys or ()),
            )
            part.execute_in_process(
                instance=self.instance,
                run_config=request.run_config,
                raise_on_error=False,
                tags=request.tags,
            )

    def job(self, location: str) -> dg.JobDefinition:
        return self._definitions[location].resolve_implicit_global_asset_job_def()

    def requested(self, location: str) -> list[str]:
        """Tick, run what is requested, and return that."""
        result = self.tick(location)
        self.run(location, result)
        return [
            key.to_user_string()
            for request in result.run_requests or ()
            for key in request.asset_selection or ()
        ]
