"""What docs/status.md shows, and the schemas beside it: what the commands print on a played day.

``.venv/bin/python shared/tests/documented.py`` writes them again, after a change of the output.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from freshline import log
from freshline.cli import app
from freshline.status import document
from typer.testing import CliRunner
from working_day import JOIN, day_of_a_command

__all__ = ["DOCS", "SCHEMAS", "printed", "shown"]

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGE: Final = DOCS / "status.md"

SCHEMAS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "status.schema.json": document.json_schema,
    "log.schema.json": log.json_schema,
}
"""What each file in docs is made of."""

_COMMANDS: Final = ("freshline status", f"freshline status {JOIN}", "freshline log")
_BLOCK: Final = re.compile(r"```\n\$ (.*)\n([\s\S]*?)```")


def printed() -> dict[str, str]:
    """Return what each command prints at 12:10:30, after the source was closed at 12:05:20."""
    with tempfile.TemporaryDirectory() as folder, day_of_a_command(Path(folder)) as day:
        day.until("12:05:20").is_closed = True
        day.until("12:10:30")
        with day.stopped():
            return {
                command: CliRunner().invoke(app, command.split()[1:]).output
                for command in _COMMANDS
            }


def shown() -> dict[str, str]:
    """Return what the page shows below each command."""
    return {
        command: output
        for command, output in _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
        if command in _COMMANDS
    }


def main() -> None:
    outputs = printed()

    def block(found: re.Match[str]) -> str:
        output = outputs.get(found[1], found[2])
        return f"```\n$ {found[1]}\n{output}```"

    PAGE.write_text(_BLOCK.sub(block, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, schema in SCHEMAS.items():
        text = json.dumps(schema(), indent=2) + "\n"
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
