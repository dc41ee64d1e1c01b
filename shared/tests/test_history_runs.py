"""Runs under way and failures against real event logs."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from event_logs import (
    Reader,
    broken,
    events_of,
    fail,
    graph,
    of_ops,
    plain,
    queue,
    run,
    step_started,
    synced,
)
from freshline.history import History
from freshline.history.events import EventLog
from freshline.history.run_events import RunEvents
from freshline.model import AssetState, Graph, Pending
from freshline.names import PLANNED_TAG

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)
CLOSED = "ValueError: the source is closed"


class Watched:
    """Assets whose steps read a snapshot while they run."""

    def __init__(self, instance: dg.DagsterInstance, graph: Graph) -> None:
        self.instance = instance
        self.graph = graph
        self.history = History(instance)
        self.seen: dict[str, dict[str, AssetState]] = {}

    def look(self) -> dict[str, AssetState]:
        return dict(self.history.read(self.graph, time.time()).assets)

    def asset(self, key: str, *deps: str, meanwhile: Any = None) -> dg.AssetsDefinition:
        def body() -> None:
            if meanwhile is not None:
                meanwhile()
            self.seen[key] = self.look()

        return plain(key, *deps, body=body)

    def pending(self, step: str, key: str) -> Pending | None:
        """Return what was pending for `key` while `step` ran."""
        return self.seen[step].get(key, AssetState()).pending


class TestPending:
    def test_a_queued_root_promises_the_time_of_its_request(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        queued = queue(instance, plain("root"))
        created = instance.get_run_records()[0].create_timestamp.timestamp()

        assert Pending(queued.run_id, created, None, created) == reader["root"].pending

    def test_the_time_of_the_plan_counts_as_the_request_of_a_run(
        self, memory: dg.DagsterInstance
    ) -> None:
        """A run is created a second or so after its plan; that time is part of the path's."""
        reader = Reader(memory, graph(root=()))
        planned = round(time.time() - 5, 3)
        queue(memory, plain("root"), tags={PLANNED_TAG: _isoformat(planned)})
        pending = reader["root"].pending

        assert pending is not None
        assert planned == pending.requested_at

    def test_the_clock_of_the_location_counts_where_it_is_ahead_of_the_daemons(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        planned = round(time.time() + 30, 3)
        queue(memory, plain("root"), tags={PLANNED_TAG: _isoformat(planned)})
        pending = reader["root"].pending

        assert pending is not None
        assert (planned, planned) == (pending.requested_at, pending.data_time)

    @pytest.mark.parametrize(
        ("planned", "parent"),
        [("-3600", None), ("yesterday", None), ("-5", "run-that-failed")],
        ids=["an hour before", "no time at all", "the parent's tag"],
    )
    def test_the_creation_of_a_run_counts_as_its_request_when_its_tag_cannot_be_right(
        self, memory: dg.DagsterInstance, planned: str, parent: str | None
    ) -> None:
        reader = Reader(memory, graph(root=()))
        tag = planned if planned.isalpha() else _isoformat(time.time() + float(planned))
        family = {"parent_run_id": parent, "root_run_id": parent}
        queue(memory, plain("root"), tags={PLANNED_TAG: tag}, **family)
        created = memory.get_run_records()[0].create_timestamp.timestamp()
        pending = reader["root"].pending

        assert pending is not None
        assert created == pending.requested_at

    def test_a_queued_run_without_assets_is_read_once(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A thousand of them, from a backfill for example, would be a thousand queries a tick."""

        @dg.job
        def chores() -> None: ...

        memory.create_run_for_job(chores)
        asked: list[str] = []

        run_events = EventLog.run_events

        def watched(log: EventLog, run_id: str, *known: Any) -> RunEvents:
            asked.append(run_id)
            return run_events(log, run_id, *known)

        monkeypatch.setattr(EventLog, "run_events", watched)
        history, lineage = History(memory), graph(root=())
        for seconds in (0, 30, 60, 90):
            history.read(lineage, time.time() + seconds)

        assert 1 == len(asked)

    def test_a_queued_mart_promises_what_its_root_in_the_same_run_does(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        queue(memory, plain("root"), plain("mart", "root"))
        root, mart = reader["root"].pending, reader["mart"].pending

        assert root is not None
        assert root == mart

    def test_a_queued_mart_promises_the_data_time_of_its_inputs(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, synced("root", NOON))
        queue(instance, plain("mart", "root"))
        pending = reader["mart"].pending

        assert pending is not None
        assert (None, NOON.timestamp()) == (pending.started_at, pending.data_time)
        assert pending.launched_at is None

    def test_a_run_is_launched_before_its_step_starts(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=()))
        queued = queue(instance, plain("root"))
        kind = dg.DagsterEventType.RUN_STARTING
        instance.report_dagster_event(dg.DagsterEvent(kind.value, queued.job_name), queued.run_id)
        (launched,) = events_of(instance, queued.run_id, kind)
        pending = reader["root"].pending

        assert pending is not None
        assert (launched.timestamp, None) == (pending.launched_at, pending.started_at)

    def test_a_queued_mart_promises_nothing_when_its_input_has_no_version(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        queue(memory, plain("mart", "root"))
        pending = reader["mart"].pending

        assert pending is not None
        assert pending.data_time is None

    def test_a_root_in_progress_promises_the_start_of_its_step(
        self, instance: dg.DagsterInstance
    ) -> None:
        watched = Watched(instance, graph(root=()))
        result = run(instance, watched.asset("root"))
        started = step_started(instance, result.run_id, "root")
        pending = watched.pending("root", "root")

        assert pending is not None
        assert (result.run_id, started, started) == (
            pending.run_id,
            pending.started_at,
            pending.data_time,
        )
        assert watched.look()["root"].pending is None

    def test_a_mart_in_progress_promises_the_data_time_of_its_inputs_at_its_start(
        self, memory: dg.DagsterInstance
    ) -> None:
        watched = Watched(memory, graph(root=(), mart=("root",)))
        run(memory, synced("root", NOON))
        watched.look()
        sync = synced("root", LATER)
        run(memory, watched.asset("mart", "root", meanwhile=lambda: run(memory, sync)))
        pending = watched.pending("mart", "mart")

        assert pending is not None
        assert NOON.timestamp() == pending.data_time
        root = watched.seen["mart"]["root"].version
        assert root is not None
        assert LATER.timestamp() == root.data_time

    def test_an_asset_is_not_pending_when_its_run_has_delivered_it(
        self, instance: dg.DagsterInstance
    ) -> None:
        watched = Watched(instance, graph(root=(), mart=("root",)))
        run(instance, watched.asset("root"), watched.asset("mart", "root"))

        assert watched.pending("root", "mart") is not None
        assert watched.pending("mart", "root") is None
        assert watched.pending("mart", "mart") is not None

    def test_an_asset_is_not_pending_when_it_is_not_selected(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        queue(memory, plain("root"), plain("mart", "root"), asset_selection={dg.AssetKey("mart")})

        assert reader["root"].pending is None
        assert reader["mart"].pending is not None

    def test_an_asset_is_pending_when_it_is_in_the_plan_of_a_run_without_a_selection(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        queue(memory, plain("root"), plain("mart", "root"), asset_selection=None)

        assert reader["mart"].pending is not None

    def test_the_run_with_the_newest_data_counts_when_there_are_two(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        queue(memory, plain("root"))
        reader.read()
        newer = queue(memory, plain("root"))
        _created_later(memory, newer)
        pending = reader["root"].pending

        assert pending is not None
        assert newer.run_id == pending.run_id

    def test_an_asset_is_neither_pending_nor_failed_when_its_run_was_deleted(
        self, instance: dg.DagsterInstance
    ) -> None:
        history = History(instance)
        lineage = graph(root=())
        queued = queue(instance, plain("root"))
        before = history.read(lineage, time.time()).assets["root"]
        instance.delete_run(queued.run_id)
        after = history.read(lineage, time.time()).assets["root"]

        assert before.pending is not None
        assert (None, 0) == (after.pending, after.failures)

    def test_all_queued_runs_are_read_when_there_are_more_than_a_page(
        self, memory: dg.DagsterInstance
    ) -> None:
        keys = [f"a{number}" for number in range(40)]
        reader = Reader(memory, graph(**dict.fromkeys(keys, ())))
        for key in keys:
            queue(memory, plain(key))
        states = reader.read().assets

        assert keys == sorted(states, key=lambda key: int(key[1:]))
        assert all(state.pending for state in states.values())


class TestFailures:
    def test_failures_are_counted_until_the_first_success(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        first = run(instance, broken("root"))
        second = run(instance, broken("root"))
        state = reader["root"]

        assert (2, CLOSED, second.run_id) == (state.failures, state.error, state.last_run_id)
        assert _failed_at(instance, first.run_id) == state.failing_since
        assert _failed_at(instance, second.run_id) == state.failed_at

        run(instance, plain("root"))
        state = reader["root"]

        assert (0, None, None) == (state.failures, state.error, state.failing_since)

    def test_an_asset_does_not_fail_when_a_step_upstream_of_it_does(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        result = run(instance, broken("root"), plain("mart", "root"))

        assert 1 == reader["root"].failures
        assert (0, result.run_id) == (reader["mart"].failures, reader["mart"].last_run_id)

    def test_an_asset_counts_as_made_when_its_run_failed_later(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        run(memory, synced("root", NOON), broken("mart", "root"))

        assert NOON.timestamp() == reader.data_time("root")
        assert (0, 1) == (reader["root"].failures, reader["mart"].failures)

    def test_a_failed_step_counts_while_the_rest_of_the_run_goes_on(
        self, memory: dg.DagsterInstance
    ) -> None:
        watched = Watched(memory, graph(bad=()))
        # Steps of one run in order: `bad` fails, then the independent `later` looks.
        run(memory, broken("bad"), watched.asset("later"))
        state = watched.seen["later"]["bad"]

        assert (None, 1, CLOSED) == (state.pending, state.failures, state.error)

    def test_a_graph_asset_fails_when_any_of_its_ops_does(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(stars=()))
        run(instance, of_ops("stars", fail))
        run(instance, of_ops("stars", fail))
        state = reader["stars"]

        assert (2, CLOSED, None) == (state.failures, state.error, state.pending)

    def test_every_asset_fails_when_its_run_is_cancelled(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        queued = queue(instance, plain("root"), plain("mart", "root"))
        instance.report_run_canceled(queued)

        assert (1, "the run was cancelled") == (reader["root"].failures, reader["root"].error)
        assert 1 == reader["mart"].failures

    def test_every_asset_fails_when_its_run_cannot_be_launched(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        queued = queue(instance, plain("root"), plain("mart", "root"))
        instance.report_run_failed(queued, message="the code location is not reachable")
        states = reader.read().assets

        assert [(1, "the code location is not reachable")] * 2 == [
            (states[key].failures, states[key].error) for key in ("root", "mart")
        ]

    def test_a_failure_does_not_count_after_the_success_of_a_newer_run(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        slow = queue(memory, plain("root"))
        run(memory, plain("root"))
        reader.read()
        memory.report_run_failed(slow)

        assert 0 == reader["root"].failures

    def test_a_failure_counts_after_a_success_from_a_host_whose_clock_is_ahead(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = Reader(memory, graph(root=()))
        clock = time.time
        with monkeypatch.context() as ahead:
            ahead.setattr(time, "time", lambda: clock() + 3600)
            run(memory, plain("root"))
        run(memory, broken("root"))

        assert 1 == reader["root"].failures

    def test_failures_are_read_after_a_restart_when_many_runs_came_later(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.history.runs._FIRST_READ", 2)
        run(memory, broken("root"))
        for _ in range(4):
            run(memory, plain("other"))
        state = History(memory).read(graph(root=(), other=()), time.time()).assets["root"]

        assert (1, CLOSED) == (state.failures, state.error)

    def test_durations_are_read_after_a_restart_when_many_runs_came_later(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.history.runs._FIRST_READ", 2)
        run(memory, plain("root"))
        for _ in range(4):
            run(memory, plain("other"))
        state = History(memory).read(graph(root=(), other=()), time.time()).assets["root"]

        assert state.durations.execution is not None
        assert (1, 0) == (state.durations.execution.count, state.failures)


class TestRetries:
    def test_an_asset_is_pending_with_one_failure_when_a_retry_is_promised(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        failed = run(instance, broken("root"), tags={"dagster/will_retry": "true"})
        state = reader["root"]

        assert 1 == state.failures
        assert state.pending is not None
        assert failed.run_id == state.pending.run_id

    def test_a_promised_retry_is_pending_for_ten_minutes(self, memory: dg.DagsterInstance) -> None:
        history = History(memory)
        run(memory, broken("root"), tags={"dagster/will_retry": "true"})
        now = time.time()
        pending = [
            history.read(graph(root=()), now + seconds).assets["root"].pending is not None
            for seconds in (0, 590, 610)
        ]

        assert [True, True, False] == pending

    def test_a_run_and_its_retry_are_one_failure(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=()))
        failed = run(instance, broken("root"), tags={"dagster/will_retry": "true"})
        retry = queue(
            instance, plain("root"), parent_run_id=failed.run_id, root_run_id=failed.run_id
        )
        instance.add_run_tags(failed.run_id, {"dagster/auto_retry_run_id": retry.run_id})
        state = reader["root"]

        assert state.pending is not None
        assert (1, retry.run_id) == (state.failures, state.pending.run_id)

        instance.report_run_failed(retry, message="gone again")
        state = reader["root"]

        assert (1, None, "gone again") == (state.failures, state.pending, state.error)
        assert _failed_at(instance, failed.run_id) == state.failing_since


class TestStorageFailure:
    @pytest.mark.parametrize("broken_call", range(1, 8))
    def test_the_next_read_is_complete_after_the_storage_failed(
        self, memory: dg.DagsterInstance, broken_call: int
    ) -> None:
        lineage = graph(root=(), mart=("root",), bad=())
        history = History(memory)
        run(memory, synced("root", NOON))
        history.read(lineage, time.time())
        run(memory, synced("root", LATER), plain("mart", "root"))
        run(memory, broken("bad"))
        queue(memory, plain("mart", "root"))
        flaky: Any = Flaky(memory, broken_call)
        history.reconnect(flaky)
        with pytest.raises(ConnectionError, match="the database is restarting"):
            history.read(lineage, time.time())
        history.reconnect(memory)
        now = time.time()

        expected, actual = Reader(memory, lineage).read(now), history.read(lineage, now)
        assert {key: _comparable(state) for key, state in expected.assets.items()} == {
            key: _comparable(state) for key, state in actual.assets.items()
        }


class TestCost:
    def test_a_quiet_read_takes_the_same_few_queries_for_any_number_of_assets(
        self, memory: dg.DagsterInstance
    ) -> None:
        asked = []
        for count in (3, 300):
            counting: Any = Flaky(memory, None)
            history = History(counting)
            lineage = graph(**{f"a{number}": () for number in range(count)})
            history.read(lineage, time.time())
            counting.calls = 0
            history.read(lineage, time.time())
            asked.append(counting.calls)

        assert asked[0] == asked[1]
        assert asked[1] < 6


class Flaky:
    """An instance that counts its calls; the storage fails at `broken_call`, if one is given."""

    def __init__(self, instance: dg.DagsterInstance, broken_call: int | None) -> None:
        self._instance = instance
        self._broken_call = broken_call
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._instance, name)
        if not name.startswith("get_"):
            return value

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self._broken_call:
                raise ConnectionError("the database is restarting")
            return value(*args, **options)

        return call


def _comparable(state: AssetState) -> tuple[Any, ...]:
    return (state.version, state.pending, state.failures, state.error, state.last_run_id)


def _failed_at(instance: dg.DagsterInstance, run_id: str) -> float:
    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return records.records[0].event_log_entry.timestamp


def _isoformat(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


def _created_later(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Make `run` the later one: SQLite stores the creation of a run to the second only."""
    import sqlalchemy

    storage: Any = instance.run_storage
    with storage.connect() as connection:
        connection.execute(
            sqlalchemy.text(
                "update runs set create_timestamp = datetime(create_timestamp, '+60 seconds')"
                " where run_id = :run_id"
            ),
            {"run_id": run.run_id},
        )
