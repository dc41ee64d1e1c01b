"""The past as the event log tells it, and as it is kept, against real instances."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import partition_logs
import pytest
import sqlalchemy as sa
from conftest import ROOT, write_instance
from freshline import max_lag
from freshline.contract import graph_of, read_contracts
from freshline.errors import InstanceError
from freshline.history import History
from freshline.history.bulk import BulkReader
from freshline.history.kept import Kept, keep, metadata, read_past
from freshline.history.past import ChangeKind, Past
from freshline.model import Asset, Graph
from freshline.policy import MaxLag
from freshline.report import Report, report_of
from freshline.report.lag import Lag, lag_of, whole_times
from freshline.stamp import data_time_metadata
from scenes import Scene, clock
from week_log import BROKEN_MINUTES, DAY, LIMITS, Week, fill_week

BEGIN = clock("10 00:00")


def root(key: str, at: float, version: str | None = None) -> dg.AssetsDefinition:
    """Return a root whose sync began to read at `at`; `version` is the data version it sets."""

    @dg.asset(name=key)
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            metadata=data_time_metadata(datetime.fromtimestamp(at, UTC)),
            data_version=dg.DataVersion(version) if version else None,
        )

    return made


def asset(key: str, *deps: str) -> dg.AssetsDefinition:
    @dg.asset(name=key, deps=list(deps))
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    return made


GRAPH = Graph(
    {
        "root": Asset("root", "here"),
        "middle": Asset("middle", "here", ("root",)),
        "mart": Asset("mart", "here", ("middle",), MaxLag(5)),
    },
    ticks={"here": 5.0},
)


def past_of(scene: Scene, graph: Graph = GRAPH, begin: float = BEGIN) -> Past:
    return read_past(scene.instance, graph, begin, scene.now)


def lag_in(past: Past, scene: Scene, key: str = "mart", graph: Graph = GRAPH) -> Lag:
    policy = graph.assets[key].policy
    assert policy is not None
    changes = [change for change in past.changes if change.key == key]
    return lag_of(changes, policy, whole_times(past.periods, BEGIN, scene.now))


def steps(past: Past, key: str = "mart") -> list[tuple[ChangeKind, float | None]]:
    """Return the changes of an asset, with the data time in seconds since `BEGIN`."""
    return [
        (it.kind, None if it.data_time is None else it.data_time - BEGIN)
        for it in past.changes
        if it.key == key
    ]


@pytest.fixture(autouse=True)
def no_tables(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no table of the compact history in the database that tests share."""
    yield
    shared = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if "postgres" in {*request.fixturenames, shared.get("instance")}:
        database = request.getfixturevalue("postgres_instance").event_log_storage
        with database.index_connection() as connection:
            metadata.drop_all(connection)


@pytest.fixture
def scene(instance: dg.DagsterInstance) -> Scene:
    """An instance on which a location has run its three assets once."""
    return made_once(instance)


def made_once(instance: dg.DagsterInstance) -> Scene:
    scene = Scene(instance, "10 00:00")
    scene.report("anything")
    sync(scene.after(1), "one")
    for key, dep in (("middle", "root"), ("mart", "middle")):
        scene.after(1).run(asset(key, dep))
    return scene


def sync(scene: Scene, version: str | None = None) -> None:
    scene.run(root("root", scene.now - 10.0, version))


