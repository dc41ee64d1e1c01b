"""Read a location's contract from its Dagster definitions, as plain JSON values.

The gate runs this file inside every location's own environment, where freshline need not be
installed. It imports nothing but the standard library, `freshline.names`, `freshline.declared` and
`launch` (which the gate brings along) and, inside functions, Dagster.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from freshline.contract.launch import unlaunchable_assets
from freshline.declared import (
    Written,
    dbt_manifest_of,
    dbt_node,
    has_native_policy,
    is_injected,
    unbuilt_policies,
    written_policies,
)
from freshline.declared import unwrapped as _unwrapped
from freshline.names import (
    AT_MOST_EVERY,
    CODE_REFERENCES,
    COLUMN_SCHEMA,
    COLUMNS_ENFORCED,
    CONTRACT_PREFIX,
    DBT_META,
    EXPECTED_SECONDS,
    FILE,
    MAX_LAG,
    MODE,
    OBSERVE,
    OUTSIDE,
    POLICIES,
    STATIC,
    TICK_SECONDS,
    USES,
)

SCHEMA_VERSION: Final = 1

_INTEGRATIONS: Final = ("sling", "dlt", "fivetran", "airbyte", "dbt")
"""The integrations whose assets have inputs that the integration's own configuration names. They
are known by a kind of the asset, or by what its metadata begins with, as in `dagster_sling/`."""

_MATERIALIZED: Final = frozenset(
    ["dynamic_table", "ephemeral", "incremental", "materialized_view", "table", "view"]
)
"""How dbt makes a model without adding columns to those of its SQL."""

_MAKES_TABLES: Final = re.compile(
    r"^materialization_|(^|__)(create_(table|view)_as|create_or_replace_view|get_create_\w+_sql)$"
)
"""The names of the macros of dbt that make tables and views."""


class Node(NamedTuple):
    """An asset as a location declares it."""

    path: tuple[str, ...]
    made: bool
    """True: the location makes the asset. False: it has an external definition of the asset."""
    deps: tuple[str, ...] = ()
    execution_set: str = ""
    """Assets with the same name here are always made together; "": the asset has no such set."""
    group: str | None = None
    owners: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    partitioned: bool = False
    unlaunchable: str | None = None
    """Why Dagster cannot launch it as it is; None: it can, or that is not known."""
    description: str | None = None
    file: str | None = None
    metadata: Mapping[str, Any] = {}
    folder: str | None = None
    """The location's folder, to which files are relative; None: not known."""
    policies: tuple[Written, ...] = ()
    native_policy: bool = False
    """Whether Dagster itself watches the asset's freshness."""

    @property
    def key(self) -> str:
        return "/".join(self.path)


def describe(
    repositories: Iterable[Any], location: str, folder: str | None = None
) -> dict[str, Any]:
    """Return the contract document of `location`, from its `RepositoryDefinition` objects.

    If `folder` is given, each asset has the file that defines it, relative to that folder.
    """
    import dagster

    nodes = [node for repository in repositories for node in _nodes(repository, folder)]
    return document(nodes, location, dagster.__version__)


def document(nodes: Iterable[Node], location: str, dagster_version: str) -> dict[str, Any]:
    """Return the contract document of a location that declares `nodes`."""
    about: dict[str, Any] = {}
    given: dict[str, Any] = {}
    made: dict[str, Node] = {}
    external: dict[str, Node] = {}
    for node in nodes:
        if node.path[:2] == CONTRACT_PREFIX:
            about["published_as"] = node.path[-1]
            tick = _unwrapped(node.metadata.get(TICK_SECONDS))
            if tick is not None:
                about["tick_seconds"] = tick
            if _unwrapped(node.metadata.get(MODE)) == OBSERVE:
                about["observes"] = True
            given.update(_unwrapped(node.metadata.get(POLICIES)) or {})
        elif node.made:
            made[node.key] = node
        else:
            external[node.key] = node
    for key in given.keys() & made.keys():
        written = Written(MAX_LAG, given[key])
        made[key] = made[key]._replace(policies=(written, *made[key].policies))
    queries = [query for node in made.values() for query in _queries(node, made, external)]
    if queries:
        about["queries"] = queries
    models = _models(made)
    if models:
        about["models"] = models
    outside = {key for node in made.values() for key in _outside(node)}
    outside.update(
        key for key, node in external.items() if _unwrapped(node.metadata.get(OUTSIDE)) is True
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "location": location,
        "dagster_version": dagster_version,
        **about,
        "exports": [_export(made[key]) for key in sorted(made)],
        "imports": _imports(made, external),
        "declares": sorted(set(external) - set(made)),
        "outside": sorted(outside - set(made)),
        "unkept": [*_policies_without_asset(made, external), *_native_policies(made)],
    }


