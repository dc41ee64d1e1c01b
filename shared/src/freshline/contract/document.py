"""The contract as a value and as a file: what a location makes, and what it needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)

from freshline.contract.describe import SCHEMA_VERSION, describe
from freshline.contract.describe_partitions import why_unfollowed
from freshline.contract.outputs import with_columns_made
from freshline.contract.reads import with_columns_read
from freshline.contract.written import judged
from freshline.errors import ContractError
from freshline.policy import MaxLag

if TYPE_CHECKING:
    from dagster import Definitions, RepositoryDefinition

__all__ = [
    "SCHEMA_VERSION",
    "Column",
    "Contract",
    "Export",
    "Import",
    "Partitions",
    "PartitionsRead",
    "TimeWindows",
    "UnkeptPolicy",
    "UsedColumn",
    "WatchedPolicy",
    "json_schema",
]

_WIDTH = 100
"""The width of the file in characters. A value that fits stays on one line."""


def _read_policy(value: object) -> object:
    if value is None or isinstance(value, MaxLag):
        return value
    if isinstance(value, Mapping):
        # An older freshline does not judge the fields that a newer one adds.
        value = {name: value[name] for name in ("minutes", "cron", "timezone") if name in value}
    return MaxLag.parse(value, "policy")


Policy = Annotated[
    MaxLag,
    BeforeValidator(_read_policy),
    PlainSerializer(MaxLag.to_json),
    WithJsonSchema(
        {
            "type": "object",
            "required": ["minutes"],
            "properties": {
                "minutes": {"type": "number", "exclusiveMinimum": 0},
                "cron": {"type": "string"},
                "timezone": {"type": "string"},
            },
        }
    ),
]


class _Value(BaseModel):
    # Unknown fields come from a newer freshline; they are left out.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Column(_Value):
    """A column that a location's asset has."""

    name: str
    type: str | None = Field(default=None, description="The warehouse's name of the type.")
    nullable: bool = True
    description: str | None = None


class UsedColumn(_Value):
    """A column that a location reads from another's asset."""

    name: str
    type: str | None = Field(default=None, description="The type the readers rely on; null: any.")
    used_by: tuple[str, ...] = Field(default=(), description="Keys of the assets that read it.")
    inferred: bool = Field(
        default=False,
        description="Nobody declares it: the SQL of the readers has it, and may read others.",
    )


class TimeWindows(_Value):
    """The time windows of an asset's partitions."""

    cron: str = Field(description="A window begins at each of its ticks.")
    timezone: str = "UTC"
    start: float = Field(description="No window begins before it. UTC, in epoch seconds.")
    end: float | None = Field(
        default=None, description="No window ends after it. UTC, in epoch seconds; null: never."
    )
    end_offset: int = Field(
        default=0, description="How many windows exist beyond the last one that has closed."
    )
    fmt: str = Field(default="%Y-%m-%d", description="The format of the partition keys.")


class Partitions(_Value):
    """The partitions of an asset: by time, by keys, or by both."""

    windows: TimeWindows | None = None
    keys: tuple[str, ...] = Field(default=(), description="The keys of a static dimension.")
    dynamic: str | None = Field(
        default=None, description="The name of the set of keys that the instance keeps."
    )
    keys_first: bool = Field(
        default=False, description="With windows: the partition key begins with the other key."
    )
    single_run: bool = Field(default=False, description="One run can make a range of them.")
    complete_from: float | None = Field(
        default=None,
        description="Partitions that end before it may be missing. UTC, in epoch seconds.",
    )
    unsupported: str | None = Field(
        default=None, description="Why freshline cannot follow them; null: it can."
    )


class PartitionsRead(_Value):
    """Which partitions of an input a partition of an asset reads; all, unless it says otherwise."""

    windows: tuple[int, int] | None = Field(
        default=None,
        description="Those of the same time, their start and end moved by so many windows of the "
        "reader. Null: not by time.",
    )
    last: bool = Field(default=False, description="Only the last partition.")
    same_key: bool = Field(default=False, description="The partition of the same key.")
    unsupported: str | None = Field(
        default=None, description="Why freshline cannot follow the mapping; null: it can."
    )


class WatchedPolicy(_Value):
    """A policy on an asset that the location declares and nobody in the workspace makes."""

    key: str
    policy: Policy


