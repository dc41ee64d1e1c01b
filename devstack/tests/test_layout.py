"""The direction of imports."""

from __future__ import annotations

import ast
from pathlib import Path

import devstack

PACKAGE = Path(devstack.__file__).parent
FOLDERS = ("stack", "postgres", "github", "airbyte", "broker")
SHARED = (
    "http_server",
    "serving",
    "data_server",
    "ports",
    "processes",
    "files",
    "kernel",
    "errors",
)
# What the modules of a folder may import besides modules of the same folder.
ALLOWED = {
    **{folder: {*SHARED} for folder in FOLDERS},
    "stack": {*SHARED, "postgres", "github", "broker"},
    **{name: {*SHARED[place + 1 :]} for place, name in enumerate(SHARED)},
}


def imports_of(file: Path) -> set[str]:
    """Return the folders and top-level modules of devstack that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{one.name}" for one in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("devstack.")}
    return found


def test_imports_run_one_way() -> None:
    forbidden = {}
    for name, allowed in ALLOWED.items():
        path = PACKAGE / name
        files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
        for file in files:
            if wrong := imports_of(file) - allowed - {name}:
                forbidden[str(file.relative_to(PACKAGE))] = wrong

    assert forbidden == {}
