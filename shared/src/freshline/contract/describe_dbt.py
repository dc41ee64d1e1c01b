"""Read what a dbt project adds to the contract of its location: the code of models, their sources.

dagster-dbt keeps the manifest in the metadata of the assets, so neither dbt nor dagster-dbt is
imported here. Like `describe`, the gate runs this file inside every location's own environment. It
imports nothing but the standard library, `freshline.names`, `freshline.declared` and `node`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from freshline.contract.node import Node, inside
from freshline.declared import (
    Unbuilt,
    dbt_manifest_of,
    dbt_node,
    is_injected,
    unbuilt_policies,
    unwrapped,
)
from freshline.names import COLUMNS_ENFORCED, DBT_META

_MATERIALIZED: Final = frozenset(
    ["dynamic_table", "ephemeral", "incremental", "materialized_view", "table", "view"]
)
"""How dbt makes a model without adding columns to those of its SQL."""

_MAKES_TABLES: Final = re.compile(
    r"^materialization_|(^|__)(create_(table|view)_as|create_or_replace_view|get_create_\w+_sql)$"
)
"""The names of the macros of dbt that make tables and views."""


def has_manifest(node: Node) -> bool:
    """Return whether an asset is in a dbt project whose manifest is known."""
    return bool(_manifest(node))


def is_seed(node: Node) -> bool:
    """Return whether an asset is a dbt seed."""
    return str(unwrapped(node.metadata.get("dagster_dbt/unique_id")) or "").startswith("seed.")


def is_dbt_view(node: Node) -> bool:
    """Return whether dbt makes no table of the model that an asset is made of."""
    config = (dbt_node(node.metadata) or {}).get("config") or {}
    return config.get("materialized") in ("ephemeral", "view")


def model_file(node: Node) -> str | None:
    """Return the file of the dbt resource that an asset is made of; None: of none, or not known."""
    return _file(node, dbt_node(node.metadata) or {})


# --- policies -----------------------------------------------------------------------------


def policies_without_asset(
    made: Mapping[str, Node],
) -> Iterator[tuple[str, str | None, Unbuilt]]:
    """Yield the policies in the manifests that are on no asset of `made`: key, file and policy."""
    projects: dict[int, list[Node]] = {}
    for node in made.values():
        if dbt_node(node.metadata):
            projects.setdefault(id(_manifest(node)), []).append(node)
    for nodes in projects.values():
        built = {str(unwrapped(node.metadata["dagster_dbt/unique_id"])) for node in nodes}
        for unbuilt in unbuilt_policies(_manifest(nodes[0]), built):
            yield _key(unbuilt.props, nodes[0]), _file(nodes[0], unbuilt.props), unbuilt


def _key(props: Mapping[str, Any], node: Node) -> str:
    """Return the key that a resource of the dbt project of `node` has as an asset, or its id."""
    translator: Any = node.metadata.get("dagster_dbt/dagster_dbt_translator")
    try:
        return str(translator.get_asset_key(props).to_user_string())
    except Exception:  # noqa: BLE001  # a team's own code, for a resource that it may not expect
        return str(props["unique_id"])


# --- sources ------------------------------------------------------------------------------


def source_columns(node: Node) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the key of each dbt source that a model reads, and the columns that it declares."""
    for key, source in _sources(node):
        yield (
            key,
            [
                {"name": column.get("name", name), "type": column.get("data_type")}
                for name, column in (source.get("columns") or {}).items()
            ],
        )


def outside_sources(node: Node) -> list[str]:
    """Return the keys of the dbt sources of a model that are made outside, as they say."""
    return [
        key
        for key, source in _sources(node)
        for meta in _metas(source)
        if (meta.get(DBT_META) or {}).get("outside") is True
    ]


def source_declarations(node: Node) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key of each dbt source that a model reads, with the fields of an import."""
    for key, source in _sources(node):
        yield (
            key,
            {
                "declared_by": "dbt",
                "declared_as": [str(source.get("source_name")), str(source.get("name"))],
                "declared_in": _file(node, source),
                "expected": _names_an_asset(source),
            },
        )


def _names_an_asset(source: Mapping[str, Any]) -> bool:
    """Return whether a dbt source says itself that an asset of some location makes it.

    It does so with a Dagster key, or with what `freshline sources` writes.
    """
    return any(
        (meta.get("dagster") or {}).get("asset_key")
        or any(name != "outside" for name in meta.get(DBT_META) or {})
        for meta in _metas(source)
    )


def _sources(node: Node) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the asset key and the manifest entry of each dbt source that a model reads.

    As in Dagster, a model also reads what the ephemeral models read that it is made from.
    """
    translator: Any = node.metadata.get("dagster_dbt/dagster_dbt_translator")
    model = dbt_node(node.metadata)
    if not model or not translator:
        return
    manifest = _manifest(node)
    seen: set[str] = set()
    waiting = list(model.get("depends_on", {}).get("nodes", ()))
    while waiting:
        parent = waiting.pop(0)
        if parent in seen:
            continue
        seen.add(parent)
        source = manifest.get("sources", {}).get(parent)
        other = manifest.get("nodes", {}).get(parent, {})
        if source:
            yield _translated_key(node, translator, manifest, source), source
        elif other.get("config", {}).get("materialized") == "ephemeral":
            waiting.extend(other.get("depends_on", {}).get("nodes", ()))


def _translated_key(
    node: Node, translator: Any, manifest: Mapping[str, Any], props: Mapping[str, Any]
) -> str:
    """Return the key that the project's translator gives a dbt resource."""
    if not hasattr(translator, "get_asset_spec"):  # dagster-dbt before 0.25
        return str(translator.get_asset_key(props).to_user_string())
    project = node.metadata.get("dagster_dbt/project")
    spec = translator.get_asset_spec(manifest, props["unique_id"], project)
    return str(spec.key.to_user_string())


