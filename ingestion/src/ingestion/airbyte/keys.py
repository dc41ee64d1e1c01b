"""Whether the primary key of a stream tells all its rows apart.

A destination that deduplicates keeps one row for each key. If a source reads several repositories
(accounts, projects, sites) and the key holds within one of them only, a row of one replaces a row
of another, and nothing says so. The connector chooses the key; Airbyte lets nobody change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ingestion.airbyte.record import recorded_stream
from ingestion.errors import DeclarationError

if TYPE_CHECKING:
    from ingestion.airbyte.declaration import Connection, Stream

__all__ = ["DEDUPLICATING", "doubt_about_key", "refuse_keys_that_lose_rows"]

DEDUPLICATING: Final = frozenset({"incremental_deduped_history", "full_refresh_overwrite_deduped"})
"""The sync modes that keep one row for each primary key."""


@dataclass(frozen=True)
class _Scope:
    """Streams of a connector whose keys hold within one `part` of what a source reads."""

    part: str
    plural: str
    settings: tuple[str, ...]
    """The fields of the configuration that list what the source reads."""
    streams: frozenset[str]
    """Different parts certainly share keys: a person stars, or works on, several repositories."""
    doubtful: frozenset[str] = frozenset()
    """Different parts may share keys: a fork has the commits of its origin."""
    part_of: Callable[[str], str] = str


def _owner(repository: str) -> str:
    return repository.partition("/")[0]


_GITHUB: Final = ("repositories", "repository")
_SCOPES: Final[Mapping[str, tuple[_Scope, ...]]] = {
    "github": (
        _Scope(
            "repository",
            "repositories",
            _GITHUB,
            frozenset({"assignees", "collaborators", "contributor_activity", "stargazers"}),
            frozenset({"commits", "projects_v2", "pull_request_commits"}),
        ),
        _Scope(
            "organization",
            "organizations",
            _GITHUB,
            frozenset({"team_members", "users"}),
            part_of=_owner,
        ),
    )
}
"""What is known of connectors, by type. The keys of their other streams hold everywhere."""


def refuse_keys_that_lose_rows(connection: Connection, configuration: Mapping[str, Any]) -> None:
    """Raise `DeclarationError` if a stream's rows are deduplicated by a key that cannot do it.

    `configuration` is the source's, as declared or looked up in the environment.
    """
    for stream in connection.streams:
        if stream.sync_mode in DEDUPLICATING:
            _refuse_another_key(connection, stream)
            _refuse_several_parts(connection, stream, configuration)


def doubt_about_key(
    connection: Connection, stream: Stream, configuration: Mapping[str, Any]
) -> str | None:
    """Return which rows may replace each other, although they differ; None if none is known to.

    For a connector that is not known here, rows that name the part that they come from, in a field
    that the key lacks, are in doubt.
    """
    if stream.sync_mode not in DEDUPLICATING:
        return None
    known = _SCOPES.get(connection.source.type)
    if known is not None:
        doubtful = [
            scope.plural
            for scope in known
            if stream.name in scope.doubtful and _several(_parts(scope, configuration))
        ]
    else:
        doubtful = [
            setting
            for setting, value in configuration.items()
            if _several(_entries(value)) and _part_field(setting, connection, stream)
        ]
    if not doubtful:
        return None
    return f"rows of different {doubtful[0]} that share {_words(stream.primary_key)} are one row"


def _refuse_another_key(connection: Connection, stream: Stream) -> None:
    defined = _defined_key(connection, stream)
    if defined and set(defined) != set(stream.primary_key):
        raise DeclarationError(
            f"connection {connection.name!r} in connections.py: stream {stream.name!r} has the "
            f"primary_key {_words(stream.primary_key)}, but {connection.source.connector} defines "
            f"it as {_words(defined)}, which Airbyte lets nobody change: declare that, or a sync "
            "mode that does not deduplicate"
        )


def _refuse_several_parts(
    connection: Connection, stream: Stream, configuration: Mapping[str, Any]
) -> None:
    for scope in _SCOPES.get(connection.source.type, ()):
        parts = _parts(scope, configuration)
        if stream.name in scope.streams and _several(parts):
            raise DeclarationError(
                f"connection {connection.name!r} in connections.py: stream {stream.name!r} would "
                f"lose rows. Its source {connection.source.name!r} reads several {scope.plural} "
                f"({_some(parts)}), and rows are told apart by {_words(stream.primary_key)}, which "
                f"holds within one {scope.part} only. Declare a source and a connection for each "
                f"{scope.part}, each connection with a `prefix` of its own; or a sync mode that "
                "does not deduplicate: full_refresh_overwrite, incremental_append"
            )


def _parts(scope: _Scope, configuration: Mapping[str, Any]) -> list[str]:
    """Return the different parts that a source reads; one with a wildcard stands for several."""
    entries = [one for name in scope.settings for one in _entries(configuration.get(name))]
    return list(dict.fromkeys(scope.part_of(entry) for entry in entries))


def _several(parts: list[str]) -> bool:
    return len(parts) > 1 or any("*" in part for part in parts)


def _entries(setting: Any) -> list[str]:
    """Return what a setting lists: in a list, or in a text between blanks or commas."""
    found: list[str] = []
    for one in setting if isinstance(setting, (list, tuple)) else (setting,):
        if isinstance(one, str):
            found += one.casefold().replace(",", " ").split()
        elif one is not None:
            found.append(str(getattr(one, "name", one)))  # a variable counts as one entry
    return list(dict.fromkeys(found))


def _part_field(setting: str, connection: Connection, stream: Stream) -> str | None:
    """Return the field of a row that says which of the setting's entries it comes from.

    `project` or `project_id` for `projects` or `projects_list`. None if there is none, or if the
    key has it.
    """
    recorded = recorded_stream(connection.source.connector, stream.name) or {}
    properties = recorded.get("json_schema", {}).get("properties") or {}
    stem = setting.removesuffix("_list").removesuffix("_ids")
    singular = stem.removesuffix("ies") + "y" if stem.endswith("ies") else stem.removesuffix("s")
    for field in (singular, f"{singular}_id"):
        if field in properties:
            return None if field in stream.primary_key else field
    return None


def _defined_key(connection: Connection, stream: Stream) -> tuple[str, ...]:
    recorded = recorded_stream(connection.source.connector, stream.name) or {}
    return tuple(".".join(path) for path in recorded.get("source_defined_primary_key") or ())


def _words(key: tuple[str, ...]) -> str:
    return " and ".join(f"`{field}`" for field in key)


def _some(parts: list[str]) -> str:
    return ", ".join(parts[:3]) + (", ..." if len(parts) > 3 else "")
