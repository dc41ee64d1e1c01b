"""How inputs come together, and what an infeasible policy is served as, each rule as a story."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from freshline.model import Asset
from freshline.policy import MaxLag
from freshline.simulate import Duration, Scenario, World, figures, simulate
from planner_stories import Story, graph_of

HOUR = 3600.0


def two_roots(minutes: float = 10, **seconds: float) -> Story:
    """Return a mart over a quick and a slow root, each in a location of its own."""
    return Story(
        graph_of(
            Asset("quick", "one"),
            Asset("slow", "two"),
            Asset("mart", "three", ("quick", "slow"), MaxLag(minutes)),
        ),
        seconds=seconds,
    )


def simulated(
    story: Story, hours: float, launch: float = 0.0, first_ticks: Mapping[str, float] | None = None
) -> World:
    durations = {key: Duration(story.seconds[key]) for key in story.graph.assets}
    scenario = Scenario(story.graph, durations, Duration(launch), first_ticks=first_ticks or {})
    return simulate(scenario, hours * HOUR)


def starts(world: World, key: str, begin: float = HOUR) -> list[float]:
    """Return when the runs of `key` were requested that came after `begin`."""
    return [run.requested_at for run in world.runs if key in run.keys and run.requested_at >= begin]


class TestInTimeForARunThatAnotherInputNeeds:
    def story(self) -> Story:
        """Tell of a mart that reads of 12:00:00 and 12:01:20, and of the next run of `slow`."""
        story = two_roots(quick=5.0, slow=90.0, mart=20.0)
        story = story.at(85).made("quick", data=80).at(90).made("slow", data=0)
        return story.at(110).made("mart", data=0).at(485).started("slow")

    def test_an_input_comes_early_when_another_one_needs_a_run_of_the_mart(self) -> None:
        # `slow` will be there at 575, and the mart has to start by 578.
        assert 565 == self.story().first_request("quick", within=300)

    def test_an_input_comes_when_it_is_due_when_it_cannot_be_in_time_any_more(self) -> None:
        # 600 s of lag, 25 s of path and 2 s of margin: no later than 573 s after its data of 80 s.
        assert 650 == self.story().at(570).first_request("quick", within=300)

    def test_an_input_comes_early_once_when_the_run_waits_for_it_no_longer(self) -> None:
        story = self.story().at(570).made("quick", data=565).at(575).made("slow", data=485)

        assert {"mart"} == story.requested
        story = story.at(595).made("mart", data=485)
        assert 485 + 485 == story.first_request("slow", within=900)
        assert 485 + 565 == story.at(485 + 485).started("slow").first_request("quick", within=900)


class TestAtWhatCost:
    @pytest.mark.parametrize(("mart", "start"), [(2.0, 1205), (60.0, 1040)])
    def test_an_input_comes_early_only_when_that_costs_less_than_it_spares(
        self, mart: float, start: float
    ) -> None:
        """A root of 90 s against a run of the mart; the other root's path is far longer."""
        story = two_roots(20, quick=90.0, slow=500.0, mart=mart)
        story = story.at(190).made("quick", data=100).at(500).made("slow", data=0)
        story = story.at(500 + mart).made("mart", data=0).at(695).started("slow")

        assert start == story.first_request("quick", within=900)

    @pytest.mark.parametrize(("tight", "start"), [(5.0, 1225), (60.0, 1300)])
    def test_a_shared_root_comes_early_for_a_slower_target_only_when_a_tighter_one_costs_little(
        self, tight: float, start: float
    ) -> None:
        # The mart must start by 1236 for want of data of `other`; `shared` is due at 1303. When it
        # comes early, the tighter target is made more often too.
        story = Story(
            graph_of(
                Asset("shared", "one"),
                Asset("other", "two"),
                Asset("tight", "three", ("shared",), MaxLag((367 + tight) / 60)),
                Asset("mart", "four", ("shared", "other"), MaxLag(633 / 60)),
            ),
            seconds={"shared": 2.0, "other": 90.0, "tight": tight, "mart": 5.0},
        )
        story = story.at(700).made("other", data=610).at(705).made("mart", data=610)
        story = story.at(942).made("shared", data=940).at(942 + tight).made("tight", data=940)

        assert start == story.at(1100).started("other").first_request("shared", within=400)

    @pytest.mark.parametrize(("mart", "report"), [(20.0, 5.0), (5.0, 20.0)])
    def test_an_input_comes_early_at_any_cost_when_the_target_would_be_late_otherwise(
        self, mart: float, report: float
    ) -> None:
        # `slow` has data of 0 s, `quick` of 15 s. Two runs 15 s apart, one for each of them, would
        # be in each other's way: one of their assets takes 20 s. Another target, far behind, needs
        # `quick` by 458 s only, and costs a lot of work.
        way = [f"step_{number}" for number in range(12)]
        steps = [
            Asset(key, key, (before,), MaxLag(2850 / 60) if key == way[-1] else None)
            for before, key in pairwise(["quick", *way])
        ]
        story = Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "two"),
                Asset("mart", "three", ("quick", "slow")),
                Asset("report", "four", ("mart",), MaxLag(8)),
                *steps,
            ),
            seconds=dict.fromkeys(way, 200.0)
            | {"quick": 5.0, "slow": 60.0, "mart": mart, "report": report},
        )
        story = story.made("slow", "mart", "report", data=0).made("quick", *way, data=15)

        assert 440 == story.first_request("quick", within=600)

    def test_an_input_does_not_come_early_when_it_will_do_for_a_whole_cycle(self) -> None:
        # The report runs back to back, every 90 s. For its next run, `quick` is 80 s newer than
        # what the mart has used.
        story = Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "two"),
                Asset("mart", "three", ("quick", "slow")),
                Asset("report", "four", ("mart",), MaxLag(2)),
            ),
            seconds={"quick": 5.0, "slow": 60.0, "mart": 5.0, "report": 90.0},
        )
        story = story.made("report", data=-155).at(60).made("slow", data=0)
        story = story.at(65).made("mart", data=0).started("report")
        story = story.at(85).made("quick", data=80).at(90).started("slow")

        assert 220 == story.first_request("quick", within=300)

    def test_an_input_does_not_come_early_when_a_cron_needs_no_newer_data(self) -> None:
        story = Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "two"),
                Asset("mart", "three", ("quick", "slow"), MaxLag(5, cron="0 * * * *")),
            ),
            seconds={"quick": 5.0, "slow": 60.0, "mart": 5.0},
        )
        story = story.at(60).made("slow", data=-5).made("quick", data=0).made("mart", data=-5)

        # Both have data of before 12:55. At 13:00 the mart has to be there.
        assert 3600 - 15 == story.first_request("quick", within=3600)


