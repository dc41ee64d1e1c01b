"""One full pass over all code locations, without a browser: what `make demo` runs.

It uses a stack of its own, with its data below .local/demo. The sensors of the locations do the
work; this program waits, and prints what came out.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
from freshline.contract import graph_of, read_contracts
from freshline.model import Graph
from own_stack import connect_to_warehouse, dagster_dev, log_of, run_inside
from projects import read_locations
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local" / "demo"
PASS_SECONDS = 420
FIRST_ROWS = 5


@dataclass(frozen=True)
class Hop:
    """How one asset was made."""

    waited: float
    """Seconds from the request of its run until the run started."""
    ran: float
    """Seconds from the run's start until the asset was materialized."""
    at: float
    """When the asset was materialized, in epoch seconds."""


def main() -> int:
    if sys.argv[1:] == ["inside"]:
        return make_one_pass()
    return run_inside(STATE, [sys.executable, __file__, "inside"])


def make_one_pass() -> int:
    began = time.time()
    with dagster_dev(STATE) as dagster, dg.DagsterInstance.get() as instance:
        say("the code locations are loading; their sensors start the rest")
        graph = await_graph(instance, dagster, began)
        hops = await_hops(instance, graph, dagster, began)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(lineage(graph, hops, began))
    for table in marts(hops):
        console.print(table)
    say(f"{count_stars()} stars in all months of mart_gh_cumulative")
    say(f"one pass took {time.time() - began:.0f} s")
    return 0


def await_graph(
    instance: dg.DagsterInstance, dagster: subprocess.Popen[bytes], began: float
) -> Graph:
    """Wait until every location has published its contract; return the lineage of them all."""
    locations = set(read_locations(ROOT))
    while True:
        contracts = read_contracts(instance)
        if locations <= contracts.keys():
            return graph_of([published.contract for published in contracts.values()])
        give_up_if_stuck(instance, dagster, began)
        time.sleep(1)


def await_hops(
    instance: dg.DagsterInstance, graph: Graph, dagster: subprocess.Popen[bytes], began: float
) -> dict[str, Hop]:
    """Wait until every asset of `needed_now` has been made, and print each as soon as it is.

    Return how each asset was made, by key, in the order in which they were made.
    """
    missing = needed_now(graph)
    hops: dict[str, Hop] = {}
    while missing:
        for key in sorted(missing):
            if hop := read_hop(instance, key):
                missing.remove(key)
                hops[key] = hop
                say(f"{hop.at - began:4.0f} s  {key}  ({graph.assets[key].location})")
        give_up_if_stuck(instance, dagster, began)
        time.sleep(1)
    return dict(sorted(hops.items(), key=lambda item: item[1].at))


def needed_now(graph: Graph) -> set[str]:
    """Return the assets whose maximum lag holds all the time, and all that they are made from.

    No policy requests the others, or only at the next tick of a cron.
    """
    found: set[str] = set()
    waiting = [
        key
        for key, asset in graph.assets.items()
        if asset.policy and not asset.policy.cron and not asset.never_requested
    ]
    while waiting:
        key = waiting.pop()
        if key in graph.assets and key not in found:
            found.add(key)
            waiting += graph.assets[key].deps
    return found


def read_hop(instance: dg.DagsterInstance, key: str) -> Hop | None:
    """Return how the newest version of the asset was made; None if there is none yet."""
    made = instance.fetch_materializations(dg.AssetKey(key.split("/")), limit=1).records
    if not made:
        return None
    run = instance.get_run_record_by_id(made[0].run_id)
    if run is None or run.start_time is None:
        return None
    waited = run.start_time - run.create_timestamp.timestamp()
    return Hop(waited, made[0].timestamp - run.start_time, made[0].timestamp)


def give_up_if_stuck(
    instance: dg.DagsterInstance, dagster: subprocess.Popen[bytes], began: float
) -> None:
    """Exit with the reason if a run failed, Dagster ended or the pass took too long."""
    failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
    if failed:
        why = f"run {failed[0].run_id} failed"
    elif dagster.poll() is not None:
        why = "dagster dev ended"
    elif time.time() - began > PASS_SECONDS:
        why = f"it took more than {PASS_SECONDS} s"
    else:
        return
    sys.exit(f"demo: {why}; what Dagster said is in {log_of(STATE).relative_to(ROOT)}")


def lineage(graph: Graph, hops: dict[str, Hop], began: float) -> Table:
    """Return a table of the assets in the order in which they were made, with their times."""
    table = Table(title="Lineage, in the order in which it was made", title_justify="left")
    for name in ("asset", "made from", "code location", "at most behind"):
        table.add_column(name)
    for name in ("made at", "waited", "ran"):
        table.add_column(name, justify="right")
    for key, hop in hops.items():
        asset = graph.assets[key]
        promise = f"{asset.policy.minutes:g} min" if asset.policy else ""
        times = (f"{seconds:.1f} s" for seconds in (hop.at - began, hop.waited, hop.ran))
        table.add_row(key, ", ".join(asset.deps), asset.location, promise, *times)
    return table


def marts(hops: dict[str, Hop]) -> Iterator[Table]:
    """Yield the first rows and the number of rows of each mart that has a table."""
    with connect_to_warehouse() as warehouse:
        for schema, name in sorted(key.split("/") for key in hops if key.startswith("mart/")):
            (table_id,) = warehouse.execute(
                "select to_regclass(format('%%I.%%I', %s::text, %s::text))", [schema, name]
            ).fetchone() or (None,)
            if table_id is None:
                continue  # an asset in Python need not write a table
            relation = psycopg.sql.Identifier(schema, name)
            query = psycopg.sql.SQL("select *, count(*) over () from {} order by 1, 2 limit {}")
            rows = warehouse.execute(query.format(relation, FIRST_ROWS))
            columns = [column.name for column in rows.description or ()][:-1]
            content = rows.fetchall()
            total = content[0][-1] if content else 0
            table = Table(*columns, title=f"{schema}.{name}: {total} rows", title_justify="left")
            for row in content:
                table.add_row(*(str(value) for value in row[:-1]))
            yield table


def count_stars() -> int:
    with connect_to_warehouse() as warehouse:
        query = "select coalesce(sum(stars), 0) from mart.mart_gh_cumulative"
        (stars,) = warehouse.execute(query).fetchone() or (0,)
        return int(stars)


def say(message: str) -> None:
    print(f"demo: {message}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
