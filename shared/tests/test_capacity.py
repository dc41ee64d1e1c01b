"""What the instance lets run at once, with Dagster's own queue on Postgres and on SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import StepMaterializationData
from dagster._core.execution.plan.objects import StepSuccessData
from event_logs import graph, plain, run
from freshline.history import History
from freshline.history.places import free_since
from freshline.model import Capacity, Graph
from freshline.names import PLANNED_TAG
from run_queue import enqueue, launch, queueing_instance

Home = Callable[..., dg.DagsterInstance]
ONE_A_RUN = {"granularity": "run", "default_limit": 1}


@pytest.fixture(params=["postgres", "sqlite"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Return how to make an empty instance with a queue, given `concurrency` of dagster.yaml."""
    if request.param == "postgres":
        instance = request.getfixturevalue("postgres_instance")
        instance.wipe()
        settings = yaml.safe_load((Path(instance.root_directory) / "dagster.yaml").read_text())
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with ExitStack() as stack:
        yield lambda **concurrency: stack.enter_context(queueing_instance(tmp_path, **concurrency))


def pooled(lineage: Graph, **pools: tuple[str, ...]) -> Graph:
    """Return `lineage`, with pools for some assets."""
    given = {key: replace(lineage.assets[key], pools=names) for key, names in pools.items()}
    return replace(lineage, assets={**lineage.assets, **given})


def capacity(instance: dg.DagsterInstance, lineage: Graph) -> Capacity:
    return History(instance).read(lineage, time.time()).capacity


class TestLimits:
    @pytest.mark.parametrize(("setting", "slots"), [(3, 3), (0, 0), (-1, None)])
    def test_slots_are_what_the_queue_lets_run_at_once(
        self, home: Home, setting: int, slots: int | None
    ) -> None:
        instance = home(runs={"max_concurrent_runs": setting})

        assert Capacity(slots) == capacity(instance, graph(root=()))

    def test_there_is_no_limit_without_a_queue(self, memory: dg.DagsterInstance) -> None:
        assert Capacity() == capacity(memory, pooled(graph(root=()), root=("source",)))

    def test_a_pool_has_its_own_limit_or_else_the_default(self, home: Home) -> None:
        instance = home(pools={"granularity": "run", "default_limit": 2})
        instance.event_log_storage.set_concurrency_slots("warehouse", 4)
        instance.event_log_storage.set_concurrency_slots("elsewhere", 1)
        lineage = pooled(graph(root=(), mart=()), root=("source",), mart=("source", "warehouse"))

        assert {"source": 2, "warehouse": 4} == capacity(instance, lineage).pools

    def test_a_pool_without_a_limit_has_any_number_of_places(self, home: Home) -> None:
        assert {} == capacity(home(), pooled(graph(root=()), root=("source",))).pools

    def test_a_default_that_dagster_has_written_down_may_change(self, home: Home) -> None:
        """Dagster writes the default limit of a pool into its database at the first run."""
        instance = home(pools=ONE_A_RUN)
        source = pooled_asset("root", "source")
        enqueue(instance, source)
        launch(instance)
        lineage = pooled(graph(root=()), root=("source",))

        assert {"source": 1} == capacity(instance, lineage).pools
        assert {"source": 3} == capacity(
            home(pools={**ONE_A_RUN, "default_limit": 3}), lineage
        ).pools

    def test_limits_of_pools_are_read_once_a_minute(self, home: Home) -> None:
        instance = home(pools=ONE_A_RUN)
        history, lineage = History(instance), pooled(graph(root=()), root=("source",))
        now = time.time()

        def limit(seconds: float) -> Mapping[str, int]:
            return history.read(lineage, now + seconds).capacity.pools

        assert {"source": 1} == limit(0)
        instance.event_log_storage.set_concurrency_slots("source", 5)
        assert {"source": 1} == limit(55)
        assert {"source": 5} == limit(60)


def pooled_asset(key: str, pool: str) -> Any:
    @dg.asset(name=key, pool=pool)
    def made() -> None: ...

    return made


