"""What a report over a week costs: ten thousand runs in a real Postgres, until the page is written.

``.venv/bin/python bench/report.py`` prints the table of the README's section "report". It fills a
fresh database with the synthetic week of the tests (`shared/tests/week_log.py`), then measures
``freshline report --since 7d`` as a user starts it: once from the event log alone, then after
``freshline keep`` from what is kept, and after all older events were deleted. ``--pictures FOLDER``
saves the page of a day in which a location was down for an hour, as a browser shows it, at both
widths and in both schemes, and the top of it as docs/report.png shows it.

CPU is that of the command's process, without Postgres.
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
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect

from own_postgres import own_postgres

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("shared/tests", "tests")]

DAYS = 7
DOCUMENTED = (1400, "light")  # the width and scheme of the picture in docs/report.png
KEPT_EVENTS = 6 * 3600.0  # seconds of events that are left when older ones are deleted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="save screenshots in this folder")
    arguments = parser.parse_args()

    with (
        own_postgres() as server,
        server.new_database() as database,
        tempfile.TemporaryDirectory() as home,
    ):
        if arguments.pictures:
            show(database, Path(home), arguments.pictures)
        else:
            measure(database, Path(home))


def measure(database: Any, home: Path) -> None:
    import dagster as dg
    from conftest import write_instance
    from week_log import fill_week

    write_instance(home, database)
    page = home / "report.html"
    with dg.DagsterInstance.from_config(str(home)) as instance:
        week = fill_week(instance, time.time(), DAYS)
        print("| what | wall | CPU | page |")
        print("| --- | ---: | ---: | ---: |")
        row(f"report, {week.truth.runs:,} runs, from the event log", home, "report", page)
        row("keep, all of it", home, "keep")
        row("report, from what is kept", home, "report", page)
        delete_before(instance, time.time() - KEPT_EVENTS)
        row("report, after older events were deleted", home, "report", page)
        print()
        print_sizes(instance)


def show(database: Any, home: Path, pictures: Path) -> None:
    import dagster as dg
    from conftest import write_instance
    from freshline.history.kept import read_past
    from freshline.report import report_of
    from freshline.report.page import page
    from freshline.sensor.outlook import Observer
    from week_log import DAY, fill_week

    write_instance(home, database)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        end = time.time()
        fill_week(instance, end, days=3)  # the third one is that day
        outlook = Observer().look(instance, end)
        past = read_past(instance, outlook.graph, end - DAY, end)
    report = report_of(outlook.graph, past, end - DAY, end, plan=outlook.plan)
    file = home / "report.html"
    file.write_text(page(report), encoding="utf-8")
    photograph(file, pictures)


def head(page: Any) -> FloatRect:
    """Return the part of the page down to the lag of the first target."""
    chart = page.locator("figure").first.bounding_box()
    return {"x": 0, "y": 0, "width": DOCUMENTED[0], "height": chart["y"] + chart["height"] + 8}


def row(name: str, home: Path, command: str, page: Path | None = None) -> None:
    """Run a command of freshline and print what it took."""
    arguments = ["--since", f"{DAYS}d", "--output", str(page)] if page else []
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    run(home, command, *arguments)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begin
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = f"{page.stat().st_size / 1000:.0f} kB" if page else ""
    print(f"| {name} | {wall:.1f} s | {cpu:.1f} s | {size} |", flush=True)


def run(home: Path, *arguments: str) -> None:
    program = [str(Path(sys.executable).with_name("freshline")), *arguments]
    environment = {**os.environ, "DAGSTER_HOME": str(home)}
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, env=environment)


def delete_before(instance: Any, at: float) -> None:
    old = "timestamp < to_timestamp(:at) at time zone 'UTC'"
    own = "coalesce(asset_key, '') like '[\"freshline\", %'"
    with instance.event_log_storage.index_connection() as connection:
        connection.execute(sa.text(f"delete from event_logs where {old} and not {own}"), {"at": at})
        connection.execute(sa.text("delete from runs where end_time < :at"), {"at": at})


def print_sizes(instance: Any) -> None:
    """Print how large the tables of the compact history are."""
    print("| table | rows | bytes a row | kB a day |")
    print("| --- | ---: | ---: | ---: |")
    with instance.event_log_storage.index_connection() as connection:
        for table in ("freshline_versions", "freshline_runs", "freshline_verdicts"):
            size, rows = connection.execute(
                sa.text(f"select pg_total_relation_size('{table}'), count(*) from {table}")
            ).one()
            print(f"| {table} | {rows:,} | {size / max(1, rows):.0f} | {size / DAYS / 1000:.0f} |")


def photograph(page: Path, folder: Path) -> None:
    from playwright.sync_api import sync_playwright
    from support.browser import ARGUMENTS, chromium

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        for width in (1400, 400):
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme
                )
                shown = context.new_page()
                shown.goto(page.as_uri())
                shown.screenshot(path=folder / f"report-{width}-{scheme}.png", full_page=True)
                if (width, scheme) == DOCUMENTED:
                    shown.screenshot(path=folder / "report.png", full_page=True, clip=head(shown))
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
