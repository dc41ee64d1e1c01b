"""Data that has not changed, and steps that had nothing to make, against real event logs.

`Reader` reads every state twice: with a history that has followed the log, and with a new one. Both
must say the same.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from event_logs import Reader, broken, graph, plain, queue, run, step_started, synced
from freshline.history import History
from freshline.history.events import EventLog
from freshline.model import Graph
from freshline.stamp import data_time_metadata, lag_metadata

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FEED = replace(graph(feed=()).assets["feed"], elsewhere=True)
CHAIN = Graph({**graph(mart=("feed",), report=("mart",)).assets, "feed": FEED}, {"here": 5.0})


def later(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def observe(instance: dg.DagsterInstance, version: str, at: datetime, key: str = "feed") -> None:
    """Observe that the data version was there at `at`."""
    instance.report_runless_asset_event(
        dg.AssetObservation(
            key,
            tags={"dagster/data_version": version},
            metadata={"freshline/data_time": at.timestamp()},
        )
    )


def versioned(key: str, version: str | None, at: datetime) -> dg.AssetsDefinition:
    """Return a root whose sync sets a data version."""
    data_version = dg.DataVersion(version) if version else None
    return plain(
        key,
        body=lambda: dg.MaterializeResult(
            data_version=data_version, metadata=data_time_metadata(at)
        ),
    )


def times(reader: Reader, key: str) -> tuple[float | None, float | None]:
    """Return the data time of the current version, and since when nothing has changed."""
    version = reader[key].version
    assert version is not None
    return version.data_time, version.unchanged_since


class TestSameDataVersion:
    def test_what_was_made_from_it_moves_on_without_a_run(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, CHAIN)
        observe(instance, "1", NOON)
        run(instance, plain("mart", "feed"))
        run(instance, plain("report", "mart"))

        assert (NOON.timestamp(), None) == times(reader, "report")

        for minutes in range(1, 8):
            observe(instance, "1", later(minutes))

        assert (later(7).timestamp(), NOON.timestamp()) == times(reader, "report")
        assert (later(7).timestamp(), None) == times(reader, "feed")

    def test_other_data_ends_it(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, CHAIN)
        observe(instance, "1", NOON)
        run(instance, plain("mart", "feed"))
        observe(instance, "1", later(1))
        reader.read()
        observe(instance, "2", later(2))
        observe(instance, "1", later(3))

        assert (later(1).timestamp(), NOON.timestamp()) == times(reader, "mart")

        run(instance, plain("mart", "feed"))

        assert (later(3).timestamp(), None) == times(reader, "mart")

    def test_a_sync_without_a_row_carries_the_data_version_on(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, versioned("root", "1", NOON))
        run(instance, plain("mart", "root"))
        run(instance, versioned("root", "1", later(1)))

        assert (later(1).timestamp(), NOON.timestamp()) == times(reader, "mart")

    def test_a_data_version_by_default_means_nothing(self, memory: dg.DagsterInstance) -> None:
        @dg.asset(name="root", code_version="1")
        def root() -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata=data_time_metadata(next(at)))

        at = iter([NOON, later(1)])
        reader = Reader(memory, graph(root=(), mart=("root",)))
        run(memory, root)
        run(memory, plain("mart", "root"))
        run(memory, root)

        assert (NOON.timestamp(), None) == times(reader, "mart")

    def test_a_version_without_one_ends_it(self, memory: dg.DagsterInstance) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        run(memory, versioned("root", "1", NOON))
        run(memory, plain("mart", "root"))
        run(memory, versioned("root", None, later(1)))
        run(memory, versioned("root", "1", later(2)))

        assert (NOON.timestamp(), None) == times(reader, "mart")

    def test_the_oldest_input_counts(self, memory: dg.DagsterInstance) -> None:
        lineage = replace(CHAIN, assets={**CHAIN.assets, **graph(other=()).assets})
        lineage = replace(
            lineage, assets={**lineage.assets, **graph(mart=("feed", "other")).assets}
        )
        reader = Reader(memory, lineage)
        observe(memory, "1", NOON)
        run(memory, synced("other", later(2)))
        run(memory, plain("mart", "feed", "other"))
        observe(memory, "1", later(1))

        assert (later(1).timestamp(), NOON.timestamp()) == times(reader, "mart")

        observe(memory, "1", later(5))

        assert (later(2).timestamp(), NOON.timestamp()) == times(reader, "mart")

    def test_a_model_whose_content_stays_moves_with_its_newest_version(
        self, memory: dg.DagsterInstance
    ) -> None:
        def model() -> dg.MaterializeResult:
            return dg.MaterializeResult(data_version=dg.DataVersion("same"))

        reader = Reader(memory, CHAIN)
        observe(memory, "1", NOON)
        run(memory, plain("mart", "feed", body=model))
        run(memory, plain("report", "mart"))
        observe(memory, "2", later(1))
        run(memory, plain("mart", "feed", body=model))
        observe(memory, "2", later(2))

        assert (later(2).timestamp(), NOON.timestamp()) == times(reader, "report")

    def test_a_pending_run_promises_the_moved_data_time(self, memory: dg.DagsterInstance) -> None:
        observe(memory, "1", NOON)
        run(memory, plain("mart", "feed"))
        observe(memory, "1", later(1))
        queue(memory, plain("report", "mart"))
        pending = Reader(memory, CHAIN)["report"].pending

        assert pending is not None
        assert later(1).timestamp() == pending.data_time

    def test_a_stamp_has_the_moved_data_time(self, instance: dg.DagsterInstance) -> None:
        @dg.asset(name="report", deps=["mart"])
        def report(context: dg.AssetExecutionContext) -> None:
            context.add_output_metadata(lag_metadata(context))

        observe(instance, "1", NOON)
        run(instance, plain("mart", "feed"))
        observe(instance, "1", later(1))
        run(instance, report)
        event = instance.get_latest_materialization_event(dg.AssetKey("report"))

        assert event is not None
        assert event.asset_materialization is not None
        stamp = event.asset_materialization.metadata["freshline/data_time"].value
        assert later(1).timestamp() == stamp
        assert (later(1).timestamp(), NOON.timestamp()) == times(Reader(instance, CHAIN), "report")

    @pytest.mark.parametrize("first_read", [3, 12])
    def test_what_is_older_than_the_first_read_is_found(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, first_read: int
    ) -> None:
        observe(memory, "0", NOON)
        observe(memory, "1", NOON)
        run(memory, plain("mart", "feed"))
        for minutes in range(1, 10):
            observe(memory, "1", later(minutes))
        monkeypatch.setattr("freshline.history._FIRST_READ", first_read)
        reader = Reader(memory, CHAIN)

        assert (later(9).timestamp(), NOON.timestamp()) == times(reader, "mart")

        observe(memory, "1", later(10))

        assert (later(10).timestamp(), NOON.timestamp()) == times(reader, "mart")

    def test_more_than_are_read_are_not_followed(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        observe(memory, "1", NOON)
        run(memory, plain("mart", "feed"))
        for minutes in range(1, 10):
            observe(memory, "1", later(minutes))
        monkeypatch.setattr("freshline.history._FIRST_READ", 3)
        monkeypatch.setattr("freshline.history.unchanged._WALKED", 4)

        assert (later(4).timestamp(), NOON.timestamp()) == times(Reader(memory, CHAIN), "mart")

    def test_other_data_ends_it_when_its_event_is_committed_late(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def data_time() -> float | None:
            version = history.read(CHAIN, time.time()).assets["mart"].version
            assert version is not None
            return version.data_time

        observe(memory, "1", NOON)
        run(memory, plain("mart", "feed"))
        history = History(memory)
        data_time()
        observe(memory, "2", later(1))
        late = memory.fetch_observations(dg.AssetKey("feed"), limit=1).records[0].storage_id
        observe(memory, "1", later(2))
        read = EventLog.observations_after
        with monkeypatch.context() as patched:
            patched.setattr(
                EventLog,
                "observations_after",
                lambda log, after: (it for it in read(log, after) if it.id != late),
            )
            before = data_time()

        assert later(2).timestamp() == before
        assert NOON.timestamp() == data_time()

    def test_a_quiet_read_asks_nothing_more_of_the_log(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        history = History(memory)
        observe(memory, "1", NOON)
        run(memory, plain("mart", "feed"))
        observe(memory, "1", later(1))
        first = history.read(CHAIN, time.time()).assets["mart"]
        for question in ("materializations_by_id", "newest_before", "oldest_after", "run_events"):
            monkeypatch.setattr(EventLog, question, None)

        assert first == history.read(CHAIN, time.time()).assets["mart"]


class TestNotes:
    """Observations, with a data time, of what the workspace makes."""

    def note(self, instance: dg.DagsterInstance, at: datetime, key: str = "root") -> None:
        metadata = data_time_metadata(at)
        instance.report_runless_asset_event(dg.AssetObservation(key, metadata=metadata))

    def test_nothing_has_changed_until_then(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, synced("root", NOON))
        run(instance, plain("mart", "root"))
        self.note(instance, later(1))
        self.note(instance, later(2))
        before = reader["root"].version

        assert before is not None
        assert (later(2).timestamp(), NOON.timestamp()) == times(reader, "root")
        assert (later(2).timestamp(), NOON.timestamp()) == times(reader, "mart")

    def test_it_is_about_the_version_before_it(self, memory: dg.DagsterInstance) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        run(memory, synced("root", NOON))
        run(memory, plain("mart", "root"))
        run(memory, synced("root", later(1)))
        self.note(memory, later(2))

        assert (NOON.timestamp(), None) == times(reader, "mart")
        assert (later(2).timestamp(), later(1).timestamp()) == times(reader, "root")

        run(memory, synced("root", later(3)))

        assert (later(3).timestamp(), None) == times(reader, "root")

    def test_the_step_itself_may_say_so(self, memory: dg.DagsterInstance) -> None:
        @dg.asset(name="root", output_required=False)
        def sync() -> Iterator[Any]:
            yield dg.AssetObservation("root", metadata=data_time_metadata(later(1)))

        reader = Reader(memory, graph(root=(), mart=("root",)))
        run(memory, synced("root", NOON))
        run(memory, plain("mart", "root"))
        run(memory, sync)

        assert (later(1).timestamp(), NOON.timestamp()) == times(reader, "mart")
        assert 0 == reader["root"].failures
        assert reader["root"].nothing_new is not None


class TestNothingNew:
    def optional(
        self, key: str, *deps: str, body: Callable[[], Any] = lambda: None
    ) -> dg.AssetsDefinition:
        """Return an asset whose step runs `body` and makes nothing."""

        @dg.asset(name=key, deps=list(deps), output_required=False)
        def nothing() -> Iterator[Any]:
            body()
            yield from ()

        return nothing

    def test_it_is_no_failure(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=()))
        result = run(instance, self.optional("root"))
        state = reader["root"]

        assert (0, None, None) == (state.failures, state.error, state.version)
        assert state.nothing_new is not None
        assert step_started(instance, result.run_id, "root") == state.nothing_new.data_time
        assert result.run_id == state.last_run_id
        assert state.pending is None

    def test_it_has_the_data_time_of_what_could_be_read(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, synced("root", NOON))

        def newer() -> None:
            run(instance, synced("root", later(1)))

        run(instance, self.optional("mart", "root", body=newer))
        answer = reader["mart"].nothing_new

        assert answer is not None
        assert NOON.timestamp() == answer.data_time

    def test_a_skipped_step_is_such_an_answer(self, instance: dg.DagsterInstance) -> None:
        @dg.asset(name="mart")
        def mart(root: Any) -> Any:
            return root

        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, self.optional("root"), mart)
        states = reader.read().assets

        assert (0, 0) == (states["root"].failures, states["mart"].failures)
        assert states["mart"].nothing_new is not None
        assert states["mart"].nothing_new.data_time is None

    def test_it_counts_until_the_next_version(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=()))
        run(instance, self.optional("root"))
        reader.read()
        run(instance, synced("root", NOON))

        assert reader["root"].nothing_new is None

        run(instance, self.optional("root"))

        assert reader["root"].nothing_new is not None

    def test_it_counts_until_the_next_failure(self, memory: dg.DagsterInstance) -> None:
        reader = Reader(memory, graph(root=()))
        run(memory, self.optional("root"))
        run(memory, broken("root"))
        state = reader["root"]

        assert (1, None) == (state.failures, state.nothing_new)

        run(memory, self.optional("root"))
        state = reader["root"]

        assert 0 == state.failures
        assert state.nothing_new is not None

    def test_a_failure_of_an_older_run_does_not_count_after_it(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        slow = queue(memory, plain("root"))
        run(memory, self.optional("root"))
        reader.read()
        memory.report_run_failed(slow)
        state = reader["root"]

        assert 0 == state.failures
        assert state.nothing_new is not None

    def test_it_is_known_while_the_rest_of_the_run_goes_on(
        self, memory: dg.DagsterInstance
    ) -> None:
        states = []

        def look() -> None:
            states.append(Reader(memory, graph(root=()))["root"])

        run(memory, self.optional("root"), plain("then", body=look))

        assert [True] == [state.nothing_new is not None for state in states]

    def test_an_asset_whose_version_was_wiped_has_not_answered(
        self, memory: dg.DagsterInstance
    ) -> None:
        run(memory, synced("root", NOON))
        memory.wipe_assets([dg.AssetKey("root")])

        assert Reader(memory, graph(root=()))["root"].nothing_new is None
