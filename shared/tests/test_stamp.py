"""Stamps on what real runs materialize, compared with what the history says."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest
from event_logs import Reader, graph, plain, run, synced
from freshline.contract import Contract, contract_materialization
from freshline.stamp import data_time_metadata, lag_metadata, stamp_lag

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=10)


def stamp(instance: dg.DagsterInstance, key: str) -> tuple[float | None, float | None]:
    """Return the data time and the lag that the newest materialization carries."""
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = {name: it.value for name, it in event.asset_materialization.metadata.items()}
    return metadata.get("freshline/data_time"), metadata.get("freshline/lag_seconds")


@dg.asset(name="mart", deps=["root"])
def mart(context: dg.AssetExecutionContext) -> None:
    context.add_output_metadata(lag_metadata(context))


class TestDataTimeMetadata:
    def test_the_data_time_is_in_utc(self) -> None:
        elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
        metadata = data_time_metadata(elsewhere)["freshline/data_time"]

        assert dg.MetadataValue.timestamp(NOON) == metadata

    def test_a_time_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="has no time zone"):
            data_time_metadata(NOON.replace(tzinfo=None))


class TestLagMetadata:
    def test_lag_is_the_age_of_the_data_when_the_asset_was_made(
        self, memory: dg.DagsterInstance
    ) -> None:
        began = datetime.now(UTC) - timedelta(seconds=100)
        run(memory, synced("root", began))
        before = time.time()
        run(memory, mart)
        after = time.time()
        data_time, lag = stamp(memory, "mart")

        assert began.timestamp() == data_time
        assert lag is not None
        assert before <= began.timestamp() + lag <= after

    def test_a_version_does_not_count_when_it_arrives_during_the_step(
        self, instance: dg.DagsterInstance
    ) -> None:
        @dg.asset(name="mart", deps=["root"])
        def slow(context: dg.AssetExecutionContext) -> None:
            run(instance, synced("root", LATER))
            context.add_output_metadata(lag_metadata(context))

        run(instance, synced("root", NOON))
        run(instance, slow)

        assert NOON.timestamp() == stamp(instance, "mart")[0]
        assert NOON.timestamp() == Reader(instance, graph(root=(), mart=("root",))).data_time(
            "mart"
        )

    @pytest.mark.parametrize("before", ["nothing", "a report by hand"])
    def test_an_asset_is_not_stamped_when_its_data_time_is_unknown(
        self, memory: dg.DagsterInstance, before: str
    ) -> None:
        if before == "a report by hand":
            # The root has an input of its own, and nobody knows which version was read.
            _publish(memory, root=["elsewhere"])
            memory.report_runless_asset_event(dg.AssetMaterialization("root"))
        run(memory, mart)

        assert (None, None) == stamp(memory, "mart")

    def test_a_dependency_outside_the_workspace_does_not_count(
        self, memory: dg.DagsterInstance
    ) -> None:
        @dg.asset(name="mart", deps=["root", "seed"])
        def with_seed(context: dg.AssetExecutionContext) -> None:
            context.add_output_metadata(lag_metadata(context))

        _publish(memory, root=[], mart=["root", "seed"])
        run(memory, synced("root", NOON))
        run(memory, with_seed)

        assert NOON.timestamp() == stamp(memory, "mart")[0]


class TestStampLag:
    def test_every_asset_of_a_step_is_stamped_by_what_it_read(
        self, instance: dg.DagsterInstance
    ) -> None:
        specs = [
            dg.AssetSpec("staging", deps=["old", "new"]),
            dg.AssetSpec("mart", deps=["staging"]),
            dg.AssetSpec("recent", deps=["new"]),
        ]

        @dg.multi_asset(specs=specs)
        def models(context: dg.AssetExecutionContext) -> Iterator[Any]:
            results = [
                dg.MaterializeResult("staging", metadata={"rows": 3}),
                dg.MaterializeResult("mart"),
                dg.MaterializeResult("recent"),
            ]
            yield from stamp_lag(context, results)

        run(instance, synced("old", NOON), synced("new", LATER))
        run(instance, models)
        reader = Reader(
            instance,
            graph(old=(), new=(), staging=("old", "new"), mart=("staging",), recent=("new",)),
        )
        keys = ("staging", "mart", "recent")

        assert [NOON.timestamp(), NOON.timestamp(), LATER.timestamp()] == [
            stamp(instance, key)[0] for key in keys
        ]
        assert [stamp(instance, key)[0] for key in keys] == [reader.data_time(key) for key in keys]

    def test_outputs_of_a_subset_keep_their_own_metadata(self, memory: dg.DagsterInstance) -> None:
        @dg.multi_asset(
            outs={
                "staging": dg.AssetOut(is_required=False),
                "mart": dg.AssetOut(is_required=False),
            },
            deps=["root"],
            internal_asset_deps={
                "staging": {dg.AssetKey("root")},
                "mart": {dg.AssetKey("staging")},
            },
            can_subset=True,
        )
        def models(context: dg.AssetExecutionContext) -> Iterator[Any]:
            outputs = [
                dg.Output(None, name, metadata={"rows": 3})
                for name in ("staging", "mart")
                if name in context.op_execution_context.selected_output_names
            ]
            yield from stamp_lag(context, outputs)

        run(memory, synced("root", NOON))
        run(memory, models)
        run(memory, synced("root", LATER))
        run(memory, models, selection=["mart"])
        event = memory.get_latest_materialization_event(dg.AssetKey("mart"))

        assert NOON.timestamp() == stamp(memory, "mart")[0]
        assert event is not None
        assert event.asset_materialization is not None
        assert 3 == event.asset_materialization.metadata["rows"].value

    def test_a_root_keeps_the_data_time_that_it_states(self, memory: dg.DagsterInstance) -> None:
        @dg.asset(name="root")
        def source(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from stamp_lag(context, [dg.MaterializeResult(metadata=data_time_metadata(NOON))])

        run(memory, source)

        assert (NOON.timestamp(), None) == stamp(memory, "root")

    def test_other_events_pass_unchanged(self, memory: dg.DagsterInstance) -> None:
        passed = []

        @dg.asset(name="mart", deps=["root"])
        def observing(context: dg.AssetExecutionContext) -> Iterator[Any]:
            events = [dg.AssetObservation("root"), dg.MaterializeResult()]
            for event in stamp_lag(context, events):
                passed.append(type(event).__name__)
                yield event

        run(memory, plain("root"), observing)

        assert ["AssetObservation", "MaterializeResult"] == passed


def _publish(instance: dg.DagsterInstance, **deps: list[str]) -> None:
    """Publish the contract of a location that makes these. `seed` is outside the workspace."""
    contract = Contract.from_document(
        {
            "schema_version": 1,
            "location": "here",
            "exports": [{"key": key, "deps": needs} for key, needs in deps.items()],
            "outside": ["seed"],
        }
    )
    instance.report_runless_asset_event(contract_materialization(contract))