class Export(_Value):
    """An asset that the location makes."""

    key: str = Field(description="The asset key's parts, joined by slashes.")
    deps: tuple[str, ...] = ()
    unit: str = Field(
        default="", description="Assets with the same non-empty unit are always made together."
    )
    group: str | None = Field(default=None, description="Null: the default group.")
    owners: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    policy: Policy | None = None
    columns: tuple[Column, ...] | None = Field(default=None, description="Null: not declared.")
    columns_enforced: bool = Field(
        default=False, description="The location refuses to make any other columns."
    )
    made_columns: tuple[str, ...] | None = Field(
        default=None,
        description="The names of all its columns, sorted, as the SQL of the dbt model says; null: "
        "not known, or its columns are enforced.",
    )
    partitioned: bool = False
    partitions: Partitions | None = Field(
        default=None, description="Null: none, or a freshline before 0.3 has written it."
    )
    reads: dict[str, PartitionsRead] = Field(
        default={}, description="Which partitions of its inputs it reads, by key of the input."
    )
    view: bool = Field(
        default=False, description="It is as fresh as its inputs, without a run, as a view is."
    )
    observed: bool = Field(
        default=False, description="It is made elsewhere; a run of the location observes it."
    )
    code_version: str | None = Field(
        default=None,
        description="The version of a view's code; null: not declared. Not in a committed file.",
    )
    static: bool = Field(
        default=False,
        description="Its content does not change with time; it is made when it was never made.",
    )
    pools: tuple[str, ...] = Field(
        default=(), description="The pools of Dagster's in which a run of it needs a place."
    )
    unlaunchable: str | None = Field(
        default=None, description="Why Dagster cannot launch it as it is; null: it can."
    )
    at_most_every: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Minutes that must pass after a version before a policy has the next one made.",
    )
    expected_seconds: float | None = Field(
        default=None, description="How long making it takes, as its location declares."
    )
    description: str | None = None
    file: str | None = Field(
        default=None, description="What declares it, relative to the location's folder."
    )

    @property
    def unfollowed(self) -> str | None:
        """Why freshline cannot follow its partitions, as the end of a sentence.

        None: it can, or need not.
        """
        if self.view or not self.partitioned:
            return None
        if self.partitions is None:
            return "it is partitioned, and the freshline of its location is too old to say how"
        reads = {key: read.unsupported for key, read in self.reads.items()}
        return why_unfollowed(self.partitions.unsupported, reads)


class Import(_Value):
    """An asset that the location depends on and does not make."""

    key: str
    declared: bool = Field(
        default=False,
        description="The location has an external definition of it, not only a dependency.",
    )
    declared_by: str | None = Field(
        default=None,
        description="The integration whose configuration names it, such as dbt or sling; "
        "null: a dependency that somebody wrote.",
    )
    declared_as: tuple[str, ...] = Field(
        default=(), description="Its name there; of a dbt source: the source, then the table."
    )
    declared_in: str | None = Field(
        default=None,
        description="The file that declares it, relative to the location's folder as far as known.",
    )
    expected: bool = Field(
        default=False,
        description="The declaration says itself that an asset of some location makes it.",
    )
    used_by: tuple[str, ...] = Field(
        default=(), description="Keys of the assets that depend on it."
    )
    columns: tuple[UsedColumn, ...] = ()


class UnkeptPolicy(_Value):
    """A policy that is written in the location, and that freshline does not keep."""

    key: str = Field(description="The asset; a dbt resource without a key: its unique id.")
    notation: str = Field(description="Where it is written.")
    reason: str = Field(
        description="wrong, external, partitioned, source, ephemeral, maybe inherited, disabled, "
        "not selected, native or not adopted."
    )
    problem: str | None = Field(default=None, description="What is wrong with it.")
    policy: Policy | None = Field(default=None, description="Null: not read.")
    file: str | None = None


