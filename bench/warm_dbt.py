"""What dbt costs a run: the program, and dbt in a fork of the run's process.

``analytics_marts/.venv/bin/python bench/warm_dbt.py`` prints the table of the README's section
"warm_dbt". Two processes have loaded the location `analytics_marts`; one has called `load_dbt`.
Each is forked for every run, as a warm worker is, and the run builds ``mart/mart_gh_join`` with its
tests in a real Postgres. The runs of the two alternate.

CPU is that of all processes of a run: the run's own, dbt's, and what these have started. Postgres
is left out.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "devstack" / "testing"), str(ROOT / "shared" / "testing")]

PROJECT = ROOT / "analytics_marts" / "dbt_project_2"
ASSET = ["mart", "mart_gh_join"]
MODES = {"program": "the program", "fork": "in a fork"}
PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7, help="runs of each kind")
    parser.add_argument("--worker", choices=MODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
    else:
        compare(arguments.pairs)


# --- both kinds, one after the other --------------------------------------------------------


def compare(pairs: int) -> None:
    from devstack_fixtures import Launcher, PostgresServer

    prepare = [sys.executable, "-m", "freshline.dbt.prepare", str(PROJECT)]
    subprocess.run(prepare, check=True)
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        launcher = Launcher()
        stack.callback(launcher.close)
        data = launcher.new_folder("postgres")
        server: Any = launcher.serve("postgres", kind=PostgresServer, data=data, throwaway=True)
        database = stack.enter_context(server.new_database())
        fill(database.dsn)
        environment = {**os.environ, **database.environ("WAREHOUSE")}
        workers = {
            mode: stack.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, "--worker", mode],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                    text=True,
                )
            )
            for mode in MODES
        }
        for mode in MODES:
            run(workers[mode], "all")  # also parses the project for this database
        measured: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
        for _ in range(pairs):
            for mode in MODES:
                measured[mode].append(run(workers[mode], "one"))
        for worker in workers.values():
            worker.stdin.close()  # type: ignore[union-attr]  # it is a pipe
    show(measured, load)


def run(worker: subprocess.Popen[str], assets: str) -> dict[str, float]:
    """Let a worker make a run of "all" assets, or of "one". Return what `measure` says of it."""
    if worker.stdin is None or worker.stdout is None:
        raise ValueError("the worker has no pipes")
    worker.stdin.write(f"{assets}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("the worker has ended; its message is above")
    found: dict[str, float] = json.loads(line)
    return found


def show(measured: dict[str, list[dict[str, float]]], load: float) -> None:
    pairs = len(measured["fork"])
    print(f"{pairs} pairs; {os.cpu_count()} cores, load average before {load:.1f}; medians\n")
    print("| dbt | CPU of dbt | CPU of the run's process | CPU in all | wall |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for mode, name in MODES.items():
        dbt, own, whole, wall = (
            median(one[column] for one in measured[mode])
            for column in ("dbt", "own", "whole", "wall")
        )
        print(f"| {name} | {dbt:.2f} s | {own:.2f} s | {whole:.2f} s | {wall:.2f} s |")
    for column, name in (("whole", "CPU"), ("wall", "wall")):
        ratios = [
            fork[column] / program[column]
            for program, fork in zip(measured["program"], measured["fork"], strict=True)
        ]
        print(
            f"\nA run with a fork needs {median(ratios):.2f} times the {name} of one with the "
            f"program ({min(ratios):.2f} to {max(ratios):.2f})."
        )
        if max(ratios) >= 1:
            raise SystemExit("the fork is no faster")


def fill(dsn: str) -> None:
    """Make what the project reads of other teams: its sources, with one repository."""
    import psycopg

    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            create schema postgres;
            create schema mart;
            """
        )
        manifest = json.loads((PROJECT / "target" / "manifest.json").read_text())
        for source in manifest["sources"].values():
            columns = ", ".join(
                f"{column['name']} {column['data_type']}" for column in source["columns"].values()
            )
            table = f"{source['schema']}.{source['identifier']}"
            connection.execute(f"create table {table} ({columns})".encode())


# --- a worker -------------------------------------------------------------------------------


def work(mode: str) -> None:
    """Load the location; then make a run for each line of the input, and print what it took."""
    import dagster as dg
    from analytics_marts.definitions import defs

    if mode == "fork":
        from freshline.dbt.warm import load_dbt

        if not load_dbt():
            raise SystemExit("this environment has no dbt that can run in a fork")
    for job in defs.resolve_all_job_defs():
        job.get_subset(asset_selection=None)
    with dg.DagsterInstance.ephemeral() as instance:

        @dg.asset
        def harmless() -> None: ...

        dg.materialize([harmless], instance=instance)
    gc.collect()
    gc.freeze()
    # What a run leaves running becomes a child of this process, and counts.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        keys = [ASSET] if line == "one\n" else None
        os.write(answers, json.dumps(measure(keys)).encode() + b"\n")


def measure(keys: list[list[str]] | None) -> dict[str, float]:
    """Make one run in a fork. Return seconds of CPU of dbt, the run's process, all; and wall."""
    helpers = children()
    before, began = cpu(resource.RUSAGE_CHILDREN), time.monotonic()
    reading, writing = os.pipe()
    if os.fork() == 0:
        begin = cpu(resource.RUSAGE_SELF)
        status = 1
        try:
            build(keys)
            own, dbt = cpu(resource.RUSAGE_SELF) - begin, cpu(resource.RUSAGE_CHILDREN)
            os.write(writing, json.dumps({"own": own, "dbt": dbt}).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        found: dict[str, float] = json.loads(told.read() or "null") or {}
    while children() - helpers:
        os.wait()
    if not found:
        raise SystemExit("the run failed; its message is above")
    wall, whole = time.monotonic() - began, cpu(resource.RUSAGE_CHILDREN) - before
    return {**found, "whole": whole, "wall": wall}


def children() -> set[int]:
    """Return the processes that this one has to wait for."""
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def build(keys: list[list[str]] | None) -> None:
    """Build assets, or all, in this process. Raises what the run has failed with."""
    import dagster as dg
    from analytics_marts.assets import dbt_models
    from analytics_marts.resources import dbt

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    with dg.DagsterInstance.ephemeral() as instance:
        selection = None if keys is None else [dg.AssetKey(key) for key in keys]
        dg.materialize([dbt_models], selection=selection, resources={"dbt": dbt}, instance=instance)


def cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
