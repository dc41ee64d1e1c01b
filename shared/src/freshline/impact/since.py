"""Compares contracts with those of a git revision, and finds the assets that changes reach.

This includes locations that have left the workspace since, or whose contract is gone. An asset
that such a location made, and that no location makes now, counts as removed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from freshline.check.finding import Location, Workspace
from freshline.compare.changes import Change, changes
from freshline.contract.document import Contract
from freshline.errors import GitError, WorkspaceError
from freshline.impact.consumers import Consumer, consumers
from freshline.workspace.source import WorkspaceSource, read_workspace

__all__ = ["Reached", "reached_since"]


@dataclass(frozen=True)
class Reached:
    """A change of a location's contract, and the assets that it reaches."""

    location: str
    change: Change
    consumers: tuple[Consumer, ...]

    @property
    def breaks_others(self) -> bool:
        return self.change.breaking and any(it.location != self.location for it in self.consumers)


def reached_since(
    revision: str, workspace: WorkspaceSource, locations: Sequence[Location]
) -> list[Reached]:
    """Return every change since `revision`, in the order of the `workspace`.

    Locations that it no longer names come last. Raises `GitError`, `ContractError` and
    `WorkspaceError`.
    """
    contracts = Workspace(locations).contracts
    return [
        Reached(location, change, tuple(consumers(contracts, change.key, change.column)))
        for location, before, after in _compared(revision, workspace, locations)
        for change in changes(before, after)
    ]


def _compared(
    revision: str, workspace: WorkspaceSource, locations: Sequence[Location]
) -> Iterator[tuple[str, Contract, Contract]]:
    """Yield each location with its contract at the revision and its contract now."""
    named = [name for file in workspace.files for name in _names_at(revision, file)]
    present = {location.name for location in locations}
    home = workspace.home
    # The file of a renamed location stays; the location is compared by that file.
    taken = {it.contract_file.resolve() for it in locations if it.contract_file}
    for location in (*locations, *(Location(name) for name in named if name not in present)):
        file = location.contract_file
        before = _contract_at(revision, file) if file else None
        if before is None and location.name in named:
            before = _contract_of(location.name, revision, home, taken)
        if before is None:
            continue
        if location.contract:
            yield location.name, before, location.contract
        elif file is None or not file.exists():  # a file that cannot be read is not gone
            yield location.name, before, _still_made(before, locations)


def _still_made(before: Contract, locations: Sequence[Location]) -> Contract:
    """Return the contract `before` with only those of its assets that other locations make now."""
    made = {
        export.key: export
        for location in locations
        for export in (location.contract.exports if location.contract else ())
    }
    left = tuple(made[export.key] for export in before.exports if export.key in made)
    return before.model_copy(update={"exports": left})


# --- what git knows --------------------------------------------------------------------------


def _names_at(revision: str, file: Path) -> list[str]:
    """Return the locations that the workspace file named at `revision`."""

    def read(path: Path) -> str | None:
        return _text_at(revision, path.resolve())

    if read(file) is None:
        return []
    try:
        return [entry.name for entry in read_workspace(WorkspaceSource((file,)), read=read)]
    except WorkspaceError as error:
        message = str(error).replace(str(file), f"{file} at {revision}", 1)
        raise WorkspaceError(message) from None


def _contract_at(revision: str, path: Path) -> Contract | None:
    """Read the contract in the file at `revision`; None: there was no file."""
    text = _text_at(revision, path)
    return None if text is None else Contract.from_json(text)


def _contract_of(name: str, revision: str, home: Path, taken: set[Path]) -> Contract | None:
    """Read the contract of the location `name` at `revision`, from the file nearest to `home`.

    None: there was none, or the file is in `taken`. The file is found by the location's name in
    its text, because the location's folder may be gone.
    """
    line = f'"location": {json.dumps(name, ensure_ascii=False)}'
    places = ("contract.json", "contract.*.json", "contracts/*.json")
    files = [f":(top,glob)**/{place}" for place in places]
    commit = _commit(revision, home)
    found = _git(home, "grep", "-l", "-z", "-F", "-e", line, commit, "--", *files)
    names = [entry.removeprefix(f"{commit}:") for entry in found.stdout.split("\0") if entry]
    names.sort(key=lambda name: (name.count("/"), name))
    nearest = Path(os.path.normpath(home / names[0])) if names else None
    return None if nearest is None or nearest in taken else _contract_at(revision, nearest)


def _text_at(revision: str, path: Path) -> str | None:
    """Read the text of the file at `revision`; None: there was no file."""
    folder = next(parent for parent in path.parents if parent.is_dir())
    file = path.relative_to(folder).as_posix()
    shown = _git(folder, "show", f"{_commit(revision, folder)}:./{file}")
    return None if shown.returncode else shown.stdout


def _commit(revision: str, folder: Path) -> str:
    """Return the commit that `revision` names. Raises `GitError`."""
    known = _git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if known.returncode:
        why = known.stderr.strip() or f"git knows no revision {revision}"
        raise GitError(f"{why}; give --since a commit, branch or tag of this checkout.")
    return known.stdout.strip()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