class TestReplay:
    def test_tells_when_the_data_of_a_target_became_newer(self, scene: Scene) -> None:
        sync(scene.after(1), "two")
        for key, dep in (("middle", "root"), ("mart", "middle")):
            scene.after(1).run(asset(key, dep))

        assert [(ChangeKind.STANDS, None), (ChangeKind.MADE, 50.0), (ChangeKind.MADE, 230.0)] == (
            steps(past_of(scene.after(1)))
        )

    def test_unchanged_data_move_a_target_on_at_the_time_at_which_that_was_seen(
        self, scene: Scene
    ) -> None:
        sync(scene.after(10), "one")
        sync(scene.after(10), "one")
        sync(scene.after(10), "other")
        past = past_of(scene.after(1))

        assert [
            (ChangeKind.STANDS, None),
            (ChangeKind.MADE, 50.0),
            (ChangeKind.UNCHANGED, 13 * 60.0 - 10.0),
            (ChangeKind.UNCHANGED, 23 * 60.0 - 10.0),
        ] == steps(past)
        assert [780.0, 1380.0] == [
            it.at - BEGIN for it in past.changes if it.kind is ChangeKind.UNCHANGED
        ]

    def test_what_is_seen_later_does_not_count_before(self, scene: Scene) -> None:
        sync(scene.after(10), "one")
        begin = scene.after(1).now
        sync(scene.after(9), "one")
        found = past_of(scene.after(1), begin=begin)

        assert [(ChangeKind.STANDS, 770.0), (ChangeKind.UNCHANGED, 1370.0)] == steps(found)

    def test_a_wiped_target_has_no_data(self, postgres: dg.DagsterInstance) -> None:
        scene = made_once(postgres)  # on SQLite, Dagster has a wipe in no log of all runs
        with scene.after(1).stopped():
            scene.instance.wipe_assets([dg.AssetKey("mart")])
        scene.after(1)

        assert lag_in(past_of(scene), scene).unknown >= 60.0

    def test_an_observation_that_says_unchanged_moves_its_own_target(self, scene: Scene) -> None:
        at = datetime.fromtimestamp(scene.after(5).now, UTC)
        scene.observe("mart", metadata=data_time_metadata(at))

        assert (ChangeKind.UNCHANGED, scene.now - BEGIN) == steps(past_of(scene.after(1)))[-1]

    def test_a_view_is_as_old_as_what_it_shows(self, scene: Scene) -> None:
        view = Asset("view", "here", ("root",), MaxLag(5), view=True)
        graph = replace(GRAPH, assets={**GRAPH.assets, "view": view})
        sync(scene.after(5), "two")

        assert [
            (ChangeKind.STANDS, None),
            (ChangeKind.UNCHANGED, 50.0),
            (ChangeKind.UNCHANGED, 470.0),
        ] == steps(past_of(scene.after(1), graph), "view")

    def test_a_target_that_does_not_age_is_not_followed(self, scene: Scene) -> None:
        seed = Asset("seed", "here", (), MaxLag(5), static=True)
        graph = replace(GRAPH, assets={**GRAPH.assets, "seed": seed})

        assert frozenset({"seed"}) == past_of(scene, graph).not_followed

    def test_partitions_reach_as_far_as_none_is_missing(self, memory: dg.DagsterInstance) -> None:
        days = partition_logs.asset("days", windows=partition_logs.daily())
        log = partition_logs.Log(memory, days)
        for day, hours in (("10", 24.5), ("12", 72.5), ("11", 80.0)):
            at = partition_logs.MIDNIGHT + hours * 3600.0
            log.made("days", f"2026-01-{day}", at, data_time=at)
        graph = partition_logs.lineage(replace(days, policy=MaxLag(60)))
        end = partition_logs.MIDNIGHT + 90 * 3600.0
        past = read_past(memory, graph, end - 90 * 3600.0, end)

        assert [(24.5, 24.0), (72.5, 24.0), (80.0, 72.0)] == [
            tuple((time - partition_logs.MIDNIGHT) / 3600.0 for time in (it.at, it.data_time or 0))
            for it in past.changes
            if it.kind is ChangeKind.MADE
        ]

    def test_tells_how_long_each_version_took(self, scene: Scene) -> None:
        change = past_of(scene.after(1)).changes[-1]

        assert "mart" == change.key
        assert change.run_id
        assert change.started is not None
        assert change.ready == clock("10 00:02")

    def test_the_lag_is_that_of_the_plans_at_every_time(self, instance: dg.DagsterInstance) -> None:
        """What a report says of a time afterwards is what the plan has said then."""
        scene = Scene(instance, "10 00:00")
        versions = iter(("one", "one", "two", "two", "two", "three"))
        seen: list[tuple[float, float | None]] = []

        def look() -> None:
            seen.append((scene.now, scene.target("mart").lag))

        scene.publish("here", root("root", 0.0), asset("middle", "root"), _mart())
        for minute, what in enumerate(("rmt", "r", "rm", "t", "r", "r", "rmt")):
            scene.after(3 + minute)
            for step in what:
                if step == "r":
                    sync(scene, next(versions, None))
                else:
                    scene.run(asset("middle", "root") if step == "m" else asset("mart", "middle"))
                scene.after(0.5)
                look()
                scene.after(0.1)
        lag = lag_in(past_of(scene.after(1)), scene)

        def lag_at(at: float) -> float | None:
            return next(it.lag_at(at) for it in lag.stretches if it.begin <= at < it.end)

        assert len(seen) > 10
        assert [at for at, _ in seen if lag_at(at) is None] == [
            at for at, told in seen if told is None
        ]
        assert [told for _, told in seen if told is not None] == pytest.approx(
            [lag_at(at) for at, told in seen if told is not None]
        )


