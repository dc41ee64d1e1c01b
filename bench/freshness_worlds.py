"""Workspaces that are hard to plan: several roots, neighbours, long waits, random graphs.

Every function returns a scenario. All seconds are nominal; no asset is in an execution set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import exp, log
from random import Random

from freshline.model import Asset, Capacity, Graph
from freshline.policy import MaxLag
from freshline.simulate import Duration, EitherDuration, Scenario, Uniform

__all__ = [
    "LOCATIONS",
    "feeds",
    "many_roots",
    "quick_and_slow",
    "random_world",
    "two_kinds",
    "two_roots",
    "with_neighbour",
]

TICK = 5.0
LOCATIONS = ("one", "two", "three")
FIRST_TICKS = dict(zip(LOCATIONS, (0.0, 1.7, 3.2), strict=True))
"""In seconds: the sensors of different locations do not tick at the same time."""


def _scenario(
    assets: Iterable[Asset],
    durations: Mapping[str, Duration | EitherDuration],
    *,
    launch: float,
    first_ticks: Mapping[str, float] = FIRST_TICKS,
    tick: float = TICK,
    seed: int = 0,
) -> Scenario:
    graph = {asset.key: asset for asset in assets}
    locations = sorted({asset.location for asset in graph.values()})
    return Scenario(
        graph=Graph(graph, dict.fromkeys(locations, tick)),
        durations=durations,
        launch=Duration(launch),
        first_ticks={name: first_ticks.get(name, 0.0) for name in locations},
        seed=seed,
    )


def many_roots(count: int) -> Scenario:
    """`count` roots of 5 to 90 s in three locations; `m` reads all of them, and `n` reads `m`."""
    roots = [f"root_{number}" for number in range(count)]
    assets = [Asset(key, LOCATIONS[number % 3]) for number, key in enumerate(roots)]
    assets += [Asset("m", "two", tuple(roots)), Asset("n", "three", ("m",), MaxLag(10))]
    seconds = {key: 5.0 + 85.0 * number / (count - 1) for number, key in enumerate(roots)}
    durations = {key: Duration(each) for key, each in {**seconds, "m": 20.0, "n": 10.0}.items()}
    return _scenario(assets, durations, launch=3.0)


def quick_and_slow(maximum: float, *, sigma: float = 0.0, seed: int = 0) -> Scenario:
    """Roots of 10 and 60 s; a mart of 2 s reads both, and may be `maximum` seconds behind.

    All sensors tick at once.
    """
    assets = (
        Asset("quick", "one"),
        Asset("slow", "two"),
        Asset("mart", "three", ("quick", "slow"), MaxLag(maximum / 60.0)),
    )
    seconds = {"quick": 10.0, "slow": 60.0, "mart": 2.0}
    durations = {key: Duration(each, sigma) for key, each in seconds.items()}
    return _scenario(assets, durations, launch=4.0, first_ticks={}, seed=seed)


def with_neighbour(maximum: float, first_ticks: Mapping[str, float]) -> Scenario:
    """`quick_and_slow`, with a mart beside the other that may be 10 minutes behind."""
    both = quick_and_slow(maximum)
    neighbour = Asset("neighbour", "three", ("quick", "slow"), MaxLag(10))
    return replace(
        both,
        graph=replace(both.graph, assets={**both.graph.assets, "neighbour": neighbour}),
        durations={**both.durations, "neighbour": Duration(2.0)},
        first_ticks=first_ticks,
    )


def two_roots(mart_in: str, first_tick: float) -> Scenario:
    """Roots of 2 and 10 s in location `one`; a mart reads both, and may be 90 s behind.

    The location of the mart ticks `first_tick` seconds after the beginning.
    """
    assets = (
        Asset("small", "one"),
        Asset("large", "one"),
        Asset("mart", mart_in, ("small", "large"), MaxLag(1.5)),
    )
    durations = {"small": Duration(2.0), "large": Duration(10.0), "mart": Duration(2.0)}
    return _scenario(assets, durations, launch=3.0, first_ticks={mart_in: first_tick})


def two_kinds(*, seed: int = 0) -> Scenario:
    """A root and two marts, of 5 and 10 minutes; each run in ten takes 120 s instead of 20."""
    assets = (
        Asset("root", "one"),
        Asset("mart_5", "two", ("root",), MaxLag(5)),
        Asset("mart_10", "three", ("root",), MaxLag(10)),
    )
    took = EitherDuration(Duration(20.0), Duration(120.0), share=0.1)
    return _scenario(assets, {asset.key: took for asset in assets}, launch=0.0, seed=seed)


def feeds(*, pool: bool, seed: int = 0) -> Scenario:
    """Twelve roots, each with a mart: six of 5 minutes and six of 20. There are four slots.

    With a `pool`, four of the roots run one at a time. Without limits, 3.0 slots are taken on
    average.
    """
    roots = [
        Asset(f"root_{number}", "one", pools=() if number % 3 else ("api",)) for number in range(12)
    ]
    marts = [
        Asset(f"mart_{number}", "two", (root.key,), MaxLag(5 if number < 6 else 20))
        for number, root in enumerate(roots)
    ]
    durations = {root.key: Duration(50.0, sigma=0.2) for root in roots}
    durations |= {mart.key: Duration(20.0, sigma=0.2) for mart in marts}
    return replace(
        _scenario((*roots, *marts), durations, launch=0.0, seed=seed),
        launch=Uniform(3.0, 9.0),
        capacity=Capacity(slots=4, pools={"api": 1} if pool else {}),
    )


def random_world(
    seed: int,
    *,
    roots: int,
    size: int,
    locations: int,
    targets: int,
    longest: float = 60.0,
) -> Scenario:
    """Return a random graph of steady durations. Some of its assets may serve no target.

    An asset that is not a root reads up to three others. `targets` of these have a policy. It is at
    least 1.25 times the shortest lag that the path could hold if every wait took a whole tick, and
    at most 10 times that; at most `longest` minutes.
    """
    random = Random(seed)
    launch = random.choice((0.0, 3.0))
    assets: dict[str, Asset] = {}
    seconds: dict[str, float] = {}
    path: dict[str, float] = {}
    slowest: dict[str, float] = {}
    for number in range(size):
        key = f"asset_{number}"
        count = random.randint(1, min(number, 3)) if number >= roots else 0
        deps = tuple(f"asset_{other}" for other in sorted(random.sample(range(number), count)))
        seconds[key] = float(random.choice((2, 5, 15, 40, 90)))
        stage = launch + seconds[key] + TICK
        path[key] = max([path[dep] + stage for dep in deps], default=seconds[key])
        slowest[key] = max([stage, *(slowest[dep] for dep in deps)])
        assets[key] = Asset(key, LOCATIONS[random.randrange(locations)], deps)
    times = exp(random.uniform(log(1.25), log(2.5)))
    readers = [key for key, asset in assets.items() if asset.deps]
    for key in random.sample(readers, min(targets, len(readers))):
        least = (path[key] + slowest[key]) / 60.0
        minutes = min(longest, least * times * random.choice((1.0, 1.0, 2.0, 4.0)))
        assets[key] = replace(assets[key], policy=MaxLag(minutes))
    return _scenario(
        assets.values(),
        {key: Duration(each) for key, each in seconds.items()},
        launch=launch,
        first_ticks={name: random.choice((0.0, random.random() * TICK)) for name in LOCATIONS},
        seed=seed,
    )
