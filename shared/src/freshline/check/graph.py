"""Rules for the graph of all locations: keys that are made twice, cycles of dependencies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from freshline.check.finding import Finding, Rule, Workspace

__all__ = ["check_cycles", "check_makers"]


def check_makers(workspace: Workspace) -> Iterator[Finding]:
    """Find keys that several locations make."""
    for key, makers in sorted(workspace.makers.items()):
        if len(makers) < 2:
            continue
        files = [
            location.file_of(location.contract.by_key[key] if location.contract else None)
            for location in makers
        ]
        places = [
            f"`{location.name}`" + (f" ({file})" if file else "")
            for location, file in zip(makers, files, strict=True)
        ]
        yield Finding(
            Rule.MADE_TWICE,
            makers[-1].name,
            f"`{key}` is made by {' and by '.join(places)}; an asset has one maker.",
            "Keep the one that owns the table; the others depend on it, or make another key.",
            key=key,
            file=next((file for file in reversed(files) if file), None),
            concerns=tuple(location.name for location in makers),
        )


def check_cycles(workspace: Workspace) -> Iterator[Finding]:
    """Find assets that depend on each other: one finding for each group, with a shortest cycle."""
    deps: dict[str, list[str]] = {key: [] for key in sorted(workspace.makers)}
    for contract in workspace.contracts:
        for export in contract.exports:
            deps[export.key].extend(dep for dep in export.deps if dep in deps)
    for component in _cyclic_components(deps):
        path = _shortest_cycle(component, deps)
        steps = [f"`{key}` ({workspace.makers[key][0].name})" for key in path]
        owner = workspace.makers[path[0]][0]
        yield Finding(
            Rule.CYCLE,
            owner.name,
            f"assets wait for each other in a circle: {' -> '.join(steps)}.",
            "Take one of these dependencies out; each arrow points from an asset to what it is "
            "made from.",
            key=path[0],
            file=owner.file_of(owner.contract.by_key[path[0]] if owner.contract else None),
            concerns=tuple(sorted({workspace.makers[key][0].name for key in path})),
        )


def _cyclic_components(deps: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """Return the strongly connected components that have a cycle.

    This is Tarjan's algorithm, without recursion.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    cyclic: list[set[str]] = []
    for root in deps:
        work = [] if root in index else [(root, iter(deps[root]))]
        if work:
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
        while work:
            key, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[key])
                if low[key] == index[key]:
                    start = stack.index(key)
                    component = set(stack[start:])
                    del stack[start:]
                    on_stack -= component
                    if len(component) > 1 or key in deps[key]:
                        cyclic.append(component)
            elif following not in index:
                index[following] = low[following] = len(index)
                stack.append(following)
                on_stack.add(following)
                work.append((following, iter(deps[following])))
            elif following in on_stack:
                low[key] = min(low[key], index[following])
    return cyclic


def _shortest_cycle(component: set[str], deps: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a shortest path from the first key of `component` back to it, with both ends."""
    start = min(component)
    before: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        key = waiting.popleft()
        for dep in deps[key]:
            if dep == start:
                path = [key]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return [*reversed(path), start]
            if dep in component and dep not in before:
                before[dep] = key
                waiting.append(dep)
    return [start, start]
