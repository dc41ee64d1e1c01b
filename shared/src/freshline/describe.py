"""What a location's Dagster definitions say about it, as plain JSON values.

The gate runs this file inside every location's own environment, where freshline need not be
installed, so it imports nothing but the standard library and, inside functions, Dagster.

Metadata keys that asset specs may carry for it:

==========================  ====================================================================
``freshline/max_lag``       the policy (see `freshline.policy`)
``freshline/uses``          on a consumer: the columns it reads, by upstream key, as in
                            ``{"postgres/stargazers": [{"name": "user_id", "type": "bigint"}]}``
``freshline/outside``       ``True`` on an external spec: made outside the workspace, on purpose.
                            On a consumer: a list of such keys among its dependencies
``freshline/columns_enforced``  ``True``: the producer refuses to make any other columns
``freshline/expected_seconds``  how long making the asset takes, for the gate's estimates
``freshline/file``          the file that declares the asset, relative to the location's folder
``freshline/tick_seconds``  on the contract asset: seconds between two plans of the location
==========================  ====================================================================
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

COLUMNS_ENFORCED: Final = "freshline/columns_enforced"
CONTRACT_PREFIX: Final = ("freshline", "contract")
EXPECTED_SECONDS: Final = "freshline/expected_seconds"
FILE: Final = "freshline/file"
MAX_LAG: Final = "freshline/max_lag"
OUTSIDE: Final = "freshline/outside"
SCHEMA_VERSION: Final = 1
TICK_SECONDS: Final = "freshline/tick_seconds"
USES: Final = "freshline/uses"

# Dagster's own metadata keys; its metadata sets that name them are not exported.
_COLUMN_SCHEMA: Final = "dagster/column_schema"
_CODE_REFERENCES: Final = "dagster/code_references"


def describe(
    repositories: Iterable[Any], location: str, folder: str | None = None
) -> dict[str, Any]:
    """The contract document of `location`, from its `RepositoryDefinition` objects.

    With `folder`, the location's own, the files that define the assets are named relative to it.
    """
    import dagster

    made: dict[str, dict[str, Any]] = {}
    external: dict[str, Any] = {}
    used: dict[str, dict[tuple[str, str], set[str]]] = {}
    outside: set[str] = set()
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "location": location,
        "dagster_version": dagster.__version__,
    }
    for repository in repositories:
        for spec, assets_def in _specs(repository):
            key = spec.key.to_user_string()
            if tuple(spec.key.path[:2]) == CONTRACT_PREFIX:
                document["published_as"] = spec.key.path[-1]
                tick = _plain(spec.metadata.get(TICK_SECONDS))
                if tick is not None:
                    document["tick_seconds"] = tick
            elif assets_def is not None and assets_def.is_materializable:
                made[key] = _export(spec, assets_def, folder)
                for dep, columns in _uses(spec):
                    for column in columns:
                        used.setdefault(dep, {}).setdefault(column, set()).add(key)
                outside.update(_outside(spec))
            else:
                external[key] = spec
    users = _users(made)
    document["exports"] = [made[key] for key in sorted(made)]
    document["imports"] = [
        _import(key, users[key], external.get(key), used.get(key, {}))
        for key in sorted(users)
        if key not in made
    ]
    outside.update(
        key for key, spec in external.items() if _plain(spec.metadata.get(OUTSIDE)) is True
    )
    document["outside"] = sorted(outside - set(made))
    return document


def _specs(repository: Any) -> Iterator[tuple[Any, Any]]:
    """Every declared asset: its spec, and its assets definition (None: a source asset)."""
    for key, assets_def in repository.assets_defs_by_key.items():
        yield assets_def.get_asset_spec(key), assets_def
    for source in repository.source_assets_by_key.values():
        yield source, None


def _export(spec: Any, assets_def: Any, folder: str | None) -> dict[str, Any]:
    metadata = spec.metadata
    key = spec.key.to_user_string()
    group = spec.group_name or "default"
    return {
        "key": key,
        "deps": sorted({dep.asset_key.to_user_string() for dep in spec.deps} - {key}),
        "unit": _unit(assets_def),
        "group": None if group == "default" else group,
        "owners": sorted(spec.owners),
        "kinds": sorted(spec.kinds),
        "policy": _plain(metadata.get(MAX_LAG)),
        "columns": _columns(metadata),
        "columns_enforced": _plain(metadata.get(COLUMNS_ENFORCED)) is True,
        "partitioned": spec.partitions_def is not None,
        "expected_seconds": _plain(metadata.get(EXPECTED_SECONDS)),
        "description": spec.description,
        "file": _plain(metadata.get(FILE)) or _file(spec, assets_def, folder),
    }


def _unit(assets_def: Any) -> str:
    """The computation that assets share when none of them can be made alone."""
    shared = len(assets_def.keys) > 1 and not assets_def.can_subset
    return str(assets_def.node_def.name) if shared else ""


def _users(made: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    users: dict[str, set[str]] = {}
    for key, export in made.items():
        for dep in export["deps"]:
            users.setdefault(dep, set()).add(key)
    return users


def _import(
    key: str,
    users: set[str],
    spec: Any,
    used: Mapping[tuple[str, str], set[str]],
) -> dict[str, Any]:
    columns = {column: set(by) for column, by in used.items()}
    # Columns that the location writes on its own picture of the table count for all its readers.
    for column in (_columns(spec.metadata) or []) if spec is not None else []:
        columns.setdefault((column["name"], column["type"]), set()).update(users)
    return {
        "key": key,
        "declared": spec is not None,
        "used_by": sorted(users),
        "columns": [
            {"name": name, "type": kind or None, "used_by": sorted(by)}
            for (name, kind), by in sorted(columns.items())
        ],
    }


def _uses(spec: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    uses = _plain(spec.metadata.get(USES))
    for dep, columns in (uses or {}).items():
        yield dep, [(column["name"], column.get("type") or "") for column in columns]


def _outside(spec: Any) -> list[str]:
    keys = _plain(spec.metadata.get(OUTSIDE))
    return [str(key) for key in keys] if isinstance(keys, (list, tuple)) else []


def _columns(metadata: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Columns of the table in the table's order; None: not declared."""
    schema = _plain(metadata.get(_COLUMN_SCHEMA))
    if schema is None:
        return None
    return [
        {
            "name": column.name,
            "type": column.type,
            "nullable": column.constraints.nullable,
            "description": column.description,
        }
        for column in schema.columns
    ]


