"""What several commands share: their options, and how they say that they cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["WorkspaceOption", "stop"]

WorkspaceOption = Annotated[
    Path, typer.Option("-w", "--workspace", help="The workspace file that names the locations.")
]


def stop(message: str) -> typer.Exit:
    """What to raise when a command cannot run; says why on standard error."""
    typer.echo(f"freshline: {message}", err=True)
    return typer.Exit(2)
