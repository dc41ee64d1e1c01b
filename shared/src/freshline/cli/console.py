"""The page that commands print on for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console"]

_PLAIN_WIDTH: Final = 120
"""Characters in a line of a log or file, where no terminal sets the width."""


def console() -> Console:
    """Return the console to print on for people: in colour on a terminal, plain elsewhere."""
    from rich.console import Console

    page = Console(highlight=False, soft_wrap=False)
    if not page.is_terminal:
        page = Console(highlight=False, width=_PLAIN_WIDTH, color_system=None)
    return page
