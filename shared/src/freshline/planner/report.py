"""The plan as people and sensors read it: a line for each asset, a state for each target."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from math import inf

from freshline.model import (
    AssetPlan,
    Blame,
    Graph,
    Part,
    Pending,
    Phase,
    Plan,
    Snapshot,
    TargetPlan,
    TargetStatus,
    Version,
)
from freshline.planner.claims import feasible
from freshline.planner.deadlines import deadline, overdue
from freshline.planner.decisions import Decision
from freshline.planner.estimate import allowance
from freshline.planner.facts import Facts, Hold
from freshline.planner.lineage import Lineage
from freshline.planner.parts import first_hole
from freshline.policy import MaxLag
from freshline.words import clock, span

__all__ = ["DANGLING_AFTER", "asset_plans", "idle_message", "plan_id", "target_plans"]

DANGLING_AFTER = 300.0
"""A dependency that no contract explains is called dangling so many seconds after its consumer's
contract appeared."""


def plan_id(lineage: Lineage, snapshot: Snapshot) -> str:
    """Return a digest of what the plan is made from, except the time."""
    digest = blake2b(lineage.digest.encode(), digest_size=6)
    digest.update(repr(sorted(snapshot.pauses.items(), key=str)).encode())
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
        data_time = facts.now
    lag = None if data_time is None else max(0.0, facts.now - data_time)
    late = data_time is None or overdue(policy, data_time, facts.now)
    shortest = asset.route.shortest(policy, facts.now)
    hold = asset.hold
    pause = facts.pause(key)
    blame = _blame(hold, facts.now) if hold else None
    if late and not pause and (hold is None or hold.phase is Phase.UNSCHEDULED):
        culprit = _culprit(key, lineage, facts, decisions)
        if hold is None or _is_on_its_way(culprit, decisions):
            hold, blame = None, culprit
    if pause:
        status = TargetStatus.PAUSED
    elif hold and (late or hold.phase in (Phase.SILENT, Phase.UNKNOWN)):
        status = TargetStatus.BLOCKED
    elif not feasible(asset.route, policy, facts.now):
        status = TargetStatus.INFEASIBLE
    else:
        status = TargetStatus.LATE if late else TargetStatus.FRESH

    why = blame.message if blame else ""
    if pause:
        reason = f"paused until {clock(pause.until, facts.now)}: {pause.reason}"
    elif status is TargetStatus.BLOCKED and blame:
        reason = f"held up by {blame.asset} ({blame.location}): {why}"
    elif status is TargetStatus.INFEASIBLE:
        reason = f"at most {span(maximum)} asked, but its path can hold {span(shortest)} at best"
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
    )


def _standing(
    policy: MaxLag, version: Version | None, data_time: float | None, now: float, why: str
) -> str:
    """Return how a target stands that nothing blocks."""
    if version is None:
        return f"no version yet: {why}"
    if data_time is None:
        return f"the age of its data is unknown: {why}"
    if overdue(policy, data_time, now):
        maximum = policy.minutes * 60.0
        return f"{span(max(0.0, now - data_time) - maximum)} over its {span(maximum)}: {why}"
    until = f"good until {clock(deadline(policy, data_time), now, policy.timezone)}"
    if version.unchanged_since is not None:
        until += f"; nothing has changed upstream since {clock(version.unchanged_since, now)}"
    return until + (f", but {why}" if why else "")


def _blame(hold: Hold, now: float) -> Blame:
    """Return `hold` as the blame for a late or blocked target downstream of it."""
    message = hold.message
    if hold.phase is not Phase.UNKNOWN:
        message += f" since {clock(hold.since, now)}" if hold.since is not None else ""
    elif hold.since is None or now - hold.since > DANGLING_AFTER:
        message += ": dangling"
    else:
        by = clock(hold.since + DANGLING_AFTER, now)
        message += f": dangling unless it is explained by {by}"
    return Blame(hold.location, hold.asset, hold.phase, hold.since, message)


def _because_of(key: str, lineage: Lineage, facts: Facts) -> str:
    """Return what of an asset upstream makes a policy infeasible, besides runs; "" if nothing."""
    upstream = {key}
    waiting = [key]
    while waiting:
        new = set(lineage.inputs[waiting.pop()]) - upstream
        upstream |= new
        waiting.extend(new)
    windows = facts.assets[key].route.windows
    if windows is not None:
        coarsest = min(name for name in upstream if lineage.graph.assets[name].windows == windows)
        long, path = windows.longest(facts.now), allowance(facts.assets[key].route.path)
        return f": a partition of {coarsest} is {span(long)} long, and the path takes {span(path)}"
    slowest = max(sorted(upstream), key=lambda name: facts.assets[name].stage.rest.mean)
    rest = facts.assets[slowest].stage.rest.mean
    if rest < facts.assets[key].route.slowest.mean / 2:
        return ""
    return f": {slowest} is made at most every {span(rest)}"


def _culprit(key: str, lineage: Lineage, facts: Facts, decisions: Mapping[str, Decision]) -> Blame:
    """Return what a late target waits for, found upstream along the oldest inputs."""
    observed = facts.assets[key].location in lineage.graph.observers
    while True:
        asset, decision = facts.assets[key], decisions[key]
        pending, version = asset.pending, asset.state.version
        if pending and pending.started_at is None:
            ahead = [name for name in lineage.inputs[key] if _run_of(name, facts) == pending.run_id]
            if ahead:  # the same run makes an input first
                key = ahead[0]
                continue
        if pending:
            return _blame_run(asset.location, key, key, pending, facts.now)
        if decision.request:
            requested = "would be" if observed else "is"
            message = f"{key} {requested} requested now: {decision.reason}"
            return Blame(asset.location, key, Phase.WAIT, None, message)
        oldest = min(
            lineage.inputs[key],
            key=lambda name: _age_order(facts.data_time_of_input(key, name)),
            default=None,
        )
        waits_below = oldest is None or facts.has_unused_version(oldest, key)
        if lineage.graph.assets[key].partitioned:
            hole = first_hole(key, facts)
            if hole and (waits_below or hole.pending or hole.failures):
                return _blame_part(key, hole, decision, facts)
        answer = asset.state.nothing_new
        if answer and oldest and not waits_below and asset.used_up_to != asset.data_time:
            message = f"{key} had nothing new to make at {clock(answer.at, facts.now)}"
            return Blame(asset.location, key, Phase.WAIT, answer.at, message)
        if oldest is None or waits_below:
            made = facts.assets[oldest].state.version if oldest else None
            message = f"{key} waits: {decision.reason}"
            return Blame(asset.location, key, Phase.WAIT, made.at if made else None, message)
        view = lineage.graph.assets[key].view
        if version and version.data_time is None and not view:
            message = f"the data time of {key} is unknown until its next run"
            return Blame(asset.location, key, Phase.UNKNOWN, version.at, message)
        key = oldest


def _age_order(data_time: float | None) -> tuple[bool, float]:
    return data_time is not None, data_time or 0.0


def _blame_run(location: str, key: str, what: str, pending: Pending, now: float) -> Blame:
    """Return the run that makes `what`, of the asset `key`, as what a target waits for."""
    if pending.started_at is not None:
        # The step may have started after this tick began, or by another host's clock.
        seconds = max(0.0, now - pending.started_at)
        message = f"{what} has been running for {span(seconds)}"
        return Blame(location, key, Phase.EXECUTION, pending.started_at, message)
    launched = pending.launched_at
    phase, doing = (Phase.START, "starting") if launched else (Phase.QUEUE, "queued")
    since = launched or pending.requested_at
    message = f"{what} has been {doing} for {span(max(0.0, now - since))}"
    return Blame(location, key, phase, since, message)


def _blame_part(key: str, part: Part, decision: Decision, facts: Facts) -> Blame:
    """Return the partition that holds the data time of `key` back as what a target waits for."""
    location, what = facts.assets[key].location, f"partition {part.name} of {key}"
    if part.pending:
        return _blame_run(location, key, what, part.pending, facts.now)
    if part.failures:
        times = "once" if part.failures == 1 else f"{part.failures} times in a row"
        message = f"{what} failed {times}: {part.error or 'no message'}"
        return Blame(location, key, Phase.FAILING, part.failed_at, message)
    lacks = "is missing" if part.version == 0 else "is not complete"
    closed = part.window.end if part.window else None
    message = f"{what} {lacks}: {decision.reason}"
    return Blame(location, key, Phase.WAIT, closed, message)


def _is_on_its_way(culprit: Blame, decisions: Mapping[str, Decision]) -> bool:
    """Return whether a run is under way, or requested now, that brings the target further."""
    moving = culprit.phase in (Phase.QUEUE, Phase.START, Phase.EXECUTION)
    return moving or decisions[culprit.asset].request


def _run_of(key: str, facts: Facts) -> str | None:
    pending = facts.assets[key].pending
    return pending.run_id if pending else None


def idle_message(plan: Plan, location: str, graph: Graph) -> str:
    """Return what is next in `location`: `next: mart/x in 42 s for mart/y (due 12:03:10 UTC)`."""
    best: AssetPlan | None = None
    running: AssetPlan | None = None
    waiting: AssetPlan | None = None
    for key, asset_plan in plan.assets.items():
        if graph.assets[key].location != location:
            continue
        if asset_plan.due is None:
            waiting = waiting or (asset_plan if asset_plan.target else None)
        elif asset_plan.due <= plan.now:
            running = running or asset_plan
        elif best is None or best.due is None or asset_plan.due < best.due:
            best = asset_plan
    if best is None or best.due is None:
        held = running or waiting
        return f"{held.key}: {held.reason}" if held else "no policy needs anything here"
    due = ""
    policy = graph.assets[best.target].policy if best.target else None
    if best.deadline is not None and policy is not None:
        due = f" (due {clock(best.deadline, plan.now, policy.timezone)})"
    ahead = f" for {best.target}{due}" if best.target else ""
    return f"next: {best.key} in {span(best.due - plan.now)}{ahead}"
