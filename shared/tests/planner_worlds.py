"""Random workspaces for the planner's properties: graphs, policies, durations, faults."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from freshline.model import Asset, Capacity, Graph, PartitionKeys, Reads
from freshline.policy import MaxLag
from freshline.simulate import Duration, Fault, Outage, Scenario
from freshline.windows import Windows

TICK = 5.0
DAY = 24 * 60.0


def random_scenario(
    seed: int, *, sigma: float = 0.0, spare: float = 1.25, troubles: bool = False
) -> Scenario:
    """Return up to nine assets in up to four locations, with up to four policies.

    Each policy is at least `spare` times the shortest lag that its path could hold if every wait
    took a whole tick, and a day at most.
    """
    random = Random(seed)
    size, locations_count = random.randint(2, 9), random.randint(1, 4)
    launch = random.choice((0.0, 5.0))
    assets: dict[str, Asset] = {}
    seconds: dict[str, float] = {}
    path: dict[str, float] = {}
    slowest: dict[str, float] = {}
    for number in range(size):
        key = f"asset_{number}"
        count = random.randint(0, min(number, 3))
        deps = tuple(f"asset_{other}" for other in sorted(random.sample(range(number), count)))
        assets[key] = Asset(key, f"place_{random.randrange(locations_count)}", deps)
        seconds[key] = float(random.choice((2, 5, 15, 40, 90)))
        stage = launch + seconds[key] + TICK
        path[key] = max([path[dep] + stage for dep in deps], default=seconds[key])
        slowest[key] = max([stage, *(slowest[dep] for dep in deps)])
    for key in random.sample(sorted(assets), random.randint(1, min(4, size))):
        least = (path[key] + slowest[key]) / 60.0
        minutes = least * spare * random.choice((1.0, 1.2, 1.6, 3.0, 8.0, 200.0))
        asset = assets[key]
        policy = MaxLag(min(DAY, max(1.0, minutes)))
        assets[key] = Asset(asset.key, asset.location, asset.deps, policy)
    if troubles:
        _make_an_execution_set(Random(f"units {seed}"), assets)
    locations = sorted({asset.location for asset in assets.values()})
    return Scenario(
        graph=Graph(assets, dict.fromkeys(locations, TICK)),
        durations={key: Duration(value, sigma) for key, value in seconds.items()},
        launch=Duration(launch, sigma),
        first_ticks={name: random.choice((0.0, random.random() * TICK)) for name in locations},
        outages=_outages(random, locations) if troubles else (),
        faults=_faults(random, sorted(assets)) if troubles else (),
        failure_rate=random.choice((0.0, 0.05, 0.3)) if troubles else 0.0,
        seed=seed,
    )


def with_crons(scenario: Scenario) -> Scenario:
    """Return `scenario` with more policies, most of them at the ticks of some cron."""
    random = Random(f"crons {scenario.seed}")
    assets = dict(scenario.graph.assets)
    for key, asset in assets.items():
        if asset.policy is None and random.random() < 0.4:
            continue
        cron = random.choice(("*/5", "*/7", "*/15", "*/20", str(random.randrange(60))))
        minutes = asset.policy.minutes if asset.policy else random.choice((10.0, 20.0, 60.0))
        policy = MaxLag(minutes, f"{cron} * * * *" if random.random() < 0.8 else None)
        assets[key] = replace(asset, policy=policy)
    return replace(scenario, graph=replace(scenario.graph, assets=assets))


def with_partitions(scenario: Scenario) -> Scenario:
    """Return `scenario`, in which some assets have time windows of ten minutes, or some keys."""
    random = Random(f"partitions {scenario.seed}")
    assets = dict(scenario.graph.assets)
    for key, asset in assets.items():
        if asset.execution_set or random.random() < 0.5:
            continue
        windows = keys = None
        if random.random() < 0.7:
            offset = random.choice((0, 0, 1))
            windows = Windows("*/10 * * * *", 0.0, "%Y-%m-%d-%H:%M", end_offset=offset)
        else:
            keys = PartitionKeys(static=("a", "b"))
        reads = {
            dep: Reads((0, 0) if windows else None, same_key=keys is not None)
            for dep in asset.deps
            if (windows and assets[dep].windows) or (keys and assets[dep].keys)
        }
        every = random.choice((0.0, 0.0, 900.0))
        assets[key] = replace(asset, windows=windows, keys=keys, reads=reads, at_most_every=every)
    return replace(scenario, graph=replace(scenario.graph, assets=assets))


def with_limits(scenario: Scenario) -> Scenario:
    """Return `scenario` with few slots, and some assets in a pool of one."""
    random = Random(f"limits {scenario.seed}")
    assets = {
        key: replace(asset, pools=("pool",) if random.random() < 0.3 else ())
        for key, asset in scenario.graph.assets.items()
    }
    capacity = Capacity(random.choice((1, 2, 4)), {"pool": 1})
    return replace(scenario, graph=replace(scenario.graph, assets=assets), capacity=capacity)


def _make_an_execution_set(random: Random, assets: dict[str, Asset]) -> None:
    """Put two assets of one location into an execution set; neither is made from the other."""
    made_from: dict[str, set[str]] = {}
    for key, asset in assets.items():
        made_from[key] = {*asset.deps, *(up for dep in asset.deps for up in made_from[dep])}
    pairs = [
        (one, other)
        for one in assets
        for other in assets
        if one < other
        and assets[one].location == assets[other].location
        and one not in made_from[other]
        and other not in made_from[one]
    ]
    for key in random.choice(pairs) if pairs else ():
        assets[key] = replace(assets[key], execution_set="step")


def _outages(random: Random, locations: list[str]) -> tuple[Outage, ...]:
    return tuple(
        Outage(random.choice(locations), begin, begin + random.choice((60.0, 600.0, 3000.0)))
        for begin in (random.uniform(0.0, 9000.0) for _ in range(random.randint(0, 3)))
    )


def _faults(random: Random, keys: list[str]) -> tuple[Fault, ...]:
    return tuple(
        Fault(random.choice(keys), begin, begin + random.choice((120.0, 3600.0)))
        for begin in (random.uniform(0.0, 9000.0) for _ in range(random.randint(0, 3)))
    )
