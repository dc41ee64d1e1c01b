"""Inputs that come together, so that an asset that reads several is made once for all of them.

Each root is due at a time of its own. If each came just before its data is too old, all that is
made from several roots would be made once for each. So a consumer asks an input to come early: in
time for its next run, which another input needs anyway. Then phases lock, without a grid: starts
follow from what is due.

The input comes early if that costs less than it spares. It costs a part of its next run and of
what is upstream, because its period becomes shorter. It spares another run of the consumer, and of
all that follows until the target. This is joint replenishment (R. Roundy, Management Science 31,
1985; P. Jackson, W. Maxwell, J. Muckstadt, IIE Transactions 17, 1985), decided from run to run.
"""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

from freshline.planner.claims import Claim
from freshline.planner.estimate import MARGIN, Span, allowance
from freshline.planner.facts import AssetFacts, Facts
from freshline.planner.lineage import Lineage

__all__ = ["Ask", "accepted", "asks_of_input"]

_DOUBT: Final = 1.5
"""So much dearer counts what is spared only perhaps."""


class Ask(NamedTuple):
    """What a consumer asks of an input for a target."""

    claim: Claim
    """That it comes before its own data is too old."""
    advance: float = 0.0
    """By how many seconds it would have to come earlier to be in time for the consumer's next run;
    0: it need not."""
    cycle: float = 0.0
    """Seconds between two runs of the consumer if all inputs come together."""
    spares: float = 0.0
    """Seconds of work that this spares; inf: otherwise the target could be late."""
    is_awaited: bool = False
    """Whether the consumer waits for another of its inputs; else it could run now."""


def asks_of_input(
    lineage: Lineage,
    facts: Facts,
    claims: tuple[Claim, ...],
    passed_on: list[Claim],
    name: str,
    consumer: str,
) -> list[Ask]:
    """Return what `consumer` asks of its input `name`: something for each claim, or nothing.

    `claims` are those on the consumer, and `passed_on` the same before its inputs are ready. While
    the consumer cannot run (its location is silent, or something fails), one unused version of the
    input is enough.
    """
    reader, data_time = facts.assets[consumer], facts.data_time_of_input(consumer, name)
    if reader.hold and facts.has_unused_version(name, consumer):
        return []
    used = reader.used_up_to
    if used is None or data_time is None or data_time <= used:
        return [Ask(claim) for claim in passed_on]
    if facts.graph.assets[consumer].partitioned:  # its partitions do not wait for each other
        return [Ask(claim) for claim in passed_on]
    is_awaited = any(
        (facts.data_time_of_input(consumer, other) or -inf) <= used
        for other in lineage.inputs[consumer]
    )
    return [
        _ask(own, claim, reader, used, data_time, is_awaited=is_awaited)
        for own, claim in zip(claims, passed_on, strict=True)
    ]


def _ask(
    own: Claim,
    claim: Claim,
    reader: AssetFacts,
    used: float,
    data_time: float,
    *,
    is_awaited: bool,
) -> Ask:
    """Return what `reader`, with the claim `own`, asks of an input, on which that is `claim`.

    The reader has used data of `used`; the input has data of `data_time`, which is newer. There is
    nothing to ask for if that will do for a whole cycle of the reader.
    """
    moment = reader.tick + MARGIN
    later = claim.latest_start(data_time) - claim.latest_start(used)
    # An asset runs once at a time. It, or one downstream, would be busy when it is needed again.
    would_be_busy = later < own.busy + moment
    has_cycle = not (claim.policy.cron or claim.windows)
    if later <= 0.0 or not (would_be_busy or has_cycle):
        return Ask(claim)
    path, run = reader.route.path, reader.stage.run
    way = Span(
        path.mean - run.mean + own.path.mean,
        max(0.0, path.variance - run.variance) + own.path.variance,
    )
    cycle = claim.policy.minutes * 60.0 - allowance(way) - claim.advance
    fewer = min(1.0, cycle / (later + 2 * moment) - 1.0)
    if has_cycle and fewer <= 0.0:
        return Ask(claim)
    spares = inf if would_be_busy else own.work * fewer
    return Ask(claim, later + moment, cycle, spares, is_awaited)


def accepted(asks: list[Ask], asset: AssetFacts, facts: Facts) -> list[Claim]:
    """Return the claims of `asks` on `asset`. It comes early where that costs less than it spares.

    Not if the meeting can no longer be reached.
    """
    data_time = asset.paced
    if data_time is None or not any(ask.advance for ask in asks):
        return [ask.claim for ask in asks]
    latest = [ask.claim.latest_start(data_time) for ask in asks]
    otherwise = min(latest)
    first = asks[latest.index(otherwise)].claim
    period = otherwise - data_time - asset.stage.run.mean
    claims: list[Claim] = []
    for ask, own in zip(asks, latest, strict=True):
        start = own - ask.advance
        claim = ask.claim
        if ask.advance and not facts.passed(start - asset.stage.at_most + asset.tick):
            part = (otherwise - start) / period if period > 0.0 else inf
            if _cost(ask, first, asset, part, period) <= ask.spares:
                claim = claim._replace(advance=claim.advance + ask.advance)
        claims.append(claim)
    return claims


def _cost(ask: Ask, first: Claim, asset: AssetFacts, part: float, period: float) -> float:
    """Return what it costs, in seconds of work, if `asset` comes a `part` of its `period` early.

    `first` is the claim that it would be made for otherwise. If that is for the same target, the
    phases lock with this one run: what remains is that its period becomes that of the consumer.
    """
    if ask.claim.target != first.target:
        return part * (asset.route.work + first.work)
    if not ask.is_awaited:
        return part * asset.route.work * _DOUBT
    return max(0.0, 1.0 - ask.cycle / period) * asset.route.work if period > 0.0 else inf
