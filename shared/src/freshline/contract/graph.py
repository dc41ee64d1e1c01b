"""The one lineage that all contracts together describe."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Final

from freshline.contract.document import Contract, Export, TimeWindows
from freshline.contract.promises import with_promises
from freshline.model import Asset, Graph, PartitionKeys, Reads, inputs_first
from freshline.windows import Windows

__all__ = ["OUTSIDE_LOCATION", "graph_of", "made_outside", "unexplained"]

OUTSIDE_LOCATION: Final = "outside the workspace"
"""Where an asset is made that no location is known to make."""


def graph_of(
    contracts: Iterable[Contract],
    *,
    silent: Collection[str] = (),
    elsewhere: Iterable[Asset] = (),
    observers: Collection[str] = (),
) -> Graph:
    """Return one graph of all assets of all contracts. Every location builds the same graph.

    A key that two locations make belongs to the first of them by name, so that it is never
    requested twice; the gate reports it. One that some location makes does not belong to those
    that only observe it. A location that is `silent` comes after all others: it may have been
    renamed. `elsewhere` are assets that no contract explains and that exist all the same. An
    external definition that no location makes is such an asset too, unless it is declared to be
    made outside the workspace. `observers` are locations that only observe, and are to be planned
    as if they did not.
    """
    ordered = sorted(contracts, key=lambda it: (it.location in silent, it.location))
    assets: dict[str, Asset] = {}
    outside: set[str] = set()
    gone: dict[str, str] = {}
    for contract in ordered:
        gone.update(dict.fromkeys(contract.gone, contract.location))
        outside.update(contract.outside)
        watched = contract.observes and contract.location not in observers
        for export in contract.exports:
            known = assets.get(export.key)
            if known is None or (known.observed and not export.observed):
                assets[export.key] = _asset(contract, export, watched=watched)
    declared = (asset for asset in _declared(ordered) if asset.key not in outside)
    for asset in (*elsewhere, *_watched(ordered), *declared):
        known = assets.get(asset.key)
        if known is not None and known.elsewhere and known.policy is None and asset.policy:
            assets[asset.key] = replace(known, location=asset.location, policy=asset.policy)
        elif asset.key not in gone:
            assets.setdefault(asset.key, asset)
    return Graph(
        assets=with_promises(_with_shifts(_with_static_ones(assets)), ordered),
        ticks={
            contract.location: contract.tick_seconds
            for contract in ordered
            if contract.tick_seconds is not None
        },
        outside=frozenset(outside - set(assets)),
        gone={key: location for key, location in gone.items() if key not in assets},
        observers=frozenset(observers),
    )


def unexplained(contracts: Iterable[Contract]) -> set[str]:
    """Return the keys that some location depends on and no contract explains."""
    given = list(contracts)
    explained = {export.key for contract in given for export in contract.exports}
    explained.update(key for contract in given for key in contract.outside)
    return {needed.key for contract in given for needed in contract.imports} - explained


def made_outside(contracts: Iterable[Contract]) -> set[str]:
    """Return the keys that some contract declares to be made outside, and that nobody makes."""
    given = list(contracts)
    outside = {key for contract in given for key in contract.outside}
    return outside - {export.key for contract in given for export in contract.exports}


def _asset(contract: Contract, export: Export, *, watched: bool) -> Asset:
    does = "observes" if export.observed else "makes"
    partitions = export.partitions if not export.view else None
    windows = _windows(partitions.windows, export) if partitions and partitions.windows else None
    problem = windows.problem if windows else None
    if problem:
        partitions = windows = None
    never = ""
    if contract.published_as is None:
        never = f"{contract.location}, which {does} it, is not under freshline"
    elif watched:
        never = f"{contract.location}, which {does} it, only observes"
    elif export.unfollowed:
        never = export.unfollowed
    elif problem:
        never = problem
    elif export.unlaunchable:
        never = f"Dagster refuses its run: {export.unlaunchable}"
    kept = contract.published_as is not None and not watched
    return Asset(
        key=export.key,
        location=contract.location,
        deps=export.deps,
        policy=export.policy if kept else None,
        execution_set=export.unit,
        never_requested=never,
        at_most_every=(export.at_most_every or 0.0) * 60.0,
        static=export.static,
        view=export.view,
        code_version=export.code_version,
        observed=export.observed,
        windows=windows,
        keys=(
            PartitionKeys(partitions.keys, partitions.dynamic or "", partitions.keys_first)
            if partitions and (partitions.keys or partitions.dynamic)
            else None
        ),
        reads={
            dep: Reads(read.windows, read.last, read.same_key)
            for dep, read in sorted(export.reads.items())
        },
        single_run=partitions is not None and partitions.single_run,
        promised_from=partitions.complete_from if partitions else None,
        pools=export.pools,
    )


def _windows(windows: TimeWindows, export: Export) -> Windows:
    """Return the windows, older by as many as the partitions read no later ones of their inputs."""
    ends = [read.windows[1] for read in export.reads.values() if read.windows]
    return Windows(
        cron=windows.cron,
        start=windows.start,
        fmt=windows.fmt,
        timezone=windows.timezone,
        end=windows.end,
        end_offset=windows.end_offset,
        shift=min(0, *ends, 0),
    )


def _watched(contracts: Iterable[Contract]) -> Iterator[Asset]:
    """Yield the assets that a location has a policy for and that somebody else makes."""
    for contract in contracts:
        if contract.published_as is None:
            continue
        for watched in contract.watched:
            yield Asset(
                watched.key,
                contract.location,
                policy=watched.policy,
                never_requested=f"{contract.location} declares it as made by somebody else",
                elsewhere=True,
            )


def _declared(contracts: Iterable[Contract]) -> Iterator[Asset]:
    """Yield the assets that a location declares and that somebody else makes."""
    for contract in contracts:
        inputs = [it.key for it in contract.imports if it.declared_by and not it.expected]
        for key in (*contract.declares, *inputs):
            yield Asset(
                key,
                OUTSIDE_LOCATION,
                never_requested=f"{contract.location} declares it as made by somebody else",
                elsewhere=True,
            )


def _with_static_ones(assets: Mapping[str, Asset]) -> dict[str, Asset]:
    """Return `assets`, of which those that are made from static assets alone are static too."""
    readers: dict[str, list[str]] = {}
    for asset in assets.values():
        for dep in asset.deps:
            readers.setdefault(dep, []).append(asset.key)
    static = {key for key, asset in assets.items() if asset.static}
    waiting = list(static)
    while waiting:
        for key in readers.get(waiting.pop(), ()):
            if key not in static and static.issuperset(assets[key].deps):
                static.add(key)
                waiting.append(key)
    return {
        key: replace(asset, static=True) if key in static and not asset.static else asset
        for key, asset in assets.items()
    }


def _with_shifts(assets: dict[str, Asset]) -> dict[str, Asset]:
    """Return `assets`, whose partitions are as much older than their names as what they read is."""
    read = {
        key: {dep: it.windows[1] for dep, it in asset.reads.items() if it.windows and dep != key}
        for key, asset in assets.items()
        if asset.windows
    }
    found = dict(assets)
    for key in inputs_first(read):
        windows = found[key].windows if key in found else None
        for dep, end in read.get(key, {}).items():
            source = found[dep].windows if dep in found else None
            if windows and source and source.shift:
                shift = min(windows.shift, end + _in_windows_of(windows, source))
                windows = replace(windows, shift=shift)
        if windows:
            found[key] = replace(found[key], windows=windows)
    return found


def _in_windows_of(windows: Windows, source: Windows) -> int:
    """Return the shift of `source` in units of `windows`: rather too many than too few."""
    if (windows.cron, windows.timezone) == (source.cron, source.timezone):
        return source.shift
    now = max(windows.start, source.start)
    length, older = windows.longest(now), -source.shift * source.longest(now)
    return -ceil(older / length) - (older > length)
