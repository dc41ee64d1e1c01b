"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["JsonOption", "SecondsOption", "WorkspaceOption"]

WorkspaceOption = Annotated[
    Path, typer.Option("-w", "--workspace", help="The workspace file that names the locations.")
]
SecondsOption = Annotated[
    float, typer.Option(help="How long each location may take to load.", min=1.0)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