def _nodes(repository: Any, folder: str | None) -> Iterator[Node]:
    unlaunchable = unlaunchable_assets(repository)
    for key, assets_def in repository.assets_defs_by_key.items():
        spec = assets_def.get_asset_spec(key)
        # Dagster has no public property for this; `is_materializable` is there since 1.5.
        made = assets_def.is_materializable and not is_injected(dbt_node(spec.metadata) or {})
        yield Node(
            path=tuple(key.path),
            made=made,
            deps=tuple(dep.asset_key.to_user_string() for dep in spec.deps),
            execution_set=_execution_set(assets_def) if made else "",
            group=spec.group_name,
            owners=tuple(spec.owners),
            kinds=tuple(spec.kinds),
            partitioned=spec.partitions_def is not None,
            unlaunchable=unlaunchable.get(key),
            description=spec.description,
            file=_file(spec, assets_def, folder) if made and folder else None,
            metadata=spec.metadata,
            folder=folder,
            policies=tuple(written_policies(spec)),
            native_policy=has_native_policy(spec),
        )
    for source in repository.source_assets_by_key.values():
        yield Node(
            tuple(source.key.path),
            made=False,
            metadata=source.metadata,
            policies=tuple(written_policies(source)),
        )


def _execution_set(assets_def: Any) -> str:
    """Return the name of the computation if its assets are always made together, else ""."""
    shared = len(assets_def.keys) > 1 and not assets_def.can_subset
    return str(assets_def.node_def.name) if shared else ""


def _export(node: Node) -> dict[str, Any]:
    return {
        "key": node.key,
        "deps": sorted(set(node.deps) - {node.key}),
        "unit": node.execution_set,
        "group": None if node.group == "default" else node.group,
        "owners": sorted(node.owners),
        "kinds": sorted(node.kinds),
        "written_policies": [_plain_policy(written) for written in node.policies],
        "columns": _columns(node),
        "columns_enforced": _unwrapped(node.metadata.get(COLUMNS_ENFORCED)) is True,
        "partitioned": node.partitioned,
        "unlaunchable": node.unlaunchable,
        "at_most_every": _unwrapped(node.metadata.get(AT_MOST_EVERY)),
        "static": _is_static(node),
        "expected_seconds": _unwrapped(node.metadata.get(EXPECTED_SECONDS)),
        "description": node.description,
        "file": _unwrapped(node.metadata.get(FILE))
        or node.file
        or _dbt_file(node, dbt_node(node.metadata) or {}),
    }


def _is_static(node: Node) -> bool:
    """Return whether the content of an asset does not change with time, as that of a dbt seed."""
    unique_id = str(_unwrapped(node.metadata.get("dagster_dbt/unique_id")) or "")
    return unique_id.startswith("seed.") or _unwrapped(node.metadata.get(STATIC)) is True


# --- policies -----------------------------------------------------------------------------


def _plain_policy(written: Written) -> dict[str, Any]:
    """Return a policy as plain JSON values. Any other value is given as Python shows it."""
    policy = written.policy
    if isinstance(policy, Mapping):
        plain: Any = {str(name): _plain(value) for name, value in policy.items()}
    else:
        plain = _plain(policy)
    return {"notation": written.notation, "policy": plain}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float)) else repr(value)


