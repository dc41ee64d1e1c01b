"""Would Dagster launch a run of these assets, and with which config? Its own code answers that.

Like `describe`, the gate runs this file inside every location's own environment, where freshline
need not be installed. It imports nothing but the standard library, `freshline.names`,
`freshline.declared` and, inside functions, Dagster.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from freshline.declared import unwrapped
from freshline.names import CONFIG

_LONGEST: Final = 300
"""Characters of Dagster's reason that are kept."""


def unlaunchable_assets(repository: Any) -> dict[Any, str]:
    """Return why Dagster would refuse a run, for each asset key for which it would.

    Only assets that need config or bring some are tried: with thousands of assets, building a job
    for each would take minutes.
    """
    if not repository.has_implicit_global_asset_job_def():
        return {}
    run = {
        key: assets_def
        for key, assets_def in repository.assets_defs_by_key.items()
        if assets_def.is_executable
    }
    refused = {
        key: why
        for key, source in repository.source_assets_by_key.items()
        if source.is_observable and (_needs_config(source) or _config(source))
        if (why := refusal(repository, [key], run_config=run_config_of(repository, [key])))
    }
    for assets_def in {id(it): it for it in run.values()}.values():
        if not _needs_config(assets_def) and not any(map(_config, assets_def.specs)):
            continue
        # What can be made alone is tried alone.
        groups = [[key] for key in assets_def.keys] if assets_def.can_subset else [assets_def.keys]
        for keys in groups:
            why = refusal(repository, keys, run_config=run_config_of(repository, keys))
            if why:
                refused.update(dict.fromkeys(keys, why))
    return refused


def refusal(
    repository: Any,
    assets: Iterable[Any],
    checks: Iterable[Any] = (),
    run_config: Mapping[str, Any] | None = None,
) -> str | None:
    """Return why Dagster would refuse a run of `assets` and `checks` (keys); None: it would not.

    This does what Dagster does before it creates a run: it takes the part of the job, and makes an
    execution plan with the config. Assets with different partitions have no run in common.
    """
    from dagster._core.execution.api import create_execution_plan

    assets = set(assets)
    partitions = [found for key in assets if (found := _partitions(repository, key)) is not None]
    if any(other != partitions[0] for other in partitions[1:]):
        return "their partitions are not defined in the same way"
    try:
        job = repository.get_implicit_global_asset_job_def().get_subset(
            asset_selection=assets, asset_check_selection=set(checks)
        )
        create_execution_plan(job, dict(run_config or {}))
    except Exception as error:  # noqa: BLE001  # whatever it is, Dagster would fail the tick with it
        return _reason(error)
    return None


def run_config_of(repository: Any, assets: Iterable[Any]) -> dict[str, Any]:
    """Return the run config that the specs of `assets` (keys) bring along in metadata."""
    ops: dict[str, Any] = {}
    for key in assets:
        assets_def = repository.assets_defs_by_key.get(key)
        # An observable source is a definition without a spec.
        source = repository.source_assets_by_key.get(key)
        config = _config(assets_def.get_asset_spec(key) if assets_def is not None else source)
        node = getattr(source if assets_def is None else assets_def, "node_def", None)
        if config is None or node is None:
            continue
        # The ops of a graph asset have config of their own.
        field = "ops" if _is_plain_graph(node) else "config"
        ops.setdefault(node.name, {}).setdefault(field, {}).update(config)
    return {"ops": ops} if ops else {}


def unknown_partitions(
    repository: Any, asset: Any, parts: Iterable[str], instance: Any
) -> Collection[str]:
    """Return those of `parts` (keys) that are no partitions of `asset` (a key) now.

    `instance` keeps the partitions that were added at run time.
    """
    from dagster import DagsterUnknownPartitionError, partition_loading_context

    definition = _partitions(repository, asset)
    if definition is None:
        return list(parts)
    unknown = []
    with partition_loading_context(dynamic_partitions_store=instance):
        for part in parts:
            try:
                known = definition.has_partition_key(part)
            except DagsterUnknownPartitionError:
                known = False
            if not known:
                unknown.append(part)
    return unknown


def _partitions(repository: Any, asset: Any) -> Any:
    """Return Dagster's definition of the partitions of `asset` (a key); None: it has none."""
    assets_def = repository.assets_defs_by_key.get(asset)
    return None if assets_def is None else assets_def.get_asset_spec(asset).partitions_def


def _needs_config(assets_def: Any) -> bool:
    """Return whether the op of `assets_def`, or a resource of it, cannot run without config.

    The config schema of the whole job would say so too, but takes seconds to build.
    """
    resources = assets_def.resource_defs
    needed = (resources[key] for key in assets_def.required_resource_keys if key in resources)
    return _is_needy(assets_def.node_def) or any(map(_requires_config, needed))


def _is_needy(node: Any) -> bool:
    if _is_plain_graph(node):
        return any(map(_is_needy, node.node_defs))
    return _requires_config(node)


def _requires_config(definition: Any) -> bool:
    return bool(definition.has_config_field and definition.config_field.is_required)


def _is_plain_graph(node: Any) -> bool:
    return hasattr(node, "node_dict") and node.config_mapping is None


def _config(spec: Any) -> Mapping[str, Any] | None:
    config = unwrapped(spec.metadata.get(CONFIG)) if spec is not None else None
    return config if isinstance(config, Mapping) else None


def _reason(error: BaseException) -> str:
    """Return what Dagster says is wrong, in one line."""
    errors = getattr(error, "errors", None)
    text = getattr(errors[0], "message", "") if errors else ""
    text = " ".join((text or str(error) or type(error).__name__).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
