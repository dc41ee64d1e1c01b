"""When the state of a target is recorded again."""

from __future__ import annotations

from freshline.model import Blame, Phase, TargetPlan, TargetStatus
from freshline.sensor.lag_check import recorded_state


def target(status: TargetStatus, blame: Blame | None = None) -> TargetPlan:
    return TargetPlan("mart", "marts", status, 400.0, 300.0, None, 60.0, blame, "why")


def held_up(asset: str, phase: Phase, since: float = 0.0) -> TargetPlan:
    return target(TargetStatus.LATE, Blame("team", asset, phase, since, f"{asset} since {since}"))


class TestRecordedState:
    def test_a_run_that_goes_from_phase_to_phase_is_nothing_new(self) -> None:
        queued, running = held_up("root", Phase.QUEUE), held_up("root", Phase.EXECUTION, 60.0)

        assert recorded_state(queued) == recorded_state(running)

    def test_another_asset_is_something_new(self) -> None:
        assert recorded_state(held_up("root", Phase.QUEUE)) != recorded_state(
            held_up("middle", Phase.QUEUE)
        )

    def test_a_failure_is_something_new(self) -> None:
        assert recorded_state(held_up("root", Phase.EXECUTION)) != recorded_state(
            held_up("root", Phase.FAILING)
        )

    def test_another_status_is_something_new(self) -> None:
        assert recorded_state(target(TargetStatus.LATE)) != recorded_state(
            target(TargetStatus.BLOCKED)
        )

    def test_of_a_fresh_target_only_the_status_counts(self) -> None:
        soon = Blame("team", "root", Phase.WAIT, None, "is next")

        assert recorded_state(target(TargetStatus.FRESH)) == recorded_state(
            target(TargetStatus.FRESH, soon)
        )