def take(
    instance: dg.DagsterInstance,
    asset: dg.AssetsDefinition,
    *,
    requested: float,
    launched: float,
    started: float,
    ended: float,
    tried: float | None = None,
    ahead: float = 0.0,
) -> None:
    """Write a run that makes `asset` in one step, at the given times.

    `tried` is when it could not be launched, and went back into the queue. The clock of the
    location is `ahead` (seconds) of the daemon's.
    """
    planned = datetime.fromtimestamp(requested + ahead, UTC).isoformat()
    run = enqueue(instance, asset, tags={PLANNED_TAG: planned})

    def event(
        kind: dg.DagsterEventType, at: float, step: str | None = None, data: Any = None
    ) -> None:
        happened = dg.DagsterEvent(
            kind.value, run.job_name, step_key=step, event_specific_data=data
        )
        instance.report_dagster_event(happened, run.run_id, timestamp=at)

    made = StepMaterializationData(dg.AssetMaterialization(asset.key))
    step = asset.op.name
    if tried is not None:
        event(dg.DagsterEventType.RUN_STARTING, tried)
        event(dg.DagsterEventType.RUN_ENQUEUED, tried)
    event(dg.DagsterEventType.RUN_STARTING, launched)
    started, ended = started + ahead, ended + ahead
    event(dg.DagsterEventType.RUN_START, launched + 1 + ahead)
    event(dg.DagsterEventType.STEP_START, started, step)
    event(dg.DagsterEventType.ASSET_MATERIALIZATION, ended, step, made)
    done = StepSuccessData(0.0)  # type: ignore[no-untyped-call]  # by Dagster
    event(dg.DagsterEventType.STEP_SUCCESS, ended, step, done)
    event(dg.DagsterEventType.RUN_SUCCESS, ended)


class TestWaits:
    """A first run ends 60 s after a second one was requested, which is launched 2 s later."""

    def durations(
        self,
        instance: dg.DagsterInstance,
        pools: tuple[str, str] = ("a", "b"),
        late: float = 62,
        tried: float | None = None,
        ahead: float = 0.0,
    ) -> tuple[float, float]:
        """Return how long the second run was in the queue, and starting, as far as learnt."""
        first, second = (
            pooled_asset(key, pool) for key, pool in zip(("x", "y"), pools, strict=True)
        )
        lineage = pooled(graph(x=(), y=()), x=(pools[0],), y=(pools[1],))
        now = round(time.time() - 5, 3)
        take(
            instance,
            first,
            requested=now,
            launched=now + 1,
            started=now + 3,
            ended=now + 60,
            ahead=ahead,
        )
        take(
            instance,
            second,
            requested=now,
            launched=now + late,
            started=now + max(late + 3, 63),
            ended=now + 100,
            tried=None if tried is None else now + tried,
            ahead=ahead,
        )
        state = History(instance).read(lineage, now + 200).state("y")
        queue, start = state.durations.queue, state.durations.start
        assert queue is not None
        assert start is not None
        return round(queue.mean, 3), round(start.mean, 3)

    def test_what_was_waited_for_a_slot_is_not_learnt(self, home: Home) -> None:
        assert (2, 3) == self.durations(home(runs={"max_concurrent_runs": 1}))

    def test_a_wait_counts_if_there_was_a_slot(self, home: Home) -> None:
        assert (62, 3) == self.durations(home(runs={"max_concurrent_runs": 2}))

    def test_what_was_waited_for_a_place_in_a_pool_is_not_learnt(self, home: Home) -> None:
        assert (2, 3) == self.durations(home(pools=ONE_A_RUN), ("a", "a"))

    def test_a_wait_counts_if_another_pool_was_full(self, home: Home) -> None:
        assert (62, 3) == self.durations(home(pools=ONE_A_RUN))

    def test_a_step_that_waits_for_its_place_has_not_begun_to_start(self, home: Home) -> None:
        instance = home(pools={"granularity": "op", "default_limit": 1})

        assert (10, 3) == self.durations(instance, ("a", "a"), late=10)

    def test_a_start_counts_if_the_place_of_the_step_was_free(self, home: Home) -> None:
        instance = home(pools={"granularity": "op", "default_limit": 1})

        assert (10, 53) == self.durations(instance, late=10)

    def test_what_was_waited_for_somebody_to_take_the_run_is_not_learnt(self, home: Home) -> None:
        assert (0, 3) == self.durations(home(), tried=1)

    @pytest.mark.parametrize("ahead", [-90.0, -30.0, 60.0])
    def test_another_clock_than_the_daemons_makes_no_run_longer(
        self, home: Home, ahead: float
    ) -> None:
        assert 62 + 3 == sum(self.durations(home(), ahead=ahead))

    def test_a_wait_for_a_slot_is_not_learnt_by_another_clock_either(self, home: Home) -> None:
        instance = home(runs={"max_concurrent_runs": 1})

        # The test creates the runs five seconds after they were planned: the difference between
        # the clocks is known as exactly as that.
        assert 2 + 3 == pytest.approx(sum(self.durations(instance, ahead=3600)), abs=5)

    def test_a_run_that_was_cancelled_in_the_queue_had_no_slot(self, home: Home) -> None:
        instance = home(runs={"max_concurrent_runs": 1})
        instance.report_run_canceled(enqueue(instance, plain("x")))

        assert (2, 3) == self.durations(instance)


