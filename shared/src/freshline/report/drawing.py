"""Drawings for the page: SVG by matplotlib, in the colours of the page and for two widths.

matplotlib knows colours only as numbers. So each role has a number of its own while it draws, which
is then replaced by a variable of the page's style sheet: the same drawing is light and dark. Texts
stay texts, in the font of the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "NARROW",
    "TEAMS",
    "WIDE",
    "Drawing",
    "Role",
    "Size",
    "draw",
]

TEAMS: Final = 8
"""So many locations have colours of their own; after that, they come again."""


class Role(Enum):
    """What a colour stands for; the value is the name of the variable, without its dashes."""

    INK = "ink"
    FAINT = "faint"
    GRID = "grid"
    PAPER = "paper"
    LAG = "lag"
    PROMISE = "promise"
    LATE = "late"
    SILENT = "silent"
    HELD = "held"
    TICK = "tick"
    QUEUE = "queue"
    START = "start"
    TEAM_1 = "team-1"
    TEAM_2 = "team-2"
    TEAM_3 = "team-3"
    TEAM_4 = "team-4"
    TEAM_5 = "team-5"
    TEAM_6 = "team-6"
    TEAM_7 = "team-7"
    TEAM_8 = "team-8"

    @property
    def number(self) -> str:
        """The colour that stands for this role while matplotlib draws."""
        return f"#f0{_ROLES.index(self):02x}0f"


_ROLES: Final = list(Role)
_NUMBER: Final = re.compile(r"#f0([0-9a-f]{2})0f")


@dataclass(frozen=True, slots=True)
class Size:
    """How wide a drawing is, in pixels of the page, and how many points of a line fit into it."""

    name: str
    width: int
    points: int

    @property
    def is_wide(self) -> bool:
        return self.width > 600


WIDE: Final = Size("wide", 1060, 320)
NARROW: Final = Size("narrow", 344, 120)


@dataclass(frozen=True, slots=True)
class Drawing:
    """The same drawing for wide and for narrow windows, as SVG."""

    wide: str
    narrow: str


def draw(
    name: str, label: str, paint: Callable[[Figure, Size], None], heights: tuple[int, int]
) -> Drawing:
    """Return what `paint` draws on an empty figure, once for each width.

    `name` is of this drawing alone. `label` says what it shows, for who cannot see it. `heights`
    are in pixels: that of the wide figure, and that of the narrow one.
    """
    wide, narrow = (
        _svg(name, label, paint, size, height)
        for size, height in zip((WIDE, NARROW), heights, strict=True)
    )
    return Drawing(wide, narrow)


def _svg(
    name: str, label: str, paint: Callable[[Figure, Size], None], size: Size, height: int
) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: dict[Any, object] = {
        "svg.fonttype": "none",
        # Marks and clips are named by their content and this; two drawings must share no name.
        "svg.hashsalt": f"{name} {size.name}",
        "font.size": 12,
        "text.color": Role.INK.number,
        "axes.edgecolor": Role.GRID.number,
        "axes.labelcolor": Role.FAINT.number,
        "axes.titlecolor": Role.INK.number,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": Role.GRID.number,
        "grid.linewidth": 0.8,
        "xtick.color": Role.FAINT.number,
        "ytick.color": Role.FAINT.number,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "path.simplify": True,
        # A key may have dollar signs in it.
        "text.parse_math": False,
    }
    with rc_context(settings):
        # One unit of the SVG is a 72nd of an inch, and a pixel of the page.
        figure = Figure(figsize=(size.width / 72, height / 72), dpi=72, layout="constrained")
        figure.patch.set_visible(False)
        paint(figure, size)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _cleaned(text.getvalue(), size, label)


def _cleaned(text: str, size: Size, label: str) -> str:
    """Return an SVG as part of the page: in its colours and font, and without what it has not."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda it: it[0] if it[1] in used else "", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"-?\d+\.\d{3,}", lambda it: f"{float(it[0]):.2f}", text)
    text = _NUMBER.sub(lambda it: f"var(--{_ROLES[int(it[1], 16)].value})", text)
    text = re.sub(r">\s+<", "><", text).strip()
    opening = re.match(r"<svg[^>]*>", text)
    box = re.search(r'viewBox="[^"]*"', opening[0]) if opening else None
    if opening is None or box is None:
        raise RuntimeError("matplotlib has written an SVG without a viewBox")
    return (
        f'<svg class="{size.name}" {box[0]} role="img" aria-label="{escape(label)}" '
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
        + text[opening.end() :]
    )