def _policies_without_asset(
    made: Mapping[str, Node], external: Mapping[str, Node]
) -> Iterator[dict[str, Any]]:
    """Yield the policies on what the location does not make: nobody here can keep them."""
    for key, node in external.items():
        if key not in made:
            for written in node.policies[:1]:
                yield {"key": key, "reason": "external", **_plain_policy(written)}
    projects: dict[int, list[Node]] = {}
    for node in made.values():
        if dbt_node(node.metadata):
            projects.setdefault(id(_manifest(node)), []).append(node)
    for nodes in projects.values():
        built = {str(_unwrapped(node.metadata["dagster_dbt/unique_id"])) for node in nodes}
        for unbuilt in unbuilt_policies(_manifest(nodes[0]), built):
            yield {
                "key": _dbt_key(unbuilt.props, nodes[0]),
                "reason": unbuilt.reason,
                "file": _dbt_file(nodes[0], unbuilt.props),
                **_plain_policy(unbuilt.written),
            }


def _dbt_key(props: Mapping[str, Any], node: Node) -> str:
    """Return the key that a resource of the dbt project of `node` has as an asset, or its id."""
    translator: Any = node.metadata.get("dagster_dbt/dagster_dbt_translator")
    try:
        return str(translator.get_asset_key(props).to_user_string())
    except Exception:  # noqa: BLE001  # a team's own code, for a resource that it may not expect
        return str(props["unique_id"])


def _native_policies(made: Mapping[str, Node]) -> Iterator[dict[str, Any]]:
    """Yield the policies of Dagster's own kind on assets that carry no other."""
    for key, node in made.items():
        if node.native_policy and not node.policies:
            yield {"key": key, "reason": "native", "notation": "freshness_policy"}


def _manifest(node: Node) -> Mapping[str, Any]:
    return dbt_manifest_of(node.metadata)


# --- imports ------------------------------------------------------------------------------


def _imports(made: Mapping[str, Node], external: Mapping[str, Node]) -> list[dict[str, Any]]:
    users: dict[str, set[str]] = {}
    used: dict[str, dict[tuple[str, str], set[str]]] = {}
    for key, node in made.items():
        for dep in (dep for dep in node.deps if dep not in made):
            users.setdefault(dep, set()).add(key)
        for dep, reads in _uses(node):
            for read in reads:
                used.setdefault(dep, {}).setdefault(read, set()).add(key)
    for key, node in external.items():
        # The columns of an external definition count as used by every asset that reads it.
        for column in _columns(node) or []:
            declared = column["name"], column["type"] or ""
            used.setdefault(key, {}).setdefault(declared, set()).update(users.get(key, ()))
    declarations = _declarations(made)
    return [
        {
            "key": key,
            "declared": key in external,
            **declarations.get(key, {}),
            "used_by": sorted(users[key]),
            "columns": [
                {"name": name, "type": kind or None, "used_by": sorted(by)}
                for (name, kind), by in sorted(used.get(key, {}).items())
            ],
        }
        for key in sorted(users)
    ]


def _uses(node: Node) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    uses = _unwrapped(node.metadata.get(USES))
    if uses is None:
        uses = {
            key: [
                {"name": column.get("name", name), "type": column.get("data_type")}
                for name, column in (source.get("columns") or {}).items()
            ]
            for key, source in _dbt_sources(node)
        }
    for dep, columns in uses.items():
        yield dep, [(column["name"], column.get("type") or "") for column in columns]


def _outside(node: Node) -> list[str]:
    keys = _unwrapped(node.metadata.get(OUTSIDE))
    if isinstance(keys, (list, tuple)):
        return [str(key) for key in keys]
    return [
        key
        for key, source in _dbt_sources(node)
        for meta in _metas(source)
        if (meta.get(DBT_META) or {}).get("outside") is True
    ]


def _declarations(made: Mapping[str, Node]) -> dict[str, dict[str, Any]]:
    """Return the inputs that an integration declares, by key, with the fields of an import."""
    found: dict[str, dict[str, Any]] = {}
    for key in sorted(made):
        node = made[key]
        for dep, source in _dbt_sources(node):
            found.setdefault(dep, _dbt_declaration(node, source))
        integration = _integration(node)
        # The manifest tells a source from another project's model; without one, both are inputs.
        if integration and not (integration == "dbt" and _manifest(node)):
            for dep in node.deps:
                found.setdefault(dep, {"declared_by": integration})
    return found


