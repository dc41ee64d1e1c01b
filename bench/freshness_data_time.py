"""The scenes of `freshness.py` with partitions, views and data that does not change."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from freshline.model import Asset, Graph, Reads, TargetStatus
from freshline.policy import MaxLag
from freshline.simulate import Duration, Quiet, Scenario, World, figures, simulate
from freshline.windows import Windows
from freshness_graphs import WORKSPACE

__all__ = ["Outcome", "scenes"]

HOUR = 3600.0
DAY = 24 * HOUR
FIRST_CYCLE = 600.0
"""Seconds: after so long, every asset has been made once."""
DAILY = Windows("0 0 * * *", 0.0)
PLANS = 200
"""So many plans are timed."""


class Outcome(NamedTuple):
    """What came of one scene."""

    scene: str
    got: str
    owed: str
    kept: bool


def scenes() -> Iterator[Outcome]:
    """Yield what comes of each scene; about a minute of CPU."""
    yield quiet_night()
    yield many_views()
    yield daily_partitions()
    yield from yesterday()


def quiet_night() -> Outcome:
    """The workspace over eight hours in which no star comes, after an hour in which some did."""
    begin, end = HOUR + FIRST_CYCLE, 9 * HOUR + FIRST_CYCLE
    scenario = WORKSPACE.scenario()
    roots = ("postgres/stargazers", "postgres/stargazers_user")
    usual = figures(simulate(scenario, end), begin, end)
    quiet = replace(scenario, quiet=tuple(Quiet(key, HOUR) for key in roots))
    world = simulate(quiet, end)
    found = figures(world, begin, end)
    models = sum(run.requested_at >= begin and run.location != "ingestion" for run in world.runs)
    late = max(target.share for target in found.targets.values())
    return Outcome(
        "the workspace, 8 h in which no star comes",
        f"{found.root_syncs:.2f} syncs/h, {models} runs of models, {late:.0%} late",
        f"<= {usual.root_syncs:.2f} (as with stars), 0, 0%",
        found.root_syncs <= usual.root_syncs and models == 0 and late == 0,
    )


def many_views() -> Outcome:
    """A thousand views over twenty tables, next to the targets among them on the tables alone."""
    begin, end = FIRST_CYCLE, FIRST_CYCLE + HOUR
    assets = over_tables()
    many = simulate(scenario_of(assets, tick=5.0, seconds=10.0), end)
    few = simulate(scenario_of(without_views_between(assets), tick=5.0, seconds=10.0), end)
    found = figures(many, begin, end)
    views = sum(run.requested_at >= begin and "view" in run.keys[0] for run in many.runs)
    late = max(target.share for target in found.targets.values())
    ratio = cpu_of_plans(many) / cpu_of_plans(few)
    return Outcome(
        "1,000 views over 20 tables, ten targets of 10 minutes among the views",
        f"{views} runs of views, {late:.0%} late, a plan takes {ratio:.1f} times as long as with "
        f"{len(few.graph.assets)} assets",
        "0, 0%, <= 2",
        views == 0 and late == 0 and ratio <= 2,
    )


def over_tables() -> list[Asset]:
    """Return 20 tables in four locations, and 1,000 views, of which the last ten are targets.

    A view reads a table or two views.
    """
    assets = [Asset(f"table_{number}", f"place_{number % 4}") for number in range(20)]
    for number in range(1_000):
        deps: tuple[str, ...] = (f"view_{number - 20}", f"view_{number - 21}")
        if number < 40:
            deps = (f"table_{number % 20}",)
        policy = MaxLag(10) if number >= 990 else None
        assets.append(Asset(f"view_{number}", f"place_{number % 4}", deps, policy, view=True))
    return assets


def without_views_between(assets: list[Asset]) -> list[Asset]:
    """Return `assets` without the views that are no targets; the others read the tables."""
    tables: dict[str, set[str]] = {}
    kept = []
    for asset in assets:  # inputs first
        tables[asset.key] = {name for dep in asset.deps for name in tables[dep]} or {asset.key}
        if not asset.view:
            kept.append(asset)
        elif asset.policy:
            kept.append(replace(asset, deps=tuple(sorted(tables[asset.key]))))
    return kept


def cpu_of_plans(world: World) -> float:
    begin = time.process_time()
    for _ in range(PLANS):
        world.plan()
    return time.process_time() - begin


def daily_partitions() -> Outcome:
    """Daily partitions in 30 locations, and below each a target of an hour."""
    assets = []
    for number in range(30):
        day, target = f"day_{number}", f"target_{number}"
        assets.append(Asset(day, f"place_{number}", windows=DAILY))
        assets.append(Asset(target, f"place_{number}", (day,), MaxLag(60)))
    world = simulate(scenario_of(assets, tick=60.0, seconds=60.0), 3 * DAY + HOUR)
    runs = [(key, part, run.requested_at) for run in world.runs for key in run.keys
            for part in run.parts]  # fmt: skip
    early = sum(at < window.end for _, part, at in runs if (window := DAILY.window(part)))
    most = max(Counter((key, part) for key, part, _ in runs).values())
    others = sum(not run.parts for run in world.runs)
    return Outcome(
        "daily partitions in 30 locations over 3 days, below each a target of 1 hour",
        f"{early} requests before a window closed, {most} run a partition, "
        f"{others / len(runs):.0f} run of a target for each",
        "0, 1, 1",
        (early, most, others, len(runs)) == (0, 1, 90, 90),
    )


def yesterday() -> Iterator[Outcome]:
    """Policies on a mart of daily partitions, which takes some minutes after midnight."""
    nine = MaxLag(9 * 60, cron="0 9 * * *")
    for name, policy, owed in (
        ("yesterday's by nine: a lag of 9 h, cron `0 9 * * *`", nine, TargetStatus.FRESH),
        ("a lag of 26 h on a daily partition", MaxLag(26 * 60), TargetStatus.FRESH),
        ("a lag of 10 h on a daily partition", MaxLag(10 * 60), TargetStatus.INFEASIBLE),
    ):
        raw = Asset("raw", "one", windows=DAILY)
        reads = {"raw": Reads((0, 0))}
        mart = Asset("mart", "two", ("raw",), policy, windows=DAILY, reads=reads)
        world = simulate(scenario_of([raw, mart], tick=60.0, seconds=300.0), 4 * DAY + HOUR)
        late = figures(world, DAY + HOUR, 4 * DAY).targets["mart"].share
        target = world.plan().targets["mart"]
        status = target.status
        yield Outcome(
            name,
            f"{late:.0%} late, {status.value}",
            f"0%, {owed.value}" if owed is TargetStatus.FRESH else owed.value,
            status is owed and (late == 0 or owed is TargetStatus.INFEASIBLE),
        )


def scenario_of(assets: list[Asset], tick: float, seconds: float) -> Scenario:
    graph = Graph(
        {asset.key: asset for asset in assets},
        dict.fromkeys((asset.location for asset in assets), tick),
    )
    return Scenario(graph, dict.fromkeys(graph.assets, Duration(seconds)))
