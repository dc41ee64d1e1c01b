"""What `freshline status` costs, cold: from the start of the program to its last line.

``.venv/bin/python bench/status.py`` prints the table of README.md, section "status". The history is
that of `tick.py`, in a real Postgres. The command is run as a user runs it, in a new process:

- *written*: the sensors tick, so that it shows what they have written;
- *worked out*: what they have written is old, so that it reads the history of all assets.

Wall and CPU are those of the process, the median of some runs. It fails if the first takes longer
than the goal.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "shared" / "tests"))

from own_postgres import own_postgres  # noqa: E402
from tick import fill, instance_on  # noqa: E402

SIZES = ((100, 1), (1_000, 10), (10_000, 100))
ROUNDS = 5
GOAL = 1.5  # seconds for 10,000 assets, as they are written
OLD = 1_000.0  # seconds: nobody trusts what was written so long ago


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=int, help="only this size")
    arguments = parser.parse_args()

    slowest = 0.0
    with own_postgres() as server:
        print("| assets | locations | status | wall | CPU |")
        print("| ---: | ---: | --- | ---: | ---: |")
        for assets, locations in SIZES:
            if arguments.assets in (None, assets):
                with server.new_database() as database:
                    slowest = max(slowest, report(assets, locations, database))
    return int(slowest > GOAL)


def report(assets: int, locations: int, database: Any) -> float:
    """Print the rows of one size. Return the seconds of wall that what is written takes."""
    with instance_on(database) as instance:
        fill(instance, assets, locations)
    walls = {}
    for name, age in (("written", 0.0), ("worked out", OLD)):
        with instance_on(database) as instance:
            write_rows(instance, age)
        runs = [run(database) for _ in range(ROUNDS)]
        walls[name] = median(wall for wall, _ in runs)
        cpu = median(cpu for _, cpu in runs)
        print(
            f"| {assets:,} | {locations} | {name} | {walls[name]:.2f} s | {cpu:.2f} s |",
            flush=True,
        )
    return walls["written"]


def write_rows(instance: Any, age: float) -> None:
    """Write how the targets of each location stand, as its sensor does, `age` seconds ago."""
    from freshline.contract import heartbeat, read_contracts
    from freshline.sensor.outlook import Observer
    from freshline.sensor.status_row import status_row
    from freshline.status.rows import write_row

    for published in read_contracts(instance).values():
        instance.report_runless_asset_event(heartbeat(published))
    outlook = Observer().look(instance, time.time())
    for contract in outlook.contracts:
        row = status_row(contract, outlook)
        write_row(instance, row.model_copy(update={"at": row.at - age}))


def run(database: Any) -> tuple[float, float]:
    """Run the command. Return the seconds of wall and of CPU that it took."""
    from conftest import write_instance

    with tempfile.TemporaryDirectory() as home:
        write_instance(Path(home), database)
        environment = {**os.environ, "DAGSTER_HOME": home}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        done = subprocess.run(
            [Path(sys.executable).with_name("freshline"), "status"],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
        )
        wall = time.monotonic() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used


if __name__ == "__main__":
    sys.exit(main())
