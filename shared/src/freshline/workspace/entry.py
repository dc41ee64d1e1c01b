"""A code location of a workspace: how to load it, and where its committed contract is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

__all__ = ["Entry", "with_contract_files"]


@dataclass(frozen=True)
class Entry:
    """One code location of a workspace."""

    name: str
    kind: str
    """`python_module`, `python_file`, `python_package`, `autoload_defs_module`, `grpc_server`."""
    target: str
    """The module, package or absolute file; for a server, its name in messages."""
    start: Path
    """The folder that Dagster would be started in: relative paths and ``.env`` are there."""
    home: Path
    """The folder of what declares the location."""
    folder: Path | None = None
    """The location's own folder; None: it has none here."""
    contract_file: Path = Path("contract.json")
    """The file of its committed contract, which need not exist: see `with_contract_files`."""
    attribute: str | None = None
    working_directory: str | None = None
    """None: `start`."""
    executable_path: str | None = None
    """None: the Python that reads the workspace."""
    env_folder: Path | None = None
    """The folder of a dg project, whose ``.env`` the location gets too; None: no dg project."""
    host: str = "localhost"
    port: int | None = None
    socket: str | None = None
    ssl: bool = False


def with_contract_files(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with the files of their contracts.

    A location that has a folder to itself has `contract.json` there, others `contract.NAME.json`.
    One without a folder has `contracts/NAME.json` beside the file that declares it.
    """
    folders = [entry.folder for entry in entries]

    def file(entry: Entry) -> Path:
        name = entry.name.replace("/", "%2F")
        if entry.folder is None:
            return entry.home / "contracts" / f"{name}.json"
        shared = folders.count(entry.folder) > 1
        return entry.folder / (f"contract.{name}.json" if shared else "contract.json")

    return [replace(entry, contract_file=file(entry)) for entry in entries]
