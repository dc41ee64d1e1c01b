"""Runs that make partitions: real ones, on Postgres and on SQLite."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest
from event_logs import Reader, events_of, queue, run, step_started
from freshline.contract import contract_materialization
from freshline.contract.document import Contract, Export, Partitions, PartitionsRead, TimeWindows
from freshline.model import Part, PartitionKeys, Reads
from freshline.stamp import lag_metadata, stamp_lag
from freshline.windows import Windows
from partition_logs import DAY, asset, lineage

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
BEGIN = TODAY - 3 * DAY
DEFINITION = dg.DailyPartitionsDefinition(datetime.fromtimestamp(BEGIN, UTC))
WINDOWS = Windows("0 0 * * *", BEGIN)
SAME = {"root": Reads(windows=(0, 0))}
DAYS = [
    datetime.fromtimestamp(BEGIN + number * DAY, UTC).strftime("%Y-%m-%d") for number in (0, 1, 2)
]


@pytest.fixture(autouse=True)
def _not_around_midnight() -> None:
    if time.time() > TODAY + DAY - 120:
        pytest.skip("a window could close while the test runs")


def partitioned(key: str, *deps: str, broken: str = "") -> dg.AssetsDefinition:
    """Return a daily asset, of which the partition `broken` fails."""

    @dg.asset(name=key, deps=list(deps), partitions_def=DEFINITION)
    def made(context: dg.AssetExecutionContext) -> None:
        if context.partition_key == broken:
            raise ValueError("the source is closed")

    return made


def ranged(key: str, *, until: str = "") -> dg.AssetsDefinition:
    """Return a daily asset that one run makes for a range; it fails after the day `until`."""

    @dg.multi_asset(
        specs=[dg.AssetSpec(key)],
        partitions_def=DEFINITION,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def made(context: dg.AssetExecutionContext) -> object:
        for name in context.partition_keys:
            context.log_event(dg.AssetMaterialization(key, partition=name))
            if name == until:
                raise ValueError("the source is closed")
        if False:
            yield

    return made


def reader(instance: dg.DagsterInstance, *others: object) -> Reader:
    return Reader(instance, lineage(asset("root", windows=WINDOWS), *others))


def parts(reader: Reader, key: str = "root") -> dict[str, Part]:
    return {part.name: part for part in reader[key].parts}


class TestVersions:
    def test_the_data_time_of_a_partition_is_the_start_of_its_step(
        self, memory: dg.DagsterInstance
    ) -> None:
        shops = PartitionKeys(("a",))
        read = Reader(memory, lineage(asset("root", keys=shops)))

        @dg.asset(name="root", partitions_def=dg.StaticPartitionsDefinition(["a"]))
        def root() -> None: ...

        result = run(memory, root, partition_key="a")

        assert step_started(memory, result.run_id, "root") == parts(read)["a"].data_time
        assert step_started(memory, result.run_id, "root") == read.data_time("root")

    def test_each_run_makes_its_partition(self, instance: dg.DagsterInstance) -> None:
        mart = asset("mart", "root", windows=WINDOWS, reads=SAME)
        read = reader(instance, mart, asset("total", "root"))
        for name in (DAYS[0], DAYS[2]):
            run(instance, partitioned("root"), partition_key=name)

        assert BEGIN + DAY == read.data_time("root")
        assert [DAYS[1]] == list(parts(read))

        run(instance, partitioned("root"), partition_key=DAYS[1])
        for name in DAYS:
            run(instance, partitioned("mart", "root"), partition_key=name)
        run(instance, dg.asset(name="total", deps=["root"])(lambda: None))

        assert [TODAY] * 3 == [read.data_time(key) for key in ("root", "mart", "total")]
        assert {} == parts(read, "mart")


class TestRuns:
    def test_a_failure_of_one_partition_is_not_one_of_the_others(
        self, instance: dg.DagsterInstance
    ) -> None:
        read = reader(instance)
        broken = partitioned("root", broken=DAYS[1])
        first = run(instance, broken, partition_key=DAYS[1])
        second = run(instance, broken, partition_key=DAYS[1])
        run(instance, broken, partition_key=DAYS[0])
        found = parts(read)
        state = read["root"]

        assert not first.success
        assert {DAYS[1]: 2, DAYS[2]: 0} == {name: part.failures for name, part in found.items()}
        assert "ValueError: the source is closed" == found[DAYS[1]].error
        assert second.run_id == found[DAYS[1]].last_run_id
        assert "" == found[DAYS[2]].last_run_id
        assert (2, found[DAYS[1]].failed_at) == (state.failures, state.failed_at)

        run(instance, partitioned("root"), partition_key=DAYS[1])

        assert [DAYS[2]] == list(parts(read))
        assert 0 == read["root"].failures

    def test_a_later_partition_that_fails_is_not_a_failure_of_the_asset(
        self, memory: dg.DagsterInstance
    ) -> None:
        read = reader(memory)
        run(memory, partitioned("root", broken=DAYS[1]), partition_key=DAYS[1])

        assert (0, None) == (read["root"].failures, read["root"].error)

    def test_a_run_that_had_nothing_to_make_of_a_partition_has_not_failed(
        self, instance: dg.DagsterInstance
    ) -> None:
        closed = [True]

        @dg.asset(name="root", partitions_def=DEFINITION, output_required=False)
        def root(context: dg.AssetExecutionContext) -> Iterator[dg.Output[None]]:
            if context.partition_key != DAYS[1] or not closed[0]:
                yield dg.Output(None)

        def materialize(day: str) -> None:
            # In memory: other tests have written files of this name.
            memory = {"io_manager": dg.mem_io_manager}
            dg.materialize([root], instance=instance, partition_key=day, resources=memory)

        for day in DAYS:
            materialize(day)
        read = reader(instance)
        (part,) = parts(read).values()

        assert DAYS[1] == part.name
        assert 0 == part.failures
        assert part.nothing_new is not None
        assert part.nothing_new.data_time is not None
        assert TODAY < part.nothing_new.data_time <= part.nothing_new.at

        closed[0] = False
        materialize(DAYS[1])

        assert {} == parts(read)
        assert {} == parts(reader(instance))

    def test_a_cancelled_run_is_a_failure(self, memory: dg.DagsterInstance) -> None:
        read = reader(memory)
        queued = queue(memory, partitioned("root"), tags={"dagster/partition": DAYS[0]})
        read.read()
        memory.report_run_canceled(queued)

        assert "the run was cancelled" == parts(read)[DAYS[0]].error
        assert 1 == read["root"].failures

    def test_a_queued_run_is_pending_for_its_partition_alone(
        self, instance: dg.DagsterInstance
    ) -> None:
        read = reader(instance)
        queued = queue(instance, partitioned("root"), tags={"dagster/partition": DAYS[1]})
        found = parts(read)
        pending = found[DAYS[1]].pending

        assert pending is not None
        assert (queued.run_id, BEGIN + 2 * DAY) == (pending.run_id, pending.data_time)
        assert [None, None] == [found[name].pending for name in (DAYS[0], DAYS[2])]
        assert read["root"].pending is None

    def test_a_pending_partition_has_what_its_input_has_now(
        self, memory: dg.DagsterInstance
    ) -> None:
        read = reader(memory, asset("mart", "root", windows=WINDOWS, reads=SAME))
        run(memory, partitioned("root"), partition_key=DAYS[0])
        for name in DAYS[:2]:
            queue(memory, partitioned("mart", "root"), tags={"dagster/partition": name})
        pending = [parts(read, "mart")[name].pending for name in DAYS[:2]]

        assert [BEGIN + DAY, BEGIN + DAY] == [it.data_time for it in pending if it]

    def test_a_range_is_made_by_one_run(self, instance: dg.DagsterInstance) -> None:
        read = reader(instance)
        tags = {
            "dagster/asset_partition_range_start": DAYS[0],
            "dagster/asset_partition_range_end": DAYS[1],
        }
        queued = queue(instance, ranged("root"), tags=tags)
        pending = {name: part.pending for name, part in parts(read).items()}

        assert [queued.run_id] * 2 == [it.run_id for it in pending.values() if it]
        assert pending[DAYS[2]] is None

        instance.report_run_canceled(queued)
        failed = run(instance, ranged("root", until=DAYS[0]), tags=tags)
        found = parts(read)

        assert not failed.success
        assert [DAYS[1], DAYS[2]] == list(found)
        assert (2, failed.run_id) == (found[DAYS[1]].failures, found[DAYS[1]].last_run_id)
        assert 0 == found[DAYS[2]].failures

        run(instance, ranged("root"), tags=tags)

        assert [DAYS[2]] == list(parts(read))

    def test_old_failures_are_known_to_a_reader_who_comes_later(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.history.runs._FIRST_READ", 1)
        read = reader(memory)
        failed = run(memory, partitioned("root", broken=DAYS[1]), partition_key=DAYS[1])
        read.read()
        for name in (DAYS[0], DAYS[2]):
            run(memory, partitioned("root"), partition_key=name)
        part = parts(read)[DAYS[1]]

        assert (1, failed.run_id) == (part.failures, part.last_run_id)

    def test_durations_are_learnt(self, memory: dg.DagsterInstance) -> None:
        read = reader(memory)
        result = run(memory, partitioned("root"), partition_key=DAYS[2])
        made = events_of(memory, result.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        started = step_started(memory, result.run_id, "root")
        durations = read["root"].durations

        assert durations.execution is not None
        assert made[0].timestamp - started == pytest.approx(durations.execution.mean, abs=0.001)
        assert durations.wait is not None
        assert 0 <= durations.wait.mean <= read.graph.tick("here")


class TestStamp:
    def test_the_stamp_of_a_partition_is_its_own_data_time(
        self, memory: dg.DagsterInstance
    ) -> None:
        @dg.asset(name="mart", deps=["root"], partitions_def=DEFINITION)
        def mart(context: dg.AssetExecutionContext) -> None:
            context.add_output_metadata(lag_metadata(context))

        @dg.asset(name="total", deps=["root"])
        def total(context: dg.AssetExecutionContext) -> object:
            yield from stamp_lag(context, [dg.MaterializeResult()])

        _publish(memory)
        for name in DAYS[1:]:
            run(memory, partitioned("root"), partition_key=name)
        run(memory, mart, partition_key=DAYS[1])
        first = _stamp(memory, "mart")
        run(memory, total)

        assert BEGIN + 2 * DAY == first
        assert BEGIN == _stamp(memory, "total")

        run(memory, partitioned("root"), partition_key=DAYS[0])
        run(memory, total)

        assert TODAY == _stamp(memory, "total")


def _publish(instance: dg.DagsterInstance) -> None:
    """Publish what the code of these tests makes."""
    days = Partitions(windows=TimeWindows(cron="0 0 * * *", start=BEGIN))
    exports = [
        Export(key="root", partitioned=True, partitions=days),
        Export(
            key="mart",
            deps=("root",),
            partitioned=True,
            partitions=days,
            reads={"root": PartitionsRead(windows=(0, 0))},
        ),
        Export(key="total", deps=("root",)),
    ]
    contract = Contract(location="here", published_as="freshline/contract/here", exports=exports)
    instance.report_runless_asset_event(contract_materialization(contract))


def _stamp(instance: dg.DagsterInstance, key: str) -> float:
    event = instance.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    value = event.asset_materialization.metadata["freshline/data_time"].value
    assert isinstance(value, float)
    return value
