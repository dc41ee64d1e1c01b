"""Versions and data times against real event logs: real runs, on Postgres and on SQLite.

`Reader` reads every state twice: with a history that has followed the log, and with a new one. Both
must say the same.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import dagster as dg
import pytest
from event_logs import Reader, graph, made_at, of_ops, plain, run, step_started, synced
from freshline.history import History
from freshline.history.events import EventLog
from freshline.history.materialized import Materialized
from freshline.history.runs import Runs
from freshline.history.versions import Versions
from freshline.model import Asset, AssetState
from partition_logs import Log

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)


class TestRoot:
    def test_the_data_time_is_when_the_sync_began_to_read(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        run(instance, synced("root", NOON))

        assert NOON.timestamp() == reader.data_time("root")

    def test_the_data_time_is_the_start_of_the_step_without_metadata(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        result = run(instance, plain("root"))

        assert step_started(instance, result.run_id, "root") == reader.data_time("root")

    def test_a_data_time_as_text_counts_only_with_a_time_zone(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(zoned=(), naive=()))
        for key, text in {"zoned": "2026-01-01T12:00:00Z", "naive": "2026-01-01T12:00:00"}.items():
            memory.report_runless_asset_event(
                dg.AssetMaterialization(key, metadata={"freshline/data_time": text})
            )

        assert NOON.timestamp() == reader.data_time("zoned")
        assert made_at(memory, "naive") == reader.data_time("naive")

    def test_the_data_time_is_the_time_of_the_event_when_reported_outside_a_run(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        instance.report_runless_asset_event(dg.AssetMaterialization("root"))

        assert made_at(instance, "root") == reader.data_time("root")

    def test_a_version_is_no_newer_than_now_when_a_clock_is_ahead(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        memory.report_runless_asset_event(dg.AssetMaterialization("root"))
        version = reader.read(now=NOON.timestamp()).assets["root"].version

        assert version is not None
        assert (NOON.timestamp(), NOON.timestamp()) == (version.at, version.data_time)

    def test_the_data_time_is_never_later_than_the_version(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        run(memory, synced("root", datetime.now(UTC) + timedelta(hours=1)))

        assert made_at(memory, "root") == reader.data_time("root")


class TestDurations:
    @pytest.mark.parametrize(("measured", "wait"), [({}, 5.0), ({"here": 12.0}, 12.0)])
    def test_a_wait_counts_as_far_as_a_tick_really_takes(
        self, memory: dg.DagsterInstance, measured: dict[str, float], wait: float
    ) -> None:
        log = Log(memory, Asset("root", "here"), Asset("mart", "here", ("root",)))
        log.made("root", None, at=time.time() - 20)
        run(memory, plain("mart", "root"))
        snapshot = History(memory).read(log.graph, time.time(), ticks=measured)
        learnt = snapshot.state("mart").durations.wait

        assert learnt is not None
        assert (wait, measured) == (learnt.mean, snapshot.ticks)


class TestConsumedVersions:
    def test_the_data_time_is_that_of_the_version_consumed_not_of_the_newest(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, synced("root", NOON))
        run(instance, plain("mart", "root"))
        run(instance, synced("root", LATER))

        assert NOON.timestamp() == reader.data_time("mart")

        run(instance, plain("mart", "root"))

        assert LATER.timestamp() == reader.data_time("mart")

    def test_the_data_time_is_that_of_the_oldest_input(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(old=(), new=(), mart=("old", "new")))
        run(instance, synced("old", NOON))
        run(instance, synced("new", LATER))
        run(instance, plain("mart", "old", "new"))

        assert NOON.timestamp() == reader.data_time("mart")

    def test_the_data_time_is_followed_through_a_chain_of_assets(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), a=("root",), b=("a",), c=("b",)))
        run(instance, synced("root", NOON))
        for asset in (plain("a", "root"), plain("b", "a")):
            run(instance, asset)
        run(instance, synced("root", LATER))
        run(instance, plain("a", "root"))
        run(instance, plain("c", "b"))

        assert LATER.timestamp() == reader.data_time("a")
        assert NOON.timestamp() == reader.data_time("c")

    def test_the_data_time_is_followed_within_one_step(self, instance: dg.DagsterInstance) -> None:
        specs = [dg.AssetSpec("staging", deps=["root"]), dg.AssetSpec("mart", deps=["staging"])]

        @dg.multi_asset(specs=specs)
        def models() -> object:
            yield dg.MaterializeResult("staging")
            yield dg.MaterializeResult("mart")

        reader = Reader(instance, graph(root=(), staging=("root",), mart=("staging",)))
        run(instance, synced("root", NOON))
        run(instance, models)
        run(instance, synced("root", LATER))
        run(instance, models)

        assert LATER.timestamp() == reader.data_time("mart")

    def test_the_data_time_is_followed_through_a_chain_longer_than_pythons_stack(self) -> None:
        chain = {
            number: Materialized(
                id=number,
                key=f"a{number}",
                at=float(number),
                run_id="run",
                step="",
                data_time=NOON.timestamp() if number == 0 else None,
                consumed=((f"a{number - 1}", number - 1),) if number else (),
            )
            for number in range(5_000)
        }
        log = Mock(EventLog)
        log.materializations_by_id.side_effect = lambda ids: [chain[number] for number in ids]

        assert {4_999: 0.0} == Versions(log, Runs(log)).data_times([4_999])

    def test_the_data_time_is_unknown_when_an_input_had_no_version(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=(), mart=("root",)))
        run(instance, plain("mart", "root"))
        run(instance, synced("root", NOON))

        assert reader.data_time("mart") is None

    def test_the_data_time_is_unknown_when_an_input_was_added_later(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), other=(), mart=("root",)))
        run(memory, synced("root", NOON), synced("other", NOON), plain("mart", "root"))

        assert NOON.timestamp() == reader.data_time("mart")

        reader.graph = graph(root=(), other=(), mart=("root", "other"))

        assert reader.data_time("mart") is None

    def test_a_dependency_outside_the_workspace_does_not_count(
        self, memory: dg.DagsterInstance
    ) -> None:
        deps = {"root": (), "mart": ("root", "seed"), "lonely": ("seed",)}
        reader = Reader(memory, graph(outside=("seed",), **deps))
        run(memory, synced("root", NOON))
        result = run(memory, plain("mart", "root", "seed"), plain("lonely", "seed"))

        assert NOON.timestamp() == reader.data_time("mart")
        assert step_started(memory, result.run_id, "lonely") == reader.data_time("lonely")

    def test_the_data_time_is_unknown_when_reported_by_hand_without_metadata(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=(), mart=("root",)))
        run(memory, synced("root", NOON))
        memory.report_runless_asset_event(dg.AssetMaterialization("mart"))

        assert reader.data_time("mart") is None

        memory.report_runless_asset_event(
            dg.AssetMaterialization("mart", metadata={"freshline/data_time": NOON.timestamp()})
        )

        assert NOON.timestamp() == reader.data_time("mart")


class TestGraphs:
    def test_the_data_time_of_a_graph_is_the_start_of_its_first_op(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(stars=()))
        result = run(instance, of_ops("stars"))
        first = step_started(instance, result.run_id, "stars.extract")

        assert first == reader.data_time("stars")
        assert first < step_started(instance, result.run_id, "stars.load")
        measured = reader["stars"].durations.execution
        assert measured is not None
        assert made_at(instance, "stars") - first == pytest.approx(measured.mean, abs=0.001)


class TestWiped:
    def test_a_wiped_asset_has_no_version(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, graph(root=()))
        run(instance, synced("root", NOON))

        assert reader["root"].version is not None

        instance.wipe_assets([dg.AssetKey("root")])

        assert reader["root"].version is None

    def test_an_asset_keeps_its_data_time_when_its_input_is_wiped(
        self, memory: dg.DagsterInstance
    ) -> None:
        history = History(memory)
        lineage = graph(root=(), mart=("root",))
        run(memory, synced("root", NOON), plain("mart", "root"))
        before = history.read(lineage, time.time()).assets["mart"]
        memory.wipe_assets([dg.AssetKey("root")])

        assert before == history.read(lineage, time.time()).assets["mart"]

    def test_an_asset_has_its_new_version_when_wiped_and_made_again(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        run(instance, synced("root", NOON))
        reader.read()
        instance.wipe_assets([dg.AssetKey("root")])
        run(instance, synced("root", LATER))

        assert LATER.timestamp() == reader.data_time("root")


class TestDeletedRun:
    def test_a_version_stays_for_a_reader_who_knew_it(self, instance: dg.DagsterInstance) -> None:
        history = History(instance)
        lineage = graph(root=(), mart=("root",))
        result = run(instance, synced("root", NOON))
        run(instance, plain("mart", "root"))
        before = history.read(lineage, time.time()).assets["mart"]
        instance.delete_run(result.run_id)
        after = history.read(lineage, time.time()).assets["mart"]

        assert before.version == after.version

    def test_the_data_time_is_unknown_to_a_reader_who_comes_later(
        self, instance: dg.DagsterInstance
    ) -> None:
        result = run(instance, plain("root"))
        run(instance, plain("mart", "root"))
        instance.delete_run(result.run_id)
        states = History(instance).read(graph(root=(), mart=("root",)), time.time()).assets

        version = states["mart"].version
        assert version is not None
        assert version.data_time is None


class TestFollowing:
    def test_an_asset_has_its_version_when_it_enters_the_graph_later(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, graph(root=()))
        run(instance, synced("root", NOON), plain("mart", "root"))
        reader.read()
        reader.graph = graph(root=(), mart=("root",))

        assert NOON.timestamp() == reader.data_time("mart")

    def test_an_asset_is_not_in_the_snapshot_before_its_first_run(
        self, memory: dg.DagsterInstance
    ) -> None:
        assert {} == Reader(memory, graph(root=())).read().assets

    def test_versions_older_than_the_first_read_are_found(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.history._FIRST_READ", 3)
        run(memory, synced("root", NOON), synced("other", LATER))
        run(memory, plain("mart", "root"))
        for _ in range(5):
            memory.report_runless_asset_event(dg.AssetMaterialization("noise"))
        states = History(memory).read(graph(root=(), other=(), mart=("root",)), time.time()).assets

        assert [NOON.timestamp(), LATER.timestamp(), NOON.timestamp()] == [
            state.version.data_time if state.version else None
            for state in (states[key] for key in ("root", "other", "mart"))
        ]

    def test_a_version_is_found_later_when_its_event_was_missed(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        history = History(memory)
        lineage = graph(root=())
        history.read(lineage, time.time())
        run(memory, synced("root", NOON))
        monkeypatch.setattr(EventLog, "materializations_after", lambda *_: [])

        assert history.read(lineage, time.time()).assets["root"].version is None

        later = history.read(lineage, time.time() + 30).assets["root"]

        assert later.version is not None


def test_a_version_is_not_missed_when_committed_after_one_with_a_higher_id(
    postgres: dg.DagsterInstance, postgres_server: object
) -> None:
    """Postgres assigns ids before it commits, so the lower of two may become visible last."""
    history = History(postgres)
    lineage = graph(root=(), late=())
    run(postgres, synced("root", NOON), synced("late", NOON))
    history.read(lineage, 100.0)
    engine = _engine(postgres)
    with engine.connect() as slow:
        transaction = slow.begin()
        late = _copy_of_newest_event(slow, "late")
        run(postgres, synced("root", LATER))
        before = history.read(lineage, 105.0).assets
        transaction.commit()
    after = history.read(lineage, 110.0).assets
    engine.dispose()

    assert _version(before["root"]) > late
    assert _version(before["late"]) < late
    assert _version(after["late"]) == late
    assert _version(after["root"]) == _version(before["root"])


def _version(state: AssetState) -> int:
    assert state.version is not None
    return state.version.id


def _newest_id(instance: dg.DagsterInstance, key: str) -> int:
    return instance.fetch_materializations(dg.AssetKey(key), limit=1).records[0].storage_id


def _engine(instance: dg.DagsterInstance) -> object:
    import sqlalchemy

    return sqlalchemy.create_engine(instance.event_log_storage.postgres_url)


def _copy_of_newest_event(connection: object, key: str) -> int:
    """Write what another process does in a transaction that is slow to commit; return its id."""
    import sqlalchemy

    columns = "run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition"
    return connection.execute(
        sqlalchemy.text(
            f"insert into event_logs ({columns}) select {columns} from event_logs"
            " where asset_key = :key and dagster_event_type = 'ASSET_MATERIALIZATION'"
            " order by id desc limit 1 returning id"
        ),
        {"key": f'["{key}"]'},
    ).scalar_one()
