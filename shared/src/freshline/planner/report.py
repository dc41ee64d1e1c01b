"""The plan as people and sensors read it: a line for each asset, a state for each target."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import inf

from freshline.model import (
    AssetPlan,
    Phase,
    Plan,
    Snapshot,
    TargetPlan,
    TargetStatus,
    Version,
)
from freshline.planner.blame import blame_of_hold, culprit_of, is_on_its_way
from freshline.planner.claims import feasible
from freshline.planner.deadlines import deadline, overdue
from freshline.planner.decisions import Decision
from freshline.planner.estimate import allowance
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.policy import MaxLag
from freshline.words import at_least, clock, span

__all__ = ["asset_plans", "idle_message", "plan_id", "target_plans"]


def plan_id(lineage: Lineage, snapshot: Snapshot) -> str:
    """Return a digest of what the plan is made from, except the time."""
    digest = blake2b(lineage.digest.encode(), digest_size=6)
    capacity = snapshot.capacity
    for told in (snapshot.pauses, snapshot.ticks, capacity.pools):
        digest.update(repr(sorted(told.items(), key=str)).encode())
    if capacity.slots is not None:
        digest.update(f"{capacity.slots} {capacity.others}\n".encode())
    for execution_set in lineage.execution_sets:
        if execution_set.asleep:
            continue
        for key in execution_set.keys:
            state = snapshot.assets.get(key)
            if state:
                version = state.version.id if state.version else ""
                run = state.pending.run_id if state.pending else ""
                digest.update(f"{key} {version} {run} {state.failures}\n".encode())
                for part in state.parts:
                    run = part.pending.run_id if part.pending else ""
                    digest.update(f"{part.name} {part.version} {run} {part.failures}\n".encode())
    return digest.hexdigest()


def asset_plans(facts: Facts, decisions: Mapping[str, Decision]) -> dict[str, AssetPlan]:
    """Return what to do about every asset that there is something to say about, by key."""
    plans: dict[str, AssetPlan] = {}
    now = facts.now
    for execution_set in facts.execution_sets:
        for key in execution_set.keys:
            decision = decisions[key]
            latest, due, claim, _ = decision.urgency
            plans[key] = AssetPlan(
                key=key,
                request=decision.request,
                due=decision.start,
                target=claim.target if claim else None,
                deadline=due if due is not None and due != -inf else None,
                slack=latest - now if -inf < latest < inf else None,
                reason=decision.reason,
                cause=decision.cause,
                expected=decision.arrival if decision.arrival < inf else None,
                run=execution_set.keys[0] if decision.alone else "",
                parts=decision.parts,
                together=decision.together,
            )
    return plans


def target_plans(
    lineage: Lineage,
    facts: Facts,
    decisions: Mapping[str, Decision],
) -> dict[str, TargetPlan]:
    """Return how every target in `lineage` stands, by key."""
    return {key: _target_plan(key, lineage, facts, decisions) for key in lineage.policies}


def _target_plan(
    key: str, lineage: Lineage, facts: Facts, decisions: Mapping[str, Decision]
) -> TargetPlan:
    policy = lineage.policies[key]
    maximum = policy.minutes * 60.0
    asset = facts.assets[key]
    version = asset.state.version
    data_time = version.data_time if version else None
    if version and lineage.graph.assets[key].static:
        facts.changes_now()
        data_time = facts.now
    lag = None if data_time is None else max(0.0, facts.now - data_time)
    late = data_time is None or overdue(policy, data_time, facts.now)
    if data_time is not None:
        facts.changes_at(deadline(policy, data_time))
    shortest = asset.route.shortest(policy, facts.now)
    hold = asset.hold
    pause = facts.pause(key)
    blame = blame_of_hold(hold, facts) if hold else None
    if late and not pause and (hold is None or hold.phase is Phase.UNSCHEDULED):
        culprit = culprit_of(key, lineage, facts, decisions)
        if hold is None or is_on_its_way(culprit, decisions):
            hold, blame = None, culprit
    stands = hold is not None and (late or hold.phase in (Phase.SILENT, Phase.UNKNOWN))
    fails = late and blame is not None and blame.phase is Phase.FAILING
    status = _status(
        paused=pause is not None,
        blocked=stands or fails,
        feasible=feasible(asset.route, policy, facts.now),
        late=late,
    )

    why = blame.message if blame else ""
    if pause:
        reason = f"paused until {clock(pause.until, facts.now)}: {pause.reason}"
    elif status is TargetStatus.BLOCKED and blame:
        reason = f"held up by {blame.asset} ({blame.location}): {why}"
    elif status is TargetStatus.INFEASIBLE:
        reason = (
            f"at most {span(maximum)} asked, but its path can hold {at_least(shortest)} at best"
        )
        reason += _because_of(key, lineage, facts)
    else:
        reason = _standing(policy, version, data_time, facts.now, why)
    return TargetPlan(
        key=key,
        location=asset.location,
        status=status,
        lag=lag,
        maximum=maximum,
        deadline=None if data_time is None else deadline(policy, data_time),
        shortest=shortest,
        blame=blame,
        reason=reason,
        unchanged_since=version.unchanged_since if version and not late else None,
        never_promised={
            name: facts.assets[name].state.holes_before_promise for name in sorted(asset.gaps)
        },
    )


def _status(*, paused: bool, blocked: bool, feasible: bool, late: bool) -> TargetStatus:
    if paused:
        return TargetStatus.PAUSED
    if blocked:
        return TargetStatus.BLOCKED
    if not feasible:
        return TargetStatus.INFEASIBLE
    return TargetStatus.LATE if late else TargetStatus.FRESH


def _standing(
    policy: MaxLag, version: Version | None, data_time: float | None, now: float, why: str
) -> str:
    """Return how a target stands that nothing blocks."""
    if version is None:
        return f"no version yet: {why}"
    if data_time is None:
        return f"the age of its data is unknown: {why}"
    by = clock(deadline(policy, data_time), now, policy.timezone)
    if overdue(policy, data_time, now):
        maximum = policy.minutes * 60.0
        return f"over its {span(maximum)} since {by}: {why}"
    until = f"good until {by}"
    if version.unchanged_since is not None:
        until += f"; nothing has changed upstream since {clock(version.unchanged_since, now)}"
    return until + (f", but {why}" if why else "")


def _because_of(key: str, lineage: Lineage, facts: Facts) -> str:
    """Return what of an asset upstream makes a policy infeasible, besides runs; "" if nothing."""
    windows = facts.assets[key].route.windows
    if windows is None and not lineage.has_rests:
        return ""
    upstream = {key}
    waiting = [key]
    while waiting:
        new = set(lineage.inputs[waiting.pop()]) - upstream
        upstream |= new
        waiting.extend(new)
    if windows is not None:
        coarsest = min(name for name in upstream if lineage.graph.assets[name].windows == windows)
        long, path = windows.longest(facts.now), allowance(facts.assets[key].route.path)
        return f": a partition of {coarsest} is {span(long)} long, and the path takes {span(path)}"
    slowest = max(sorted(upstream), key=lambda name: facts.assets[name].stage.rest.mean)
    rest = facts.assets[slowest].stage.rest.mean
    if rest < facts.assets[key].route.slowest.mean / 2:
        return ""
    return f": {slowest} is made at most every {span(rest)}"


def idle_message(plan: Plan, location: str, lineage: Lineage, now: float | None = None) -> str:
    """Return what is next in `location`: `next: mart/x in 42 s for mart/y (due 12:03:10 UTC)`.

    `plan` is one of `lineage`. `now` is the time at which that is said; by default, that of the
    plan.
    """
    now = plan.now if now is None else now
    best: AssetPlan | None = None
    running: AssetPlan | None = None
    waiting: AssetPlan | None = None
    for key in lineage.by_location.get(location, ()):
        asset_plan = plan.assets.get(key)
        if asset_plan is None:  # there is nothing to say about it
            continue
        if asset_plan.due is None:
            waiting = waiting or (asset_plan if asset_plan.target else None)
        elif asset_plan.due <= now:
            running = running or asset_plan
        elif best is None or best.due is None or asset_plan.due < best.due:
            best = asset_plan
    if best is None or best.due is None:
        held = running or waiting
        return f"{held.key}: {held.reason}" if held else "no policy needs anything here"
    due = ""
    if best.target and best.deadline is not None:
        due = f" (due {clock(best.deadline, now, lineage.policies[best.target].timezone)})"
    ahead = f" for {best.target}{due}" if best.target else ""
    return f"next: {best.key} in {span(best.due - now)}{ahead}"