def _mart() -> dg.AssetsDefinition:
    @dg.asset(name="mart", deps=["middle"], metadata=max_lag(minutes=5))
    def made() -> None: ...

    return made


class TestKept:
    def test_what_is_kept_is_what_the_log_tells(self, scene: Scene) -> None:
        sync(scene.after(10), "one")
        scene.after(5)
        before = past_of(scene)
        period = keep(scene.instance, GRAPH, scene.now)
        after = past_of(scene)

        assert period is not None
        assert period.end == scene.now - 60.0
        assert steps(before) == steps(_without_stands(after))
        assert _seconds(before, scene) == pytest.approx(_seconds(after, scene))

    def test_nothing_is_kept_twice(self, scene: Scene) -> None:
        scene.after(5)
        keep(scene.instance, GRAPH, scene.now)
        again = keep(scene.instance, GRAPH, scene.now)
        rows = _count(scene.instance)

        assert again is None
        Kept(scene.instance).add(Kept(scene.instance).read(0.0))
        assert rows == _count(scene.instance)

    def test_goes_on_where_it_ended(self, scene: Scene) -> None:
        scene.after(5)
        first = keep(scene.instance, GRAPH, scene.now)
        sync(scene.after(1), "two")
        scene.after(5)
        second = keep(scene.instance, GRAPH, scene.now)

        assert first is not None
        assert second is not None
        assert first.end == second.begin
        past = past_of(scene)
        assert 2 == sum(it.key == "root" and it.kind is ChangeKind.MADE for it in past.changes)

    def test_what_is_less_than_a_minute_old_is_left_to_the_next_time(self, scene: Scene) -> None:
        scene.after(5)
        sync(scene, "late")
        scene.after(0.5)
        keep(scene.instance, GRAPH, scene.now)
        kept = Kept(scene.instance).read(0.0)

        assert "root" in {it.key for it in kept.changes if it.kind is ChangeKind.MADE}
        assert scene.now - 30.0 not in {it.at for it in kept.changes}

    def test_a_report_needs_no_tables(self, scene: Scene) -> None:
        assert not Kept(scene.instance).exists()
        assert past_of(scene.after(1)).changes

    def test_tables_are_an_interface(self) -> None:
        columns = {
            table.name: [column.name for column in table.columns]
            for table in metadata.sorted_tables
        }

        assert {
            "freshline_periods": ["event", "begin", "end"],
            "freshline_runs": ["id", "status", "requested", "launched", "ended"],
            "freshline_silences": ["event", "location", "begin", "end"],
            "freshline_verdicts": [
                "id",
                "target",
                "at",
                "status",
                "reason",
                "location",
                "asset",
                "phase",
            ],
            "freshline_versions": [
                "event",
                "key",
                "kind",
                "at",
                "data_time",
                "run_id",
                "ready",
                "requested",
                "launched",
                "started",
            ],
        } == columns


def _without_stands(past: Past) -> Past:
    """Leave out how things stood when a later period began."""
    first = past.changes[0].event
    return replace(
        past,
        changes=tuple(
            it for it in past.changes if it.kind is not ChangeKind.STANDS or it.event == first
        ),
    )


def _seconds(past: Past, scene: Scene) -> tuple[float, float]:
    lag = lag_in(past, scene)
    return lag.seconds, lag.broken


def _count(instance: Any) -> dict[str, int]:
    """Return how many rows each table has."""
    with instance.event_log_storage.index_connection() as connection:
        return {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in metadata.sorted_tables
        }


# --- a week -----------------------------------------------------------------------------------

END = clock("17 00:00")


