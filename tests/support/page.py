"""A page of docs/ that is followed step by step: its edits are made, its commands run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Edit:
    """A block of the language `diff`."""

    patch: str


@dataclass(frozen=True)
class Command:
    """A line that begins with "$ " in a block of the language `console`, and what follows it."""

    line: str
    output: str
    """Without spaces at the ends of lines."""


def read_steps(page: Path) -> Iterator[Edit | Command]:
    """Yield the edits and commands of a page, in order. Other blocks are no steps."""
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "diff":
            yield Edit(text)
        elif language == "console":
            for shown in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, output = shown.partition("\n")
                yield Command(line, output)