def _dbt_declaration(node: Node, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "declared_by": "dbt",
        "declared_as": [str(source.get("source_name")), str(source.get("name"))],
        "declared_in": _dbt_file(node, source),
        "expected": _names_an_asset(source),
    }


def _names_an_asset(source: Mapping[str, Any]) -> bool:
    """Return whether a dbt source says itself that an asset of some location makes it.

    It does so with a Dagster key, or with what `freshline sources` writes.
    """
    return any(
        (meta.get("dagster") or {}).get("asset_key")
        or any(name != "outside" for name in meta.get(DBT_META) or {})
        for meta in _metas(source)
    )


def _dbt_file(node: Node, props: Mapping[str, Any]) -> str | None:
    """Return the file of a dbt resource, relative to the location's folder as far as known."""
    file = props.get("original_file_path")
    project = getattr(node.metadata.get("dagster_dbt/project"), "project_dir", None)
    if not file or not project:
        return file
    inside = _inside(node.folder, Path(project, file)) if node.folder else None
    return inside or f"{Path(project).name}/{file}"


def _integration(node: Node) -> str | None:
    """Return the name of the integration that makes the asset; None: none of them does."""
    prefixes = {name.partition("/")[0].replace("-", "_") for name in node.metadata}
    for integration in _INTEGRATIONS:
        if integration in node.kinds or f"dagster_{integration}" in prefixes:
            return integration
    return None


def _queries(
    node: Node, made: Mapping[str, Node], external: Mapping[str, Node]
) -> Iterator[dict[str, Any]]:
    """Yield the code of a dbt model that reads tables of others without declaring their columns.

    The code of the ephemeral models that it reads is part of it. `freshline.contract.reads` finds
    the columns in it, where freshline is installed.
    """
    declared = {dep for dep, reads in _uses(node) if reads}
    declared.update(key for key, other in external.items() if _columns(other))
    imports = sorted({dep for dep in node.deps if dep not in made} - declared)
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
        for other, names in _dbt_parents(manifest, props):
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


def _models(made: Mapping[str, Node]) -> list[dict[str, Any]]:
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
        if props and _unwrapped(node.metadata.get(COLUMNS_ENFORCED)) is not True:
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
        parents = list(_dbt_parents(manifest, props))
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


def _dbt_parents(
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


def _dbt_sources(node: Node) -> Iterator[tuple[str, Mapping[str, Any]]]:
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


def _columns(node: Node) -> list[dict[str, Any]] | None:
    """Return the columns in the order of the table; None: the asset declares no columns."""
    schema = _unwrapped(node.metadata.get(COLUMN_SCHEMA))
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


def _file(spec: Any, assets_def: Any, folder: str) -> str | None:
    """Return the file that defines an asset, relative to `folder`; None: not inside, or unknown."""
    references = getattr(spec.metadata.get(CODE_REFERENCES), "code_references", None)
    paths = (
        [getattr(reference, "file_path", None) for reference in references]
        if references is not None
        else [_function_file(assets_def)]
    )
    inside = (_inside(folder, path) for path in paths if path is not None)
    return next((path for path in inside if path is not None), None)


@lru_cache(maxsize=1024)
def _inside(folder: str, path: str | Path) -> str | None:
    """Return the path relative to `folder`; None: it is not inside."""
    relative = Path(os.path.relpath(os.path.realpath(path), os.path.realpath(folder)))
    # Installed code has another path on each machine.
    own = os.pardir not in relative.parts and "site-packages" not in relative.parts
    return relative.as_posix() if own else None


def _function_file(assets_def: Any) -> str | None:
    """Return the file of the function that makes an asset; None: it was defined at run time.

    Dagster's own `with_source_code_references` reads the whole function for its line number, which
    takes more time than all else here.
    """
    node = assets_def.node_def
    function: Any = getattr(node, "composition_fn", None) or getattr(node, "compute_fn", None)
    try:
        return inspect.getsourcefile(getattr(function, "decorated_fn", function))
    except TypeError:  # not a function
        return None
