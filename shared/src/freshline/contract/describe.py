"""Read a location's contract from its Dagster definitions, as plain JSON values.

The gate runs this file inside every location's own environment, where freshline need not be
installed. It imports nothing but the standard library, what the gate brings along (`BROUGHT` in
`freshline.workspace.runner`) and, inside functions, Dagster.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from freshline.contract.describe_dbt import (
    has_manifest,
    is_seed,
    model_file,
    models_of,
    outside_sources,
    policies_without_asset,
    queries_of,
    source_columns,
    source_declarations,
)
from freshline.contract.launch import unlaunchable_assets
from freshline.contract.node import Node, columns_of, inside
from freshline.declared import (
    Written,
    dbt_node,
    has_native_policy,
    is_injected,
    unwrapped,
    written_policies,
)
from freshline.names import (
    AT_MOST_EVERY,
    CODE_REFERENCES,
    COLUMNS_ENFORCED,
    CONTRACT_PREFIX,
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
            tick = unwrapped(node.metadata.get(TICK_SECONDS))
            if tick is not None:
                about["tick_seconds"] = tick
            if unwrapped(node.metadata.get(MODE)) == OBSERVE:
                about["observes"] = True
            given.update(unwrapped(node.metadata.get(POLICIES)) or {})
        elif node.made:
            made[node.key] = node
        else:
            external[node.key] = node
    for key in given.keys() & made.keys():
        written = Written(MAX_LAG, given[key])
        made[key] = made[key]._replace(policies=(written, *made[key].policies))
    known = made.keys() | {key for key, node in external.items() if columns_of(node)}
    queries = [
        query for node in made.values() for query in queries_of(node, _unknown_inputs(node, known))
    ]
    if queries:
        about["queries"] = queries
    models = models_of(made)
    if models:
        about["models"] = models
    outside = {key for node in made.values() for key in _outside(node)}
    outside.update(
        key for key, node in external.items() if unwrapped(node.metadata.get(OUTSIDE)) is True
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
        "columns": columns_of(node),
        "columns_enforced": unwrapped(node.metadata.get(COLUMNS_ENFORCED)) is True,
        "partitioned": node.partitioned,
        "unlaunchable": node.unlaunchable,
        "at_most_every": unwrapped(node.metadata.get(AT_MOST_EVERY)),
        "static": _is_static(node),
        "expected_seconds": unwrapped(node.metadata.get(EXPECTED_SECONDS)),
        "description": node.description,
        "file": unwrapped(node.metadata.get(FILE)) or node.file or model_file(node),
    }


def _is_static(node: Node) -> bool:
    """Return whether the content of an asset does not change with time, as that of a dbt seed."""
    return is_seed(node) or unwrapped(node.metadata.get(STATIC)) is True


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
    for key, file, unbuilt in policies_without_asset(made):
        plain = _plain_policy(unbuilt.written)
        yield {"key": key, "reason": unbuilt.reason, "file": file, **plain}


def _native_policies(made: Mapping[str, Node]) -> Iterator[dict[str, Any]]:
    """Yield the policies of Dagster's own kind on assets that carry no other."""
    for key, node in made.items():
        if node.native_policy and not node.policies:
            yield {"key": key, "reason": "native", "notation": "freshness_policy"}


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
        for column in columns_of(node) or []:
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
    uses = unwrapped(node.metadata.get(USES))
    columns_by_key = source_columns(node) if uses is None else uses.items()
    for dep, columns in columns_by_key:
        yield dep, [(column["name"], column.get("type") or "") for column in columns]


def _unknown_inputs(node: Node, known: AbstractSet[str]) -> list[str]:
    """Return the keys that an asset reads, are not `known`, and whose columns it does not name."""
    named = {dep for dep, columns in _uses(node) if columns}
    return sorted(set(node.deps) - known - named)


def _outside(node: Node) -> list[str]:
    keys = unwrapped(node.metadata.get(OUTSIDE))
    if isinstance(keys, (list, tuple)):
        return [str(key) for key in keys]
    return outside_sources(node)


def _declarations(made: Mapping[str, Node]) -> dict[str, dict[str, Any]]:
    """Return the inputs that an integration declares, by key, with the fields of an import."""
    found: dict[str, dict[str, Any]] = {}
    for key in sorted(made):
        node = made[key]
        for dep, declaration in source_declarations(node):
            found.setdefault(dep, declaration)
        integration = _integration(node)
        # The manifest tells a source from another project's model; without one, both are inputs.
        if integration and not (integration == "dbt" and has_manifest(node)):
            for dep in node.deps:
                found.setdefault(dep, {"declared_by": integration})
    return found


def _integration(node: Node) -> str | None:
    """Return the name of the integration that makes the asset; None: none of them does."""
    prefixes = {name.partition("/")[0].replace("-", "_") for name in node.metadata}
    for integration in _INTEGRATIONS:
        if integration in node.kinds or f"dagster_{integration}" in prefixes:
            return integration
    return None


def _file(spec: Any, assets_def: Any, folder: str) -> str | None:
    """Return the file that defines an asset, relative to `folder`; None: not inside, or unknown."""
    references = getattr(spec.metadata.get(CODE_REFERENCES), "code_references", None)
    paths = (
        [getattr(reference, "file_path", None) for reference in references]
        if references is not None
        else [_function_file(assets_def)]
    )
    found = (inside(folder, path) for path in paths if path is not None)
    return next((path for path in found if path is not None), None)


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
