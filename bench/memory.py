"""The memory of what `make dev` starts: at rest, and after an hour of work.

``.venv/bin/python bench/memory.py`` starts what ``bench/soak.py`` starts, and ``freshline log``,
whose lines `make dev` shows. It waits until every asset was made and no run is going on, and looks
at all processes. It does so again after ``--minutes`` in which the policies are kept. In between it
looks every ten seconds, for the most that is used at any time. With ``--write`` it puts the table
into ``docs/engine.md``. Fails if all processes together need more than 2 GB at rest, before or
after.

Memory is what Linux calls PSS: what a process has for itself, and of what it shares with others its
part. Warm workers share most of theirs with the runs that they fork, so a sum of resident sizes
would count that several times. Not counted is the process that measures, in the place of which
`make dev` has its ``tools/dev.py``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from dev import LOG  # noqa: E402 - found from here on
from family import running  # noqa: E402 - as above
from own_stack import dagster_dev, run_inside  # noqa: E402 - as above
from processes import BENCH, Family, kinds_of_services, words_of  # noqa: E402 - as above
from soak import STATE, await_first_pass, wait  # noqa: E402 - it needs tools/ too

PAGE = ROOT / "docs" / "engine.md"
BEGIN, END = "<!-- memory: begin -->", "<!-- memory: end -->"
MOST = 2 * 1024**3
LOOK_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class Use:
    """The memory of all processes that are for the same, in bytes."""

    processes: int
    whole: int
    largest: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--write", action="store_true", help="into docs/engine.md")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return observe(arguments.minutes, write=arguments.write)
    return run_inside(STATE, [sys.executable, __file__, "--inside", *sys.argv[1:]])


def observe(minutes: float, *, write: bool) -> int:
    with (
        dagster_dev(STATE) as dagster,
        running(LOG, cwd=STATE, stdout=subprocess.DEVNULL),
        dg.DagsterInstance.get() as instance,
    ):
        await_first_pass(instance, dagster)
        family = Family(os.getppid(), kinds_of_services(STATE), meter=os.getpid())
        await_rest(instance, dagster)
        before, most = uses(family), 0
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            wait(min(LOOK_EVERY, max(0.1, end - time.monotonic())), dagster)
            most = max(most, in_all(uses(family)))
        await_rest(instance, dagster)
        after = uses(family)
        show_each(family)
    text = section(before, after, most, minutes)
    print(text)
    if write:
        old = PAGE.read_text()
        PAGE.write_text(f"{old.partition(BEGIN)[0]}{BEGIN}\n{text}\n{END}{old.partition(END)[2]}")
    return 0 if max(in_all(before), in_all(after)) <= MOST else 1


def await_rest(instance: dg.DagsterInstance, dagster: subprocess.Popen[bytes]) -> None:
    """Wait until no run is going on."""
    while not all(run.is_finished for run in instance.get_runs(limit=20)):
        wait(0.5, dagster)
    wait(2.0, dagster)  # the processes of the last run


def uses(family: Family) -> dict[str, Use]:
    """Return the memory of all processes, by what they are for."""
    found: dict[str, list[int]] = defaultdict(list)
    for process in family.look():
        if process.kind != BENCH and (size := process.pss()):
            found[process.kind].append(size)
    return {kind: Use(len(sizes), sum(sizes), max(sizes)) for kind, sizes in found.items()}


def show_each(family: Family) -> None:
    """Print the memory of each process, the largest first."""
    found = [(process.pss(), process) for process in family.look() if process.kind != BENCH]
    for size, process in sorted(found, key=lambda each: -each[0]):
        print(f"{mb(size):>6} MB  {process.kind}: {words_of(process.pid)[:90]}")


def in_all(found: Mapping[str, Use]) -> int:
    return sum(use.whole for use in found.values())


def section(before: Mapping[str, Use], after: Mapping[str, Use], most: int, minutes: float) -> str:
    nothing = Use(0, 0, 0)
    lines = [
        f"| MB (PSS) | at rest | after {minutes:.0f} minutes | processes | the largest |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for kind in by_size(after):
        early, late = before.get(kind, nothing), after[kind]
        row = (kind, mb(early.whole), mb(late.whole), str(late.processes), mb(late.largest))
        lines.append(f"| {' | '.join(row)} |")
    number = sum(use.processes for use in after.values())
    whole = (mb(in_all(before)), mb(in_all(after)), str(number))
    lines.append(f"| **in all** | {' | '.join(whole)} | |")
    told = f"The most while runs go on, by a look every {LOOK_EVERY:.0f} s: {mb(most)} MB."
    return "\n".join([*lines, "", f"{told} Goal: at most {mb(MOST)} MB at rest."])


def by_size(found: Mapping[str, Use]) -> Sequence[str]:
    return sorted(found, key=lambda kind: -found[kind].whole)


def mb(size: int) -> str:
    return f"{size / 1024**2:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
