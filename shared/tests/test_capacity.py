"""What the instance lets run at once, with Dagster's own queue on Postgres and on SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from event_logs import graph, plain, run
from freshline.history import History
from freshline.model import Capacity, Graph
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
