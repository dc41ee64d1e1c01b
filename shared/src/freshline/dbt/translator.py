"""Makes dbt resources into assets by freshline's conventions: keys, policies, columns, owners.

Use it as ``@dbt_assets(..., dagster_dbt_translator=FreshlineDbtTranslator())``; to build the
assets, see `freshline.dbt.build`. Needs dagster-dbt, which freshline itself does not require.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtProject,
)

from freshline.dbt.assertions import assertion
from freshline.dbt.by_target import depends_on_target
from freshline.declared import dbt_policies, is_injected, why_not_built
from freshline.errors import KeyConventionError, ManifestError, PolicyError
from freshline.keys import (
    LAYER_TABLE,
    ONE_PART,
    THREE_PARTS,
    Convention,
    asset_key,
    convention_of,
    parts_of,
)
from freshline.names import (
    COLUMN_SCHEMA,
    COLUMNS_ENFORCED,
    DBT_META,
    EXPECTED_SECONDS,
    FILE,
    OUTSIDE,
    USES,
)
from freshline.policy import MaxLag, chosen_policy, max_lag_metadata

__all__ = ["FreshlineDbtTranslator"]


class FreshlineDbtTranslator(DagsterDbtTranslator):
    """Makes each dbt model, seed or snapshot into an asset by freshline's conventions.

    `keys` is the convention for asset keys: ``"layer-table"``; ``"dagster-dbt"``, with which every
    asset keeps the key that it has with Dagster's own translator; ``"one-part"``,
    ``"three-parts"``, or a function, also as ``"package.module:function"``: see `freshline.keys`.
    The other fields of an asset do not depend on it.

    Raises `KeyConventionError` for names that no key can be made of and `PolicyError` for
    policies that cannot be kept; both name the file. Raises `ManifestError` for models of other
    projects in the manifest, which `dbt_manifest` reads as sources.
    """

    def __init__(
        self,
        settings: DagsterDbtTranslatorSettings | None = None,
        *,
        keys: Convention = LAYER_TABLE,
    ) -> None:
        super().__init__(settings)
        self._convention = convention_of(keys, "FreshlineDbtTranslator(keys=...)")
        self._specs: dict[tuple[int, str], dg.AssetSpec] = {}
        self._sources: dict[int, Mapping[dg.AssetKey, Mapping[str, Any]]] = {}

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """Return the spec of a dbt resource. For a source, only the key and metadata are used."""
        # Cached, as in the base class: each spec is asked for many times.
        memo = (id(manifest), unique_id)
        if memo not in self._specs:
            _refuse_injected(self.get_resource_props(manifest, unique_id))
            spec = super().get_asset_spec(manifest, unique_id, project)
            props = self.get_resource_props(manifest, unique_id)
            sources = self._sources_of(manifest)
            self._specs[memo] = spec.replace_attributes(
                description=_get_description(props),
                kinds=_get_kinds(spec, props),
            ).merge_attributes(
                metadata={
                    **_get_policy_metadata(props),
                    **_get_columns_metadata(props),
                    **_get_uses_metadata(spec, sources),
                    **_get_outside_metadata(spec, sources),
                    **_get_file_metadata(props, project),
                    **_get_expected_seconds_metadata(props),
                }
            )
        return self._specs[memo]

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Return the key by the convention: ``[layer, table]`` by default."""
        if self._convention == LAYER_TABLE:
            return _get_asset_key(dbt_resource_props)
        if self._convention == ONE_PART:
            return _by_names(dbt_resource_props, [_get_table(dbt_resource_props)])
        if self._convention == THREE_PARTS:
            return _by_names(dbt_resource_props, _get_full_name(dbt_resource_props))
        key: dg.AssetKey = super().get_asset_key(dbt_resource_props)
        if callable(self._convention):
            where = _where(dbt_resource_props)
            return dg.AssetKey(parts_of(self._convention, key.path, dbt_resource_props, where))
        return key

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> list[str] | None:
        """Return the owners in ``meta.dagster.owners``, else the owner of the model's dbt group."""
        group = dbt_resource_props.get("group")
        if not isinstance(group, Mapping):
            # The name of a group that the manifest lacks. The base class expects none.
            dbt_resource_props, group = {**dbt_resource_props, "group": None}, {}
        owners = super().get_owners(dbt_resource_props) or (group.get("owner") or {}).get("name")
        given = owners if isinstance(owners, (list, tuple)) else [owners or ""]
        names = [str(owner).removeprefix("team:").strip() for owner in given]
        return [_get_owner(name) for name in names if name] or None

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """Return a dbt test as an asset check, with its description or else what it asserts."""
        check: dg.AssetCheckSpec | None = super().get_asset_check_spec(
            asset_spec, manifest, unique_id, project
        )
        if check is None or check.description:
            return check
        said = assertion(self.get_resource_props(manifest, unique_id))
        return check._replace(description=said)

    def _sources_of(self, manifest: Mapping[str, Any]) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the sources of a manifest by key; the first time, check its policies too."""
        if id(manifest) not in self._sources:
            _refuse_policies_without_asset(manifest)
            self._sources[id(manifest)] = {
                self.get_asset_key(source): source for source in manifest["sources"].values()
            }
        return self._sources[id(manifest)]


def _refuse_injected(props: Mapping[str, Any]) -> None:
    """Raise `ManifestError` for a model that dbt never builds, because it is another project's."""
    if is_injected(props):
        raise ManifestError(
            f"dbt model {props['name']} is one of the project {props['package_name']}, which "
            "dbt-loom or dbt Mesh has put into the manifest. It is not made here: write "
            "@dbt_assets(manifest=dbt_manifest(project), ...), with `from freshline import "
            "dbt_manifest`, which reads such models as dbt sources."
        )