@pytest.fixture(scope="module")
def week_instance(
    postgres_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    with postgres_server.new_database() as database:
        home = tmp_path_factory.mktemp("week")
        write_instance(home, database)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance


@pytest.fixture(scope="module")
def week(week_instance: dg.DagsterInstance) -> Week:
    """Seven days with ten thousand runs. Do not change them."""
    return fill_week(week_instance, END)


@pytest.fixture(scope="module")
def graph(week_instance: dg.DagsterInstance, week: Week) -> Graph:
    return graph_in(week_instance)


@pytest.fixture(scope="module")
def report(week_instance: dg.DagsterInstance, week: Week, graph: Graph) -> Report:
    """The report on the week without its first hour, in which the targets were made at last."""
    begin = week.begin + 3600.0
    return report_of(graph, read_past(week_instance, graph, begin, END), begin, END)


class TestWeek:
    def test_has_ten_thousand_runs(self, week: Week) -> None:
        assert 10_000 <= week.truth.runs

    @pytest.mark.parametrize("key", sorted(LIMITS))
    def test_lags_are_exact(self, week: Week, report: Report, key: str) -> None:
        (target,) = (it for it in report.targets if it.key == key)
        begin = week.begin + 3600.0

        assert pytest.approx(END - begin) == target.lag.seconds
        assert week.truth.late(key, begin, END) > 3600.0
        assert pytest.approx(week.truth.late(key, begin, END)) == target.lag.broken
        assert pytest.approx(week.truth.longest(key, begin, END)) == target.lag.longest
        assert 0.0 == target.lag.unknown

    @pytest.mark.parametrize("key", sorted(LIMITS))
    def test_the_distribution_is_that_of_samples(
        self, week: Week, report: Report, key: str
    ) -> None:
        (target,) = (it for it in report.targets if it.key == key)
        steps = week.truth.steps[key]
        place, samples = 0, []
        for second in range(int(week.begin) + 3600, int(END)):
            while place + 1 < len(steps) and steps[place + 1][0] <= second:
                place += 1
            samples.append(second - steps[place][1])
        samples.sort()

        for share in (0.1, 0.5, 0.9, 0.99):
            sample = samples[int(share * len(samples))]
            assert target.lag.quantile(share) == pytest.approx(sample, abs=2.0)

    def test_breaches_have_their_causes(self, week: Week, report: Report) -> None:
        causes = [
            (breach.target, breach.causes[0].location, breach.causes[0].phase)
            for breach in report.breaches
        ]

        assert [
            ("mart/mart_gh_cumulative", "ingestion", "failing"),
            ("mart/mart_gh_join", "ingestion", "failing"),
            ("mart/mart_gh_cumulative", "analytics_marts", "silent"),
            ("mart/mart_gh_join", "analytics_marts", "silent"),
        ] == causes
        failing, *_, silent = report.breaches
        assert failing.interval.seconds < BROKEN_MINUTES * 60.0 + 300.0
        assert silent.interval.begin < week.down[1] < silent.interval.end

    def test_the_silence_of_a_location_is_seen(self, week: Week, report: Report) -> None:
        (silence,) = report.silences

        assert "analytics_marts" == silence.location
        assert silence.end is not None
        assert silence.begin <= week.down[0] < week.down[1] <= silence.end

    def test_costs_are_what_was_written(
        self, week_instance: dg.DagsterInstance, week: Week, graph: Graph
    ) -> None:
        past = read_past(week_instance, graph, week.begin, END)
        cost = report_of(graph, past, week.begin, END).cost

        assert week.truth.syncs == pytest.approx(cost.syncs * cost.hours)
        assert week.truth.runs == pytest.approx(cost.runs * cost.hours)
        assert week.truth.failed == cost.failed
        assert sum(week.truth.made.values()) == pytest.approx(cost.versions * cost.hours)

    def test_cycles_end_where_their_targets_were_made(self, week: Week, report: Report) -> None:
        for target in report.targets:
            assert target.cycles is not None
            usual = target.cycles.usual
            assert "postgres/stargazers" == usual.stops[0].key
            assert target.key == usual.stops[-1].key
            assert (usual.at, usual.data_time) in week.truth.steps[target.key]


class TestPurge:
    """What was kept is reported as before, whatever is deleted from Dagster's tables."""

    def test_a_report_is_the_same_after_all_that_is_old_was_deleted(
        self, postgres: dg.DagsterInstance
    ) -> None:
        week = fill_week(postgres, END, days=3)
        graph = graph_in(postgres)
        begin = week.begin + 3600.0
        before = report_of(graph, read_past(postgres, graph, begin, END), begin, END)
        keep(postgres, graph, END)
        delete_before(postgres, END - 6 * 3600.0)
        after = report_of(graph, read_past(postgres, graph, begin, END), begin, END)

        assert len(postgres.get_run_records()) < week.truth.runs / 4
        assert before.cost == after.cost
        assert before.silences == after.silences
        assert 4 == len(before.breaches)
        assert before.breaches == after.breaches
        for was, now in zip(before.targets, after.targets, strict=True):
            assert (was.key, was.lag.late, was.cycles) == (now.key, now.lag.late, now.cycles)
            assert [was.lag.quantile(share) for share in (0.5, 0.99)] == pytest.approx(
                [now.lag.quantile(share) for share in (0.5, 0.99)]
            )

    def test_a_row_of_a_version_is_small(self, postgres: dg.DagsterInstance) -> None:
        fill_week(postgres, END, days=1)
        keep(postgres, graph_in(postgres), END)
        with postgres.event_log_storage.index_connection() as connection:
            size, rows = connection.execute(
                sa.text(
                    "select pg_total_relation_size('freshline_versions'), count(*) "
                    "from freshline_versions"
                )
            ).one()

        assert rows > 1_000
        assert size / rows < 350

    def test_what_was_deleted_before_it_was_kept_is_said_to_be_unknown(
        self, postgres: dg.DagsterInstance
    ) -> None:
        week = fill_week(postgres, END, days=1)
        graph = graph_in(postgres)
        delete_before(postgres, END - 6 * 3600.0)
        past = read_past(postgres, graph, week.begin, END)

        assert pytest.approx(END - 6 * 3600.0, abs=60.0) == past.periods[0].begin


class TestRecipe:
    """The program in docs/report.md that deletes old runs."""

    def test_deletes_what_no_plan_needs(
        self,
        postgres_server: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        now = time.time()
        with postgres_server.new_database() as database:
            write_instance(tmp_path, database)
            monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
            with dg.DagsterInstance.get() as instance:
                week = fill_week(instance, now, days=1)
                graph = graph_in(instance)
                before = History(instance).read(graph, now)
                keep(instance, graph, now)
                exec(compile(recipe("12 * 3_600"), "docs/report.md", "exec"), {})  # noqa: S102
                after = History(instance).read(graph, now)
                report = report_of(
                    graph, read_past(instance, graph, now - DAY, now), now - DAY, now
                )
                left = len(instance.get_run_records())

        assert 0 < left < week.truth.runs * 0.6
        for key, state in before.assets.items():
            assert state.version == after.assets[key].version
        assert week.truth.runs == pytest.approx(report.cost.runs * report.cost.hours)


def recipe(age: str) -> str:
    """Return the program of the page, for runs of another age."""
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    program = text.partition("```python\n")[2].partition("```")[0]
    assert "30 * 86_400" in program
    return program.replace("30 * 86_400", age)


def graph_in(instance: dg.DagsterInstance) -> Graph:
    return graph_of(published.contract for published in read_contracts(instance).values())


def delete_before(instance: dg.DagsterInstance, at: float) -> None:
    """Delete everything that was written before a time, as an administrator of Postgres could."""
    old = "timestamp < to_timestamp(:at) at time zone 'UTC'"
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        for statement in (
            f"delete from event_logs where {old}",
            f"delete from asset_check_executions where evaluation_event_{old}",
            "delete from runs where end_time < :at",
        ):
            connection.execute(sa.text(statement), {"at": at})


def test_a_storage_without_a_database_is_refused_in_one_line() -> None:
    class Instance:
        event_log_storage = run_storage = object()

    with pytest.raises(InstanceError, match="cannot be read in bulk"):
        BulkReader(Instance())  # type: ignore[arg-type]  # what another storage would be


def test_positions_are_found_by_time(postgres: dg.DagsterInstance) -> None:
    scene = Scene(postgres, "10 00:00")
    for _ in range(20):
        scene.after(1).report("anything")
    reader = BulkReader(postgres)
    first = reader.first()

    assert first is not None
    times = (first[1], first[1] + 1.0, first[1] + 9 * 60.0 + 1.0, scene.now + 1.0)
    assert [first[0] - 1, first[0], first[0] + 9, first[0] + 19] == [
        reader.position_at(at) for at in times
    ]


def test_positions_in_an_empty_log_are_zero(postgres: dg.DagsterInstance) -> None:
    assert 0 == BulkReader(postgres).position_at(BEGIN)