class TestInOneRun:
    """A root of 60 s is due; one of 30 s meets it in a mart of 20 s of their own location."""

    def story(self, short_in: str = "one", mart_in: str = "one", **short: Any) -> Story:
        story = Story(
            graph_of(
                Asset("long", "one"),
                Asset("short", short_in, **short),
                Asset("mart", mart_in, ("long", "short"), MaxLag(10)),
            ),
            seconds={"long": 60.0, "short": 30.0, "mart": 20.0},
        )
        story = story.at(60).made("long", data=0).made("short", data=0)
        return story.at(80).made("mart", data=0)

    def due(self, **options: Any) -> Story:
        """Go to the last tick that is in time for `long`: 600 s of lag, 80 s of path, a margin."""
        return self.story(**options).at(515)

    def test_a_root_starts_with_one_that_it_meets_in_its_own_location(self) -> None:
        assert {"long", "short", "mart"} == self.due().requested

    def test_the_plan_says_why(self) -> None:
        short = self.due().plan.assets["short"]

        assert "starts early, in the run that makes mart" == short.reason
        assert "with mart" == short.cause

    @pytest.mark.parametrize("elsewhere", ["short_in", "mart_in"])
    def test_they_start_one_after_the_other_when_one_run_cannot_make_them_and_what_reads_both(
        self, elsewhere: str
    ) -> None:
        assert {"long"} == self.due(**{elsewhere: "two"}).requested

    def test_a_root_that_is_not_due_before_they_meet_does_not(self) -> None:
        assert {"long", "mart"} == self.due().made("short", data=510).requested

    def test_a_root_that_is_being_made_does_not(self) -> None:
        assert {"long"} == self.due().started("short").requested

    def test_a_root_that_is_never_requested_does_not(self) -> None:
        assert {"long"} == self.due(never_requested="somebody else makes it").requested

    def test_a_root_that_is_made_at_most_every_eight_minutes_rests_first(self) -> None:
        assert {"long"} == self.due(at_most_every=480.0).requested

    def test_a_failed_root_pauses_first(self) -> None:
        assert {"long"} == self.due().failed("short").requested


