"""What is made outside the workspace, against real event logs: reports, observations, runs.

`Reader` reads every state twice: with a history that has followed the log, and with a new one. Both
must say the same.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from event_logs import Reader, events_of, graph, plain, queue, run, step_started, synced
from freshline.contract import Contract, contract_materialization, graph_of
from freshline.contract.elsewhere import Elsewhere
from freshline.history import History
from freshline.model import Graph
from freshline.sensor.outlook import Observer
from freshline.stamp import lag_metadata

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)

# Dagster's own, of `observable_source_asset`.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*observable_source_asset. is currently in beta"),
    pytest.mark.filterwarnings("ignore:Property `OpDefinition.version` is deprecated"),
]


def outside(lineage: Graph, key: str = "feed", **about: bool) -> Graph:
    """Return `lineage`, of which the asset is made outside."""
    changed = replace(lineage.assets[key], **(about or {"elsewhere": True}))
    return replace(lineage, assets={**lineage.assets, key: changed})


def observe(
    instance: dg.DagsterInstance, key: str = "feed", version: str | None = None, **stated: Any
) -> int:
    """Report an observation outside any run; return its id."""
    names = {"data_time": "freshline/data_time", "updated": "dagster/last_updated_timestamp"}
    metadata = {names[name]: dg.MetadataValue.timestamp(at) for name, at in stated.items()}
    tags = {"dagster/data_version": version} if version else None
    instance.report_runless_asset_event(dg.AssetObservation(key, metadata=metadata, tags=tags))
    return instance.fetch_observations(dg.AssetKey(key), limit=1).records[0].storage_id


def report(instance: dg.DagsterInstance, key: str = "feed", **metadata: Any) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            key, metadata={name.replace("__", "/"): it for name, it in metadata.items()}
        )
    )


def files(body: Any = lambda: dg.DataVersion("1")) -> Any:
    """Return a source that runs of its location observe."""

    @dg.observable_source_asset(name="files")
    def observed() -> Any:
        return body()

    return observed


def run_observation(
    instance: dg.DagsterInstance, *assets: Any, selection: tuple[str, ...] = ("files",)
) -> dg.ExecuteInProcessResult:
    """Run an observation as the daemon does for a request of a sensor."""
    job = dg.Definitions(assets=list(assets)).resolve_implicit_global_asset_job_def()
    subset = job.get_subset(asset_selection={dg.AssetKey(key) for key in selection})
    return subset.execute_in_process(instance=instance, raise_on_error=False)


FILES = outside(graph(files=(), mart=("files",)), "files", observed=True)


class TestObservations:
    def test_an_observation_is_a_version(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, outside(graph(feed=())))
        observed = observe(instance)
        version = reader["feed"].version

        assert version is not None
        assert observed == version.id
        assert version.at == version.data_time

    def test_the_data_time_is_what_it_states(self, memory: dg.DagsterInstance) -> None:
        reader = Reader(memory, outside(graph(feed=())))
        observe(memory, updated=NOON)

        assert NOON.timestamp() == reader.data_time("feed")

        observe(memory, data_time=LATER, updated=NOON)

        assert LATER.timestamp() == reader.data_time("feed")

    def test_the_data_time_is_never_later_than_the_observation(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, outside(graph(feed=())))
        observe(memory, data_time=datetime.now(UTC) + timedelta(hours=1))
        version = reader["feed"].version

        assert version is not None
        assert version.at == version.data_time

    def test_the_newest_of_reports_and_observations_counts(
        self, instance: dg.DagsterInstance
    ) -> None:
        reader = Reader(instance, outside(graph(feed=())))
        observe(instance, data_time=NOON)
        report(instance, freshline__data_time=LATER.timestamp())

        assert LATER.timestamp() == reader.data_time("feed")

        observe(instance, data_time=NOON)

        assert NOON.timestamp() == reader.data_time("feed")

    def test_a_report_may_state_when_its_table_was_updated(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, outside(graph(feed=(), mart=("feed",))))
        report(memory, dagster__last_updated_timestamp=dg.MetadataValue.timestamp(NOON))
        run(memory, plain("mart", "feed"))

        assert NOON.timestamp() == reader.data_time("feed") == reader.data_time("mart")

    def test_an_observation_of_what_the_workspace_makes_is_no_version(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(root=()))
        run(memory, synced("root", NOON))
        made = reader["root"]
        observe(memory, "root", updated=LATER)

        assert made == reader["root"]

    def test_observations_count_from_when_the_asset_is_made_outside(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, graph(feed=()))
        run(memory, synced("feed", NOON))
        observe(memory, updated=LATER)

        assert NOON.timestamp() == reader.data_time("feed")

        reader.graph = outside(reader.graph)

        assert LATER.timestamp() == reader.data_time("feed")

    def test_a_wiped_asset_has_no_version(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, outside(graph(feed=())))
        observe(instance)

        assert reader["feed"].version is not None

        instance.wipe_assets([dg.AssetKey("feed")])

        assert reader["feed"].version is None

    def test_a_version_stays_when_the_instance_has_no_record_of_a_materialization(
        self, memory: dg.DagsterInstance
    ) -> None:
        history = History(memory)
        lineage = outside(graph(feed=()))
        history.read(lineage, time.time())
        observe(memory)
        seen = history.read(lineage, time.time()).assets["feed"]

        assert seen == history.read(lineage, time.time() + 60).assets["feed"]

    def test_observations_older_than_the_first_read_are_found(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.history._FIRST_READ", 3)
        observe(memory, data_time=NOON)
        for _ in range(4):
            observe(memory, "noise")
        lineage = outside(graph(feed=()))
        version = History(memory).read(lineage, time.time()).assets["feed"].version

        assert version is not None
        assert NOON.timestamp() == version.data_time


class TestRead:
    @pytest.mark.parametrize("first", ["report", "observation"])
    def test_a_consumer_has_read_the_newest_that_was_there_when_its_step_began(
        self, instance: dg.DagsterInstance, first: str
    ) -> None:
        reader = Reader(instance, outside(graph(feed=(), mart=("feed",))))
        if first == "report":
            report(instance, freshline__data_time=NOON.timestamp())
        observe(instance, data_time=LATER)
        run(
            instance, plain("mart", "feed", body=lambda: observe(instance, data_time=NOON) and None)
        )

        assert LATER.timestamp() == reader.data_time("mart")
        assert NOON.timestamp() == reader.data_time("feed")

    def test_the_data_time_is_unknown_when_nothing_was_reported(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, outside(graph(feed=(), mart=("feed",))))
        run(memory, plain("mart", "feed"))

        assert reader.data_time("mart") is None

    def test_a_consumer_is_stamped_with_what_it_read(self, instance: dg.DagsterInstance) -> None:
        @dg.asset(name="mart", deps=["feed"])
        def mart(context: dg.AssetExecutionContext) -> None:
            observe(instance, data_time=NOON)
            context.add_output_metadata(lag_metadata(context))

        _publish(instance, {"mart": ["feed"]}, outside=["feed"])
        observe(instance, data_time=LATER)
        run(instance, mart)

        assert LATER.timestamp() == _stamped(instance, "mart")

    def test_many_versions_during_a_step_do_not_count(self, instance: dg.DagsterInstance) -> None:
        def report_often() -> None:
            for _ in range(6):
                observe(instance, data_time=NOON)

        reader = Reader(instance, outside(graph(feed=(), mart=("feed",))))
        observe(instance, data_time=LATER)
        run(instance, plain("mart", "feed", body=report_often))

        assert LATER.timestamp() == reader.data_time("mart")


class TestObservingRuns:
    def test_the_data_time_is_the_start_of_its_step(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, FILES)
        result = run_observation(instance, files())

        assert step_started(instance, result.run_id, "files") == reader.data_time("files")
        assert (None, 0) == (reader["files"].pending, reader["files"].failures)
        assert result.run_id == reader["files"].last_run_id

    def test_it_is_measured(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, FILES)
        result = run_observation(instance, files())
        observed = events_of(instance, result.run_id, dg.DagsterEventType.ASSET_OBSERVATION)[0]
        started = step_started(instance, result.run_id, "files")
        measured = reader["files"].durations.execution

        assert measured is not None
        assert observed.timestamp - started == pytest.approx(measured.mean, abs=0.001)

    def test_it_fails(self, instance: dg.DagsterInstance) -> None:
        def closed() -> None:
            raise ValueError("the bucket is closed")

        reader = Reader(instance, FILES)
        for _ in range(2):
            run_observation(instance, files(closed))
        state = reader["files"]

        assert (2, "ValueError: the bucket is closed") == (state.failures, state.error)

        run_observation(instance, files())

        assert 0 == reader["files"].failures

    def test_it_is_pending(self, instance: dg.DagsterInstance) -> None:
        seen = []

        def look() -> dg.DataVersion:
            seen.append(Reader(instance, FILES)["files"].pending)
            return dg.DataVersion("1")

        job = queue(instance, _observing_asset(), asset_selection={dg.AssetKey("files")})
        queued = Reader(instance, FILES)["files"].pending
        instance.delete_run(job.run_id)
        result = run_observation(instance, files(look))

        assert queued is not None
        assert job.run_id == queued.run_id
        assert [result.run_id] == [it.run_id for it in seen if it]
        assert step_started(instance, result.run_id, "files") == seen[0].started_at
        assert seen[0].started_at == seen[0].data_time

    def test_it_promises_no_more_than_the_source_has_stated(
        self, memory: dg.DagsterInstance
    ) -> None:
        observe(memory, "files", updated=NOON)
        queue(memory, _observing_asset(), asset_selection={dg.AssetKey("files")})
        pending = Reader(memory, FILES)["files"].pending

        assert pending is not None
        assert NOON.timestamp() == pending.data_time

    def test_it_is_one_run_with_what_is_made_from_it(self, instance: dg.DagsterInstance) -> None:
        reader = Reader(instance, FILES)
        observed, mart = files(), plain("mart", "files")
        result = run_observation(instance, observed, mart, selection=("files", "mart"))
        states = reader.read().assets

        assert result.success
        for key in ("files", "mart"):
            assert (result.run_id, 0, None) == (
                states[key].last_run_id,
                states[key].failures,
                states[key].nothing_new,
            )
        assert states["files"].version is not None

    def test_a_run_that_makes_only_the_rest_does_not_wait_for_it(
        self, memory: dg.DagsterInstance
    ) -> None:
        reader = Reader(memory, FILES)
        run(memory, plain("mart", "files"))

        assert reader["files"].pending is None

    def test_several_sources_of_one_step(self, memory: dg.DagsterInstance) -> None:
        @dg.multi_observable_source_asset(specs=[dg.AssetSpec("files"), dg.AssetSpec("more")])
        def look() -> Iterator[Any]:
            yield dg.ObserveResult(asset_key="files", data_version=dg.DataVersion("1"))
            raise ValueError("the bucket is closed")

        lineage = outside(
            outside(graph(files=(), more=()), "files", observed=True), "more", observed=True
        )
        reader = Reader(memory, lineage)
        run_observation(memory, look, selection=("files", "more"))
        states = reader.read().assets

        assert states["files"].version is not None
        assert 0 == states["files"].failures
        assert (1, "ValueError: the bucket is closed") == (
            states["more"].failures,
            states["more"].error,
        )


class TestElsewhere:
    def find(self, instance: dg.DagsterInstance) -> list[str]:
        found = Elsewhere().find(instance, {"unexplained"}, {"feed"}, {"here"})
        return [asset.key for asset in found]

    def test_a_key_outside_counts_as_soon_as_anything_was_reported(
        self, instance: dg.DagsterInstance
    ) -> None:
        assert [] == self.find(instance)

        observe(instance)

        assert ["feed"] == self.find(instance)

    def test_an_unexplained_key_may_be_observed(self, memory: dg.DagsterInstance) -> None:
        observe(memory, "unexplained")

        assert ["unexplained"] == self.find(memory)

    def test_what_was_found_is_not_looked_for_again(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = Elsewhere()
        observe(memory)
        elsewhere.find(memory, set(), {"feed"}, set())
        monkeypatch.setattr("freshline.contract.elsewhere.EventLog", None)

        assert 1 == len(elsewhere.find(memory, set(), {"feed"}, set()))

    def test_a_declared_asset_that_is_outside_does_not_count_before(self) -> None:
        contract = Contract.from_document(
            {
                "schema_version": 1,
                "location": "here",
                "exports": [{"key": "mart", "deps": ["feed"]}],
                "declares": ["feed"],
                "outside": ["feed"],
            }
        )

        assert frozenset({"feed"}) == graph_of([contract]).outside

    def test_the_graph_of_a_sensor_has_it(self, memory: dg.DagsterInstance) -> None:
        _publish(memory, {"mart": ["feed"]}, outside=["feed"])
        observer = Observer()

        assert frozenset({"feed"}) == observer.look(memory, time.time()).graph.outside

        observe(memory, updated=NOON)
        outlook = observer.look(memory, time.time())

        assert frozenset() == outlook.graph.outside
        version = outlook.snapshot.assets["feed"].version
        assert version is not None
        assert NOON.timestamp() == version.data_time


def _observing_asset() -> Any:
    return files()


def _publish(instance: dg.DagsterInstance, deps: dict[str, list[str]], outside: list[str]) -> None:
    contract = Contract.from_document(
        {
            "schema_version": 1,
            "location": "here",
            "exports": [{"key": key, "deps": needs} for key, needs in deps.items()],
            "imports": [{"key": key} for key in outside],
            "outside": outside,
        }
    )
    instance.report_runless_asset_event(contract_materialization(contract))


def _stamped(instance: dg.DagsterInstance, key: str) -> Any:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    stamp = event.asset_materialization.metadata.get("freshline/data_time")
    return stamp and stamp.value
