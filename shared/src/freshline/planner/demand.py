"""What the targets ask of each asset, carried upstream from target to root.

Several claims may meet at an asset. Only those that can be the most urgent are kept, so that the
work grows with the graph and not with the number of pairs of target and asset.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heapreplace
from math import inf, sqrt
from typing import NamedTuple

from freshline.planner.claims import Claim, served
from freshline.planner.deadlines import deadline
from freshline.planner.estimate import DEVIATIONS
from freshline.planner.facts import Facts
from freshline.planner.lineage import Lineage
from freshline.planner.meetings import Ask, accepted, asks_of_input
from freshline.policy import MaxLag

__all__ = ["claims_of"]


def claims_of(lineage: Lineage, facts: Facts) -> dict[str, tuple[Claim, ...]]:
    """Return the claims on each asset in `lineage`, by key; some assets have none."""
    asked: dict[str, list[Ask]] = {}
    claims: dict[str, tuple[Claim, ...]] = {}
    ages = _ages(lineage, facts)
    for execution_set in reversed(facts.execution_sets):
        for key in execution_set.keys:
            asset = facts.assets[key]
            asks, stage = asked.pop(key, []), asset.stage
            policy = lineage.policies.get(key)
            if policy and not facts.pause(key):
                asks.append(Ask(Claim(key, served(asset.route, policy, facts.now))))
            kept = _most_urgent(accepted(asks, asset, facts), ages.get(key, ()))
            claims[key] = tuple([claim.upstream_of(stage.run, stage.work) for claim in kept])
            if execution_set.obstacle or execution_set.never_requested or not kept:
                continue  # its inputs would be made for nothing
            windows = lineage.graph.assets[key].windows
            passed_on = [claim.upstream_of(stage.wait, 0.0, windows) for claim in claims[key]]
            for name in lineage.inputs[key]:
                asks = asks_of_input(lineage, facts, claims[key], passed_on, name, key)
                asked.setdefault(name, []).extend(asks)
    return claims


class _Age(NamedTuple):
    """A range of data times: the claims on an asset are judged by data times in it."""

    oldest: float
    newest: float


def _ages(lineage: Lineage, facts: Facts) -> dict[str, tuple[_Age, ...]]:
    """Return which data times there are of each asset and upstream of it: those of now, and now.

    Empty without crons, which alone need it.
    """
    ages: dict[str, tuple[_Age, ...]] = {}
    if not any(policy.cron for policy in lineage.policies.values()):
        return ages
    after_run = _Age(facts.now, facts.now)
    for execution_set in facts.execution_sets:
        for key in execution_set.keys:
            asset = facts.assets[key]
            times = [time for time in (asset.data_time, asset.used_up_to) if time is not None]
            for name in lineage.inputs[key]:
                times.extend(time for age in ages.get(name, ())[:-1] for time in age)
            known = (_Age(min(times), max(times)),) if times else ()
            ages[key] = *known, after_run
    return ages


def _most_urgent(claims: list[Claim], ages: tuple[_Age, ...]) -> list[Claim]:
    """Return `claims` without those that are never the most urgent of their kind.

    Those with crons are a kind, of which those are kept that are the most urgent for some data time
    in `ages`. With time windows on the path, each policy is a kind of its own.
    """
    if len(claims) <= 1:
        return claims
    kinds: dict[object, list[Claim]] = {}
    crons: list[Claim] = []
    for claim in claims:
        if claim.windows:
            kinds.setdefault((claim.policy, claim.windows), []).append(claim)
        elif claim.policy.cron:
            crons.append(claim)
        else:
            kinds.setdefault(None, []).append(claim)
    kept = [claim for alike in kinds.values() for claim in _extremes(alike)]
    return kept + _first_by_cron(crons, ages) if crons else kept


def _first_by_cron(claims: list[Claim], ages: tuple[_Age, ...]) -> list[Claim]:
    """Return those of `claims`, which have crons, that are the most urgent for some data time.

    The deadline that follows from a cron is the same for all data times until it jumps to the next
    tick. So the most urgent claim stays that until its own deadline jumps: others can only become
    less urgent. As in `_extremes`, claims are compared by mean and by allowance.
    """
    alike: dict[MaxLag, list[Claim]] = {}
    for claim in claims:
        alike.setdefault(claim.policy, []).append(claim)
    extremes = [claim for same in alike.values() for claim in _extremes(same)]
    if len(alike) == 1:
        return extremes
    first = {
        claim.target: claim
        for doubt in (0.0, DEVIATIONS)
        for age in ages
        for claim in _first_in_turn(extremes, doubt, age)
    }
    # An asset without a version names the claim that leaves the least room.
    first.update((claim.target, claim) for claim in _extremes(extremes))
    return list(first.values())


def _first_in_turn(claims: list[Claim], doubt: float, age: _Age) -> Iterator[Claim]:
    """Yield the claim that is the most urgent for the oldest data time, and those that follow it.

    Paths count with their mean and `doubt` standard deviations.
    """

    def as_of(data_time: float, number: int) -> tuple[float, int, float]:
        """Return the latest start, the claim it is of, and up to which data time it is that."""
        claim = claims[number]
        tick = deadline(claim.policy, data_time)
        latest = tick - claim.path.mean - claim.advance - doubt * sqrt(claim.path.variance)
        return latest, number, tick - claim.policy.minutes * 60.0

    data_time = age.oldest
    queue = [as_of(data_time, number) for number in range(len(claims))]
    heapify(queue)
    while data_time <= age.newest:
        _, number, until = queue[0]
        if until > data_time:
            yield claims[number]
            data_time = until
        heapreplace(queue, as_of(data_time, number))


def _extremes(claims: list[Claim]) -> list[Claim]:
    """Return the claim that is tightest by its mean path, and the one tightest by its allowance.

    Upstream, more variance is added to both. The more there is, the less it matters which claim
    had more of it. So one of the two is the most urgent at the root, or almost the most urgent.
    """
    if len(claims) == 1:
        return claims
    by_mean = by_allowance = claims[0]
    least_by_mean = least_by_allowance = inf
    for claim in claims:
        room = claim.policy.minutes * 60.0 - claim.path.mean - claim.advance
        if room < least_by_mean:
            least_by_mean, by_mean = room, claim
        certain = room - DEVIATIONS * sqrt(claim.path.variance)
        if certain < least_by_allowance:
            least_by_allowance, by_allowance = certain, claim
    return [by_mean] if by_mean is by_allowance else [by_mean, by_allowance]
