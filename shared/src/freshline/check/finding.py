"""The types of the gate: the workspace that its rules judge, and the findings that they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from freshline.contract.document import Contract, Export, Import
from freshline.contract.graph import graph_of
from freshline.keys import Convention
from freshline.planner import Lineage, lineage_of
from freshline.words import Names

__all__ = ["Finding", "Location", "Rule", "Severity", "Workspace", "shown"]


class Severity(StrEnum):
    """How bad a finding is. JSON output has these values."""

    ERROR = "finding"
    """Fails the gate."""
    NOTE = "note"
    """Worth reading, but does not fail the gate."""


class Rule(StrEnum):
    """A kind of defect that the gate looks for. Output has these values."""

    DOES_NOT_LOAD = "does-not-load"
    UNKNOWN_IMPORT = "unknown-import"
    MISSING_COLUMN = "missing-column"
    COLUMN_TYPE = "column-type"
    MADE_TWICE = "made-twice"
    CYCLE = "cycle"
    POLICY = "policy"
    UNLAUNCHABLE = "unlaunchable"
    NOT_REQUESTED = "not-requested"
    FOREIGN_VIEW = "foreign-view"
    STALE_CONTRACT = "stale-contract"
    NEWER_SCHEMA = "newer-schema"
    KEY_CONVENTION = "key-convention"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong or worth knowing, in words that another team understands."""

    rule: Rule
    location: str
    """The location whose deploy it stops."""
    message: str
    """What is wrong, in one sentence; names of locations, assets and columns in backticks."""
    fix: str = ""
    """What to do about it."""
    key: str | None = None
    details: tuple[str, ...] = ()
    file: str | None = None
    """The file to look at, relative to the current directory if it is inside that."""
    severity: Severity = Severity.ERROR
    concerns: tuple[str, ...] = ()
    """The locations that have a part in the finding, if several have; else empty."""


@dataclass(frozen=True)
class Location:
    """A code location, and all that the gate knows of it."""

    name: str
    contract: Contract | None = None
    """What it makes and needs; None: not known."""
    error: str | None = None
    """Why its code or file could not be read. `contract` is then the committed one, or None."""
    traceback: tuple[str, ...] = ()
    committed: Contract | None = None
    """The committed contract, if the gate loads code too; None: it does not, or there is none."""
    folder: Path | None = None
    contract_file: Path | None = None
    source: Path | None = None
    """The file that the workspace loads, if it names one."""

    def file_of(self, export: Export | None) -> str | None:
        """Return the file that declares `export`, for people and annotations."""
        if export and export.file and self.folder:
            return shown(self.folder / export.file)
        for path in (self.contract_file, self.source):
            if path and path.exists():
                return shown(path)
        return None


@dataclass(frozen=True)
class Workspace:
    """All code locations, as the rules see them."""

    locations: Sequence[Location]
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Execution times in seconds by key. They replace those in the contracts."""
    convention: Convention | None = None
    """The convention that the keys have to follow; None: the workspace asks for none."""

    @cached_property
    def contracts(self) -> list[Contract]:
        return [location.contract for location in self.locations if location.contract]

    @cached_property
    def lineage(self) -> Lineage:
        """What some policy needs of the graph that all contracts describe together.

        Policies of locations that only observe count: they are judged before they are kept.
        """
        observers = [contract.location for contract in self.contracts if contract.observes]
        return lineage_of(graph_of(self.contracts, observers=observers))

    @cached_property
    def expected_seconds(self) -> Mapping[str, float]:
        """Execution times by key: `seconds`, else those that the contracts declare."""
        declared = {
            export.key: export.expected_seconds
            for contract in self.contracts
            for export in contract.exports
            if export.expected_seconds is not None
        }
        return {**declared, **self.seconds}

    @cached_property
    def makers(self) -> Mapping[str, list[Location]]:
        """The locations that make each key, in the order of the workspace.

        What nobody makes has the first location that observes it.
        """
        makers: dict[str, list[Location]] = {}
        observers: dict[str, list[Location]] = {}
        for location in self.locations:
            for export in location.contract.exports if location.contract else ():
                if not export.observed:
                    makers.setdefault(export.key, []).append(location)
                else:
                    observers.setdefault(export.key, [location])
        return {**observers, **makers}

    @cached_property
    def made(self) -> Names:
        """The keys that some location makes, to search for the one that was meant."""
        return Names(self.makers)

    @cached_property
    def declared(self) -> Mapping[str, list[str]]:
        """The names of the locations that have an external definition of each key."""
        declaring: dict[str, list[str]] = {}
        for contract in self.contracts:
            needed = {it.key for it in contract.imports if it.declared}
            for key in sorted({*contract.declares, *needed}):
                declaring.setdefault(key, []).append(contract.location)
        return declaring

    @cached_property
    def layers(self) -> Mapping[str, Mapping[str, Export]]:
        """What is made, by the last part of its key, for each key without its last part."""
        layers: dict[str, dict[str, Export]] = {}
        for contract in self.contracts:
            for export in contract.exports:
                layer, _, table = export.key.rpartition("/")
                layers.setdefault(layer, {}).setdefault(table, export)
        return layers

    @cached_property
    def tables(self) -> Mapping[str, Names]:
        """The last parts of the keys of `layers`, to search for the one that was meant."""
        return {layer: Names(exports) for layer, exports in self.layers.items()}

    @cached_property
    def tables_with_column(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """The tables that declare a column, by their layer and the column in lower case."""
        tables: dict[tuple[str, str], set[str]] = {}
        for layer, exports in self.layers.items():
            for table, export in exports.items():
                for column in export.columns or ():
                    tables.setdefault((layer, column.name.lower()), set()).add(table)
        return {place: frozenset(found) for place, found in tables.items()}

    @cached_property
    def outside(self) -> frozenset[str]:
        """Keys that some location declares to be made outside the workspace, on purpose."""
        return frozenset(key for contract in self.contracts for key in contract.outside)

    @cached_property
    def declared_inputs(self) -> Mapping[str, tuple[Location, Import]]:
        """Keys that an integration's configuration names as inputs, and where it does."""
        found: dict[str, tuple[Location, Import]] = {}
        for location in self.locations:
            for needed in location.contract.imports if location.contract else ():
                if needed.declared_by and not needed.expected:
                    found.setdefault(needed.key, (location, needed))
        return found

    @cached_property
    def without_contract(self) -> list[str]:
        """The names of locations whose contract is not known: they may make any key."""
        return [location.name for location in self.locations if location.contract is None]

    def export(self, key: str) -> tuple[Location, Export] | None:
        """Return the first location that makes `key`, and what it exports; None: none does."""
        for location in self.makers.get(key, ()):
            if location.contract:
                return location, location.contract.by_key[key]
        return None


def shown(path: Path) -> str:
    """Return the path as people type it: relative if it is inside the current directory."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
