"""Read a location's contract from its Dagster definitions, as plain JSON values.

The gate runs this file inside every location's own environment, where freshline need not be
installed. It imports nothing but the standard library, what the gate brings along (`BROUGHT` in
`freshline.workspace.runner`) and, inside functions, Dagster.
"""

from __future__ import annotations

import inspect
from collections.abc import Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from freshline.contract.describe_dbt import (
    has_manifest,
    is_dbt_view,
    is_seed,
    model_file,
    models_of,
    outside_sources,
    policies_without_asset,
    queries_of,
    source_columns,
    source_declarations,
)
from freshline.contract.describe_partitions import partitions_of, reads_of, why_unfollowed
from freshline.contract.launch import unlaunchable_assets
from freshline.contract.node import Node, columns_of, inside
from freshline.declared import (
    Written,
    dbt_node,
    has_native_policy,
    is_injected,
    told,
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
    POOL_TAG,
    STATIC,
    TICK_SECONDS,
    USES,
    VIEW,
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
        elif node.made or node.observed:
            made[node.key] = node
        else:
            external[node.key] = node
    for declared in (made, external):
        for key in given.keys() & declared.keys():
            written = Written(MAX_LAG, given[key])
            declared[key] = declared[key]._replace(policies=(written, *declared[key].policies))
    known = made.keys() | {key for key, node in external.items() if columns_of(node)}
    queries = [
        query for node in made.values() for query in queries_of(node, _unknown_inputs(node, known))
    ]
    if queries:
        about["queries"] = queries
    models = models_of(made)
    if models:
        about["models"] = models
    nodes_by_key = {**external, **made}
    outside = {key for node in made.values() for key in _outside(node)}
    outside.update(
        key for key, node in external.items() if unwrapped(node.metadata.get(OUTSIDE)) is True
    )
    return {
        "schema_version": SCHEMA_VERSION,
        "location": location,
        "dagster_version": dagster_version,
        **about,
        "exports": [_export(made[key], nodes_by_key) for key in sorted(made)],
        "imports": _imports(made, external),
        "declares": sorted(set(external) - set(made)),
        "outside": sorted(outside - set(made)),
        "unkept": [*_policies_without_asset(made, external), *_native_policies(made)],
    }


def unfollowed_partitions(
    specs: Iterable[Any], made: Container[Any], observed: Container[Any]
) -> dict[Any, str]:
    """Return why freshline cannot follow the partitions of some assets, by their `AssetKey`.

    `specs` are the `AssetSpec` objects of a location, `made` and `observed` the keys of those that
    it makes and can observe.
    """
    nodes = {
        spec.key: _node(spec, made=spec.key in made, observed=spec.key in observed)
        for spec in specs
    }
    declared = {node.key: node for node in nodes.values()}
    found: dict[Any, str] = {}
    for key, node in nodes.items():
        partitions = None if _is_view(node) else partitions_of(node)
        if partitions:
            reads = {dep: it.get("unsupported") for dep, it in reads_of(node, declared).items()}
            why = why_unfollowed(partitions.get("unsupported"), reads)
            if why:
                found[key] = why
    return found


def _nodes(repository: Any, folder: str | None) -> Iterator[Node]:
    unlaunchable = unlaunchable_assets(repository)
    for key, assets_def in repository.assets_defs_by_key.items():
        spec = assets_def.get_asset_spec(key)
        # Dagster has no public property for this; `is_materializable` is there since 1.5.
        made = assets_def.is_materializable and not is_injected(dbt_node(spec.metadata) or {})
        observed = assets_def.is_observable
        yield _node(spec, made=made, observed=observed)._replace(
            execution_set=_execution_set(assets_def) if made or observed else "",
            single_run=is_single_run(assets_def.backfill_policy),
            pools=_pools(assets_def) if made or observed else (),
            unlaunchable=unlaunchable.get(key),
            file=_file(spec, assets_def, folder) if made and folder else None,
            folder=folder,
        )
    for source in repository.source_assets_by_key.values():
        yield Node(
            tuple(source.key.path),
            made=False,
            group=source.group_name,
            partitions=source.partitions_def,
            pools=_pools(source) if source.is_observable else (),
            observed=source.is_observable,
            unlaunchable=unlaunchable.get(source.key),
            description=source.description,
            metadata=source.metadata,
            policies=tuple(written_policies(source)),
        )


def _node(spec: Any, *, made: bool, observed: bool) -> Node:
    """Return what an `AssetSpec` says of an asset."""
    return Node(
        path=tuple(spec.key.path),
        made=made,
        observed=observed,
        deps=tuple(dep.asset_key.to_user_string() for dep in spec.deps),
        group=spec.group_name,
        owners=tuple(spec.owners),
        kinds=tuple(spec.kinds),
        partitions=spec.partitions_def,
        mappings={
            dep.asset_key.to_user_string(): dep.partition_mapping
            for dep in spec.deps
            if dep.partition_mapping is not None
        },
        # Since Dagster 1.13.
        virtual=getattr(spec, "is_virtual", False),
        code_version=spec.code_version,
        description=spec.description,
        metadata=spec.metadata,
        policies=tuple(written_policies(spec)),
        native_policy=has_native_policy(spec),
    )


def _execution_set(assets_def: Any) -> str:
    """Return the name of the computation if its assets are always made together, else ""."""
    shared = len(assets_def.keys) > 1 and not assets_def.can_subset
    return str(assets_def.node_def.name) if shared else ""


def _pools(definition: Any) -> tuple[str, ...]:
    """Return the pools of all ops of an asset.

    An older op names its pool in a tag, which Dagster still reads.
    """
    pools = {
        getattr(op, "pool", None) or op.tags.get(POOL_TAG)
        for op in definition.node_def.iterate_op_defs()
    }
    return tuple(sorted(filter(None, pools)))


def is_single_run(policy: Any) -> bool:
    """Return whether a backfill policy has one run make a range of partitions."""
    return policy is not None and policy.max_partitions_per_run is None


def _export(node: Node, declared: Mapping[str, Node]) -> dict[str, Any]:
    view = _is_view(node)
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
        "partitioned": node.partitions is not None,
        "partitions": partitions_of(node),
        "reads": reads_of(node, declared),
        "view": view,
        "observed": node.observed,
        "code_version": node.code_version if view else None,
        "unlaunchable": node.unlaunchable,
        "at_most_every": told(node.metadata, AT_MOST_EVERY),
        "static": _is_static(node),
        "pools": node.pools,
        "expected_seconds": told(node.metadata, EXPECTED_SECONDS),
        "description": node.description,
        "file": unwrapped(node.metadata.get(FILE)) or node.file or model_file(node),
    }


def _is_static(node: Node) -> bool:
    """Return whether the content of an asset does not change with time, as that of a dbt seed."""
    return is_seed(node) or told(node.metadata, STATIC) is True


def _is_view(node: Node) -> bool:
    """Return whether an asset is as fresh as its inputs without a run.

    A step with partitions has something to do in each of them, also if dbt calls it a view.
    """
    said = told(node.metadata, VIEW)
    if node.observed or isinstance(said, bool):
        return not node.observed and said is True
    return node.virtual or (node.partitions is None and is_dbt_view(node))


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
