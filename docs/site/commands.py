"""The commands of `freshline`, as their own help describes them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import typer
from freshline.cli import app

_MANY: Final = 5
"""An option that so many commands have is described once, for all of them."""

Row = tuple[str, str]
"""An argument or option with the name of its value, and its help."""


@dataclass(frozen=True)
class Command:
    """A command, as its help describes it."""

    usage: str
    text: str
    rows: list[Row]

    @property
    def name(self) -> str:
        """What is typed before all options and arguments."""
        return self.usage.partition(" [")[0]

    @property
    def options(self) -> set[str]:
        """Names with their dashes, such as `-w` and `--workspace`."""
        return {word for names, _ in self.rows for word in re.findall(r"(?:^| )(-[\w-]+)", names)}


def describe_commands() -> str:
    """Return a section for each command, in the order of `freshline --help`, in Markdown."""
    commands = list_commands()
    counts = Counter(row for command in commands for row in command.rows)
    shared = [row for row, count in counts.items() if count >= _MANY]
    return f"\n{_table(shared)}" + "".join(_section(it, shared) for it in commands)


def list_commands() -> list[Command]:
    """Return all commands, in the order of `freshline --help`."""
    return list(_commands("freshline", typer.main.get_command(app)))


def _commands(name: str, command: Any) -> Iterator[Command]:
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from _commands(f"{name} {word}", inner)
        return
    with typer.Context(command, info_name=name) as context:
        usage = " ".join((name, *command.collect_usage_pieces(context)))
        rows = [it.get_help_record(context) for it in command.get_params(context)]
    yield Command(usage, command.help, [row for row in rows if row is not None])


def _section(command: Command, shared: list[Row]) -> str:
    own = [row for row in command.rows if row not in shared]
    return f"\n## `{command.name}`\n\n```\n{command.usage}\n```\n\n{command.text}\n\n" + (
        _table(own) if own else ""
    )


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| `{names}` | {_cell(text)} |" for names, text in rows]
    return "\n".join(("| argument or option | what it does |", "| --- | --- |", *lines, ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
