"""CPU of the gate beyond loading the locations, for 1,000, 5,000 and 15,356 assets.

Workspaces of ten locations. Each asset reads two of the location before; every tenth has a policy.
With 600 missing imports, a location has put a prefix before keys that others still read by their
old names. Measured is what `freshline check` does once the locations have answered: it reads the
contracts and judges them. Apart from it: `describe`, which reads the definitions of a location, in
the location's own process.

Run it with `.venv/bin/python bench/gate.py`. It fails if the largest workspace takes longer than
the goal, or if the time grows much faster than the number of assets.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from freshline.check import Location, Workspace, findings
from freshline.contract import Contract
from freshline.contract.describe import describe, document
from freshline.contract.node import Node

SIZES = (1_000, 5_000, 15_356)
MISSING = (0, 600)
LOCATIONS = 10
GOAL = 2.0
"""Seconds that the largest workspace may take."""
DESCRIBED = 1_000
"""Assets of the location whose definitions are read."""
STEEPEST = 2.0
"""How much longer an asset of the largest workspace may take than one of the smallest."""


def nodes_of(location: int, assets: int, missing: int) -> list[Node]:
    """Return the assets of one location; `missing` of its dependencies have no maker."""
    column = {"name": "id", "type": "bigint"}
    nodes = []
    for number in range(assets):
        upstream = [f"layer_{location - 1}/{name(n % assets)}" for n in (number, number * 7 + 1)]
        deps = upstream if location else []
        uses = {dep: [column] for dep in deps}
        renamed = [f"raw_{(location + 3) % LOCATIONS}/{name(number)}"] if number < missing else []
        metadata: dict[str, Any] = {"freshline/uses": uses}
        if number % 10 == 0:
            metadata["freshline/max_lag"] = {"minutes": 1_440}
        nodes.append(
            Node(
                (f"layer_{location}", name(number)),
                made=True,
                deps=(*deps, *renamed),
                kinds=("dbt", "postgres"),
                metadata=metadata,
            )
        )
    return nodes


def name(number: int) -> str:
    """Return a name of a table: no two have more in common than real ones have."""
    return f"table_{number * 7919 % 100_003:06d}_{'abcdefghij'[number % 10] * 3}"


def contracts_of(assets: int, missing: int) -> list[dict[str, Any]]:
    """Return the contract documents of a workspace, with the columns of every asset."""
    documents = []
    for location in range(LOCATIONS):
        share = assets // LOCATIONS + (location < assets % LOCATIONS)
        nodes = nodes_of(location, share, missing // LOCATIONS)
        answer = document(nodes, f"location_{location}", "1.13.27")
        for export in answer["exports"]:
            export["columns"] = [{"name": "id", "type": "int8"}, {"name": "at", "type": "date"}]
        documents.append(answer)
    return documents


def judge(answers: list[str], committed: list[str]) -> int:
    """Do what the gate does once all locations have answered. Return the number of findings."""
    locations = []
    for answer, file in zip(answers, committed, strict=True):
        contract = Contract.from_document(json.loads(answer))
        before = Contract.from_json(file)
        locations.append(Location(contract.location, contract, committed=before))
    return len(findings(Workspace(locations)))


def seconds(action: Callable[[], object]) -> float:
    """Return the least CPU seconds that three runs of `action` take."""
    spent = []
    for _ in range(3):
        begin = time.process_time()
        action()
        spent.append(time.process_time() - begin)
    return min(spent)


def describing(assets: int) -> float:
    """Return the CPU seconds that it takes to read `assets` assets of Dagster definitions."""
    import dagster as dg

    def make(number: int) -> dg.AssetsDefinition:
        @dg.asset(key=["layer_0", name(number)])
        def made() -> None: ...

        return made

    repository = dg.Definitions([make(number) for number in range(assets)]).get_repository_def()
    begin = time.process_time()  # once: Dagster keeps what it works out the first time
    describe([repository], "location", ".")
    return time.process_time() - begin


def main() -> int:
    """Print the table. Return 1 if the goal or the growth is missed."""
    gc.disable()  # as the command does
    print("| assets | missing imports | findings | CPU | CPU an asset |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    bad = False
    for missing in MISSING:
        spent = {}
        for assets in SIZES:
            documents = contracts_of(assets, missing)
            answers = [json.dumps(each) for each in documents]
            committed = [Contract.from_document(each).to_json() for each in documents]
            found = judge(answers, committed)
            spent[assets] = seconds(partial(judge, answers, committed))
            print(
                f"| {assets:,} | {missing} | {found:,} | {spent[assets]:.2f} s "
                f"| {spent[assets] / assets * 1e6:.0f} µs |"
            )
        smallest, largest = SIZES[0], SIZES[-1]
        growth = (spent[largest] / largest) / (spent[smallest] / smallest)
        bad = bad or spent[largest] > GOAL or growth > STEEPEST
    each = describing(DESCRIBED) / DESCRIBED
    print(f"In the locations' processes, `describe` takes {each * 1e6:.0f} µs an asset.")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