# --- names --------------------------------------------------------------------------------


def _get_asset_key(props: Mapping[str, Any]) -> dg.AssetKey:
    if props["resource_type"] == "source":
        key = asset_key(props["source_name"], props["name"], where=_where(props))
    else:
        key = asset_key(_get_layer(props), _get_table(props), where=_where(props))
    return _by_names(props, key.path)


def _by_names(props: Mapping[str, Any], parts: Sequence[str]) -> dg.AssetKey:
    """Return the key of these parts, unless another one is written by hand."""
    key = dg.AssetKey(list(parts))
    by_hand = (_meta(props).get("dagster") or {}).get("asset_key")
    if by_hand and list(by_hand) != list(key.path):
        raise KeyConventionError(
            f"{_where(props)}: meta.dagster.asset_key is {'/'.join(by_hand)}, but the key follows "
            f"from the names and is {key.to_user_string()}. Take it out, or rename the "
            f"{'source' if props['resource_type'] == 'source' else 'layer or alias'}; or keep "
            'the keys that Dagster gives, with FreshlineDbtTranslator(keys="dagster-dbt").'
        )
    return key


def _get_full_name(props: Mapping[str, Any]) -> list[str]:
    """Return database, layer and table. The database is that of the target if none is set."""
    is_source = props["resource_type"] == "source"
    layer = str(props["source_name"]) if is_source else _get_layer(props)
    database = (props.get("config") or {}).get("database") or props.get("database")
    if not database:
        raise KeyConventionError(
            f"{_where(props)}: no database, which keys of three parts begin with. Set +database "
            "for its folder in dbt_project.yml."
        )
    return [str(database), layer, str(props["name"]) if is_source else _get_table(props)]


def _get_layer(props: Mapping[str, Any]) -> str:
    """Return the logical schema, which is the same in every target."""
    config = props["config"]
    # In older projects, the schema of a snapshot is called target_schema.
    setting = "schema" if config.get("schema") else "target_schema"
    layer = config.get(setting)
    if not layer:
        raise KeyConventionError(
            f"{_where(props)}: no layer. Set +schema for its folder in dbt_project.yml, or keep "
            'the keys that Dagster gives, with FreshlineDbtTranslator(keys="dagster-dbt").'
        )
    _refuse_by_target(props, setting, str(layer))
    return str(layer)


def _get_table(props: Mapping[str, Any]) -> str:
    """Return the alias as it is written, else the model's name: the same in every target.

    The project's generate_alias_name macro may make another name of it in each target.
    """
    alias = props["config"].get("alias")
    if alias:
        _refuse_by_target(props, "alias", str(alias))
        return str(alias).strip()
    version = props.get("version")
    # As dbt names the table of a model that has versions.
    return str(props["name"] if not version else f"{props['name']}_v{version}".replace(".", "_"))


def _refuse_by_target(props: Mapping[str, Any], setting: str, value: str) -> None:
    if depends_on_target(props, setting):
        # dbt does not pass a target_schema to the macro.
        plain = "Set schema instead" if setting == "target_schema" else "Write it"
        macro = "generate_alias_name" if setting == "alias" else "generate_schema_name"
        raise KeyConventionError(
            f"{_where(props)}: its {setting} ({value!r} here) is not the same in every target, but "
            f"it is part of the asset's key. {plain} as plain text, and put what differs into the "
            f"project's {macro} macro."
        )


def _where(props: Mapping[str, Any]) -> str:
    name = props["name"]
    if props["resource_type"] == "source":
        name = f"{props['source_name']}.{name}"
    return f"dbt {props['resource_type']} {name} ({_file(props)})"