class TestSimulated:
    def test_roots_come_together_and_what_is_made_from_them_is_made_once_a_cycle(self) -> None:
        roots = {f"root_{number}": 5.0 + 85.0 * number / 3 for number in range(4)}
        story = Story(
            graph_of(
                *(Asset(key, f"place_{key[-1]}") for key in roots),
                Asset("mart", "marts", tuple(roots)),
                Asset("report", "reports", ("mart",), MaxLag(10)),
            ),
            seconds={**roots, "mart": 20.0, "report": 10.0},
        )
        world = simulated(story, hours=3, launch=3.0)

        # After two hours, durations are known well enough for phases to have locked.
        pauses = {
            b - a for key in story.graph.assets for a, b in pairwise(starts(world, key, 2 * HOUR))
        }
        ends = [[run.ended[key] for run in world.runs if key in run.ended][-7:] for key in roots]
        # 600 s less 126 s on the longest path and 2 s of margin: at most 472 s.
        assert {465.0} == pauses
        assert 10.0 >= max(max(some) - min(some) for some in zip(*ends, strict=True))
        assert 0.0 == figures(world, HOUR, 3 * HOUR).targets["report"].share

    def test_a_mart_is_made_once_for_each_version_of_its_slow_root_when_the_other_is_a_target(
        self,
    ) -> None:
        story = Story(
            graph_of(
                Asset("quick", "one", (), MaxLag(372 / 60)),
                Asset("slow", "two"),
                Asset("mart", "three", ("quick", "slow"), MaxLag(633 / 60)),
            ),
            seconds={"quick": 2.0, "slow": 90.0, "mart": 5.0},
        )
        world = simulated(story, hours=6)

        late = {key: each.share for key, each in figures(world, HOUR, 6 * HOUR).targets.items()}
        assert (37, 37) == (len(starts(world, "slow")), len(starts(world, "mart")))
        assert 55 == len(starts(world, "quick"))
        assert {"quick": 0.0, "mart": 0.0} == late


class TestInfeasible:
    def story(self, seconds: float | None) -> Story:
        """Tell of a mart that may be `seconds` old (139 could be held), and of a calm neighbour."""
        policy = None if seconds is None else MaxLag(seconds / 60)
        return Story(
            graph_of(
                Asset("quick", "one"),
                Asset("slow", "two"),
                Asset("mart", "three", ("quick", "slow"), policy),
                Asset("calm", "four", ("slow",), MaxLag(10)),
            ),
            seconds={"quick": 10.0, "slow": 60.0, "mart": 2.0, "calm": 5.0},
        )

    @pytest.mark.parametrize("phases", [{}, {"two": 1.0, "three": 2.0, "four": 3.5}])
    def test_the_slowest_root_runs_back_to_back_and_the_lag_is_as_short_as_can_be(
        self, phases: Mapping[str, float]
    ) -> None:
        world = simulated(self.story(138.0), 2, 4.0, phases)

        shortest = world.plan().targets["mart"].shortest or 0.0
        # 4 s to launch and 60 s to execute, up to the next tick of its location.
        assert {65.0} == {b - a for a, b in pairwise(starts(world, "slow"))}
        assert [] == world.overlaps
        assert 138.0 < shortest
        assert figures(world, HOUR, 2 * HOUR).targets["mart"].longest <= 1.05 * shortest

    @pytest.mark.parametrize("phases", [{}, {"two": 2.0}])
    def test_a_neighbour_is_made_as_often_as_alone(self, phases: Mapping[str, float]) -> None:
        alone, beside = (simulated(self.story(it), 2, 4.0, phases) for it in (None, 60.0))

        assert 7 == len(starts(alone, "calm")) == len(starts(beside, "calm"))
        assert 0.0 == figures(beside, HOUR, 2 * HOUR).targets["calm"].share