def _file(spec: Any, assets_def: Any, folder: str | None) -> str | None:
    """The file that defines an asset, relative to `folder`; None: elsewhere, or not known."""
    if folder is None:
        return None
    references = spec.metadata.get(_CODE_REFERENCES)
    if references is None:
        references = _found_references(spec.key, assets_def)
    for reference in getattr(references, "code_references", ()):
        path = getattr(reference, "file_path", None)
        if path is None:
            continue
        relative = Path(os.path.relpath(os.path.realpath(path), os.path.realpath(folder)))
        # Installed code is named by its package's version, not by a path of this machine.
        if os.pardir not in relative.parts and "site-packages" not in relative.parts:
            return relative.as_posix()
    return None


def _found_references(key: Any, assets_def: Any) -> Any:
    from dagster import AssetsDefinition, with_source_code_references

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the function is marked beta
            (found,) = with_source_code_references([assets_def])
    except (OSError, TypeError):
        # Made at run time, without a source file: a file is nice to have in messages, no more.
        return None
    if not isinstance(found, AssetsDefinition):
        return None
    return found.get_asset_spec(key).metadata.get(_CODE_REFERENCES)


def _plain(value: Any) -> Any:
    """What a metadata value stands for, whether Dagster has wrapped it already or not."""
    for attribute in ("schema", "data", "value", "text"):
        if type(value).__name__.endswith("MetadataValue") and hasattr(value, attribute):
            return getattr(value, attribute)
    return value