class TestPlaces:
    def test_a_place_is_free_since_the_last_of_all_was_not_taken(self) -> None:
        stays = [(0, 10), (2, 30), (12, 20), (25, 40)]

        assert 30 == free_since(stays, 2, 35)
        assert 20 == free_since(stays, 2, 24)
        assert 10 == free_since(stays, 2, 11)
        assert -inf == free_since(stays, 3, 35)

    @pytest.mark.parametrize("end", [5, 7, inf], ids=["just left", "left later", "not left"])
    def test_no_place_is_free_while_all_are_taken(self, end: float) -> None:
        assert 5 == free_since([(0, end)], 1, 5)

    def test_a_place_that_is_left_and_taken_at_the_same_time_is_one_place(self) -> None:
        assert 20 == free_since([(0, 10), (10, 20)], 1, 30)
        assert -inf == free_since([(0, 10), (10, 20)], 2, 30)

    def test_there_is_always_a_place_without_a_limit(self) -> None:
        assert -inf == free_since([(0, inf)], None, 5)


class TestOthers:
    def test_a_run_of_the_graph_has_left_the_queue_when_it_is_launched(self, home: Home) -> None:
        instance = home(runs={"max_concurrent_runs": 1})
        first, second = (enqueue(instance, plain(key)) for key in ("root", "mart"))
        history, lineage = History(instance), graph(root=(), mart=())
        launch(instance)
        (starting,) = instance.get_records_for_run(
            first.run_id, of_type=dg.DagsterEventType.RUN_STARTING
        ).records
        snapshot = history.read(lineage, time.time())
        pending = {key: snapshot.state(key).pending for key in lineage.assets}

        assert {
            "root": (first.run_id, starting.timestamp),
            "mart": (second.run_id, None),
        } == {key: (it.run_id, it.launched_at) for key, it in pending.items() if it}
        assert Capacity(1) == snapshot.capacity

    def test_runs_of_nothing_in_the_graph_take_slots_until_they_have_ended(
        self, home: Home
    ) -> None:
        instance = home(runs={"max_concurrent_runs": 2})
        enqueue(instance, plain("root"))
        for name in ("report", "export"):
            enqueue(instance, plain(name), tags={"dagster/priority": "1"})
        history, lineage = History(instance), graph(root=())
        queued = history.read(lineage, time.time()).capacity.others
        launched = launch(instance)
        taken = history.read(lineage, time.time()).capacity.others
        for other in launched:
            instance.report_run_canceled(other)
        ended = history.read(lineage, time.time()).capacity.others

        assert (0, 2, 0) == (queued, taken, ended)

    def test_a_run_that_has_made_all_of_the_graph_keeps_its_slot_until_it_ends(
        self, memory: dg.DagsterInstance
    ) -> None:
        history, lineage = History(memory), graph(root=())
        seen: list[tuple[bool, int]] = []

        def look() -> None:
            snapshot = history.read(lineage, time.time())
            seen.append((snapshot.state("root").pending is not None, snapshot.capacity.others))

        run(memory, plain("root", body=look), plain("report", "root", body=look))

        assert [(True, 0), (False, 1)] == seen
