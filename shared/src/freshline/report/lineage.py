"""The lineage of all locations, drawn in layers: from left to right, or in narrow windows down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from freshline.model import Graph
from freshline.report.charts import team
from freshline.report.drawing import NARROW, WIDE, Drawing, Role, Size, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["lineage_drawing"]

_MOST: Final = 40
"""Of more assets than this, the locations are drawn, and not the assets."""
_HEIGHT: Final = 36
"""Pixels of a box; so are the next ones."""
_GAP: Final = 26
_LAYER: Final = 78
"""From one layer to the next where they go down."""


class _Node(NamedTuple):
    name: str
    below: str
    """A second line."""
    colour: Role


class _Place(NamedTuple):
    layer: int
    order: float
    """In units of the smallest distance between two nodes of a layer."""


@dataclass(frozen=True)
class _Layout:
    places: Sequence[_Place]
    """Of each node."""
    routes: Sequence[Sequence[_Place]]
    """Of each edge: from its source, around the nodes of the layers in between, to its end."""
    layers: int
    width: float
    """From the first to the last place of a layer, in the same units."""


_Edge: TypeAlias = tuple[int, int]


def lineage_drawing(graph: Graph, locations: Sequence[str]) -> Drawing:
    """Return the assets of `graph` with a box each, in the colour of its location.

    A target has its maximum lag in the box. A large graph is drawn by location.
    """
    if len(graph.assets) <= _MOST:
        nodes, edges = _assets(graph, locations)
        about = "The assets of all code locations, and what they are made from."
    else:
        nodes, edges = _locations(graph, locations)
        about = "The code locations, and which of them read what others make."
    layout = _laid_out(len(nodes), edges)

    def paint(figure: Figure, size: Size) -> None:
        _paint(figure, size, nodes, layout)

    return draw("lineage", about, paint, (_height(layout, WIDE), _height(layout, NARROW)))


def _assets(graph: Graph, locations: Sequence[str]) -> tuple[list[_Node], list[_Edge]]:
    keys = sorted(graph.assets)
    nodes = []
    for key in keys:
        asset = graph.assets[key]
        below = f"at most {asset.policy.minutes:g} min" if asset.policy else ""
        nodes.append(_Node(key, below, team(asset.location, locations)))
    edges = [
        (keys.index(dep), number)
        for number, key in enumerate(keys)
        for dep in graph.assets[key].deps
        if dep in graph.assets
    ]
    return nodes, edges


def _locations(graph: Graph, locations: Sequence[str]) -> tuple[list[_Node], list[_Edge]]:
    counts: dict[str, int] = dict.fromkeys(locations, 0)
    edges: set[_Edge] = set()
    for asset in graph.assets.values():
        counts[asset.location] += 1
        for dep in asset.deps:
            read = graph.assets.get(dep)
            if read and read.location != asset.location:
                edges.add((locations.index(read.location), locations.index(asset.location)))
    nodes = [
        _Node(name, f"{count} assets", team(name, locations)) for name, count in counts.items()
    ]
    return nodes, sorted(edges)


# --- the layout -------------------------------------------------------------------------------


def _laid_out(count: int, edges: Sequence[_Edge]) -> _Layout:
    """Return where the nodes and the edges are. Nodes without an edge are below all others."""
    from fast_sugiyama import from_edges

    joined = sorted({node for edge in edges for node in edge})
    number = {node: place for place, node in enumerate(joined)}
    placed: dict[int, _Place] = {}
    steps: dict[int, list[int]] = {}
    offset = 0.0
    if edges:
        parts = from_edges(
            [(number[source], number[end]) for source, end in edges],
            vertex_spacing=1,
            dummy_vertices=True,
        )
        for positions, _, _, lines in parts:
            # Parts that nothing joins are drawn one below the other. Nodes that only keep the way
            # of an edge free may have the same number in two parts.
            first = len(placed)
            points = {int(name): point for name, point in positions}
            names = {name: name if name < len(joined) else first + name for name in points}
            if lines:
                own = [(names[int(source)], names[int(end)]) for source, end in lines]
            else:
                every = ((number[source], number[end]) for source, end in edges)
                own = [edge for edge in every if edge[0] in names]
            for source, end in own:
                steps.setdefault(source, []).append(end)
            layer_of = _layers({names[name]: y for name, (_, y) in points.items()}, own)
            left = min(x for x, _ in points.values())
            for name, (x, _) in points.items():
                placed[names[name]] = _Place(layer_of[names[name]], x - left + offset)
            offset = 1.0 + max(placed[name].order for name in names.values())
    places = []
    for node in range(count):
        if node in number:
            places.append(placed[number[node]])
        else:
            places.append(_Place(0, offset))
            offset += 1.0
    routes = [
        [placed[name] for name in _route(number[source], number[end], steps, len(joined))]
        for source, end in edges
    ]
    return _Layout(
        places,
        routes,
        1 + max((place.layer for place in places), default=0),
        max((place.order for place in places), default=0.0),
    )


def _layers(heights: Mapping[int, float], edges: Iterable[_Edge]) -> dict[int, int]:
    """Return the layer of each node, from 0 on, so that edges go to later ones."""
    downwards = sum(heights[end] - heights[source] for source, end in edges) < 0
    levels = sorted({round(height, 3) for height in heights.values()}, reverse=downwards)
    return {name: levels.index(round(height, 3)) for name, height in heights.items()}


def _route(source: int, end: int, steps: Mapping[int, list[int]], count: int) -> list[int]:
    """Return the nodes on an edge: those from `count` on only keep its way free."""
    for step in steps.get(source, ()):
        route = [source, step]
        while route[-1] >= count and steps.get(route[-1]):
            route.append(steps[route[-1]][0])
        if route[-1] == end:
            return route
    return [source, end]


# --- the drawing ------------------------------------------------------------------------------


def _height(layout: _Layout, size: Size) -> int:
    if size.is_wide:
        return int((layout.width + 1.0) * (_HEIGHT + _GAP))
    return layout.layers * _LAYER


def _paint(figure: Figure, size: Size, nodes: Sequence[_Node], layout: _Layout) -> None:
    from matplotlib.patches import FancyBboxPatch

    height = _height(layout, size)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, size.width)
    axes.set_ylim(height, 0)
    columns = layout.layers if size.is_wide else layout.width + 1.0
    box = min(size.width / columns - (70 if size.is_wide else 10), 230)
    letters = max((len(text) for node in nodes for text in node[:2]), default=1)
    font = max(6.0, min(11.0, box / (0.6 * letters)))

    def middle(place: _Place) -> tuple[float, float]:
        along, across = place.layer + 0.5, place.order + 0.5
        if size.is_wide:
            return along * size.width / layout.layers, across * height / (layout.width + 1.0)
        return across * size.width / (layout.width + 1.0), along * height / layout.layers

    for route in layout.routes:
        _arrow(axes, [middle(place) for place in route], box, wide=size.is_wide)
    for node, place in zip(nodes, layout.places, strict=True):
        x, y = middle(place)
        axes.add_patch(
            FancyBboxPatch(
                (x - box / 2, y - _HEIGHT / 2),
                box,
                _HEIGHT,
                boxstyle="round,pad=0,rounding_size=5",
                facecolor=node.colour.number,
                linewidth=0,
            )
        )
        text = f"{node.name}\n{node.below}" if node.below else node.name
        axes.text(x, y, text, ha="center", va="center", fontsize=font, color=Role.PAPER.number)


def _arrow(axes: Any, middles: Sequence[tuple[float, float]], box: float, *, wide: bool) -> None:
    """Draw an edge as a curve that leaves and reaches the boxes at their sides."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    half = box / 2 if wide else _HEIGHT / 2
    (x, y), (to_x, to_y) = middles[0], middles[-1]
    begin = (x + half, y) if wide else (x, y + half)
    end = (to_x - half, to_y) if wide else (to_x, to_y - half)
    points = [begin, *middles[1:-1], end]
    vertices, codes = [begin], [Path.MOVETO]
    for (from_x, from_y), (x, y) in pairwise(points):
        if wide:
            turns = [((from_x + x) / 2, from_y), ((from_x + x) / 2, y)]
        else:
            turns = [(from_x, (from_y + y) / 2), (x, (from_y + y) / 2)]
        vertices += [*turns, (x, y)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>",
            mutation_scale=9,
            color=Role.FAINT.number,
            linewidth=1.2,
            shrinkA=0,
            shrinkB=0,
        )
    )
