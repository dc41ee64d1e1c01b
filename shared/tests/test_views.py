"""Views: as fresh as what they read, against real event logs.

`Reader` reads every state twice: with a history that has followed the log, and with a new one. Both
must say the same.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from event_logs import Reader, graph, plain, queue, run, step_started, synced
from freshline.contract import Contract, contract_materialization
from freshline.model import Graph
from freshline.stamp import lag_metadata, stamp_lag

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)


def views(lineage: Graph, *keys: str) -> Graph:
    """Return `lineage`, of which `keys` are views."""
    shown = {key: replace(lineage.assets[key], view=True) for key in keys}
    return replace(lineage, assets={**lineage.assets, **shown})


LINEAGE = views(graph(root=(), view=("root",), top=("view",), mart=("top",)), "view", "top")


def published(instance: dg.DagsterInstance, lineage: Graph) -> None:
    """Publish the contract of a location that makes these."""
    contract = Contract.from_document(
        {
            "schema_version": 1,
            "location": "here",
            "exports": [
                {"key": key, "deps": list(asset.deps), "view": asset.view}
                for key, asset in lineage.assets.items()
            ],
        }
    )
    instance.report_runless_asset_event(contract_materialization(contract))


def stamped(instance: dg.DagsterInstance, key: str) -> Any:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    stamp = event.asset_materialization.metadata.get("freshline/data_time")
    return stamp and stamp.value


class TestState:
    def test_it_is_as_fresh_as_what_it_reads_without_a_run(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, LINEAGE)
        run(instance, synced("root", NOON), plain("view", "root"), plain("top", "view"))
        before = reader.read().assets
        run(instance, synced("root", LATER))
        after = reader.read().assets

        for key in ("view", "top"):
            old, new = before[key].version, after[key].version
            assert old is not None
            assert replace(old, data_time=LATER.timestamp()) == new
            assert NOON.timestamp() == old.data_time

    def test_it_has_the_version_of_its_code(self, memory: dg.DagsterInstance) -> None:
        @dg.asset(name="view", code_version="7")
        def view() -> None: ...

        reader = Reader(memory, views(graph(root=(), view=("root",)), "view"))
        run(memory, view)
        version = reader["view"].version

        assert version is not None
        assert ("7", None) == (version.code_version, version.data_time)

    def test_it_has_no_version_before_it_was_made(self, memory: dg.DagsterInstance) -> None:
        reader = Reader(memory, LINEAGE)
        run(memory, synced("root", NOON))

        assert reader["view"].version is None

    def test_it_moves_with_data_that_has_not_changed(self, memory: dg.DagsterInstance) -> None:
        def look(at: datetime) -> None:
            memory.report_runless_asset_event(
                dg.AssetObservation(
                    "root",
                    metadata={"freshline/data_time": at.timestamp()},
                    tags={"dagster/data_version": "1"},
                )
            )

        lineage = views(graph(root=(), table=("root",), view=("table",)), "view")
        feed = replace(lineage.assets["root"], elsewhere=True)
        reader = Reader(memory, replace(lineage, assets={**lineage.assets, "root": feed}))
        look(NOON)
        run(memory, plain("table", "root"), plain("view", "table"))
        look(LATER)
        version = reader["view"].version

        assert version is not None
        assert (LATER.timestamp(), NOON.timestamp()) == (version.data_time, version.unchanged_since)

    def test_it_is_of_now_when_what_it_reads_has_no_data_time(
        self, memory: dg.DagsterInstance
    ) -> None:
        lineage = views(graph(view=("source",), outside=("source",)), "view")
        run(memory, plain("view", "source"))
        now = datetime.now(UTC).timestamp() + 60
        version = Reader(memory, lineage).read(now).assets["view"].version

        assert version is not None
        assert now == version.data_time

    def test_a_pending_run_promises_what_it_reads(self, memory: dg.DagsterInstance) -> None:
        run(memory, synced("root", NOON))
        queue(memory, plain("view", "root"), plain("top", "view"))
        states = Reader(memory, LINEAGE).read().assets

        for key in ("view", "top"):
            pending = states[key].pending
            assert pending is not None
            assert NOON.timestamp() == pending.data_time


class TestReaders:
    def test_a_reader_has_read_what_the_view_showed_when_its_step_began(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, LINEAGE)
        run(instance, synced("root", NOON), plain("view", "root"), plain("top", "view"))
        run(instance, synced("root", LATER))

        def newer() -> None:
            run(instance, synced("root", NOON))

        run(instance, plain("mart", "top", body=newer))

        assert LATER.timestamp() == reader.data_time("mart")

    def test_it_need_not_be_made_for_its_reader_to_have_a_data_time(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, LINEAGE)
        run(memory, synced("root", NOON))
        run(memory, plain("mart", "top"))

        assert NOON.timestamp() == reader.data_time("mart")

    def test_the_data_time_is_unknown_when_what_it_reads_had_no_version(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, LINEAGE)
        run(memory, plain("view", "root"), plain("top", "view"), plain("mart", "top"))

        assert reader.data_time("mart") is None

    def test_a_reader_reads_what_its_run_has_made(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, LINEAGE)
        run(instance, synced("root", NOON))
        run(
            instance,
            synced("root", LATER),
            plain("view", "root"),
            plain("top", "view"),
            plain("mart", "top"),
        )

        assert LATER.timestamp() == reader.data_time("mart")

    def test_a_reader_reads_what_its_step_has_made(self, instance: dg.DagsterInstance) -> None:
        lineage = views(
            graph(source=(), table=("source",), view=("table",), mart=("view",)), "view"
        )
        published(instance, lineage)
        specs = [
            dg.AssetSpec(key, deps=list(lineage.assets[key].deps))
            for key in ("table", "view", "mart")
        ]

        @dg.multi_asset(specs=specs, name="models")
        def models(context: dg.AssetExecutionContext) -> Iterator[Any]:
            results = [dg.MaterializeResult(spec.key) for spec in specs]
            yield from stamp_lag(context, results)

        reader = Reader(instance, lineage)
        run(instance, synced("source", NOON))
        run(instance, models)

        assert NOON.timestamp() == reader.data_time("mart") == stamped(instance, "mart")

        run(instance, synced("source", LATER))
        run(instance, models)

        assert LATER.timestamp() == reader.data_time("mart") == stamped(instance, "mart")

    def test_a_reader_of_something_live_reads_it_when_its_step_begins(
        self, memory: dg.DagsterInstance
    ) -> None:
        lineage = views(graph(view=("source",), mart=("view",), outside=("source",)), "view")
        reader = Reader(memory, lineage)
        result = run(memory, plain("view", "source"), plain("mart", "view"))

        assert step_started(memory, result.run_id, "mart") == reader.data_time("mart")

    @pytest.mark.parametrize("newer", [False, True])
    def test_a_stamp_says_the_same(self, instance: dg.DagsterInstance, newer: bool) -> None:
        @dg.asset(name="mart", deps=["top"])
        def mart(context: dg.AssetExecutionContext) -> None:
            if newer:
                run(instance, synced("root", NOON))
            context.add_output_metadata(lag_metadata(context))

        published(instance, LINEAGE)
        run(instance, synced("root", NOON), plain("view", "root"), plain("top", "view"))
        run(instance, synced("root", LATER))
        run(instance, mart)

        assert LATER.timestamp() == stamped(instance, "mart")
        assert LATER.timestamp() == Reader(instance, LINEAGE).data_time("mart")

    def test_what_was_read_long_ago_is_found(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(memory, synced("root", NOON), plain("view", "root"), plain("top", "view"))
        run(memory, plain("mart", "top"))
        for _ in range(8):
            run(memory, synced("root", LATER))
        monkeypatch.setattr("freshline.history._FIRST_READ", 3)

        assert NOON.timestamp() == Reader(memory, LINEAGE).data_time("mart")
