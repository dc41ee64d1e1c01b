"""What a report says: lag, breaches, cycles and cost, worked out from a past that is given."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

import pytest
from freshline.history.past import Change, ChangeKind, Past, PastRun, Period, Silence, Verdict
from freshline.model import Asset, Graph, Phase, TargetStatus
from freshline.policy import MaxLag
from freshline.report import TargetReport, report_of
from freshline.report.breaches import Breach, Cause, breaches_of
from freshline.report.cost import cost_of, seconds_of_versions
from freshline.report.cycle import Part, Paths, cycles_of
from freshline.report.lag import Interval, Lag, Stretch, lag_of, whole_times

FIVE = MaxLag(5)
HOUR = [Interval(0.0, 3600.0)]


def made(
    event: int, at: float, data_time: float | None, key: str = "mart", **more: object
) -> Change:
    return Change(event, key, at, ChangeKind.MADE, data_time, **more)  # type: ignore[arg-type]


def lag(*changes: Change, policy: MaxLag = FIVE, times: list[Interval] = HOUR) -> Lag:
    return lag_of(changes, policy, times)


class TestLag:
    def test_grows_from_version_to_version(self) -> None:
        found = lag(made(1, -60.0, -100.0), made(2, 200.0, 150.0), made(3, 400.0, 390.0))

        assert [
            Stretch(0.0, 200.0, -100.0),
            Stretch(200.0, 400.0, 150.0),
            Stretch(400.0, 3600.0, 390.0),
        ] == found.stretches
        assert 3210.0 == found.longest

    def test_is_late_from_the_maximum_on_until_newer_data_are_there(self) -> None:
        found = lag(made(1, 0.0, -100.0), made(2, 500.0, 480.0), made(3, 700.0, 690.0))

        assert [Interval(200.0, 500.0), Interval(990.0, 3600.0)] == found.late
        assert 300.0 + 2610.0 == found.broken
        assert found.within is not None
        assert isclose(1 - 2910 / 3600, found.within)

    def test_a_version_that_is_late_itself_does_not_end_a_breach(self) -> None:
        found = lag(made(1, 0.0, -100.0), made(2, 500.0, 100.0), made(3, 700.0, 690.0))

        assert Interval(200.0, 700.0) == found.late[0]

    def test_is_late_without_a_version_and_with_an_unknown_data_time(self) -> None:
        found = lag(
            Change(0, "mart", 0.0, ChangeKind.STANDS, None),
            made(1, 100.0, None),
            made(2, 200.0, 190.0),
            times=[Interval(0.0, 400.0)],
        )

        assert [Interval(0.0, 200.0)] == found.late
        assert 200.0 == found.unknown

    def test_the_order_of_events_counts_where_clocks_contradict_it(self) -> None:
        found = lag(made(1, 100.0, 50.0), made(2, 99.0, 80.0), times=[Interval(0.0, 200.0)])

        assert [Stretch(100.0, 200.0, 80.0)] == found.stretches

    def test_a_time_of_which_nothing_is_known_is_not_judged(self) -> None:
        times = [Interval(0.0, 100.0), Interval(1000.0, 1100.0)]
        found = lag(made(1, 0.0, 0.0), made(2, 990.0, 980.0), times=times)

        assert 200.0 == found.seconds
        assert [] == found.late

    def test_with_a_cron_only_its_ticks_are_judged(self) -> None:
        policy = MaxLag(5, cron="*/10 * * * *")
        found = lag(made(1, 0.0, -100.0), made(2, 1190.0, 1180.0), policy=policy)

        # Of the ticks at 0, 600, ... 3000 s: at 600 s and from 1800 s on, the data are too old.
        assert (6.0, 4.0) == (found.judged, found.broken)
        assert [Interval(600.0, 1190.0), Interval(1800.0, 3600.0)] == found.late

    def test_the_budget_is_used_up_when_as_much_was_late_as_is_allowed(self) -> None:
        found = lag(made(1, 0.0, -264.0), made(2, 54.0, 53.0), made(3, 300.0, 3599.0))

        assert 18.0 == found.broken
        left = found.budget_left(0.99)
        assert left is not None
        assert isclose(0.5, left)
        assert isclose(0.0, found.budget_left(0.995) or 0.0, abs_tol=1e-9)

    def test_quantiles_are_those_of_time(self) -> None:
        # Lags from 0 to 100 s, then from 0 to 300 s.
        found = lag(made(1, 0.0, 0.0), made(2, 100.0, 100.0), times=[Interval(0.0, 400.0)])

        assert 50.0 == pytest.approx(found.quantile(0.25))
        assert 100.0 == pytest.approx(found.quantile(0.5))
        assert 200.0 == pytest.approx(found.quantile(0.75))
        assert 300.0 == pytest.approx(found.quantile(1.0))
        assert 200.0 == found.seconds_up_to(100.0)

    def test_a_quantile_that_lies_in_unknown_time_is_unknown(self) -> None:
        found = lag(made(1, 0.0, 0.0), made(2, 100.0, None), times=[Interval(0.0, 400.0)])

        assert 40.0 == pytest.approx(found.quantile(0.1))
        assert found.quantile(0.5) is None

    def test_periods_that_join_are_one_time(self) -> None:
        periods = [Period(0.0, 100.0, 1), Period(100.0, 200.0, 2), Period(300.0, 400.0, 3)]

        assert [Interval(50.0, 200.0), Interval(300.0, 350.0)] == whole_times(periods, 50.0, 350.0)


class TestBreaches:
    LATE = lag(made(1, 0.0, -100.0), made(2, 500.0, 480.0), times=[Interval(0.0, 600.0)])

    def verdict(self, id_: int, at: float, status: TargetStatus, asset: str = "root") -> Verdict:
        if status is TargetStatus.FRESH:
            return Verdict(id_, "mart", at, status, "good")
        return Verdict(
            id_, "mart", at, status, f"waits for {asset}", "team", asset, Phase.EXECUTION
        )

    def causes(self, *verdicts: Verdict, silences: tuple[Silence, ...] = ()) -> list[Cause]:
        (breach,) = breaches_of("mart", "marts", self.LATE, verdicts, silences)
        return list(breach.causes)

    def test_says_what_the_plan_said_then(self) -> None:
        verdict = self.verdict(1, 202.0, TargetStatus.LATE)
        found = breaches_of("mart", "marts", self.LATE, [verdict], [])

        cause = Cause("team", "root", Phase.EXECUTION, "waits for root", 300.0)
        assert [Breach("mart", Interval(200.0, 500.0), 600.0, [cause])] == found

    def test_names_the_cause_that_held_longest_first(self) -> None:
        late, other = (
            self.verdict(1, 201.0, TargetStatus.LATE, "root"),
            self.verdict(2, 260.0, TargetStatus.LATE, "middle"),
        )

        assert [("middle", 240.0), ("root", 60.0)] == [
            (it.asset, it.seconds) for it in self.causes(late, other)
        ]

    def test_what_was_said_before_it_began_counts_until_something_else_is_said(self) -> None:
        blocked = self.verdict(1, 50.0, TargetStatus.BLOCKED)

        assert [("root", 300.0)] == [(it.asset, it.seconds) for it in self.causes(blocked)]

    def test_the_silence_of_its_own_location_is_a_cause_without_a_verdict(self) -> None:
        silence = Silence(1, "marts", 100.0, 400.0)
        late = self.verdict(1, 405.0, TargetStatus.LATE)

        assert [(Phase.SILENT, 200.0), (Phase.EXECUTION, 100.0)] == [
            (it.phase, it.seconds) for it in self.causes(late, silences=(silence,))
        ]

    def test_the_silence_of_another_location_is_not(self) -> None:
        silence = Silence(1, "core", 100.0, 400.0)

        assert [("", 300.0)] == [
            (it.location, it.seconds) for it in self.causes(silences=(silence,))
        ]

    def test_a_verdict_long_after_it_began_does_not_explain_its_beginning(self) -> None:
        late = self.verdict(1, 400.0, TargetStatus.LATE)

        assert [("", 200.0), ("team", 100.0)] == [
            (it.location, it.seconds) for it in self.causes(late)
        ]


def chain() -> Graph:
    """Return a root, what is made from it in another location, and a target in a third."""
    return Graph(
        {
            "root": Asset("root", "ingest"),
            "middle": Asset("middle", "core", ("root",)),
            "mart": Asset("mart", "marts", ("middle",), FIVE),
        },
        ticks={"ingest": 5.0, "core": 5.0, "marts": 5.0},
    )


def cycle(number: int, begin: float) -> list[Change]:
    """Return the versions of a cycle: a sync of 30 s, then two builds of 10 s in runs of their own.

    Each run waits 2 s for a tick, queues for 1 s and starts in 3 s.
    """
    first = number * 10
    changes = []
    ready: float | None = None
    at = begin
    for place, (key, seconds) in enumerate((("root", 30.0), ("middle", 10.0), ("mart", 10.0))):
        asked = at + (0.0 if ready is None else 2.0)
        at = asked + 4.0 + seconds
        changes.append(
            Change(
                event=first + place,
                key=key,
                at=at,
                kind=ChangeKind.MADE,
                data_time=begin + 4.0,
                run_id=f"{key} {number}",
                ready=ready,
                requested=asked,
                launched=asked + 1.0,
                started=asked + 4.0,
            )
        )
        ready = at
    return changes


class TestCycles:
    CHANGES = tuple(change for number in range(3) for change in cycle(number, number * 200.0))

    def paths(self) -> Paths:
        keys = {change.key for change in self.CHANGES}
        return Paths(chain(), {key: [it for it in self.CHANGES if it.key == key] for key in keys})

    def test_the_usual_cycle_goes_from_the_sync_to_the_target(self) -> None:
        found = cycles_of("mart", self.paths(), HOUR)

        assert found is not None
        assert 3 == found.count
        assert ["root", "middle", "mart"] == [stop.key for stop in found.usual.stops]
        assert ["ingest", "core", "marts"] == [stop.location for stop in found.usual.stops]
        assert 62.0 == found.usual.seconds

    def test_the_shares_add_up_to_the_length_of_the_cycle(self) -> None:
        found = cycles_of("mart", self.paths(), HOUR)

        assert found is not None
        assert 62.0 == sum(sum(share.seconds.values()) for share in found.shares)
        seconds = {share.key: dict(share.seconds) for share in found.shares}
        assert {Part.TICK: 2.0, Part.QUEUE: 1.0, Part.START: 3.0, Part.MAKE: 10.0} == {
            part: taken for part, taken in seconds["middle"].items() if taken
        }
        assert {Part.MAKE: 30.0} == {part: it for part, it in seconds["root"].items() if it}

    def test_what_waits_longer_than_a_tick_was_held(self) -> None:
        root, middle, mart = cycle(0, 0.0)
        late = replace(
            mart,
            at=mart.at + 60.0,
            requested=(mart.requested or 0.0) + 60.0,
            launched=(mart.launched or 0.0) + 60.0,
            started=(mart.started or 0.0) + 60.0,
        )
        paths = Paths(chain(), {"root": [root], "middle": [middle], "mart": [late]})
        found = cycles_of("mart", paths, HOUR)

        assert found is not None
        spans = {it.part: it.end - it.begin for it in found.usual.stops[-1].spans}
        assert (57.0, 5.0) == (spans[Part.HELD], spans[Part.TICK])

    def test_an_asset_of_the_same_run_only_takes_the_time_after_the_one_before(self) -> None:
        root, middle, mart = cycle(0, 0.0)
        same = replace(
            mart,
            at=middle.at + 4.0,
            run_id=middle.run_id,
            requested=middle.requested,
            launched=middle.launched,
            started=middle.started,
        )
        paths = Paths(chain(), {"root": [root], "middle": [middle], "mart": [same]})
        found = cycles_of("mart", paths, HOUR)

        assert found is not None
        assert [(Part.MAKE, 4.0)] == [
            (it.part, it.end - it.begin) for it in found.usual.stops[-1].spans
        ]

    def test_there_is_none_if_the_beginning_of_a_step_is_not_known(self) -> None:
        root, middle, mart = cycle(0, 0.0)
        paths = Paths(
            chain(), {"root": [root], "middle": [replace(middle, started=None)], "mart": [mart]}
        )

        assert cycles_of("mart", paths, HOUR) is None


class TestCost:
    CHANGES = TestCycles.CHANGES
    RUNS = tuple(
        PastRun(change.run_id, "SUCCESS", change.at, change.launched) for change in CHANGES
    )

    def test_counts_what_was_made_in_an_hour(self) -> None:
        failed = PastRun("broken", "FAILURE", 100.0, requested=90.0)
        other = PastRun("of something else", "FAILURE", 100.0)
        found = cost_of(chain(), self.CHANGES, [*self.RUNS, failed, other], HOUR)

        assert (3.0, 9.0, 10.0, 1) == (found.syncs, found.versions, found.runs, found.failed)
        assert 3 * 50.0 == found.work

    def test_the_least_is_what_the_maximum_lag_less_the_path_allows(self) -> None:
        found = cost_of(chain(), self.CHANGES, self.RUNS, HOUR)

        # The path: 30 s of the sync, then twice 4 s to launch and 10 s to build.
        rate = 3600.0 / (300.0 - 58.0)
        assert [rate] * 3 == pytest.approx([it.least for it in found.assets])
        assert 3 * rate == pytest.approx(found.least_versions)
        assert (rate, 3 * rate) == pytest.approx((found.least_syncs, found.least_runs))
        assert 50.0 * rate == pytest.approx(found.least_work)

    def test_a_promise_that_cannot_be_kept_needs_the_slowest_asset_all_the_time(self) -> None:
        graph = chain()
        mart = replace(graph.assets["mart"], policy=MaxLag(0.5))
        found = cost_of(
            replace(graph, assets={**graph.assets, "mart": mart}), self.CHANGES, self.RUNS, HOUR
        )

        assert 120.0 == found.least_syncs

    def test_an_asset_is_made_as_often_as_the_most_demanding_target_below_needs(self) -> None:
        graph = chain()
        slow = Asset("slow", "marts", ("root",), MaxLag(60))
        found = cost_of(
            replace(graph, assets={**graph.assets, "slow": slow}), self.CHANGES, self.RUNS, HOUR
        )
        least = {it.key: it.least for it in found.assets}

        assert (least["root"], 3600.0 / (3600.0 - 30.0)) == pytest.approx(
            (3600.0 / (300.0 - 58.0), least["slow"])
        )

    def test_the_work_of_a_run_is_not_counted_twice(self) -> None:
        one = made(1, 20.0, 0.0, "one", run_id="run", started=10.0)
        two = made(2, 25.0, 0.0, "two", run_id="run", started=10.0)

        assert {(1, "one"): 10.0, (2, "two"): 5.0} == seconds_of_versions([one, two])


class TestReport:
    def past(self, **more: object) -> Past:
        changes = (Change(0, "mart", 0.0, ChangeKind.STANDS, 0.0), *TestCycles.CHANGES)
        return Past((Period(0.0, 3600.0, 99),), changes, **more)  # type: ignore[arg-type]

    def new(self, *changes: Change, policy: MaxLag = FIVE) -> TargetReport:
        """Return what is said after an hour of a target whose policy was published at 500 s."""
        graph = Graph({"mart": Asset("mart", "marts", policy=policy)})
        stands = Change(0, "mart", 0.0, ChangeKind.STANDS, None)
        past = Past((Period(0.0, 3600.0, 99),), (stands, *changes))
        (found,) = report_of(graph, past, 0.0, 3600.0, promised={"mart": 500.0}).targets
        return found

    def test_a_target_is_judged_from_its_maximum_lag_after_its_policy_on(self) -> None:
        found = self.new(made(1, 3599.0, 3590.0))

        assert (800.0, 2800.0) == (found.since, found.lag.seconds)

    def test_a_new_target_breaks_no_promise_until_a_first_version_can_be_expected(self) -> None:
        found = self.new(made(1, 700.0, 3400.0))

        assert ([], 1.0) == (found.breaches, found.lag.within)
        assert 1.0 == found.lag.budget_left(0.995)

    def test_a_first_version_that_comes_later_is_late_from_then_on(self) -> None:
        found = self.new(made(1, 900.0, 3400.0))

        assert [Interval(800.0, 900.0)] == [it.interval for it in found.breaches]

    def test_old_data_of_a_target_with_a_new_policy_is_no_breach(self) -> None:
        found = self.new(made(1, 10.0, 0.0), made(2, 700.0, 3400.0))

        assert [] == found.breaches

    def test_with_a_cron_a_first_version_is_expected_at_the_first_tick_after_that(self) -> None:
        found = self.new(made(1, 1300.0, 3400.0), policy=MaxLag(5, cron="*/10 * * * *"))

        # Of the ticks at 0, 600, ... 3000 s, the one at 600 s asks for data of 300 s.
        assert (1200.0, 4.0, 1.0) == (found.since, found.lag.judged, found.lag.broken)

    def test_a_target_that_was_wiped_is_late_at_once(self) -> None:
        wiped = Change(2, "mart", 1000.0, ChangeKind.WIPED, None)
        found = self.new(made(1, 700.0, 690.0), wiped, made(3, 1100.0, 3400.0))

        # It is over its five minutes ten seconds before.
        assert [Interval(990.0, 1100.0)] == [it.interval for it in found.breaches]

    def test_of_a_policy_that_is_younger_than_its_maximum_lag_nothing_is_judged(self) -> None:
        found = report_of(chain(), self.past(), 0.0, 600.0, promised={"mart": 500.0})

        assert [None] == [it.lag.within for it in found.targets]

    def test_a_target_that_cannot_be_followed_is_named(self) -> None:
        found = report_of(chain(), self.past(not_followed=frozenset({"mart"})), 0.0, 600.0)

        assert ([], ["mart"]) == (list(found.targets), found.not_followed)

    def test_targets_with_the_least_budget_left_come_first(self) -> None:
        graph = chain()
        late = replace(graph.assets["mart"], key="late", policy=MaxLag(1))
        stands = Change(0, "late", 0.0, ChangeKind.STANDS, 0.0)
        past = self.past()
        found = report_of(
            replace(graph, assets={**graph.assets, "late": late}),
            replace(past, changes=(stands, *past.changes)),
            0.0,
            600.0,
        )

        assert ["late", "mart"] == [it.key for it in found.targets]
