"""The one lineage that all contracts together describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from freshline.contract.document import Contract
from freshline.model import Asset, Graph

__all__ = ["graph_of"]


def graph_of(contracts: Iterable[Contract] | Mapping[str, Contract]) -> Graph:
    """Return one graph of all assets of all contracts. Every location builds the same graph.

    A key that two locations make belongs to the first of them by name, so that it is never
    requested twice; the gate reports it.
    """
    given = contracts.values() if isinstance(contracts, Mapping) else contracts
    ordered = sorted(given, key=lambda contract: contract.location)
    assets: dict[str, Asset] = {}
    outside: set[str] = set()
    for contract in ordered:
        outside.update(contract.outside)
        for export in contract.exports:
            assets.setdefault(
                export.key,
                Asset(
                    key=export.key,
                    location=contract.location,
                    deps=export.deps,
                    policy=export.policy,
                    execution_set=export.unit,
                    schedulable=not export.partitioned,
                ),
            )
    return Graph(
        assets=assets,
        ticks={
            contract.location: contract.tick_seconds
            for contract in ordered
            if contract.tick_seconds is not None
        },
        outside=frozenset(outside - set(assets)),
    )
