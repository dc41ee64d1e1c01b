"""Random workspaces with time windows, views and quiet sources, and what rows are in them.

The rows are an oracle: a row comes to each source every so many seconds, a version holds the rows
that it has read. It is worked out from when runs started and ended, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from freshline.contract import Contract, Export
from freshline.contract.document import Partitions, PartitionsRead, TimeWindows
from freshline.contract.graph import graph_of
from freshline.model import Asset
from freshline.policy import MaxLag
from freshline.simulate import Duration, Fault, Quiet, Scenario, World
from freshline.windows import Window

HOUR = 3600.0
TICK = 30.0
HOURS, SHIFTS = "0 * * * *", "0 */3 * * *"
KEYS = "%Y-%m-%d-%H:%M"


def random_scenario(seed: int, *, troubles: bool = True) -> Scenario:
    """Return up to nine assets in up to three locations, with up to three policies.

    Windows take one hour or three. `troubles` are failures, and sources without rows.
    """
    random = Random(seed)
    exports: dict[str, Export] = {}
    for number in range(random.randint(4, 10)):
        key = f"asset_{number}"
        exports[key] = _export(random, key, list(exports.values()))
    for key in random.sample(sorted(exports), random.randint(1, 3)):
        policy = MaxLag(random.choice((45, 90, 150, 300)))
        exports[key] = exports[key].model_copy(update={"policy": policy})
    graph = graph_of(_contracts(random, list(exports.values())))
    roots = sorted(key for key, asset in graph.assets.items() if not asset.deps)
    return Scenario(
        graph=graph,
        durations={key: Duration(random.choice((20.0, 60.0, 240.0)), 0.2) for key in exports},
        launch=Duration(random.choice((2.0, 10.0)), 0.2),
        quiet=tuple(_quiet(random, roots)) if troubles else (),
        faults=tuple(_faults(random, sorted(exports))) if troubles else (),
        failure_rate=random.choice((0.0, 0.1, 0.3)) if troubles else 0.0,
        seed=seed,
    )


def _contracts(random: Random, exports: list[Export]) -> Iterator[Contract]:
    """Yield the contracts of three locations, to which `exports` belong at random."""
    places = [random.randrange(3) for _ in exports]
    for place in range(3):
        yield Contract(
            location=f"place_{place}",
            published_as=f"place_{place}",
            tick_seconds=TICK,
            exports=tuple(it for it, at in zip(exports, places, strict=True) if at == place),
        )


def _export(random: Random, key: str, before: list[Export]) -> Export:
    """Return an asset that reads up to two of those `before`."""
    inputs = random.sample(before, random.randint(0, min(2, len(before))))
    deps = tuple(sorted(export.key for export in inputs))
    kind = random.choice(("plain", "view", "windows", "windows", "windows"))
    if kind == "view" and deps:
        return Export(key=key, deps=deps, view=True)
    if kind != "windows":
        return Export(key=key, deps=deps, observed=not deps and random.random() < 0.3)
    offsets = ((0, 0), (0, 0), (-1, 0), (-1, -1))
    return Export(
        key=key,
        deps=deps,
        partitioned=True,
        partitions=Partitions(
            windows=TimeWindows(
                cron=random.choice((HOURS, HOURS, SHIFTS)),
                start=0.0,
                fmt=KEYS,
                end_offset=random.choice((0, 0, 1)),
            ),
            single_run=random.random() < 0.3,
        ),
        reads={
            export.key: PartitionsRead(windows=random.choice(offsets))
            for export in inputs
            if export.partitions and random.random() < 0.8
        },
    )


def _quiet(random: Random, roots: list[str]) -> Iterator[Quiet]:
    for _ in range(random.randint(0, 3)):
        begin = random.uniform(0.0, 6 * HOUR)
        yield Quiet(random.choice(roots), begin, begin + random.uniform(0.5, 4.0) * HOUR)


def _faults(random: Random, keys: list[str]) -> Iterator[Fault]:
    for _ in range(random.randint(0, 2)):
        begin = random.uniform(0.0, 6 * HOUR)
        yield Fault(random.choice(keys), begin, begin + random.uniform(0.1, 1.0) * HOUR)


# --- the rows -------------------------------------------------------------------------------


class Row(NamedTuple):
    source: str
    at: float


def rows_of(scenario: Scenario, until: float) -> dict[str, list[Row]]:
    """Return the rows that come to each source until then."""
    random = Random(scenario.seed)
    rows: dict[str, list[Row]] = {}
    for key, asset in scenario.graph.assets.items():
        if asset.deps:
            continue
        every = random.uniform(40.0, 400.0)
        times = (random.random() * every + number * every for number in range(int(until / every)))
        rows[key] = [
            Row(key, at)
            for at in times
            if not any(it.asset == key and it.begin < at <= it.end for it in scenario.quiet)
        ]
    return rows


@dataclass
class Oracle:
    """What rows are in each asset, as its runs start and end."""

    world: World
    rows: dict[str, list[Row]]
    held: dict[tuple[str, str], dict[str, frozenset[Row]]] = field(default_factory=dict)
    """By asset and partition: the rows of the newest version, by the input that they came from."""

    @property
    def assets(self) -> dict[str, Asset]:
        return dict(self.world.graph.assets)

    def sources(self, key: str) -> set[str]:
        """Return the sources upstream of `key`."""
        deps = self.assets[key].deps
        return {key} if not deps else {name for dep in deps for name in self.sources(dep)}

    def read(self, key: str, part: str, now: float) -> dict[str, frozenset[Row]]:
        """Return the rows that a step that starts now gets of each input; "": from outside."""
        asset = self.assets[key]
        window = asset.windows.window(part) if asset.windows else None
        if not asset.deps:
            return {"": frozenset(_within(self.rows[key], window, now))}
        return {dep: self._read_input(asset, window, dep) for dep in asset.deps}

    def _read_input(self, asset: Asset, window: Window | None, dep: str) -> frozenset[Row]:
        source, reads = self.assets[dep], asset.reads.get(dep)
        if window is None or asset.windows is None:
            return self.inside(dep)
        if source.windows and reads and reads.windows:
            return self.inside(dep, asset.windows.shifted(window, *reads.windows))
        return frozenset(_within(self.inside(dep), asset.windows.data_of(window)))

    def inside(self, key: str, span: Window | None = None) -> frozenset[Row]:
        """Return the rows that are in `key` now, or in its partitions that overlap with `span`.

        A row is there when it has come on every way from its source.
        """
        asset = self.assets[key]
        if asset.view:
            by_input = {dep: self.inside(dep) for dep in asset.deps}
        else:
            by_input = {}
            for (name, part), held in self.held.items():
                if name != key or not self._overlaps(asset, part, span):
                    continue
                for dep, rows in held.items():
                    by_input[dep] = by_input.get(dep, frozenset()) | rows
        return frozenset(
            row
            for source in self.sources(key)
            for row in self.rows[source]
            if all(row in by_input.get(dep, ()) for dep in self._ways(key, source))
        )

    def _ways(self, key: str, source: str) -> list[str]:
        """Return the inputs through which rows of `source` come to `key`."""
        deps = self.assets[key].deps
        return [dep for dep in deps if source in self.sources(dep)] if deps else [""]

    def _overlaps(self, asset: Asset, part: str, span: Window | None) -> bool:
        window = asset.windows.window(part) if asset.windows else None
        return (
            span is None or window is None or (window.start < span.end and span.start < window.end)
        )

    def first_missing(self, key: str, now: float) -> float:
        """Return when the first row came that is not in `key` at `now`; `now`: all are."""
        inside = self.inside(key)
        return min(
            (
                row.at
                for source in self.sources(key)
                for row in self.rows[source]
                if row.at < now and row not in inside
            ),
            default=now,
        )


def _within(rows: Iterable[Row], window: Window | None, now: float | None = None) -> Iterator[Row]:
    for row in rows:
        in_time = now is None or row.at <= now
        if in_time and (window is None or window.start <= row.at < window.end):
            yield row


class Overstated(NamedTuple):
    """A data time that leaves out a row."""

    asset: str
    at: float
    data_time: float
    missing: float


class _Moment(NamedTuple):
    """Something that happened; at the same time, steps end first, and data times come last."""

    at: float
    order: int
    run: str
    key: str
    part: str
    data_time: float = 0.0


_ENDS, _STARTS, _SHOWS = range(3)


def overstated(world: World, rows: dict[str, list[Row]]) -> list[Overstated]:
    """Return the data times of `world` that are later than a row that is missing."""
    oracle = Oracle(world, rows)
    read: dict[tuple[str, str, str], dict[str, frozenset[Row]]] = {}
    found = []
    for at, order, run, key, part, data_time in sorted(_moments(world)):
        if order == _STARTS:
            read[run, key, part] = oracle.read(key, part, at)
        elif order == _ENDS:
            oracle.held[key, part] = read.pop((run, key, part))
        elif (missing := oracle.first_missing(key, at)) < data_time:
            found.append(Overstated(key, at, data_time, missing))
    return found


def _moments(world: World) -> Iterator[_Moment]:
    """Yield when steps started and ended that delivered something, and when data times moved."""
    for run in world.runs:
        for key, ended in run.ended.items():
            for part in run.parts if world.graph.assets[key].partitioned else ("",):
                yield _Moment(run.started[key], _STARTS, run.id, key, part)
                yield _Moment(ended, _ENDS, run.id, key, part)
    for key, versions in world.versions.items():
        for at, data_time in versions:
            if data_time is not None:
                yield _Moment(at, _SHOWS, "", key, "", data_time)
