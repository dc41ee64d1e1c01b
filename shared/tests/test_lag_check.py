"""When the state of a target is recorded again, and what is recorded."""

from __future__ import annotations

from dataclasses import replace

from freshline.model import Blame, Phase, TargetPlan, TargetStatus, Version
from freshline.sensor.lag_check import check_result, recorded_state

NOW = 1_796_035_480.0  # 2026-11-30 10:44:40 UTC
FIRST = Version(id=1, at=NOW - 60, data_time=NOW - 100)


def target(
    status: TargetStatus, blame: Blame | None = None, deadline: float | None = None
) -> TargetPlan:
    return TargetPlan("mart", "marts", status, 400.0, 300.0, deadline, 60.0, blame, "why")


def held_up(asset: str, phase: Phase, since: float = 0.0) -> TargetPlan:
    return target(TargetStatus.LATE, Blame("team", asset, phase, since, f"{asset} since {since}"))


class TestRecordedState:
    def test_a_run_that_goes_from_phase_to_phase_is_nothing_new(self) -> None:
        queued, running = held_up("root", Phase.QUEUE), held_up("root", Phase.EXECUTION, 60.0)

        assert recorded_state(queued, FIRST) == recorded_state(running, FIRST)

    def test_another_asset_is_something_new(self) -> None:
        assert recorded_state(held_up("root", Phase.QUEUE), FIRST) != recorded_state(
            held_up("middle", Phase.QUEUE), FIRST
        )

    def test_a_failure_is_something_new(self) -> None:
        assert recorded_state(held_up("root", Phase.EXECUTION), FIRST) != recorded_state(
            held_up("root", Phase.FAILING), FIRST
        )

    def test_another_status_is_something_new(self) -> None:
        assert recorded_state(target(TargetStatus.LATE), FIRST) != recorded_state(
            target(TargetStatus.BLOCKED), FIRST
        )

    def test_what_is_next_for_a_fresh_target_is_nothing_new(self) -> None:
        soon = Blame("team", "root", Phase.WAIT, None, "is next")

        assert recorded_state(target(TargetStatus.FRESH), FIRST) == recorded_state(
            target(TargetStatus.FRESH, soon), FIRST
        )

    def test_another_version_is_something_new(self) -> None:
        fresh = target(TargetStatus.FRESH, deadline=NOW)

        assert recorded_state(fresh, FIRST) != recorded_state(fresh, replace(FIRST, id=2))
        assert recorded_state(fresh, None) != recorded_state(fresh, FIRST)

    def test_data_that_moves_on_without_a_version_is_something_new(self) -> None:
        fresh, later = (target(TargetStatus.FRESH, deadline=NOW + it) for it in (0.0, 240.0))

        assert recorded_state(fresh, FIRST) != recorded_state(later, FIRST)

    def test_data_that_is_new_at_every_moment_is_nothing_new(self) -> None:
        fresh, later = (
            replace(target(TargetStatus.FRESH, deadline=NOW + it), lag=0.0) for it in (0.0, 5.0)
        )

        assert recorded_state(fresh, FIRST) == recorded_state(later, FIRST)


class TestCheckResult:
    def test_it_says_when_it_was_so(self) -> None:
        result = check_result(replace(target(TargetStatus.FRESH), reason="good until 10:49"), NOW)

        assert "2026-11-30 10:44:40 UTC: good until 10:49" == result.description
