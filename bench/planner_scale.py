"""CPU and memory of one plan for 100, 1,000 and 10,000 assets in 1, 10 and 100 locations.

Random graphs, without a database: what the planner alone costs in a tick, from snapshot to plan.
Then chains in which 500 targets have a cron of their own.
Run it with `.venv/bin/python bench/planner_scale.py`.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from random import Random

from freshline.model import Asset, AssetState, Durations, Graph, Moments, Pending, Snapshot, Version
from freshline.planner import Lineage, lineage_of, plan
from freshline.policy import MaxLag

NOW = 1_700_000_000.0
REPEATS = 5
LAYERS = 10
CRONS = 500


def graph_of(assets: int, locations: int, random: Random) -> Graph:
    """Return a graph of ten layers, in which an asset reads three of the layer before its own.

    The three are among the twenty nearest. One asset in five has a policy, of five minutes to a
    day, and some of these have a cron. A location owns a slice through all layers, so that paths
    cross locations.
    """
    width = assets // LAYERS
    made: dict[str, Asset] = {}
    for number in range(assets):
        layer, place = divmod(number, width)
        near = range(max(0, place - 10), min(width, place + 10))
        chosen = random.sample(near, 3) if layer else ()
        policy = None
        if random.random() < 0.2:
            minutes = random.choice((5, 10, 30, 60, 24 * 60))
            policy = MaxLag(minutes, "0 * * * *" if random.random() < 0.05 else None)
        key = f"layer_{layer}/asset_{place}"
        made[key] = Asset(
            key=key,
            location=f"location_{place * locations // width}",
            deps=tuple(f"layer_{layer - 1}/asset_{other}" for other in sorted(chosen)),
            policy=policy,
        )
    return Graph(made, {asset.location: 5.0 for asset in made.values()})


def snapshot_of(graph: Graph, random: Random) -> Snapshot:
    """Return a snapshot in which every asset was made, and one in twenty is queued."""
    states: dict[str, AssetState] = {}
    for number, key in enumerate(graph.assets):
        took = Moments(100, random.uniform(1, 30), random.uniform(0, 30))
        at = NOW - random.uniform(0, 900)
        states[key] = AssetState(
            version=Version(number + 1, at, at - random.uniform(10, 300)),
            pending=Pending(f"run-{number}", NOW - 10) if random.random() < 0.05 else None,
            durations=Durations(
                Moments(100, 2.5, 2.0), Moments(100, 1, 0), Moments(100, 5, 1), took
            ),
        )
    return Snapshot(states, {asset.location: NOW - 5 for asset in graph.assets.values()})


def chain_of(assets: int, crons: int) -> Graph:
    """Return a chain of assets, of which `crons` have a policy with a cron of its own."""
    made: dict[str, Asset] = {}
    for number in range(assets):
        cron, rest = divmod(number, assets // crons)
        last = rest == assets // crons - 1
        key = f"asset_{number:05}"
        made[key] = Asset(
            key=key,
            location="location",
            deps=(f"asset_{number - 1:05}",) if number else (),
            policy=MaxLag(3 * 24 * 60, f"{cron % 60} {cron // 60} * * *") if last else None,
        )
    return Graph(made, {"location": 5.0})


def main() -> None:
    print("| assets | locations | CPU of the first plan | CPU a tick | memory a tick |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    gc.disable()  # as during a tick
    for assets in (100, 1_000, 10_000):
        for locations in (1, 10, 100):
            random = Random(assets + locations)
            graph = graph_of(assets, locations, random)
            snapshot = snapshot_of(graph, random)
            begin = time.process_time()
            lineage = lineage_of(graph)
            plan(lineage, snapshot, NOW)
            first = time.process_time() - begin
            tick = cpu_of_a_tick(lineage, snapshot)
            tracemalloc.start()
            plan(lineage, snapshot, NOW)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            print(
                f"| {assets:,} | {locations} | {first * 1000:.0f} ms "
                f"| {tick * 1000:.1f} ms | {peak / 1e6:.1f} MB |",
                flush=True,
            )
    print()
    print("| assets in a chain | distinct crons | CPU a tick |")
    print("| ---: | ---: | ---: |")
    for assets in (1_000, 10_000):
        graph = chain_of(assets, CRONS)
        lineage, snapshot = lineage_of(graph), snapshot_of(graph, Random(assets))
        plan(lineage, snapshot, NOW)
        tick = cpu_of_a_tick(lineage, snapshot)
        print(f"| {assets:,} | {CRONS} | {tick * 1000:.0f} ms |", flush=True)


def cpu_of_a_tick(lineage: Lineage, snapshot: Snapshot) -> float:
    """Return the mean seconds of CPU of several plans."""
    begin = time.process_time()
    for repeat in range(REPEATS):
        plan(lineage, snapshot, NOW + repeat)
    return (time.process_time() - begin) / REPEATS


if __name__ == "__main__":
    main()
