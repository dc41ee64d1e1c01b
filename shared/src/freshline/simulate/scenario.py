"""What is simulated: a graph, how long its assets take, and what happens to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, inf
from random import Random

from freshline.model import Capacity, Graph

__all__ = [
    "Change",
    "Duration",
    "EitherDuration",
    "Fault",
    "Feed",
    "NothingToMake",
    "Outage",
    "Quiet",
    "Scenario",
    "Uniform",
]


@dataclass(frozen=True, slots=True)
class Duration:
    """A lognormal distribution: its mean in seconds, and the sigma of its logarithm.

    With a sigma of 0 the duration is always the same.
    """

    mean: float
    sigma: float = 0.0

    def sample(self, random: Random) -> float:
        """Return a random duration in seconds."""
        if self.sigma == 0.0:
            return self.mean
        return self.mean * exp(self.sigma * random.gauss(0.0, 1.0) - self.sigma**2 / 2)


@dataclass(frozen=True, slots=True)
class Uniform:
    """A duration that is as likely to be anywhere between two numbers of seconds."""

    least: float
    most: float

    @property
    def mean(self) -> float:
        """Return the mean in seconds."""
        return (self.least + self.most) / 2.0

    def sample(self, random: Random) -> float:
        """Return a random duration in seconds."""
        return random.uniform(self.least, self.most)


@dataclass(frozen=True, slots=True)
class EitherDuration:
    """Mostly one duration, sometimes another: a sync that now and then reads everything."""

    usual: Duration
    other: Duration
    share: float
    """The share of the other, from 0 to 1."""

    @property
    def mean(self) -> float:
        """Return the mean of both, in seconds."""
        return (1.0 - self.share) * self.usual.mean + self.share * self.other.mean

    def sample(self, random: Random) -> float:
        """Return a random duration in seconds."""
        return (self.other if random.random() < self.share else self.usual).sample(random)


@dataclass(frozen=True, slots=True)
class Change:
    """From `time` on, `asset` takes `duration`."""

    time: float
    asset: str
    duration: Duration | EitherDuration


@dataclass(frozen=True, slots=True)
class Outage:
    """A location's server is down: it does not tick. Runs in progress end as usual."""

    location: str
    begin: float
    end: float = inf


@dataclass(frozen=True, slots=True)
class Fault:
    """Every run of `asset` that ends between `begin` and `end` fails."""

    asset: str
    begin: float
    end: float = inf


@dataclass(frozen=True, slots=True)
class Quiet:
    """No row comes to the source `asset` between `begin` and `end`.

    What reads it then finds the same data as before, seen later.
    """

    asset: str
    begin: float
    end: float = inf


@dataclass(frozen=True, slots=True)
class NothingToMake:
    """Every run of `asset` that ends between `begin` and `end` succeeds and makes nothing."""

    asset: str
    begin: float
    end: float = inf


@dataclass(frozen=True, slots=True)
class Feed:
    """Somebody outside reports a version of `asset` every so many seconds."""

    asset: str
    every: float
    age: float = 0.0
    """How many seconds old the data of each version is."""
    begin: float = 0.0
    end: float = inf


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens to a workspace; every time is in seconds after the beginning.

    The beginning is 1970-01-01 00:00 UTC. Partitions whose window ended before it are history that
    was never promised, unless an asset says otherwise.
    """

    graph: Graph
    durations: Mapping[str, Duration | EitherDuration]
    """How long each asset executes; an execution set takes what its slowest asset takes, and a
    range of partitions what one of them takes."""
    launch: Duration | Uniform = Duration(0.0)
    """From when a run leaves the queue until its first step starts."""
    capacity: Capacity = field(default_factory=Capacity)
    """How many runs may be under way at once, and how many in each pool. The others wait in the
    queue."""
    first_ticks: Mapping[str, float] = field(default_factory=dict)
    """When each location ticks for the first time; 0 by default."""
    outages: tuple[Outage, ...] = ()
    faults: tuple[Fault, ...] = ()
    quiet: tuple[Quiet, ...] = ()
    nothing_to_make: tuple[NothingToMake, ...] = ()
    feeds: tuple[Feed, ...] = ()
    failure_rate: float = 0.0
    """The share of all executions that fail at random."""
    by_hand: tuple[tuple[float, str], ...] = ()
    """Runs that somebody starts: when, and of which asset."""
    backfills: tuple[tuple[float, str, str], ...] = ()
    """Partitions that somebody has made: when, of which asset, and the partition key."""
    dynamic: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys of dynamic partitions, by the name of the set."""
    deployments: tuple[tuple[float, Graph], ...] = ()
    """When a location is reloaded, and the graph from then on."""
    changes: tuple[Change, ...] = ()
    """How long assets execute from some time on."""
    real_ticks: Mapping[str, float] = field(default_factory=dict)
    """Seconds between two ticks of a location that ticks less often than it declares."""
    seed: int = 0
