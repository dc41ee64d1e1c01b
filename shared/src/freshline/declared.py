"""What is written on an asset, or in a dbt manifest, and in whose notation?

The gate also loads this file in Pythons without freshline: it imports nothing but the standard
library and `freshline.names`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from freshline.names import DBT_META, DBT_POLICY, MAX_LAG

__all__ = [
    "Unbuilt",
    "Written",
    "dbt_manifest_of",
    "dbt_node",
    "dbt_policies",
    "epoch_of",
    "has_native_policy",
    "is_injected",
    "told",
    "unbuilt_policies",
    "unwrapped",
    "why_not_built",
    "written_policies",
]

_DBT_ASSETS: Final = ("model", "seed", "snapshot")
"""The types of dbt resources that dagster-dbt makes assets of."""


_UTC: Final = timezone.utc  # noqa: UP017  # a location may have an older Python than freshline


class Written(NamedTuple):
    """A policy as it is written somewhere, not yet judged."""

    notation: str
    """Where it is written, as people know the place."""
    policy: Any
    """What is written there."""

    @property
    def own(self) -> bool:
        """Whether it is freshline's own notation. Dagster and dbt do nothing with any of them."""
        return self.notation == MAX_LAG


class Unbuilt(NamedTuple):
    """A policy in a dbt manifest, on a resource that none of the location's assets is made of."""

    props: Mapping[str, Any]
    """The resource, as the manifest has it."""
    written: Written
    reason: str
    """Why no asset is made of it: as `why_not_built` says, or "disabled", or "not selected"."""


def written_policies(spec: Any) -> list[Written]:
    """Return the policies that are written on an `AssetSpec`, the one that counts first.

    A `SourceAsset`, or what a code server says of an asset, can be given too.
    """
    metadata = spec.metadata or {}
    own = Written(MAX_LAG, unwrapped(metadata.get(MAX_LAG)))
    found = [own, *_legacy_policies(spec), *dbt_policies(dbt_node(metadata) or {})]
    return [written for written in found if written.policy is not None]


def has_native_policy(spec: Any) -> bool:
    """Return whether Dagster itself watches the freshness of the asset of `spec`."""
    policy = getattr(spec, "freshness_policy", None)
    return policy is not None and not hasattr(policy, "maximum_lag_minutes")


def _legacy_policies(spec: Any) -> Iterator[Written]:
    """Yield the policy of Dagster's first kind. Before Dagster 1.12 it had the shorter name."""
    for attribute in ("legacy_freshness_policy", "freshness_policy"):
        policy = getattr(spec, attribute, None)
        if hasattr(policy, "maximum_lag_minutes"):
            names = ("maximum_lag_minutes", "cron_schedule", "cron_schedule_timezone")
            fields = {name: getattr(policy, name, None) for name in names}
            given = {name: value for name, value in fields.items() if value is not None}
            yield Written(attribute, given)


# --- dbt ----------------------------------------------------------------------------------


def dbt_node(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the dbt resource that an asset is made of, from its manifest; None: of none.

    dagster-dbt keeps both in the metadata of the asset, with any translator and for a component.
    """
    name = unwrapped(metadata.get("dagster_dbt/unique_id"))
    found = dbt_manifest_of(metadata).get("nodes", {}).get(name)
    return found if isinstance(found, Mapping) else None


def told(metadata: Mapping[str, Any], name: str) -> Any:
    """Return what an asset tells freshline under `name`, "freshline/view" for one; None: nothing.

    A dbt model tells it in its ``meta`` as well: ``freshline: {view: true}``.
    """
    found = unwrapped(metadata.get(name))
    if found is not None:
        return found
    node = dbt_node(metadata) or {}
    for meta in ((node.get("config") or {}).get("meta"), node.get("meta")):
        own = (meta or {}).get(DBT_META)
        if isinstance(own, Mapping) and name.partition("/")[2] in own:
            return own[name.partition("/")[2]]
    return None


def dbt_manifest_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the manifest of the dbt project that an asset is in; empty: of none."""
    return getattr(metadata.get("dagster_dbt/manifest"), "manifest", None) or {}


def dbt_policies(props: Mapping[str, Any]) -> Iterator[Written]:
    """Yield the policies that are written on a dbt resource, the one that counts first."""
    config = props.get("config") or {}
    meta = config.get("meta") or props.get("meta") or {}
    dagster = meta.get("dagster")
    for notation, policy in (
        (f"meta.{DBT_POLICY}", meta.get(DBT_POLICY)),
        (
            "meta.dagster.freshness_policy",
            dagster.get("freshness_policy") if isinstance(dagster, Mapping) else None,
        ),
        (f"config({DBT_POLICY}=...)", config.get(DBT_POLICY)),
    ):
        if policy is not None:
            yield Written(notation, policy)


def is_injected(props: Mapping[str, Any]) -> bool:
    """Return whether a dbt model is another project's, which dbt-loom or dbt Mesh has put in.

    dbt itself tells by the missing path, and never builds it.
    """
    return (
        props.get("resource_type") == "model"
        and not props.get("path")
        and not props.get("original_file_path")
    )


def why_not_built(props: Mapping[str, Any]) -> str | None:
    """Return why the policy on a dbt resource has no asset; None: the resource can be one.

    "inherited": an ephemeral model, to which the policy of its folder in dbt_project.yml applies;
    "maybe inherited": that, or it is written in a YAML file. The manifest does not tell.
    """
    if props["resource_type"] == "source":
        return "source"
    if (props.get("config") or {}).get("materialized") != "ephemeral":
        return None
    if "freshness_policy" in (props.get("raw_code") or ""):
        return "ephemeral"
    return "maybe inherited" if props.get("patch_path") else "inherited"


def unbuilt_policies(manifest: Mapping[str, Any], built: Collection[str]) -> Iterator[Unbuilt]:
    """Yield the policies in a manifest that are not on an asset.

    `built` are the unique ids of the resources that assets are made of.
    """
    enabled = (*manifest.get("sources", {}).values(), *manifest.get("nodes", {}).values())
    disabled = [one for several in (manifest.get("disabled") or {}).values() for one in several]
    for props in (*enabled, *disabled):
        written = next(dbt_policies(props), None)
        if written is None or props["unique_id"] in built or is_injected(props):
            continue
        if (props.get("config") or {}).get("enabled") is False:
            reason = "disabled"
        elif props["resource_type"] in (*_DBT_ASSETS, "source"):
            reason = why_not_built(props) or "not selected"
        else:
            continue
        if reason != "inherited":
            yield Unbuilt(props, written, reason)


def epoch_of(moment: Any) -> float | None:
    """Return what a date or a time in ISO 8601 means, UTC in epoch seconds; None: it is none.

    Without a time zone it is UTC.
    """
    try:
        # Before Python 3.11, Z is not understood.
        given = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", moment))
    except (TypeError, ValueError):
        return None
    return (given if given.tzinfo else given.replace(tzinfo=_UTC)).timestamp()


def unwrapped(value: Any) -> Any:
    """Return the value that Dagster may have wrapped in a `MetadataValue`."""
    # Most assets do not have most metadata, and a large location is asked for it all.
    if value is None or not type(value).__name__.endswith("MetadataValue"):
        return value
    for attribute in ("schema", "data", "value", "text"):
        if hasattr(value, attribute):
            return getattr(value, attribute)
    return value