class Contract(_Value):
    """What a location publishes about itself. Derived from its definitions, never written."""

    schema_version: int = SCHEMA_VERSION
    location: str
    dagster_version: str = ""
    code_version: str | None = Field(
        default=None, description="The deployed version of the code; not in a committed file."
    )
    published_as: str | None = Field(
        default=None,
        description="The name the location publishes under; null: it does not publish.",
    )
    tick_seconds: float | None = Field(default=None, description="Seconds between two plans.")
    observes: bool = Field(
        default=False, description="The location only observes: it requests nothing."
    )
    gone: tuple[str, ...] = Field(
        default=(),
        description="Keys that it made before and others still need; not in a committed file.",
    )
    exports: tuple[Export, ...] = ()
    imports: tuple[Import, ...] = ()
    declares: tuple[str, ...] = Field(
        default=(), description="Keys that it has an external definition of, and does not make."
    )
    outside: tuple[str, ...] = Field(
        default=(), description="Keys that are made outside the workspace, on purpose."
    )
    watched: tuple[WatchedPolicy, ...] = Field(
        default=(), description="Policies on assets that it declares and does not make."
    )
    promised: dict[str, float] = Field(
        default={},
        description="When each policy was first published, by key. UTC, in epoch seconds; not in a "
        "committed file.",
    )
    unkept: tuple[UnkeptPolicy, ...] = Field(
        default=(), description="Policies that are written in it, and that freshline does not keep."
    )

    @classmethod
    def from_definitions(
        cls,
        definitions: Definitions | RepositoryDefinition,
        location: str,
        *,
        tick_seconds: float | None = None,
        code_version: str | None = None,
    ) -> Contract:
        """Read the contract of `location` from its `definitions`. Raises `ContractError`."""
        from dagster import Definitions

        repository = (
            definitions.get_repository_def()
            if isinstance(definitions, Definitions)
            else definitions
        )
        given = {"tick_seconds": tick_seconds, "code_version": code_version}
        return cls.from_description(
            {
                **describe([repository], location),
                "published_as": location,
                **{field: value for field, value in given.items() if value is not None},
            }
        )

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Contract:
        """Read the contract from what `freshline.contract.describe` found in a location.

        A policy that cannot be kept does not count; it is in `unkept`, or in `watched` if it is on
        an asset that somebody else makes. Raises `ContractError`.
        """
        return cls.from_document(judged(with_columns_made(with_columns_read(description))))

    @classmethod
    def from_document(cls, document: object) -> Contract:
        """Read the contract from parsed JSON. Raises `ContractError`."""
        location = document.get("location") if isinstance(document, Mapping) else None
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ContractError(_explain(error, location, document)) from None

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Read the contract from JSON text, also of a newer schema. Raises `ContractError`."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ContractError(f"the contract is not JSON: {error}") from None
        return cls.from_document(document)

    def to_json(self) -> str:
        """Return the text of the contract's file: sorted, the same on every machine."""
        return _layout(self.to_document(), 0) + "\n"

    def to_document(self) -> dict[str, Any]:
        """Return the contract as plain JSON values, without fields that have their default."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        return {"schema_version": self.schema_version, **document}

    def with_unlaunchable(self, refused: Mapping[str, str]) -> Contract:
        """Return the contract with why Dagster refuses to launch assets, by key."""
        if not refused:
            return self
        exports = tuple(
            export.model_copy(update={"unlaunchable": refused[export.key]})
            if export.key in refused
            else export
            for export in self.exports
        )
        return self.model_copy(update={"exports": exports})

    @property
    def newer(self) -> bool:
        """Whether a newer freshline wrote the contract. Fields unknown to this one are not read."""
        return self.schema_version > SCHEMA_VERSION

    @cached_property
    def by_key(self) -> Mapping[str, Export]:
        """The assets that the location makes, by key."""
        return {export.key: export for export in self.exports}

    def owners_of(self, key: str) -> tuple[str, ...]:
        """Return the owners of an asset; () if it has none, or the location does not make it."""
        export = self.by_key.get(key)
        return export.owners if export else ()

    @cached_property
    def reads(self) -> frozenset[str]:
        """The keys that its assets depend on."""
        return frozenset(dep for export in self.exports for dep in export.deps)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Contract.model_json_schema(),
    }


def _explain(error: ValidationError, location: object, document: object) -> str:
    """Return one line that says whose contract it is, which field is wrong, and how."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    value = document
    for depth, part in enumerate(first["loc"]):
        # Name an export by its key: "exports.3" says little.
        if isinstance(part, int) and isinstance(value, Sequence) and part < len(value):
            value = value[part]
            if isinstance(value, Mapping) and "key" in value:
                path[depth] = f"[{value['key']}]"
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    problem = first["msg"].removeprefix("Value error, ")
    whose = f"contract of {location}" if location else "contract"
    return f"{whose}: {'.'.join(path) or 'document'}: {problem}"


def _layout(value: Any, indent: int) -> str:
    """Return JSON for readable diffs: a value that fits and holds no objects is on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent and len(flat) + indent <= _WIDTH and not _holds_objects(value):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [
            f"{pad}{json.dumps(name)}: {_layout(it, indent + 2)}" for name, it in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"
    if isinstance(value, list):
        lines = [f"{pad}{_layout(it, indent + 2)}" for it in value]
        return "[\n" + ",\n".join(lines) + "\n" + " " * indent + "]"
    return flat


def _holds_objects(value: Any) -> bool:
    parts = list(value.values()) if isinstance(value, dict) else value
    return isinstance(parts, list) and any(
        isinstance(part, dict) or _holds_objects(part) for part in parts
    )
