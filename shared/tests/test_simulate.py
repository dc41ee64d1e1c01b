"""The simulated workspace, its figures, and the command that shows them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from freshline.cli import app
from freshline.contract import Contract, Export
from freshline.contract.document import Partitions, PartitionsRead, TimeWindows
from freshline.errors import WhatIfError
from freshline.model import Asset, Graph
from freshline.policy import MaxLag
from freshline.simulate import (
    Change,
    Duration,
    EitherDuration,
    Fault,
    Outage,
    Scenario,
    World,
    figures,
    simulate,
)
from freshline.simulate.what_if import with_policies
from typer.testing import CliRunner

HOUR = 3600.0


def graph_of(minutes: float = 5, *, slower: float | None = None) -> Graph:
    """Return a source in one location, a mart in another, and perhaps a report with more lag."""
    assets = {
        "source": Asset("source", "ingestion"),
        "mart": Asset("mart", "marts", ("source",), MaxLag(minutes)),
    }
    if slower:
        assets["report"] = Asset("report", "reports", ("mart",), MaxLag(slower))
    return Graph(assets, {asset.location: 5.0 for asset in assets.values()})


SECONDS = {"source": Duration(60.0), "mart": Duration(15.0), "report": Duration(15.0)}


def starts(world: World, key: str, begin: float = 0.0, end: float = float("inf")) -> list[float]:
    return [
        run.requested_at
        for run in world.runs
        if key in run.keys and begin <= run.requested_at < end
    ]


class TestWorld:
    def test_a_version_has_the_data_time_of_what_its_run_read(self) -> None:
        world = simulate(Scenario(graph_of(), SECONDS), until=100.0)

        assert [(60.0, 0.0)] == world.versions["source"]
        assert [(75.0, 0.0)] == world.versions["mart"]

    def test_the_same_seed_gives_the_same_versions(self) -> None:
        durations = {key: Duration(one.mean, 0.3) for key, one in SECONDS.items()}
        scenario = Scenario(graph_of(), durations, failure_rate=0.1, seed=7)

        assert simulate(scenario, HOUR).versions == simulate(scenario, HOUR).versions

    def test_durations_keep_their_mean_when_they_vary(self) -> None:
        durations = {key: Duration(one.mean, 0.5) for key, one in SECONDS.items()}
        world = simulate(Scenario(graph_of(), durations), 24 * HOUR)
        took = [
            run.ended["source"] - run.started["source"]
            for run in world.runs
            if "source" in run.ended
        ]

        assert 60.0 == pytest.approx(sum(took) / len(took), rel=0.06)

    def test_an_asset_takes_another_time_from_when_its_duration_changes(self) -> None:
        change = Change(HOUR, "source", Duration(90.0))
        world = simulate(Scenario(graph_of(), SECONDS, changes=(change,)), 2 * HOUR)

        took = [
            (run.started["source"] >= HOUR, run.ended["source"] - run.started["source"])
            for run in world.runs
            if "source" in run.ended
        ]
        assert {(False, 60.0), (True, 90.0)} == set(took)

    def test_a_duration_of_two_kinds_is_sometimes_the_other_one(self) -> None:
        either = EitherDuration(Duration(20.0), Duration(120.0), share=0.1)
        chance = Random(1)
        samples = [either.sample(chance) for _ in range(5_000)]

        assert 30.0 == either.mean == pytest.approx(sum(samples) / len(samples), rel=0.05)
        assert {20.0, 120.0} == set(samples)

    def test_a_location_may_tick_less_often_than_it_declares(self) -> None:
        scenario = Scenario(graph_of(), SECONDS, real_ticks={"marts": 30.0})
        world = simulate(scenario, 8 * 30.0 + 1)

        assert (240.0, {}) == (world.seen["marts"], world.snapshot().ticks)
        world.advance(9 * 30.0 + 1)  # the tenth tick
        assert {"marts": 30.0} == world.snapshot().ticks

    def test_failures_are_counted_until_the_first_success(self) -> None:
        scenario = Scenario(graph_of(), SECONDS, faults=(Fault("mart", 0.0, 300.0),))

        failing = simulate(scenario, 200.0).states["mart"]
        healed = simulate(scenario, 600.0).states["mart"]

        assert (True, "simulated failure") == (failing.failures > 0, failing.error)
        assert (0, None) == (healed.failures, healed.error)


class TestStories:
    def test_a_source_syncs_more_often_when_another_location_lowers_its_maximum_lag(self) -> None:
        # From 10 minutes to 4 at half past: the source, which is not touched, speeds up.
        scenario = Scenario(graph_of(10), SECONDS, deployments=((1.5 * HOUR, graph_of(4)),))
        world = simulate(scenario, 4 * HOUR)

        slow = figures(world, 0.5 * HOUR, 1.5 * HOUR)
        fast = figures(world, 2.0 * HOUR, 4.0 * HOUR)

        assert 7.0 == pytest.approx(slow.root_syncs, abs=0.5)
        assert 22.5 == pytest.approx(fast.root_syncs, abs=0.5)
        assert 0.0 == fast.targets["mart"].share

    def test_each_asset_runs_once_when_a_location_is_back(self) -> None:
        outage = Outage("marts", HOUR, 2 * HOUR)
        world = simulate(Scenario(graph_of(), SECONDS, outages=(outage,)), 3 * HOUR)

        # While it is gone, the source is synced as usual until the silence is noticed, then once.
        assert 2 >= len(starts(world, "source", HOUR, 2 * HOUR))
        # When it is back: one sync and one run of the mart, then as before. The sync starts a tick
        # later because the source's location ticked just before the marts were heard of.
        back = 2 * HOUR
        assert [back + 5] == starts(world, "source", back, back + 150)
        assert 1 == len(starts(world, "mart", back, back + 150))
        assert 0.0 == figures(world, back + 300, 3 * HOUR).targets["mart"].share

    @pytest.mark.parametrize("seed", range(12))
    def test_no_asset_runs_twice_in_a_row_when_a_location_is_back(self, seed: int) -> None:
        # One version waits that is still of use, and a newer one is already on its way.
        graph = Graph(
            {
                "source": Asset("source", "ingestion"),
                "model": Asset("model", "core", ("source",)),
                "mart": Asset("mart", "marts", ("source",), MaxLag(1.5)),
                "report": Asset("report", "marts", ("model", "mart"), MaxLag(3)),
            },
            {"ingestion": 5.0, "core": 5.0, "marts": 5.0},
        )
        begin = 1800.0 + 11 * seed
        end = begin + 180.0 + 17 * seed
        scenario = Scenario(
            graph,
            dict.fromkeys(graph.assets, Duration(1.3, 0.25)),
            launch=Duration(5.0, 0.25),
            first_ticks={"ingestion": 1.0, "core": 2.5, "marts": seed % 5},
            outages=(Outage("marts", begin, end),),
            seed=seed,
        )
        world = simulate(scenario, end + 300.0)

        for key in ("mart", "report"):
            tries = starts(world, key, end)
            assert [] == [pause for a, b in pairwise(tries) if (pause := b - a) <= 15.0]
            assert tries[0] < end + 60.0

    def test_a_target_is_in_time_whichever_of_its_inputs_comes_last(self) -> None:
        # Mostly `slow` comes last and waits 10 s for the mart's tick; `quick` waits 20 s.
        graph = Graph(
            {
                "slow": Asset("slow", "ingestion", (), MaxLag(75 / 60)),
                "quick": Asset("quick", "ingestion"),
                "mart": Asset("mart", "marts", ("slow", "quick"), MaxLag(2)),
            },
            {"ingestion": 30.0, "marts": 30.0},
        )
        durations = {"slow": Duration(15.0), "quick": Duration(5.0), "mart": Duration(5.0)}
        world = simulate(Scenario(graph, durations, launch=Duration(5.0)), 3 * HOUR)

        assert 0.0 == figures(world, HOUR, 3 * HOUR).targets["mart"].share

    def test_other_targets_are_in_time_while_one_location_is_down(self) -> None:
        outage = Outage("reports", HOUR, 2 * HOUR)
        scenario = Scenario(graph_of(slower=10), SECONDS, outages=(outage,))
        world = simulate(scenario, 3 * HOUR)

        assert 0.0 == figures(world, HOUR, 2 * HOUR).targets["mart"].share
        assert [] == starts(world, "report", HOUR, 2 * HOUR)

    def test_a_failing_mart_is_retried_less_and_less_often(self) -> None:
        fault = Fault("mart", HOUR, 3 * HOUR)
        world = simulate(Scenario(graph_of(), SECONDS, faults=(fault,)), 3 * HOUR)

        tries = starts(world, "mart", HOUR, 3 * HOUR)
        pauses = [after - before for before, after in pairwise(tries)]

        assert sorted(pauses) == pauses
        assert len(tries) < 15
        # One version of the source waits for it; no more are made in vain.
        assert 2 >= len(starts(world, "source", HOUR, 3 * HOUR))

    def test_an_infeasible_policy_does_not_fill_the_queue(self) -> None:
        world = simulate(Scenario(graph_of(1), SECONDS), 3 * HOUR)

        assert [] == world.overlaps
        assert len(starts(world, "mart")) <= 3 * HOUR / 60
        assert len(starts(world, "source")) <= len(starts(world, "mart")) + 2

    def test_a_sync_by_hand_postpones_the_next_one(self) -> None:
        usual = simulate(Scenario(graph_of(), SECONDS), 2 * HOUR)
        before = starts(usual, "source", HOUR)[0]
        scenario = Scenario(graph_of(), SECONDS, by_hand=((before - 60.0, "source"),))
        world = simulate(scenario, 2 * HOUR)

        assert [before - 60.0, before + 160.0] == starts(
            world, "source", before - 60.0, before + 200.0
        )


class TestFigures:
    def test_lag_is_sampled_every_second(self) -> None:
        world = simulate(Scenario(graph_of(), SECONDS), 10.0)
        world.versions["mart"] = [(0.0, 0.0), (400.0, 300.0)]

        found = figures(world, 0.0, 1000.0).targets["mart"]

        # Late from 301 to 399, and from 601 to 999.
        assert (99 + 399) / 1000 == found.share
        assert 700.0 == found.longest

    def test_only_ticks_count_when_a_policy_has_a_cron(self) -> None:
        graph = graph_of()
        hourly = Asset("mart", "marts", ("source",), MaxLag(5, cron="0 * * * *"))
        graph = Graph({**graph.assets, "mart": hourly}, graph.ticks)
        world = simulate(Scenario(graph, SECONDS), 10.0)
        world.versions["mart"] = [(10.0, 0.0), (3590.0, 3500.0)]

        found = figures(world, 0.0, 3 * HOUR).targets["mart"]

        # Ticks at 0 (no version yet), 3600 (100 s old) and 7200 (3700 s old).
        assert 2 / 3 == found.share

    def test_an_execution_set_counts_as_one_sync(self) -> None:
        assets = {
            "table": Asset("table", "one", execution_set="sync"),
            "view": Asset("view", "one", ("table",), MaxLag(5), execution_set="sync"),
        }
        world = simulate(
            Scenario(
                Graph(assets, {"one": 5.0}), {"table": Duration(60.0), "view": Duration(60.0)}
            ),
            HOUR,
        )
        found = figures(world, 0.0, HOUR)

        assert 2 * found.root_syncs == found.materializations


class TestWhatIf:
    def test_a_question_changes_one_policy(self) -> None:
        after = with_policies(graph_of(), ["marts:mart=2m"])

        assert MaxLag(2) == after.assets["mart"].policy
        assert MaxLag(5) == graph_of().assets["mart"].policy

    @pytest.mark.parametrize(
        ("question", "minutes"), [("mart=90s", 1.5), ("marts:mart=1.5h", 90.0)]
    )
    def test_a_question_may_be_in_seconds_or_hours(self, question: str, minutes: float) -> None:
        assert MaxLag(minutes) == with_policies(graph_of(), [question]).assets["mart"].policy

    def test_a_question_of_none_removes_the_policy(self) -> None:
        assert with_policies(graph_of(), ["marts:mart=none"]).assets["mart"].policy is None

    @pytest.mark.parametrize(
        ("question", "message"),
        [
            ("mart", "write LOCATION:KEY=2m"),
            ("marts:mart=2", "write LOCATION:KEY=2m"),
            ("marts:mrt=2m", "did you mean marts:mart?"),
            ("ingestion:mart=2m", "there is no such asset"),
            ("marts:mart=0m", "above zero"),
        ],
    )
    def test_a_question_is_refused_when_it_cannot_be_answered(
        self, question: str, message: str
    ) -> None:
        with pytest.raises(WhatIfError, match=message.replace("?", r"\?")):
            with_policies(graph_of(), [question])


def write_workspace(*contracts: Contract) -> None:
    """Write the contract of each location, and the file that names them, to the current folder."""
    entries = []
    for contract in contracts:
        folder = Path(contract.location)
        folder.mkdir()
        (folder / "contract.json").write_text(contract.to_json(), encoding="utf-8")
        entries.append(
            f"  - python_module:\n      module_name: {contract.location}.definitions\n"
            f"      location_name: {contract.location}\n"
            f"      working_directory: {contract.location}\n"
        )
    Path("workspace.yaml").write_text("load_from:\n" + "".join(entries))


class TestCommand:
    @pytest.fixture(autouse=True)
    def workspace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_workspace(
            Contract(
                location="ingestion",
                published_as="ingestion",
                exports=(Export(key="raw/stars"),),
            ),
            Contract(
                location="marts",
                published_as="marts",
                exports=(Export(key="mart/join", deps=("raw/stars",), policy=MaxLag(10)),),
            ),
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["simulate", "--committed", "--hours", "2", *arguments])
        return result.exit_code, result.output

    def test_the_command_shows_the_cost_and_what_holds(self) -> None:
        status, shown = self.run()

        assert 0 == status
        assert "root syncs an hour" in shown
        assert "mart/join" in shown
        assert "yes" in shown

    def test_the_command_compares_before_and_after(self) -> None:
        status, shown = self.run("--what-if", "marts:mart/join=20s")

        assert 0 == status
        assert "before" in shown
        assert "after" in shown
        assert "impossible" in shown

    def test_the_command_takes_durations_from_a_file(self) -> None:
        Path("seconds.json").write_text(json.dumps({"raw/stars": 900}))
        status, shown = self.run("--durations", "seconds.json")

        assert 0 == status
        assert "impossible" in shown

    def test_the_command_says_how_many_slots_and_places_are_in_use(self) -> None:
        status, shown = self.run("--slots", "3", "--pool", "db=2")

        assert 0 == status
        assert "run slots in use" in shown
        assert "of 3" in shown
        assert "places in the pool db in use" in shown
        assert "0.0 of 2" in shown
        assert "too small" not in shown

    def test_the_command_says_when_there_are_too_few_slots(self) -> None:
        feeds = [Export(key=one, policy=MaxLag(2)) for one in "abcd"]
        write_workspace(
            *(
                Contract(location=export.key, published_as=export.key, exports=(export,))
                for export in feeds
            )
        )
        Path("seconds.json").write_text(json.dumps({export.key: 30 for export in feeds}))

        status, shown = self.run("--slots", "1", "--durations", "seconds.json", "--sigma", "0")

        assert 0 == status
        assert "this machine is too small: the work needs" in shown
        assert "of 1 run slots; with these deadlines," in " ".join(shown.split())

    def test_the_command_ends_with_status_2_when_a_pool_is_not_a_number_of_places(self) -> None:
        status, shown = self.run("--pool", "db")

        assert 2 == status
        assert "write NAME=PLACES" in shown

    def test_the_command_ends_with_status_2_when_a_question_is_wrong(self) -> None:
        status, shown = self.run("--what-if", "marts:mart/jion=2m")

        assert 2 == status
        assert "did you mean marts:mart/join?" in shown


class TestCommandWithPartitions:
    @pytest.fixture(autouse=True)
    def workspace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hours = Partitions(
            windows=TimeWindows(cron="0 * * * *", start=1.7e9, fmt="%Y-%m-%d-%H:%M"),
            complete_from=1.75e9,
        )
        monkeypatch.chdir(tmp_path)
        write_workspace(
            Contract(
                location="ingestion",
                published_as="ingestion",
                tick_seconds=30,
                exports=(
                    Export(key="raw/hours", partitioned=True, partitions=hours),
                    Export(key="raw/feed", observed=True),
                    Export(
                        key="raw/shops", partitioned=True, partitions=Partitions(dynamic="shops")
                    ),
                    Export(
                        key="raw/odd",
                        partitioned=True,
                        partitions=Partitions(unsupported="its partitions are its own"),
                    ),
                ),
            ),
            Contract(
                location="marts",
                published_as="marts",
                tick_seconds=30,
                exports=(
                    Export(
                        key="mart/hours",
                        deps=("raw/hours",),
                        policy=MaxLag(90),
                        partitioned=True,
                        partitions=hours,
                        reads={"raw/hours": PartitionsRead(windows=(0, 0))},
                    ),
                    Export(key="mart/feed", deps=("raw/feed",), policy=MaxLag(60)),
                    Export(key="mart/shops", deps=("raw/shops",), policy=MaxLag(60)),
                    Export(key="mart/odd", deps=("raw/odd",), policy=MaxLag(60)),
                ),
            ),
        )

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(
            app, ["simulate", "--committed", "--hours", "1", *arguments], env={"COLUMNS": "200"}
        )
        assert 0 == result.exit_code, result.output
        return result.output

    def row(self, shown: str, beginning: str) -> str:
        return next(line for line in shown.splitlines() if beginning in line)

    def test_a_target_with_partitions_holds_or_is_too_short_for_its_windows(self) -> None:
        shown = self.run("--what-if", "marts:mart/hours=50m")
        before, after = (
            line for line in shown.splitlines() if "1 h 30 min" in line or "50 min" in line
        )

        assert "0.00%" in before
        assert "yes" in before
        assert "impossible" in after

    def test_observations_are_counted_apart(self) -> None:
        shown = self.run()

        assert "observations an hour" in shown
        assert "1.0" in self.row(shown, "observations an hour")

    def test_what_cannot_be_followed_is_named(self) -> None:
        shown = self.run()

        assert "by others" in self.row(shown, "mart/odd")
        assert "raw/odd is never requested: its partitions are its own" in shown
        assert "raw/shops: simulated with one partition" in shown
