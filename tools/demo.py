"""One full pass over the three code locations, without a browser: what `make demo` runs.

It uses a stack of its own, with its data below .local/demo. The sensors of the three locations do
the work; this program waits, and prints what came out.
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
import yaml
from freshline.contract import graph_of, read_contracts
from freshline.model import Graph
from own_stack import connect_to_warehouse, dagster_dev, log_of, run_inside
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local" / "demo"
PASS_SECONDS = 420
FIRST_ROWS = 5


@dataclass(frozen=True)
class Hop:
    """How one asset came to be. Durations in seconds."""

    waited: float
    """From the request of its run until the run started."""
    ran: float
    """From then until the asset was materialized."""
    at: float
    """When that was, in epoch seconds."""


def main() -> int:
    if sys.argv[1:] == ["inside"]:
        return make_one_pass()
    return run_inside(STATE, [sys.executable, __file__, "inside"])


def make_one_pass() -> int:
    began = time.time()
    with dagster_dev(STATE) as dagster, dg.DagsterInstance.get() as instance:
        say("three code locations are loading; their sensors start the rest")
        graph = await_graph(instance, dagster, began)
        hops = await_hops(instance, graph, dagster, began)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(lineage(graph, hops, began))
    for table in marts(graph):
        console.print(table)
    say(f"{count_stars()} stars in all months of mart_gh_cumulative")
    say(f"one pass took {time.time() - began:.0f} s")
    return 0


def await_graph(
    instance: dg.DagsterInstance, dagster: subprocess.Popen[bytes], began: float
) -> Graph:
    """The lineage that the locations publish, once all of them have spoken."""
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    wanted = {entry["python_module"]["location_name"] for entry in workspace["load_from"]}
    while True:
        contracts = read_contracts(instance)
        if wanted <= contracts.keys():
            return graph_of([published.contract for published in contracts.values()])
        give_up_if_stuck(instance, dagster, began)
        time.sleep(1)


def await_hops(
    instance: dg.DagsterInstance, graph: Graph, dagster: subprocess.Popen[bytes], began: float
) -> dict[str, Hop]:
    """Wait until every asset has been made; say so as it happens."""
    hops: dict[str, Hop] = {}
    while len(hops) < len(graph.assets):
        for key, asset in graph.assets.items():
            if key not in hops and (hop := read_hop(instance, key)):
                hops[key] = hop
                say(f"{hop.at - began:4.0f} s  {key}  ({asset.location})")
        give_up_if_stuck(instance, dagster, began)
        time.sleep(1)
    return dict(sorted(hops.items(), key=lambda item: item[1].at))


def read_hop(instance: dg.DagsterInstance, key: str) -> Hop | None:
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
    """Each asset after those it is made from, and what its hop took."""
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


def marts(graph: Graph) -> Iterator[Table]:
    """The first rows of each mart, and how many there are."""
    keys = [key.split("/") for key in graph.assets if key.startswith("mart/")]
    with connect_to_warehouse() as warehouse:
        for schema, name in sorted(keys):
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