def _file(props: Mapping[str, Any]) -> str:
    return str(props["original_file_path"])


def _meta(props: Mapping[str, Any]) -> Mapping[str, Any]:
    return props.get("config", {}).get("meta") or props.get("meta") or {}


def _get_file_metadata(props: Mapping[str, Any], project: DbtProject | None) -> dict[str, Any]:
    if project is None:
        return {}
    # The project is a folder inside the location's folder.
    return {FILE: f"{project.project_dir.name}/{_file(props)}"}


# --- policies -----------------------------------------------------------------------------


def _get_policy(props: Mapping[str, Any]) -> MaxLag | None:
    """Return the policy of a resource, in any notation that `freshline.declared` knows."""
    policy, problems = chosen_policy(dbt_policies(props), _where(props))
    for _, problem in problems:
        raise PolicyError(problem)
    return policy


def _get_policy_metadata(props: Mapping[str, Any]) -> dict[str, Any]:
    policy = _get_policy(props)
    return {} if policy is None else max_lag_metadata(policy)


def _refuse_policies_without_asset(manifest: Mapping[str, Any]) -> None:
    """Raise `PolicyError` for a policy on a resource that is not built: it has no effect."""
    for props in (*manifest["sources"].values(), *manifest["nodes"].values()):
        if next(dbt_policies(props), None) is None:
            continue
        why = why_not_built(props)
        # The folder's policy may be for the other models in it; the gate has more to say.
        if why in ("source", "ephemeral"):
            raise PolicyError(
                f"{_where(props)}: {'an ephemeral model' if why == 'ephemeral' else 'a source'} is "
                "not built here and can promise nothing. Put the policy on a model that reads it."
            )


# --- columns ------------------------------------------------------------------------------


def _get_columns_metadata(props: Mapping[str, Any]) -> dict[str, Any]:
    columns = props.get("columns") or {}
    if not columns:
        return {}
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column["name"],
                type=column.get("data_type") or "?",
                description=column.get("description") or None,
                constraints=_get_constraints(column),
                tags=dict.fromkeys(column.get("tags", []), ""),
            )
            for column in columns.values()
        ]
    )
    enforced = (props.get("contract") or {}).get("enforced") is True
    return {
        COLUMN_SCHEMA: schema,
        **({COLUMNS_ENFORCED: True} if enforced else {}),
    }


def _get_constraints(column: Mapping[str, Any]) -> dg.TableColumnConstraints:
    kinds = {constraint["type"] for constraint in column.get("constraints", [])}
    return dg.TableColumnConstraints(
        nullable=not kinds & {"not_null", "primary_key"},
        unique=bool(kinds & {"unique", "primary_key"}),
    )


def _get_uses_metadata(
    spec: dg.AssetSpec, sources: Mapping[dg.AssetKey, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the columns that are read of other assets: those that the dbt sources declare."""
    uses = {
        dep.asset_key.to_user_string(): [
            {"name": column["name"], "type": column.get("data_type") or ""}
            for column in (sources[dep.asset_key].get("columns") or {}).values()
        ]
        for dep in spec.deps
        if dep.asset_key in sources
    }
    return {USES: uses} if any(uses.values()) else {}


def _get_outside_metadata(
    spec: dg.AssetSpec, sources: Mapping[dg.AssetKey, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the sources made outside: those with ``meta: {freshline: {outside: true}}``."""
    outside = [
        dep.asset_key.to_user_string()
        for dep in spec.deps
        if dep.asset_key in sources and _own_meta(sources[dep.asset_key]).get("outside") is True
    ]
    return {OUTSIDE: outside} if outside else {}


def _get_expected_seconds_metadata(props: Mapping[str, Any]) -> dict[str, Any]:
    seconds = _own_meta(props).get("expected_seconds")
    return {} if seconds is None else {EXPECTED_SECONDS: seconds}


def _own_meta(props: Mapping[str, Any]) -> Mapping[str, Any]:
    return _meta(props).get(DBT_META) or {}


# --- what the UI shows --------------------------------------------------------------------


def _get_description(props: Mapping[str, Any]) -> str | None:
    # Without the SQL that dagster-dbt adds: with it, every edit of a model would change the
    # contract. The SQL can be seen elsewhere.
    return props.get("description") or None


def _get_owner(name: str) -> str:
    """Return an owner as Dagster takes it: an address stays, any other name is a team's."""
    try:
        dg.AssetSpec("any", owners=[name])
    except dg.DagsterInvalidDefinitionError:
        return f"team:{name}"
    return name


def _get_kinds(spec: dg.AssetSpec, props: Mapping[str, Any]) -> set[str]:
    materialized = props.get("config", {}).get("materialized")
    return {*spec.kinds, *({materialized} if materialized else set())}
