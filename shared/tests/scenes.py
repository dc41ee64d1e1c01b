"""Scenes: locations on a real instance, where things happen at chosen times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import dagster as dg
from dagster._core.test_utils import freeze_time
from freshline.contract import Contract, contract_materialization, read_contracts
from freshline.contract.publication import heartbeat
from freshline.location import with_freshline
from freshline.model import AssetPlan, Plan, TargetPlan
from freshline.sensor.outlook import Observer

__all__ = ["Scene", "clock", "time_of"]


def clock(text: str) -> float:
    """Return a time as in "10 00:10", on a day of March 2026, UTC."""
    day, time = text.split()
    return datetime.fromisoformat(f"2026-03-{day} {time}").replace(tzinfo=UTC).timestamp()


@contextmanager
def time_of(clock: Callable[[], float]) -> Iterator[None]:
    """Let it be what `clock` says, in epoch seconds, for Dagster and for freshline."""
    with (
        freeze_time(clock()),  # for its log manager: it takes the time of events from the patches
        patch("dagster._time._mockable_get_current_timestamp", clock),
        patch(
            "dagster._time._mockable_get_current_datetime",
            lambda: datetime.fromtimestamp(clock(), UTC),
        ),
        patch("time.time", clock),
    ):
        yield


class Scene:
    """Locations that share an instance and a clock. Time stands still while something happens."""

    def __init__(self, instance: dg.DagsterInstance, start: str) -> None:
        self.instance = instance
        self.now = clock(start)
        self._observer = Observer()

    def at(self, text: str) -> Scene:
        """Go to a time, as in "10 00:10"."""
        assert clock(text) >= self.now
        self.now = clock(text)
        return self

    def after(self, minutes: float) -> Scene:
        self.now += minutes * 60.0
        return self

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it be `now` for Dagster and for freshline."""
        with time_of(lambda: self.now):
            yield

    # --- what happens ---------------------------------------------------------------------

    def publish(self, location: str, *assets: Any, **options: Any) -> None:
        """Publish the contract of a location that has these assets, as its sensor would."""
        definitions = with_freshline(
            dg.Definitions(assets=list(assets), **options), location=location
        )
        contract = Contract.from_definitions(
            definitions.get_repository_def(), location, tick_seconds=5.0
        )
        with self.stopped():
            self.instance.report_runless_asset_event(contract_materialization(contract))

    def run(self, *assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
        """Run the assets for real, whether that fails or not."""
        with self.stopped():
            return dg.materialize(
                list(assets), instance=self.instance, raise_on_error=False, **options
            )

    def run_days(self, asset: Any, *days: str, **options: Any) -> None:
        """Run one partition of March after the other."""
        for day in days:
            self.run(asset, partition_key=f"2026-03-{day}", **options)

    def report(self, key: str, **options: Any) -> None:
        """Report that an asset was made, outside every run."""
        self._report(dg.AssetMaterialization(key, **options))

    def observe(self, key: str, version: str | None = None, **options: Any) -> None:
        """Report that an asset was looked at; `version` is its data version."""
        if version is not None:
            options["tags"] = {"dagster/data_version": version}
        self._report(dg.AssetObservation(key, **options))

    def _report(self, event: Any) -> None:
        with self.stopped():
            self.instance.report_runless_asset_event(event)

    # --- what the plan says ---------------------------------------------------------------

    def plan(self) -> Plan:
        """Return the plan, after a sign of life of every location."""
        for published in read_contracts(self.instance).values():
            self._report(heartbeat(published))
        with self.stopped():
            plan = self._observer.look(self.instance, self.now).plan
            first_look = Observer().look(self.instance, self.now).plan
        assert first_look.id == plan.id
        return plan

    def target(self, key: str) -> TargetPlan:
        """Return the plan of a target, with its lag of now: that of a kept plan is older."""
        plan = self.plan()
        target = plan.targets[key]
        lag = None if target.lag is None else target.lag + self.now - plan.now
        return replace(target, lag=lag)

    def asset(self, key: str) -> AssetPlan:
        return self.plan().assets[key]

    def requested(self) -> dict[str, tuple[str, ...]]:
        """Return the assets that are requested now, with the keys of their partitions."""
        return {key: asset.parts for key, asset in self.plan().assets.items() if asset.request}

    def data_time(self, key: str) -> float | None:
        """Return the data time of an asset, as far as the history knows it."""
        self.plan()
        with self.stopped():
            version = self._observer.look(self.instance, self.now).snapshot.state(key).version
        return version.data_time if version else None

    def hours_old(self, key: str) -> float | None:
        """Return the age of an asset's data in hours; None: it is not known."""
        data_time = self.data_time(key)
        return None if data_time is None else (self.now - data_time) / 3600.0
