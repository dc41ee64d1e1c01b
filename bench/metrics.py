"""What a scrape of `freshline metrics` costs: from the event log of a real Postgres to the text.

``.venv/bin/python bench/metrics.py`` prints the table of docs/monitoring.md. The workspace is that
of `tick.py`: 5,000 assets in 50 locations, of which every fifth is a target. Each scrape is one
that looks: scrapes within five seconds after it have its answer and cost a write of the page alone,
which is the last row. CPU is that of the process, without Postgres.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from contextlib import AbstractContextManager
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "shared" / "tests"))

from own_postgres import own_postgres  # noqa: E402
from tick import DEPTH, fill, instance_on, make, members  # noqa: E402

ASSETS, LOCATIONS = 5_000, 50
SCRAPES = 5
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def main() -> None:
    with own_postgres() as server, server.new_database() as database:
        with instance_on(database) as instance:
            fill(instance, ASSETS, LOCATIONS)
        print(f"{ASSETS // DEPTH:,} targets of {ASSETS:,} assets in {LOCATIONS} locations\n")
        print("| scrape | CPU | size |\n| --- | ---: | ---: |")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            for name, cpu, size in pool.apply(measure, (database,)):
                print(f"| {name} | {cpu:.3f} s | {size / 1e6:.1f} MB |")


def measure(database: Any) -> list[tuple[str, float, int]]:
    """Return the name, the CPU seconds and the bytes of each kind of scrape."""
    from freshline.lookout import Lookout
    from freshline.metrics import Exporter
    from freshline.metrics.page import write_page

    def opened() -> AbstractContextManager[Any]:
        return instance_on(database)

    def scrape(exporter: Exporter) -> tuple[float, int]:
        begin = time.process_time()
        page = write_page(exporter.families(), OPENMETRICS)
        return time.process_time() - begin, len(page.text)

    looks = Exporter(Lookout(opened), print, fresh=0.0)
    rows = [("the first", *scrape(looks))]
    scrape(looks)  # what the first one has read may just have happened
    rows.append(("nothing has happened", *_median([scrape(looks) for _ in range(SCRAPES)])))
    busy = []
    for number in range(SCRAPES):
        with instance_on(database) as instance:
            for location in range(number % 10, LOCATIONS, 10):
                make(instance, members(ASSETS, LOCATIONS, location)[1], f"busy-{number}")
        busy.append(scrape(looks))
    rows.append(("a tenth of all assets was made", *_median(busy)))
    rests = Exporter(Lookout(opened), print, fresh=inf)
    scrape(rests)  # all others have its answer
    rows.append(("the answer of another scrape", *_median([scrape(rests) for _ in range(SCRAPES)])))
    return rows


def _median(scrapes: list[tuple[float, int]]) -> tuple[float, int]:
    return median(cpu for cpu, _ in scrapes), scrapes[-1][1]


if __name__ == "__main__":
    main()
