"""What one asset needs its execution set to do: start now, or wait, and why.

A root starts at the last tick before its latest start. Any other asset

- never starts on inputs that would not improve it;
- waits for newer inputs as long as they are expected before its latest start, so that it
  joins the last sync that still meets its deadline;
- starts at once when waiting gains nothing, and at its latest start in any case;
- joins the run of an input of its own location, if it would start right after it anyway.

A partition is made as soon as it can be complete, because waiting gains nothing then. If one run
can make many partitions, they wait for each other as long as the deadline allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from freshline.model import Part
from freshline.planner.claims import Urgency, urgency
from freshline.planner.facts import is_unmade
from freshline.planner.known import Known
from freshline.planner.parts import Choice, choice_of, reached_by
from freshline.words import clock, span

__all__ = ["Vote", "Voter"]

_STATIC: Final = "its content does not change with time"


@dataclass(slots=True)
class Vote:
    """What one asset needs its execution set to do: start now, or wait."""

    go: bool
    reason: str
    start: float = inf
    """When it needs to start, if not now."""
    overdue: bool = False
    """Whether it waits for a run that takes longer than was expected: `start` moves with the clock.
    """
    alone: bool = False
    parts: tuple[str, ...] = ()
    """The partitions to make, if it has any."""
    cause: str = ""
    """Why to start now, in a few words that stay true; "": because it is due."""


class Voter:
    """Votes for one asset after the other, inputs first."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def vote_once(self, key: str) -> Vote:
        """Vote for an asset that is made only if it never was, or not as it is now."""
        asset, version = self._known.graph.assets[key], self._known.facts.assets[key].state.version
        if asset.partitioned:
            return self._vote_on_parts_once(key)
        if version is None:
            return Vote(True, "it was never made", cause="first version")
        if is_unmade(asset, version):
            return Vote(True, "its code has changed", cause="new code")
        if asset.view:
            return Vote(False, "it is as fresh as what it reads, without a run")
        return Vote(False, _STATIC)

    def _vote_on_parts_once(self, key: str) -> Vote:
        choice = self._known.choices[key] = choice_of(key, (), self._known.facts, {})
        unmade = [part for part in choice.ready if part.version == 0]
        if not unmade:
            return Vote(False, _STATIC, choice.retry_at)
        names = tuple(part.name for part in unmade)
        named = _names(unmade)
        return Vote(True, f"{named}: never made", parts=names, cause=f"first version of {named}")

    def vote(self, key: str) -> Vote:
        """Vote for an asset that some policy needs."""
        inputs = self._known.inputs[key]
        if self._known.graph.assets[key].partitioned:
            return self._vote_on_parts(key)
        if not inputs:
            return self._vote_on_root(key)
        joined = self._known.joined(key)
        if self._known.improves(key, {}):
            wait = self._known.better_inputs_at(key, joined)
            if wait is None:
                cause = "" if self._known.is_due(key) else "new inputs"
                return Vote(True, self._why_now(key), alone=bool(joined), cause=cause)
        else:
            wait = self._known.improvement_at(key)
        if joined and self._known.improves(key, joined) and self._known.worth_joining(key, joined):
            superseded = self._known.superseded_at(key, joined)
            if superseded is None:
                names = " and ".join(sorted(joined))
                return Vote(True, f"right after {names}, in the same run", cause=f"with {names}")
            wait = superseded
        if wait is None or wait == inf:
            return Vote(False, f"its inputs hold nothing new ({self._known.oldest_input(key)})")
        return self._vote_to_wait_for_inputs(key, wait)

    def _vote_to_wait_for_inputs(self, key: str, wait: float) -> Vote:
        """Return the vote of an asset whose newer inputs are expected at `wait`."""
        latest = clock(self._known.decisions[key].urgency.latest_start, self._known.now)
        oldest = self._known.oldest_input(key)
        overdue = self._known.awaits_overdue(key)
        expected = (
            "expected at any time" if overdue else f"expected at {clock(wait, self._known.now)}"
        )
        return Vote(False, f"waits for {oldest}, {expected}, to start by {latest}", wait, overdue)

    def _vote_on_root(self, key: str) -> Vote:
        urgency = self._known.decisions[key].urgency
        if self._known.is_due(key):
            return Vote(True, self._why_urgent(urgency))
        return self._vote_to_wait(key, urgency)

    def _vote_to_wait(self, key: str, urgency: Urgency) -> Vote:
        """Return the vote of a root that need not start before `urgency` asks for it."""
        latest = urgency.latest_start
        reason = f"not before {clock(latest, self._known.now)}: {self._who_needs_it(urgency)}"
        answer = self._known.facts.assets[key].state.nothing_new
        if answer:
            reason = f"there was nothing new at {clock(answer.at, self._known.now)}; {reason}"
        return Vote(False, reason, latest)

    def _vote_on_parts(self, key: str) -> Vote:
        choice = self._known.choices[key] = choice_of(
            key, self._known.inputs[key], self._known.facts, self._known.joined_parts(key)
        )
        if not choice.ready:
            return self._vote_to_wait_for_parts(key, choice)
        parts = self._parts_to_make_now(key, choice)
        if not parts:
            vote = self._vote_on_open_parts(key, choice)
            if not vote.go:
                return vote
            parts = choice.ready
        return Vote(
            True,
            self._why_parts(key, parts),
            parts=tuple(part.name for part in parts),
            cause=_names(parts),
        )

    def _parts_to_make_now(self, key: str, choice: Choice) -> Sequence[Part]:
        """Return the partitions that can be complete now, and those that are due.

        If one run can make them all, they wait until one of them is due.
        """
        due = [part for part in choice.ready if self._is_part_due(key, part)]
        if self._known.graph.assets[key].single_run:
            return choice.ready if due else ()
        return [part for part in choice.ready if part in choice.final or part in due]

    def _is_part_due(self, key: str, part: Part) -> bool:
        return self._known.is_late_for(key, self._urgency_of_part(key, part))

    def _urgency_of_part(self, key: str, part: Part) -> Urgency:
        asset, answer = self._known.facts.assets[key], part.nothing_new
        reached = reached_by(part, self._known.graph.assets[key])
        if answer and answer.data_time is not None:
            reached = max(reached, answer.data_time)
        elif asset.state.version is None:
            reached = -inf
        return urgency(self._known.claims[key], reached if reached > -inf else None)

    def _vote_on_open_parts(self, key: str, choice: Choice) -> Vote:
        """Return whether to make partitions that could have newer data later, or company."""
        if not self._known.inputs[key]:
            urgencies = [self._urgency_of_part(key, part) for part in choice.ready]
            return self._vote_to_wait(key, min(urgencies, key=lambda each: each.latest_start))
        wait = self._known.better_inputs_at(key, {})
        if wait is None:
            return Vote(True, "")
        return self._vote_to_wait_for_inputs(key, wait)

    def _vote_to_wait_for_parts(self, key: str, choice: Choice) -> Vote:
        asset, windows = self._known.facts.assets[key], self._known.graph.assets[key].windows
        under_way = [part for part in asset.state.parts if part.pending]
        failed = next((part for part in asset.state.parts if part.failures), None)
        if choice.retry_at < inf:
            again = clock(choice.retry_at, self._known.now)
            why = "its source was behind when a closed partition was made"
            if failed:
                why = f"partition {failed.name} failed: {failed.error or 'no message'}"
            return Vote(False, f"{why}; next attempt at {again}", choice.retry_at)
        if under_way:
            return Vote(False, f"{_names(under_way)} is being made", self._known.now)
        if windows is None and not asset.state.parts:
            return Vote(False, "it has no partition keys yet")
        if self._known.inputs[key]:
            return Vote(
                False,
                f"waits for {self._known.oldest_input(key)}",
                self._next_parts_at(key),
                self._known.awaits_overdue(key),
            )
        if windows is None:
            return self._vote_to_wait(key, self._known.decisions[key].urgency)
        if windows.has_open_window:
            self._known.facts.changes_now()
        closes = windows.next_reach(max(asset.data_time or -inf, windows.reach(self._known.now)))
        if closes == inf:
            return Vote(False, "its last window has closed, and is complete")
        return Vote(False, f"its next window closes at {clock(closes, self._known.now)}", closes)

    def _next_parts_at(self, key: str) -> float:
        """Return when the inputs of `key` may be complete for a partition more; inf: never."""
        return max(self._known.decisions[name].arrival for name in self._known.inputs[key])

    def _why_parts(self, key: str, parts: Sequence[Part]) -> str:
        names, inputs = _names(parts), self._known.inputs[key]
        if any(part.window is None or part.window.end > self._known.now for part in parts):
            due = self._known.decisions[key].urgency
            return f"{names}: {self._why_now(key) if inputs else self._why_urgent(due)}"
        if inputs:
            return f"{names}: what it reads is complete"
        return f"{names} {'has' if len(parts) == 1 else 'have'} closed"

    def _who_needs_it(self, urgency: Urgency) -> str:
        claim = urgency.claim
        if claim is None or urgency.deadline is None:
            return "no policy needs it"
        due = ""
        if urgency.deadline != -inf:
            due = f" by {clock(urgency.deadline, self._known.now, claim.policy.timezone)}"
        return f"{claim.target} needs newer data{due}, {span(claim.allowed)} from its start"

    def _why_urgent(self, urgency: Urgency) -> str:
        if urgency.deadline is None:
            return "there is no version of it yet"
        return self._who_needs_it(urgency)

    def _why_now(self, key: str) -> str:
        if self._known.is_due(key):
            return self._why_urgent(self._known.decisions[key].urgency)
        return "its inputs are ready, and newer ones would come too late"


def _names(parts: Sequence[Part]) -> str:
    """Return the name of the first partition, and how many there are besides it."""
    more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
    return f"partition {parts[0].name}{more}"
