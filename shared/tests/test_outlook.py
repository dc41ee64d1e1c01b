"""Between two changes, the outlook of a tick is that of the last one; every change is noticed."""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg
import pytest
from event_logs import plain, queue, run
from freshline.contract import Contract, contract_materialization, read_contracts
from freshline.contract.pauses import pause_event
from freshline.contract.publication import heartbeat
from freshline.location import with_freshline
from freshline.model import Pause, Plan
from freshline.policy import max_lag
from freshline.sensor.outlook import Observer

KEYS = dg.DynamicPartitionsDefinition(name="shops")


@dg.asset(metadata=max_lag(600))
def root() -> None:
    pass


@dg.asset(deps=["root"], metadata=max_lag(700))
def mart() -> None:
    pass


@dg.asset(partitions_def=KEYS, metadata=max_lag(900))
def by_shop() -> None:
    pass


def publish(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> None:
    definitions = with_freshline(dg.Definitions(assets=list(assets)), location="here")
    contract = Contract.from_definitions(definitions.get_repository_def(), "here", tick_seconds=5.0)
    instance.report_runless_asset_event(contract_materialization(contract))


def settle(observer: Observer, instance: dg.DagsterInstance) -> Plan:
    """Look until all that has happened is known: runs are looked at twice."""
    for _ in range(3):
        found = observer.look(instance, time.time())
    return found.plan


@pytest.fixture
def made(instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """An instance on which all assets of a location were just made."""
    instance.add_dynamic_partitions("shops", ["one"])
    publish(instance, root, mart, by_shop)
    run(instance, root, mart)
    run(instance, by_shop, partition_key="one")
    return instance


class TestWithoutNews:
    @pytest.fixture
    def instance(self, postgres: dg.DagsterInstance) -> dg.DagsterInstance:
        return postgres

    def test_a_plan_is_kept(self, made: dg.DagsterInstance) -> None:
        observer = Observer()
        plan = settle(observer, made)

        assert observer.look(made, time.time()).plan is plan

    def test_a_plan_is_made_anew_when_it_ends(self, made: dg.DagsterInstance) -> None:
        observer = Observer()
        plan = settle(observer, made)

        assert observer.look(made, plan.until).plan is not plan

    def test_a_heartbeat_keeps_the_plan(self, made: dg.DagsterInstance) -> None:
        observer = Observer()
        plan = settle(observer, made)
        made.report_runless_asset_event(heartbeat(read_contracts(made)["here"]))
        outlook = observer.look(made, time.time())

        assert outlook.plan is plan
        assert {"here": read_contracts(made)["here"].published_at} == outlook.snapshot.seen

    def test_a_location_falls_silent_and_is_back(self, made: dg.DagsterInstance) -> None:
        observer = Observer()
        plan = settle(observer, made)
        silent = observer.look(made, time.time() + 200.0).plan
        made.report_runless_asset_event(heartbeat(read_contracts(made)["here"]))
        back = observer.look(made, time.time()).plan

        assert ["fresh", "blocked", "fresh"] == [
            it.targets["mart"].status.value for it in (plan, silent, back)
        ]


def heartbeat_at(instance: dg.DagsterInstance, tick: float) -> None:
    """Send a heartbeat that says how far apart the ticks of the location really are."""
    event = heartbeat(read_contracts(instance)["here"], tick)
    instance.report_runless_asset_event(event)


CHANGES: dict[str, Callable[[dg.DagsterInstance], object]] = {
    "a run": lambda instance: run(instance, root),
    "a run that fails": lambda instance: run(instance, plain("mart", body=lambda: 1 / 0)),
    "a run is queued": lambda instance: queue(instance, root),
    "a report": lambda instance: instance.report_runless_asset_event(
        dg.AssetMaterialization("root")
    ),
    "a wipe": lambda instance: instance.wipe_assets([dg.AssetKey("root")]),
    "a contract": lambda instance: publish(instance, root, mart),
    "a pause": lambda instance: instance.report_runless_asset_event(
        pause_event("here", Pause(time.time() + 1000.0, "maintenance"))
    ),
    "slower ticks": lambda instance: heartbeat_at(instance, 20.0),
    "a partition": lambda instance: instance.add_dynamic_partitions("shops", ["two"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(made: dg.DagsterInstance, change: str) -> None:
    observer = Observer()
    before = settle(observer, made)
    CHANGES[change](made)
    after = settle(observer, made)

    assert before.id != after.id
    assert Observer().look(made, time.time()).plan.id == after.id


def test_another_limit_of_a_pool_is_noticed_within_a_minute(made: dg.DagsterInstance) -> None:
    @dg.asset(pool="warehouse", metadata=max_lag(600))
    def pooled() -> None:
        pass

    publish(made, pooled)
    made.event_log_storage.set_concurrency_slots("warehouse", 2)
    observer = Observer()
    before = settle(observer, made)
    made.event_log_storage.set_concurrency_slots("warehouse", 3)
    after = observer.look(made, time.time() + 61.0)

    assert before.id != after.plan.id
    assert {"warehouse": 3} == after.snapshot.capacity.pools


def test_a_deleted_run_is_noticed(made: dg.DagsterInstance) -> None:
    waiting = queue(made, root)
    observer = Observer()
    before = settle(observer, made)
    made.delete_run(waiting.run_id)
    after = settle(observer, made)

    assert before.id != after.id
