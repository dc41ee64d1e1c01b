"""The graphs that `freshness.py` measures, and the fewest runs that each of them needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TypedDict

from freshline.model import Asset, Graph
from freshline.policy import MaxLag
from freshline.simulate import Duration, Scenario

FIRST_TICKS = (0.0, 1.7, 3.2, 0.9, 4.1, 2.4)
"""In seconds: sensors of different locations do not tick at the same time."""


class Settings(TypedDict, total=False):
    """Settings of a scenario that differ from the defaults of `Bench.scenario`."""

    tick: float
    sigma: float
    launch: float
    one_location: bool


@dataclass(frozen=True)
class Bench:
    """A graph, and the seconds that each asset takes."""

    assets: tuple[Asset, ...]
    seconds: dict[str, float]

    def scenario(
        self,
        *,
        tick: float = 5.0,
        sigma: float = 0.0,
        launch: float = 0.0,
        one_location: bool = False,
        seed: int = 0,
    ) -> Scenario:
        """Return the scenario of this graph with the given settings (seconds)."""
        assets = {
            asset.key: replace(asset, location="all") if one_location else asset
            for asset in self.assets
        }
        locations = sorted({asset.location for asset in assets.values()})
        staggered = dict(zip(locations, FIRST_TICKS * len(locations), strict=False))
        return Scenario(
            graph=Graph(assets, dict.fromkeys(locations, tick)),
            durations={key: Duration(value, sigma) for key, value in self.seconds.items()},
            launch=Duration(launch),
            first_ticks=staggered if sigma else {},
            seed=seed,
        )

    def bound(self) -> tuple[float, float]:
        """Return the fewest root syncs and materializations an hour without a late target.

        Two syncs of a root are at most as far apart as its tightest target allows: the maximum lag
        less the path. A slower target may skip whole syncs, but not a part of one.
        """
        graph = {asset.key: asset for asset in self.assets}
        paths: dict[tuple[str, str], float] = {}  # (root, asset): the longest way, in seconds
        for asset in self.assets:
            inputs = [
                dep
                for dep in asset.deps
                if graph[dep].execution_set != asset.execution_set or not asset.execution_set
            ]
            if not inputs:
                paths[asset.execution_set or asset.key, asset.key] = self.seconds[asset.key]
            for (root, key), path in list(paths.items()):
                if key in inputs:
                    longest = paths.get((root, asset.key), 0.0)
                    paths[root, asset.key] = max(longest, path + self.seconds[asset.key])
        room = {
            (root, key): policy.minutes * 60 - path
            for (root, key), path in paths.items()
            if (policy := graph[key].policy)
        }
        roots = {root for root, _ in paths}
        period = {root: min(value for (r, _), value in room.items() if r == root) for root in roots}
        rates = {}
        for key in graph:
            periods = [
                floor(value / period[root] + 1e-9) * period[root]
                for (root, target), value in room.items()
                if (root, key) in paths and target in self._downstream(key)
            ]
            rates[key] = 3600 / min(periods)
        together = {
            asset.key: max(
                rates[key] for key in graph if graph[key].execution_set == asset.execution_set
            )
            for asset in self.assets
            if asset.execution_set
        }
        return sum(3600 / value for value in period.values()), sum({**rates, **together}.values())

    def _downstream(self, key: str) -> set[str]:
        found = {key}
        for asset in self.assets:  # inputs come first
            if found & set(asset.deps):
                found.add(asset.key)
        return found


WORKSPACE = Bench(
    (
        Asset("postgres/stargazers", "ingestion", execution_set="sync"),
        Asset(
            "postgres/stargazers_user", "ingestion", ("postgres/stargazers",), execution_set="sync"
        ),
        Asset(
            "mart/mart_gh_stargazer",
            "analytics_core",
            ("postgres/stargazers", "postgres/stargazers_user"),
        ),
        Asset("mart/mart_gh_cumulative", "analytics_marts", ("postgres/stargazers",), MaxLag(5)),
        Asset(
            "mart/mart_gh_join",
            "analytics_marts",
            ("mart/mart_gh_stargazer", "mart/mart_gh_cumulative"),
            MaxLag(10),
        ),
    ),
    {
        "postgres/stargazers": 60.0,
        "postgres/stargazers_user": 60.0,
        "mart/mart_gh_stargazer": 15.0,
        "mart/mart_gh_cumulative": 15.0,
        "mart/mart_gh_join": 15.0,
    },
)

OTHERS = {
    "diamond, 5 minutes": Bench(
        (
            Asset("root", "one"),
            Asset("left", "two", ("root",)),
            Asset("right", "three", ("root",)),
            Asset("tip", "four", ("left", "right"), MaxLag(5)),
        ),
        {"root": 60.0, "left": 15.0, "right": 30.0, "tip": 15.0},
    ),
    "fan-out 50, 5 minutes to 24 hours": Bench(
        (
            Asset("root", "one"),
            *(
                Asset(f"leaf_{number}", "two", ("root",), MaxLag((5, 10, 30, 60, 1440)[number % 5]))
                for number in range(50)
            ),
        ),
        {"root": 60.0, **{f"leaf_{number}": 15.0 for number in range(50)}},
    ),
    "chain of ten locations, 10 minutes": Bench(
        (
            Asset("link_0", "place_0"),
            *(
                Asset(
                    f"link_{number}",
                    f"place_{number}",
                    (f"link_{number - 1}",),
                    MaxLag(10) if number == 9 else None,
                )
                for number in range(1, 10)
            ),
        ),
        {"link_0": 30.0, **{f"link_{number}": 10.0 for number in range(1, 10)}},
    ),
    "two roots of 10 s and 10 minutes, 1 hour": Bench(
        (
            Asset("quick", "one"),
            Asset("slow", "two"),
            Asset("mart", "three", ("quick", "slow"), MaxLag(60)),
        ),
        {"quick": 10.0, "slow": 600.0, "mart": 15.0},
    ),
    "60 seconds": Bench(
        (Asset("root", "one"), Asset("mart", "two", ("root",), MaxLag(1))),
        {"root": 5.0, "mart": 2.0},
    ),
}
