"""docs/operations.md names every status and phase, and messages as they are printed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import freshline
import pytest
from conftest import ROOT
from dagster._daemon.monitoring import run_monitoring
from dagster._daemon.run_coordinator import queued_run_coordinator_daemon
from freshline.model import Phase, TargetStatus

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ENOUGH = 10
"""Letters that a message and a text of the code have to have in common."""

Template = Sequence[str | None]
"""The text that the code has for a message; None stands for what it fills in."""


def rows(column: str) -> Iterator[str]:
    """Yield the cells of a column in all tables of the page that have it."""
    place = None
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            place = None
        elif place is None:
            place = cells.index(column) if column in cells else -1
        elif place >= 0 and not cells[place].startswith("---"):
            yield cells[place]


def messages() -> list[str]:
    return [message for cell in rows("message") for message in re.findall(r"`([^`]+)`", cell)]


@cache
def templates() -> list[Template]:
    files = [
        *Path(freshline.__file__).parent.rglob("*.py"),
        Path(run_monitoring.__file__),
        Path(queued_run_coordinator_daemon.__file__),
    ]
    found: list[Template] = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(tuple(map(text_of, node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
                found.append((node.value,))
    return found


def text_of(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def says(template: Template, piece: str) -> bool:
    """Return whether `piece` of a message is, or begins or ends, what `template` says."""
    for place, text in enumerate(template):
        if text is None:
            continue
        after = template[place + 1 :]
        # The piece may begin anywhere in the text, or the text anywhere in the piece.
        if any(
            follows(piece, [text[at.start() :], *after])
            for at in re.finditer(re.escape(piece[0]), text)
        ):
            return True
        if any(
            follows(piece[at.start() :], [text, *after])
            for at in re.finditer(re.escape(text[:ENOUGH]), piece)
        ):
            return True
    return False


def follows(piece: str, template: Template, common: int = 0) -> bool:
    """Return whether `piece` begins as `template` says, as far as both go."""
    if not piece or not template:
        return common >= ENOUGH
    text, *rest = template
    if text is not None:
        if text.startswith(piece):
            return common + len(piece) >= ENOUGH
        return piece.startswith(text) and follows(piece[len(text) :], rest, common + len(text))
    if not rest or rest[0] is None:
        return common >= ENOUGH
    return any(
        follows(piece[at.start() :], rest, common) for at in re.finditer(re.escape(rest[0]), piece)
    )


def test_every_status_and_phase_has_a_row() -> None:
    assert {f"`{status.value}`" for status in TargetStatus} == set(rows("status"))
    assert {phase.value for phase in Phase} == set(rows("phase"))


@pytest.mark.parametrize("message", messages())
def test_a_message_is_one_that_is_printed(message: str) -> None:
    pieces = [piece for piece in re.split(r"\.\.\.", message) if len(piece.strip()) >= ENOUGH]

    assert pieces, f"{message} is too short to be found"
    for piece in pieces:
        assert any(says(template, piece.strip()) for template in templates()), piece
