"""Read what the gate judges: the code of every location, its committed contract, or both."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from freshline.check.finding import Location, shown
from freshline.contract.document import Contract
from freshline.errors import ContractError, DurationsError
from freshline.workspace.entry import Entry
from freshline.workspace.source import WorkspaceSource, read_workspace

__all__ = ["gather", "read_seconds"]


def gather(
    workspace: WorkspaceSource,
    *,
    from_code: bool,
    seconds: float = 60.0,
    only: Collection[str] = (),
) -> list[Location]:
    """Return every location of the workspace, or `only` those, with its contract.

    With `from_code`, each location is loaded in its own Python, within `seconds`; without it, only
    the committed contracts are read. Raises `WorkspaceError` and `UnknownNameError`.
    """
    entries = read_workspace(workspace, only)
    return _from_code(entries, seconds) if from_code else [_from_file(it) for it in entries]


def _from_code(entries: Sequence[Entry], seconds: float) -> list[Location]:
    """Load the locations, each in its own Python, and read their committed contracts as well."""
    # Imported here because only this starts processes; reading committed files does not.
    from freshline.workspace.runner import inspect_entries

    locations = []
    for outcome in inspect_entries(entries, seconds=seconds):
        entry = outcome.entry
        committed, problem = _read_committed(entry)
        locations.append(
            Location(
                entry.name,
                outcome.contract or committed,
                error=outcome.error or problem,
                traceback=outcome.traceback,
                committed=committed,
                folder=entry.folder,
                contract_file=entry.contract_file,
                source=Path(entry.target) if entry.kind == "python_file" else None,
            )
        )
    return locations


def _from_file(entry: Entry) -> Location:
    """Return a location as its committed contract describes it."""
    contract, problem = _read_committed(entry)
    if contract is None and problem is None:
        problem = (
            f"it has no committed contract ({shown(entry.contract_file)}); "
            f"run `freshline contract write {entry.name}` and commit the file"
        )
    return Location(
        entry.name,
        contract,
        error=problem,
        folder=entry.folder,
        contract_file=entry.contract_file,
    )


def _read_committed(entry: Entry) -> tuple[Contract | None, str | None]:
    """Return the committed contract, or else the problem with its file; both None: no file."""
    path = entry.contract_file
    if not path.exists():
        return None, None
    try:
        contract = Contract.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ContractError) as error:
        return None, f"its committed contract {shown(path)} cannot be read: {error}"
    if contract.location != entry.name:
        return None, (
            f"{shown(path)} is the contract of {contract.location}; give the location one name in "
            f"all workspaces, or run `freshline contract write {entry.name}`"
        )
    return contract, None


def read_seconds(path: Path) -> Mapping[str, float]:
    """Read execution times in seconds by asset key from a JSON file. Raises `DurationsError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DurationsError(f"{path}: {error.strerror}.") from None
    except ValueError as error:
        raise DurationsError(f"{path} is not JSON: {error}.") from None
    if not isinstance(content, Mapping):
        raise DurationsError(f'{path} must be an object such as {{"raw/orders": 60}}.')
    bad: Sequence[str] = [
        key
        for key, value in content.items()
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0
    ]
    if bad:
        raise DurationsError(
            f"{path}: {bad[0]} must be a number of seconds, not {content[bad[0]]!r}."
        )
    return {key: float(value) for key, value in content.items()}
