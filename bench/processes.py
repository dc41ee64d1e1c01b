"""The processes of a running stack: what each of them is for, its CPU and its memory.

A family is a process and all that descend from it. The CPU of a process that has ended is in what
/proc says of the parent that waited for it. So the sum over a family loses nothing, also of
processes that came and went between two looks. A cgroup would say the same, but only root may make
one, and not in every container.
"""

from __future__ import annotations

import json
import os
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

__all__ = [
    "BENCH",
    "CONNECTOR",
    "Family",
    "Life",
    "Meter",
    "Process",
    "kinds_of_services",
    "words_of",
]

BENCH: Final = "bench"
CONNECTOR: Final = "connector and load"
RUNS: Final = "runs, with dbt"
POSTGRES: Final = "Postgres"
AIRBYTE: Final = "Airbyte's server"
WORKERS: Final = "workers"
SERVERS: Final = "code servers"

_SERVICES: Final = {
    "postgres": POSTGRES,
    "airbyte": AIRBYTE,
    "github": "GitHub's stand-in",
    "broker": "broker",
    "workers": WORKERS,
}
"""What the services of the stack are for, by the names that devstack gives them."""
_PROGRAMS: Final = {
    "dagster_webserver": "webserver",
    "dagster._daemon": "daemon",
    "dagster code-server": SERVERS,
    "dagster api grpc": SERVERS,
    "dagster dev": "dagster dev",
    "freshline log": "freshline log",
    "freshline worker": WORKERS,
    "freshline.engine.worker": WORKERS,
}
"""What a process is for if its arguments have these words, the first that fits."""
_CHILDREN: Final = {AIRBYTE: CONNECTOR, WORKERS: RUNS, SERVERS: RUNS, BENCH: RUNS}
"""What the children of a process are for, if not the same as it and no program of `_PROGRAMS`."""

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_LOOK_EVERY: Final = 0.2


@dataclass(frozen=True)
class Process:
    """A process at one moment. CPU is in seconds."""

    pid: int
    parent: int
    kind: str
    cpu: float
    """Its own."""
    cpu_of_ended: float
    """Of its children that have ended, and of theirs."""

    @property
    def kind_of_ended(self) -> str:
        """What its children that have ended were for."""
        return _CHILDREN.get(self.kind, self.kind)

    def pss(self) -> int:
        """Return its memory in bytes; of what it shares with others, its part. 0: it has ended."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
        return 0


@dataclass
class Life:
    """When a process was seen first and last (epoch seconds), and its arguments."""

    first: float
    last: float
    words: str


class Family:
    """All that descend from the process `root`, and itself.

    `kinds` says what some of them are for, by process id. `meter` is the process that measures: it
    is of the kind `BENCH`, and its own CPU does not count.
    """

    def __init__(self, root: int, kinds: Mapping[int, str], *, meter: int) -> None:
        self._root = root
        self._given = {**kinds, meter: BENCH}
        self._meter = meter
        self._known: dict[int, str] = {}
        """What processes are for that have become their programs."""

    def look(self) -> list[Process]:
        """Return the processes of the family, parents before their children."""
        stats = dict(_read_stats())
        children = defaultdict(list)
        for pid, (parent, _, _) in stats.items():
            children[parent].append(pid)
        found: list[Process] = []
        waiting = [(self._root, "", "devstack")]
        while waiting:
            pid, parent_words, inherited = waiting.pop()
            if pid not in stats:
                continue
            parent, cpu, cpu_of_ended = stats[pid]
            words = words_of(pid)
            kind = self._kind(pid, words, parent_words, inherited)
            found.append(
                Process(pid, parent, kind, 0.0 if pid == self._meter else cpu, cpu_of_ended)
            )
            heirs = _CHILDREN.get(kind, kind)
            waiting += [(child, words, heirs) for child in children[pid]]
        self._known = {one.pid: one.kind for one in found if one.pid in self._known}
        return found

    def _kind(self, pid: int, words: str, parent_words: str, inherited: str) -> str:
        if pid in self._given:
            return self._given[pid]
        if pid in self._known:
            return self._known[pid]
        if words == parent_words:
            return inherited  # a fork, which may become a program yet
        named = next((kind for program, kind in _PROGRAMS.items() if program in words), inherited)
        self._known[pid] = named
        return named


class Meter:
    """Looks at a family five times a second as long as the context is open."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._times: list[float] = []
        self._cpu: list[Mapping[str, float]] = []
        self.lives: dict[int, Life] = {}
        """The processes of connectors and loads, by process id."""

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def cpu(self, begin: float, end: float) -> dict[str, float]:
        """Return the seconds of CPU between two times (epoch seconds), by what they were for."""
        before, after = self._at(begin), self._at(end)
        return {kind: seconds - before.get(kind, 0.0) for kind, seconds in after.items()}

    def life(self, word: str) -> Life:
        """Return the newest process with `word` in its arguments. Raises `LookupError`."""
        found = [life for life in self.lives.values() if word in life.words]
        if not found:
            raise LookupError(f"no process with {word} in its arguments was seen")
        return max(found, key=lambda life: life.first)

    def _at(self, at: float) -> Mapping[str, float]:
        """Return the seconds of CPU until a time, between two looks in proportion."""
        place = bisect_left(self._times, at)
        if place in (0, len(self._times)):
            return self._cpu[min(place, len(self._times) - 1)]
        early, late = self._times[place - 1 : place + 1]
        part = (at - early) / (late - early)
        before, after = self._cpu[place - 1 : place + 1]
        return {
            kind: before.get(kind, 0.0) + part * (seconds - before.get(kind, 0.0))
            for kind, seconds in after.items()
        }

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            self._look()

    def _look(self) -> None:
        now = time.time()
        processes = self._family.look()
        self._times.append(now)
        self._cpu.append(_sums(processes))
        for one in processes:
            if one.kind == CONNECTOR:
                life = self.lives.setdefault(one.pid, Life(now, now, ""))
                life.last = now
                life.words = words_of(one.pid) or life.words


def kinds_of_services(state: Path) -> dict[int, str]:
    """Return what the services of the stack with its data in `state` are for, by process id."""
    records = ((name, state / ".local" / "run" / f"{name}.json") for name in _SERVICES)
    return {
        json.loads(file.read_text())["pid"]: _SERVICES[name]
        for name, file in records
        if file.exists()
    }


def words_of(pid: int) -> str:
    """Return the arguments of a process, with spaces between them; "" if it has ended."""
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
    return ""


def _sums(processes: Iterable[Process]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for one in processes:
        found[one.kind] += one.cpu
        found[one.kind_of_ended] += one.cpu_of_ended
    return dict(found)


def _read_stats() -> Iterable[tuple[int, tuple[int, float, float]]]:
    """Yield of each process of the machine: its id, parent, CPU, and CPU of its ended children."""
    for folder in os.scandir("/proc"):
        if folder.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                text = Path(folder.path, "stat").read_bytes()
                fields = text.rpartition(b")")[2].split()
                own, ended = (sum(map(int, fields[at : at + 2])) * _TICK for at in (11, 13))
                yield int(folder.name), (int(fields[1]), own, ended)
