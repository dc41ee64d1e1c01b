"""Models of other dbt projects in a manifest, as dbt-loom and dbt Mesh put them there.

dbt never builds them. dagster-dbt would make assets of them, or fail on fields that they lack. For
this location they are what a dbt source is: tables that another location makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from freshline.declared import is_injected

__all__ = ["injected_as_sources"]

_OTHER_READERS: Final = (
    "exposures",
    "metrics",
    "semantic_models",
    "saved_queries",
    "unit_tests",
)
"""The parts of a manifest, beside nodes, whose entries depend on models."""


def injected_as_sources(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the manifest with a source for each injected model that the project reads.

    Such a source is named after the schema of the model's table: its asset key is, with freshline's
    translator and with Dagster's own, the schema and the table. The other injected models are left
    out. Without any, the manifest itself is returned.
    """
    injected = {key: it for key, it in manifest["nodes"].items() if is_injected(it)}
    if not injected:
        return manifest
    declared = {(it["source_name"], it["name"]): key for key, it in manifest["sources"].items()}
    names = {key: _source_id(it, declared) for key, it in injected.items()}
    own = {key: it for key, it in manifest["nodes"].items() if key not in injected}
    readers = list(own.values())
    for part in _OTHER_READERS:
        readers.extend(manifest.get(part, {}).values())
    read = {dep for it in readers for dep in _dependencies(it) if dep in injected}
    made = {names[key]: _source(injected[key], names[key]) for key in sorted(read)}
    changed = {
        part: {key: _renamed(it, names) for key, it in manifest[part].items()}
        for part in _OTHER_READERS
        if part in manifest
    }
    return {
        **manifest,
        **changed,
        "nodes": {key: _renamed(it, names) for key, it in own.items()},
        "sources": {**made, **manifest["sources"]},
        "parent_map": _renamed_map(manifest["parent_map"], names, injected.keys() - read),
        "child_map": _renamed_map(manifest["child_map"], names, injected.keys() - read),
    }


def _source_id(model: Mapping[str, Any], declared: Mapping[tuple[str, str], str]) -> str:
    """Return the unique id of the source for a model: that of the table, if it is declared too."""
    schema, table = model["schema"], model["alias"]
    found = declared.get((schema, table))
    return found or f"source.{model['package_name']}.{schema}.{table}"


def _source(model: Mapping[str, Any], unique_id: str) -> dict[str, Any]:
    return {
        **model,
        "unique_id": unique_id,
        "resource_type": "source",
        "source_name": model["schema"],
        "name": model["alias"],
        "identifier": model["alias"],
        "fqn": [model["package_name"], model["schema"], model["alias"]],
        # There is no file here; messages then name the project.
        "original_file_path": f"dbt project {model['package_name']}",
        # The manifest does not have the groups of other projects.
        "group": None,
        "loader": "",
    }


def _dependencies(entry: Mapping[str, Any]) -> list[str]:
    return list((entry.get("depends_on") or {}).get("nodes") or ())


def _renamed(entry: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    if not any(dep in names for dep in _dependencies(entry)):
        return entry
    deps = [names.get(dep, dep) for dep in _dependencies(entry)]
    return {**entry, "depends_on": {**entry["depends_on"], "nodes": deps}}


def _renamed_map(
    neighbours: Mapping[str, list[str]], names: Mapping[str, str], dropped: set[str]
) -> dict[str, list[str]]:
    """Return a parent_map or child_map with the new names. One name may come from two entries."""
    renamed: dict[str, list[str]] = {}
    for key, others in neighbours.items():
        if key not in dropped:
            kept = [names.get(other, other) for other in others if other not in dropped]
            known = renamed.setdefault(names.get(key, key), [])
            known.extend(other for other in kept if other not in known)
    return renamed