def _metas(source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the `meta` of a dbt resource, from both places where projects write it."""
    return [source.get("meta") or {}, (source.get("config") or {}).get("meta") or {}]


# --- models -------------------------------------------------------------------------------


def queries_of(node: Node, imports: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the code of a dbt model that reads `imports`, tables of others with unknown columns.

    The code of the ephemeral models that it reads is part of it. `freshline.contract.reads` finds
    the columns in it, where freshline is installed.
    """
    translator: Any = node.metadata.get("dagster_dbt/dagster_dbt_translator")
    manifest = _manifest(node)
    model = dbt_node(node.metadata)
    waiting = [model] if model and translator and imports else []
    seen: set[str] = set()
    while waiting:
        props = waiting.pop()
        if props["unique_id"] in seen:
            continue
        seen.add(props["unique_id"])
        relations = []
        for other, names in _parents(manifest, props):
            ephemeral = _is_ephemeral(other)
            if ephemeral:
                waiting.append(other)
            key = "" if ephemeral else _translated_key(node, translator, manifest, other)
            relations.append([key, *names])
        if props.get("language", "sql") == "sql":
            yield {
                "asset": node.key,
                "adapter": manifest["metadata"].get("adapter_type") or "",
                "code": props.get("raw_code") or "",
                "relations": relations,
                "imports": imports,
            }


def models_of(made: Mapping[str, Node]) -> list[dict[str, Any]]:
    """Return the code of the dbt models whose columns are not enforced.

    Also that of the models that one with a `*` in its code may select all columns from; these have
    no `asset`, unless they are such models themselves. A model that the adapter or the project may
    give more columns than its SQL has is left out.
    """
    numbers: dict[int, int] = {}
    assets: dict[str, str] = {}
    waiting: list[tuple[int, Mapping[str, Any], Mapping[str, Any]]] = []
    for key in sorted(made):
        node = made[key]
        props, manifest = dbt_node(node.metadata), _manifest(node)
        if props and unwrapped(node.metadata.get(COLUMNS_ENFORCED)) is not True:
            number = numbers.setdefault(id(manifest), len(numbers))
            assets[f"{number}:{props['unique_id']}"] = key
            waiting.append((number, manifest, props))
    changed: dict[int, bool] = {}
    found: dict[str, dict[str, Any]] = {}
    while waiting:
        number, manifest, props = waiting.pop()
        name = f"{number}:{props['unique_id']}"
        if number not in changed:
            changed[number] = _changes_how_tables_are_made(manifest)
        if name in found or changed[number] or not _has_the_columns_of_its_sql(props):
            continue
        parents = list(_parents(manifest, props))
        code, config = props.get("raw_code") or "", props.get("config") or {}
        if "*" in code:
            waiting.extend((number, manifest, other) for other, _ in parents)
        found[name] = {
            "id": name,
            "asset": assets.get(name),
            "adapter": manifest["metadata"].get("adapter_type") or "",
            "code": code,
            "hooks": [
                str(hook.get("sql") or "") if isinstance(hook, Mapping) else str(hook)
                for when in ("pre-hook", "post-hook")
                for hook in config.get(when) or ()
            ],
            "relations": [[f"{number}:{other['unique_id']}", *names] for other, names in parents],
        }
    return [found[name] for name in sorted(found)]


def _has_the_columns_of_its_sql(props: Mapping[str, Any]) -> bool:
    """Return whether dbt makes a table with the columns of the SQL, of a resource of a project."""
    config = props.get("config") or {}
    return (
        props.get("resource_type") == "model"
        and props.get("language", "sql") == "sql"
        and not is_injected(props)
        and config.get("materialized") in _MATERIALIZED
        and config.get("on_schema_change") != "append_new_columns"  # keeps what is dropped
    )


def _changes_how_tables_are_made(manifest: Mapping[str, Any]) -> bool:
    """Return whether a dbt project has macros instead of those of dbt that make tables.

    dbt's own packages, and those of adapters, are named dbt or dbt_<adapter>.
    """
    project = manifest["metadata"].get("project_name")
    return any(
        macro.get("package_name") == project
        or not re.match(r"dbt(_|$)", macro.get("package_name") or "")
        for macro in manifest.get("macros", {}).values()
        if _MAKES_TABLES.search(macro.get("name") or "")
    )


def _parents(
    manifest: Mapping[str, Any], props: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], list[str]]]:
    """Yield what a dbt model reads, with the names by which its code refers to it.

    These are the source and the table, or the package, the model and its version ("": it has none).
    """
    for name in props.get("depends_on", {}).get("nodes", ()):
        source, other = manifest["sources"].get(name), manifest["nodes"].get(name)
        if source:
            yield source, [source["source_name"], source["name"]]
        elif other:
            version = other.get("version")
            version = "" if version is None else str(version)
            yield other, [other["package_name"], other["name"], version]


def _is_ephemeral(props: Mapping[str, Any]) -> bool:
    return bool((props.get("config") or {}).get("materialized") == "ephemeral")


def _file(node: Node, props: Mapping[str, Any]) -> str | None:
    """Return the file of a dbt resource, relative to the location's folder as far as known."""
    file = props.get("original_file_path")
    project = getattr(node.metadata.get("dagster_dbt/project"), "project_dir", None)
    if not file or not project:
        return file
    path = inside(node.folder, Path(project, file)) if node.folder else None
    return path or f"{Path(project).name}/{file}"


def _manifest(node: Node) -> Mapping[str, Any]:
    return dbt_manifest_of(node.metadata)
