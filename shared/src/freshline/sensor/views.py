"""Where the checks on views run: with a table that is made from the view, or in runs of their own.

A view is never run to be fresh. What it shows changes when something changes that it reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from dagster import AssetCheckKey, AssetKey, RepositoryDefinition

from freshline.declared import told
from freshline.model import Graph
from freshline.names import CHECK_VIEW

__all__ = ["CheckedViews", "PlacesOfChecks", "read_by"]


class PlacesOfChecks(NamedTuple):
    """Where the checks on the views of a location run."""

    tables: Mapping[str, frozenset[str]]
    """With the runs of these tables, by view."""
    apart: frozenset[str]
    """Of these views: in runs of their own, whenever what they read has changed."""


class CheckedViews:
    """The assets of one location that have checks, of which some may be views."""

    def __init__(
        self,
        repository: RepositoryDefinition,
        location: str,
        checks: Iterable[frozenset[AssetCheckKey]],
    ) -> None:
        self._location = location
        made = repository.asset_graph.materializable_asset_keys
        checked = {key.asset_key for together in checks for key in together} & made
        self._checked = {key.to_user_string() for key in checked}
        self._always = {key.to_user_string() for key in checked if _says_always(repository, key)}
        """Those whose author wants the checks to run with every change, if they are views."""
        self._found: tuple[Graph, PlacesOfChecks] | None = None

    def places(self, graph: Graph) -> PlacesOfChecks:
        """Return where the checks run. For the same graph, it is the same object.

        By default they run with the nearest tables below that the location makes and that a policy
        needs; if there are none, in runs of their own. Where no policy needs the view, they do not
        run.
        """
        if self._found is None or self._found[0] is not graph:
            self._found = graph, self._places(graph)
        return self._found[1]

    def _places(self, graph: Graph) -> PlacesOfChecks:
        views = {key for key in self._checked if key in graph.assets and graph.assets[key].view}
        if not views:
            return PlacesOfChecks({}, frozenset())
        needed = _needed(graph)
        readers: dict[str, list[str]] = {}
        for key in needed:
            for dep in graph.assets[key].deps:
                readers.setdefault(dep, []).append(key)
        tables = {
            view: frozenset(_nearest_tables(graph, view, self._location, readers))
            for view in views - self._always
        }
        return PlacesOfChecks(
            {view: below for view, below in tables.items() if below},
            frozenset(
                view
                for view in views
                if view in self._always or (view in needed and not tables[view])
            ),
        )


def read_by(graph: Graph, key: str) -> frozenset[str]:
    """Return what an asset shows the data of: of a view, what it reads, through other views too.

    Of any other asset, it is the asset itself.
    """
    found: set[str] = set()
    seen = {key}
    waiting = [key]
    while waiting:
        name = waiting.pop()
        asset = graph.assets.get(name)
        if asset is None or not asset.view:
            found.add(name)
            continue
        waiting.extend(set(asset.deps) - seen)
        seen.update(asset.deps)
    return frozenset(found)


def _says_always(repository: RepositoryDefinition, key: AssetKey) -> bool:
    metadata = repository.assets_defs_by_key[key].get_asset_spec(key).metadata
    return told(metadata, CHECK_VIEW) is True


def _needed(graph: Graph) -> set[str]:
    """Return the assets that some policy needs."""
    needed = {key for key, asset in graph.assets.items() if asset.policy}
    waiting = list(needed)
    while waiting:
        deps = set(graph.assets[waiting.pop()].deps) & graph.assets.keys()
        waiting.extend(deps - needed)
        needed |= deps
    return needed


def _nearest_tables(
    graph: Graph, view: str, location: str, readers: Mapping[str, list[str]]
) -> Iterator[str]:
    """Yield the tables of `location` that are made from `view`, directly or through its views."""
    seen = {view}
    waiting = [view]
    while waiting:
        for key in readers.get(waiting.pop(), ()):
            asset = graph.assets[key]
            if key in seen or asset.location != location:
                continue
            seen.add(key)
            if asset.view:
                waiting.append(key)
            elif not asset.never_requested:
                yield key
