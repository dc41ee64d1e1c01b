"""FreshlineDbtTranslator on the manifest of a real dbt project, as it is and with defects.

Runs in the environment of a location that has dbt (analytics_core's).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import freshline
import pytest
from dagster_dbt import DagsterDbtTranslator, DbtProject, dbt_assets
from freshline import with_freshline
from freshline.contract import Contract
from freshline.dbt.translator import FreshlineDbtTranslator
from freshline.errors import KeyConventionError, PolicyError
from freshline.policy import MaxLag, policy_of


@pytest.mark.parametrize(
    "name", ["FreshlineDbtResource", "FreshlineDbtTranslator", "build_dbt", "dbt_manifest"]
)
def test_names_for_dbt_projects_load_from_freshline(name: str) -> None:
    assert getattr(freshline, name).__doc__


@pytest.fixture
def manifest(project: DbtProject) -> dict[str, Any]:
    """A copy of the manifest that the test may change."""
    parsed: dict[str, Any] = json.loads(project.manifest_path.read_text())
    return parsed


@pytest.fixture
def spec_of(manifest: dict[str, Any], project: DbtProject) -> Callable[[str], dg.AssetSpec]:
    """A function that returns the spec of a resource by its name, from the changed manifest."""

    def spec(name: str) -> dg.AssetSpec:
        return FreshlineDbtTranslator().get_asset_spec(
            manifest, node(manifest, name)["unique_id"], project
        )

    return spec


def node(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (
        each
        for each in (*manifest["nodes"].values(), *manifest["sources"].values())
        if each["name"] == name
    )
    return found


class TestKeys:
    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("orders", "sales/orders"),
            ("renamed", "sales/turnover"),  # the table is called by its alias
            ("countries", "sales/countries"),
            ("past_orders", "history/past_orders"),
            ("customers", "crm/customers"),
            ("prices", "crm/prices"),  # not by its identifier, which may differ
        ],
    )
    def test_is_layer_and_table(self, spec_of: Any, name: str, key: str) -> None:
        assert key == spec_of(name).key.to_user_string()

    def test_the_schema_of_the_target_does_not_matter(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        node(manifest, "orders").update(schema="ada_sales", database="ada")

        assert "sales/orders" == spec_of("orders").key.to_user_string()

    @pytest.mark.parametrize("file", ["by_target", "targets/by_folder"])
    def test_a_layer_that_differs_between_targets_is_refused(self, spec_of: Any, file: str) -> None:
        with pytest.raises(KeyConventionError, match=rf"models/{file}\.sql.*generate_schema_name"):
            spec_of(file.split("/")[-1])

    def test_an_alias_that_the_projects_macro_makes_does_not_matter(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        for name in ("orders", "renamed"):
            node(manifest, name)["alias"] = f"dev_{name}"

        assert "sales/orders" == spec_of("orders").key.to_user_string()
        assert "sales/turnover" == spec_of("renamed").key.to_user_string()
        assert "shop.public_sales.dev_orders" == spec_of("orders").metadata["dagster/table_name"]

    @pytest.mark.parametrize(("version", "table"), [(2, "orders_v2"), ("1.5", "orders_v1_5")])
    def test_a_version_is_a_table_of_its_own(
        self, spec_of: Any, manifest: dict[str, Any], version: object, table: str
    ) -> None:
        node(manifest, "orders")["version"] = version

        assert ["sales", table] == list(spec_of("orders").key.path)

    @pytest.mark.parametrize(
        "code",
        [
            'config(alias=target.name ~ "_orders")',
            'config(meta={"a": {"b": 1}}, alias=env_var("PREFIX") ~ "orders")',
            'config({"alias": "orders" if target.name == "prod" else "dev_orders"})',
            'set prefix = target.name ~ "_" %}{% do config(alias=prefix ~ "orders")',
        ],
    )
    @pytest.mark.parametrize("setting", ["alias", "schema"])
    def test_a_name_by_target_is_refused(
        self, spec_of: Any, manifest: dict[str, Any], code: str, setting: str
    ) -> None:
        orders = node(manifest, "orders")
        orders["config"][setting] = "dev_orders"
        statement = code.replace("alias", setting)
        block = statement if statement.startswith("set") else f"do {statement}"
        orders["raw_code"] = f"{{% {block} %}} select 1"

        with pytest.raises(KeyConventionError, match=rf"orders\.sql.*generate_{setting}_name"):
            spec_of("orders")

    def test_a_snapshots_schema_by_target_is_refused_under_its_older_name(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        past = node(manifest, "past_orders")
        past["config"].update(schema=None, target_schema="dev_history")
        past["raw_code"] = "{{ config(target_schema='dev_history') }}"
        assert "dev_history/past_orders" == spec_of("past_orders").key.to_user_string()

        past["raw_code"] = "{{ config(target_schema=target.name ~ '_history') }}"
        with pytest.raises(KeyConventionError, match="Set schema instead as plain text"):
            spec_of("past_orders")

    def test_a_plain_name_beside_what_depends_on_the_target_is_not_refused(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        orders = node(manifest, "orders")
        orders["config"]["alias"] = "sold"
        orders["raw_code"] = (
            '{{ config(alias="sold", materialized="view" if target.name == "dev" else "table") }}'
            " select 1 as alias {% if target.name == 'dev' %} limit 1 {% endif %}"
        )

        assert "sales/sold" == spec_of("orders").key.to_user_string()

    def test_a_model_without_a_layer_is_refused(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        node(manifest, "orders")["config"]["schema"] = None

        with pytest.raises(KeyConventionError) as refused:
            spec_of("orders")

        assert (
            "dbt model orders (models/orders.sql): no layer. Set +schema for its folder in "
            "dbt_project.yml, or keep the keys that Dagster gives, with "
            'FreshlineDbtTranslator(keys="dagster-dbt").'
        ) == str(refused.value)

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            (
                "renamed",
                {"config": {"schema": "sales", "alias": "Turn-over"}},
                r"model renamed \(models/renamed\.sql\).*Turn-over",
            ),
            ("customers", {"name": "Customers"}, r"crm\.Customers \(models/sources\.yml\)"),
            ("customers", {"source_name": "my crm"}, r"my crm.*models/sources\.yml"),
        ],
    )
    def test_a_name_outside_the_convention_is_refused(
        self, spec_of: Any, manifest: dict[str, Any], name: str, change: Any, message: str
    ) -> None:
        node(manifest, name).update(change)

        with pytest.raises(KeyConventionError, match=message):
            spec_of("renamed")

    def test_a_key_written_by_hand_is_refused_if_it_differs(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        meta = node(manifest, "orders")["config"]["meta"]
        meta["dagster"] = {"asset_key": ["sales", "orders"]}
        assert "sales/orders" == spec_of("orders").key.to_user_string()

        meta["dagster"] = {"asset_key": ["orders"]}
        with pytest.raises(KeyConventionError, match=r"models/orders\.sql.*is sales/orders"):
            spec_of("orders")

    def test_two_models_with_the_same_key_are_refused_with_their_files(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        node(manifest, "bare")["config"]["alias"] = "orders"

        with pytest.raises(dg.DagsterInvalidDefinitionError) as refused:
            load(manifest, project)

        assert "models/bare.sql" in str(refused.value)
        assert "models/orders.sql" in str(refused.value)


def flat(parts: Sequence[str], props: Mapping[str, Any] | None) -> Sequence[str]:
    """Return a key of three parts from Dagster's own: a convention of somebody's own."""
    if props and props["resource_type"] == "seed":
        raise ValueError("seeds have no place here")
    return ["lake", *parts[-2:]]


class TestConventions:
    def test_with_the_keys_of_dagster_nothing_is_renamed_or_refused(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        node(manifest, "orders")["config"]["schema"] = None
        node(manifest, "bare")["config"]["meta"] = {"dagster": {"asset_key": ["Sales", "My Bare"]}}
        node(manifest, "renamed")["alias"] = "Turn-over"
        node(manifest, "customers")["source_name"] = "My CRM"
        nodes = [it for it in manifest["nodes"] if not it.startswith("test.")]
        ours, dagsters = FreshlineDbtTranslator(keys="dagster-dbt"), DagsterDbtTranslator()

        keys = {
            unique_id: [
                translator.get_asset_spec(manifest, unique_id, project).key
                for translator in (ours, dagsters)
            ]
            for unique_id in (*nodes, *manifest["sources"])
        }

        assert {} == {unique_id: pair for unique_id, pair in keys.items() if pair[0] != pair[1]}
        assert dg.AssetKey("orders") == keys["model.shop.orders"][0]
        assert dg.AssetKey(["Sales", "My Bare"]) == keys["model.shop.bare"][0]
        assert dg.AssetKey(["My CRM", "customers"]) == keys["source.shop.crm.customers"][0]
        assert dg.AssetKey(["sales_dev", "by_folder"]) == keys["model.shop.by_folder"][0]

    @pytest.mark.parametrize(
        ("keys", "orders", "customers"),
        [
            ("dagster-dbt", "sales/orders", "crm/customers"),
            ("one-part", "orders", "customers"),
            ("three-parts", "shop/sales/orders", "shop/crm/customers"),
            (flat, "lake/sales/orders", "lake/crm/customers"),
        ],
    )
    def test_the_other_fields_do_not_depend_on_the_convention(
        self,
        manifest: dict[str, Any],
        project: DbtProject,
        keys: Any,
        orders: str,
        customers: str,
    ) -> None:
        node(manifest, "countries")["resource_type"] = "model"
        translator = FreshlineDbtTranslator(keys=keys)
        usual = FreshlineDbtTranslator().get_asset_spec(manifest, "model.shop.orders", project)

        spec = translator.get_asset_spec(manifest, "model.shop.orders", project)

        assert orders == spec.key.to_user_string()
        assert customers in {dep.asset_key.to_user_string() for dep in spec.deps}
        assert MaxLag(15) == policy_of(spec)
        assert (usual.owners, usual.kinds, usual.description) == (
            spec.owners,
            spec.kinds,
            spec.description,
        )
        for name in ("dagster/column_schema", "freshline/file", "freshline/expected_seconds"):
            assert usual.metadata[name] == spec.metadata[name]
        assert (
            usual.metadata["freshline/uses"]["crm/customers"]
            == (spec.metadata["freshline/uses"][customers])
        )
        assert [customers.replace("customers", "prices")] == spec.metadata["freshline/outside"]

    def test_a_function_that_refuses_a_name_is_quoted_with_the_file(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        with pytest.raises(KeyConventionError) as refused:
            FreshlineDbtTranslator(keys=flat).get_asset_spec(
                manifest, "seed.shop.countries", project
            )

        assert "dbt seed countries (seeds/countries.csv): seeds have no place here" == str(
            refused.value
        )

    def test_a_convention_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(KeyConventionError, match="did you mean dagster-dbt"):
            FreshlineDbtTranslator(keys="dagster_dbt")


class TestPolicies:
    def test_is_read_from_meta(self, spec_of: Any) -> None:
        assert MaxLag(15) == policy_of(spec_of("orders"))

    def test_is_read_from_the_config_as_in_older_projects(self, spec_of: Any) -> None:
        assert MaxLag(60) == policy_of(spec_of("bare"))

    def test_is_read_from_dagsters_own_meta(self, spec_of: Any, manifest: dict[str, Any]) -> None:
        policy = {"maximum_lag_minutes": "30", "cron_schedule": "0 9 * * *"}
        node(manifest, "renamed")["config"]["meta"] = {"dagster": {"freshness_policy": policy}}

        assert MaxLag(30, "0 9 * * *") == policy_of(spec_of("renamed"))

    def test_is_none_without_a_policy(self, spec_of: Any) -> None:
        assert None is policy_of(spec_of("renamed"))

    @pytest.mark.parametrize(
        "policy",
        [
            {"maximum_lag_minutes": 0},
            {"maximum_lag_minutes": "soon"},
            {"maximum_lag_minuets": 5},
            {"maximum_lag_minutes": 5, "cron": "every day"},
            {},
            5,
        ],
    )
    def test_a_policy_that_cannot_be_kept_is_refused(
        self, spec_of: Any, manifest: dict[str, Any], policy: object
    ) -> None:
        node(manifest, "orders")["config"]["meta"]["dagster_freshness_policy"] = policy

        with pytest.raises(PolicyError, match=r"dbt model orders \(models/orders\.sql\)"):
            spec_of("orders")

    def test_two_different_policies_are_refused(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        config = node(manifest, "bare")["config"]
        config["meta"] = {"dagster_freshness_policy": {"maximum_lag_minutes": 60}}
        assert MaxLag(60) == policy_of(spec_of("bare"))

        config["meta"] = {"dagster_freshness_policy": {"maximum_lag_minutes": 5}}
        with pytest.raises(PolicyError, match=r"models/bare\.sql.*two different policies"):
            spec_of("bare")

    @pytest.mark.parametrize(
        ("name", "kind"), [("hidden", "an ephemeral model"), ("customers", "a source")]
    )
    def test_a_policy_on_a_resource_that_is_not_built_is_refused(
        self, spec_of: Any, manifest: dict[str, Any], name: str, kind: str
    ) -> None:
        policy = {"dagster_freshness_policy": {"maximum_lag_minutes": 5}}
        node(manifest, name)["config"]["meta"] = policy
        node(manifest, name)["raw_code"] = f"{{{{ config(meta={policy}) }}}}"

        with pytest.raises(PolicyError, match=f"{name} .*{kind} is not built here"):
            spec_of("orders")

    def test_the_policy_of_a_folder_may_reach_an_ephemeral_model(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        for name in ("hidden", "renamed"):
            node(manifest, name)["config"]["meta"] = {
                "dagster_freshness_policy": {"maximum_lag_minutes": 5}
            }

        assert MaxLag(5) == policy_of(spec_of("renamed"))

    def test_a_policy_on_a_partitioned_model_is_read(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        class Daily(FreshlineDbtTranslator):
            def get_partitions_def(self, _: Any) -> dg.PartitionsDefinition:
                return dg.DailyPartitionsDefinition("2026-01-01")

        spec = Daily().get_asset_spec(manifest, "model.shop.orders", project)

        assert MaxLag(15) == policy_of(spec)


class TestDagstersOwnTranslator:
    """Policies are kept behind it too; what cannot be kept must not stop a location."""

    @pytest.fixture
    def contract(self, project: DbtProject) -> Callable[[dict[str, Any]], Contract]:
        def of(manifest: dict[str, Any]) -> Contract:
            models = load(manifest, project, DagsterDbtTranslator())
            with_policies = with_freshline(dg.Definitions(assets=[models]), location="shop")
            return Contract.from_definitions(with_policies, "shop")

        return of

    def test_policies_are_read_from_the_manifest(
        self, contract: Any, manifest: dict[str, Any]
    ) -> None:
        policy = {"maximum_lag_minutes": 30}
        node(manifest, "renamed")["config"]["meta"] = {"dagster": {"freshness_policy": policy}}

        found = contract(manifest)

        assert {
            "sales/orders": MaxLag(15),
            "sales/bare": MaxLag(60),
            "sales/renamed": MaxLag(30),
        } == {export.key: export.policy for export in found.exports if export.policy}
        assert () == found.unkept

    def test_the_lag_of_a_model_is_checked(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        models = load(manifest, project, DagsterDbtTranslator())
        definitions = with_freshline(dg.Definitions(assets=[models]), location="shop")

        checks = definitions.get_repository_def().asset_checks_defs_by_key
        assert {"sales/orders", "sales/bare"} == {
            key.asset_key.to_user_string() for key in checks if key.name == "maximum_lag"
        }

    @pytest.mark.parametrize(
        ("name", "reason"), [("customers", "source"), ("hidden", "ephemeral"), ("bare", "wrong")]
    )
    def test_what_cannot_be_kept_is_named(
        self, contract: Any, manifest: dict[str, Any], name: str, reason: str
    ) -> None:
        props = node(manifest, name)
        props["config"]["meta"] = {"dagster_freshness_policy": {}}
        props["raw_code"] = "dagster_freshness_policy"
        props["config"].pop("dagster_freshness_policy", None)

        (unkept,) = contract(manifest).unkept

        assert (reason, props["original_file_path"]) == (
            unkept.reason,
            str(unkept.file).removeprefix("shop/"),
        )

    def test_a_model_that_is_disabled_or_not_selected_is_named(
        self, contract: Any, manifest: dict[str, Any]
    ) -> None:
        meta = {"dagster_freshness_policy": {"maximum_lag_minutes": 5}}
        node(manifest, "by_target")["config"]["meta"] = meta
        gone = copy.deepcopy(node(manifest, "renamed"))
        gone.update(unique_id="model.shop.gone", name="gone")
        gone["config"].update(meta=meta, enabled=False)
        manifest["disabled"] = {"model.shop.gone": [gone]}

        unkept = contract(manifest).unkept

        assert {("sales_dev/by_target", "not selected"), ("sales/gone", "disabled")} == {
            (it.key, it.reason) for it in unkept
        }


class TestComponents:
    """Policies are kept in a project of `dg`: from dbt's manifest, and from a component's YAML."""

    DBT = """
        type: dagster_dbt.DbtProjectComponent
        attributes: {{project: {{project_dir: {project}}}, prepare_if_dev: false}}
    """
    SCRIPT = """
        type: dagster.PythonScriptComponent
        attributes:
          execution: {path: script.py}
          assets: [{key: sales/script, metadata: {freshline/max_lag: {minutes: 5}}}]
    """

    def test_policies_are_read(
        self, project: DbtProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = {
            "pyproject.toml": "[tool.dg]\ndirectory_type = 'project'\n"
            "[tool.dg.project]\nroot_module = 'dg_shop'\n",
            "dg_shop/__init__.py": "",
            "dg_shop/defs/dbt/defs.yaml": self.DBT.format(project=project.project_dir),
            "dg_shop/defs/script/defs.yaml": self.SCRIPT,
            "dg_shop/defs/script/script.py": "",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        monkeypatch.syspath_prepend(tmp_path)

        definitions = dg.load_from_defs_folder(path_within_project=tmp_path)
        contract = Contract.from_definitions(
            with_freshline(definitions, location="shop"), location="shop"
        )

        assert {
            "sales/bare": MaxLag(60),
            "sales/orders": MaxLag(15),
            "sales/script": MaxLag(5),
        } == {export.key: export.policy for export in contract.exports if export.policy}
        assert ["sales/countries"] == [export.key for export in contract.exports if export.static]


class TestOtherFields:
    def test_columns(self, spec_of: Any) -> None:
        metadata = spec_of("orders").metadata

        assert [
            ("id", "bigint", "Of the order.", False),
            ("amount", "integer", None, True),
        ] == [
            (column.name, column.type, column.description, column.constraints.nullable)
            for column in metadata["dagster/column_schema"].columns
        ]
        assert metadata["freshline/columns_enforced"] is True

    def test_fields_that_are_not_declared_are_left_out(self, spec_of: Any) -> None:
        metadata = spec_of("bare").metadata

        assert not {
            "dagster/column_schema",
            "freshline/columns_enforced",
            "freshline/uses",
            "freshline/outside",
            "freshline/expected_seconds",
        } & set(metadata)

    def test_an_ephemeral_model_passes_on_its_dependencies_and_used_columns(
        self, spec_of: Any
    ) -> None:
        spec = spec_of("orders")

        assert {"crm/customers", "crm/prices"} == {
            dep.asset_key.to_user_string() for dep in spec.deps
        }
        used = spec.metadata["freshline/uses"]
        assert [
            {"name": "id", "type": "bigint"},
            {"name": "note", "type": ""},
        ] == used["crm/customers"]
        assert ["crm/prices"] == spec.metadata["freshline/outside"]

    def test_file_and_expected_seconds(self, spec_of: Any) -> None:
        metadata = spec_of("orders").metadata

        assert "shop/models/orders.sql" == metadata["freshline/file"]
        assert 40 == metadata["freshline/expected_seconds"]

    def test_the_owner_is_the_owner_of_the_dbt_group_or_its_address(self, spec_of: Any) -> None:
        assert ["team:sales_team"] == list(spec_of("orders").owners)
        assert "selling" == spec_of("orders").group_name
        assert ["buyers@example.com"] == list(spec_of("renamed").owners)
        assert [] == list(spec_of("bare").owners)

    @pytest.mark.parametrize(
        ("owner", "owners"),
        [
            ({"name": "R&D"}, ["team:R&D"]),
            ({"name": "Data Platform"}, ["team:Data Platform"]),
            ({"name": ["a", "b"]}, ["team:a", "team:b"]),
            ({"name": 7}, ["team:7"]),
            ({"name": " "}, []),
            ({"email": "A. Person <a@example.com>"}, ["team:A. Person <a@example.com>"]),
            ({"email": ["a@example.com", "b@example.com"]}, ["a@example.com", "b@example.com"]),
        ],
    )
    def test_an_owner_that_dagster_would_refuse_is_a_team(
        self, spec_of: Any, manifest: dict[str, Any], owner: Any, owners: list[str]
    ) -> None:
        manifest["groups"]["group.shop.selling"]["owner"] = owner

        assert owners == list(spec_of("orders").owners)

    def test_a_group_that_the_manifest_lacks_owns_nothing(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        del manifest["groups"]["group.shop.selling"]

        assert [] == list(spec_of("orders").owners)

    def test_a_tag_of_a_column_may_have_any_text(
        self, spec_of: Any, manifest: dict[str, Any]
    ) -> None:
        node(manifest, "orders")["columns"]["id"]["tags"] = ["contains pii", "layer=gold"]

        (column, _) = spec_of("orders").metadata["dagster/column_schema"].columns
        assert {"contains pii", "layer=gold"} == set(column.tags)

    def test_kinds_and_description(self, spec_of: Any) -> None:
        assert {"dbt", "postgres", "table"} == spec_of("orders").kinds
        assert {"dbt", "postgres", "view"} == spec_of("renamed").kinds
        assert "What was sold." == spec_of("orders").description

    def test_dbt_tests_are_checks_of_their_model(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:

        (check,) = load(manifest, project).check_specs

        assert ("sales/orders", "id_is_known", "No order is without.", True) == (
            check.asset_key.to_user_string(),
            check.name,
            check.description,
            check.blocking,
        )

    def test_a_dbt_test_without_description_says_what_it_asserts(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        node(manifest, "id_is_known")["description"] = ""

        (check,) = load(manifest, project).check_specs

        assert "`id` is never null." == check.description


class TestContract:
    @pytest.mark.parametrize("translator", [FreshlineDbtTranslator(), DagsterDbtTranslator()])
    def test_dbt_sources_are_declared_inputs_also_of_ephemeral_models(
        self, manifest: dict[str, Any], project: DbtProject, translator: DagsterDbtTranslator
    ) -> None:
        assets = load(manifest, project, translator)

        imports = Contract.from_definitions(dg.Definitions([assets]), "shop").imports

        assert [
            ("crm/customers", "dbt", ("crm", "customers"), "shop/models/sources.yml", False),
            ("crm/prices", "dbt", ("crm", "prices"), "shop/models/sources.yml", False),
        ] == [
            (it.key, it.declared_by, it.declared_as, it.declared_in, it.expected) for it in imports
        ]
        assert ["id", "note"] == [column.name for column in imports[0].columns]

    @pytest.mark.parametrize(
        "meta",
        [
            {"dagster": {"asset_key": ["crm", "customers"]}},
            {"freshline": {"maximum_lag_minutes": 5}},  # as `freshline sources` writes
        ],
    )
    def test_a_source_that_names_an_asset_expects_a_maker(
        self, manifest: dict[str, Any], project: DbtProject, meta: dict[str, Any]
    ) -> None:
        node(manifest, "customers")["config"]["meta"] = meta

        contract = Contract.from_definitions(dg.Definitions([load(manifest, project)]), "shop")

        assert [True, False] == [needed.expected for needed in contract.imports]

    @pytest.mark.parametrize("translator", [FreshlineDbtTranslator(), DagsterDbtTranslator()])
    def test_what_dbt_makes_no_table_of_is_a_view(
        self, manifest: dict[str, Any], project: DbtProject, translator: DagsterDbtTranslator
    ) -> None:
        assets = load(manifest, project, translator)

        exports = Contract.from_definitions(dg.Definitions([assets]), "shop").exports

        views = {export.key.split("/")[-1]: export for export in exports if export.view}
        assert {
            "bare",
            "turnover" if isinstance(translator, FreshlineDbtTranslator) else "renamed",
        } == (set(views))
        # dagster-dbt gives each model the hash of its code.
        assert all(export.code_version for export in views.values())


@pytest.mark.parametrize("translator", [FreshlineDbtTranslator(), DagsterDbtTranslator()])
def test_columns_that_no_source_declares_are_found_in_the_sql(
    translator: DagsterDbtTranslator, manifest: dict[str, Any], project: DbtProject
) -> None:
    node(manifest, "customers")["columns"] = {}

    contract = Contract.from_definitions(
        dg.Definitions([load(manifest, project, translator)]), "shop"
    )

    # `orders` reads the source through an ephemeral model.
    (needed,) = (it for it in contract.imports if it.key == "crm/customers")
    assert [("id", None, ("sales/orders",), True)] == [
        (it.name, it.type, it.used_by, it.inferred) for it in needed.columns
    ]


class TestColumnsThatTheSqlMakes:
    def made(self, manifest: dict[str, Any], project: DbtProject) -> dict[str, Any]:
        contract = Contract.from_definitions(dg.Definitions([load(manifest, project)]), "shop")
        return {export.key: export.made_columns for export in contract.exports}

    def test_are_in_the_contract_unless_the_columns_are_enforced(
        self, manifest: dict[str, Any], project: DbtProject
    ) -> None:
        assert {
            "history/past_orders": None,  # a snapshot
            "sales/bare": ("one",),
            "sales/countries": None,  # a seed
            "sales/orders": None,  # enforced
            "sales/turnover": ("amount", "id"),  # all of `orders`
        } == self.made(manifest, project)

    @pytest.mark.parametrize(
        "config",
        [
            {"materialized": "historized"},
            {"materialized": "incremental", "on_schema_change": "append_new_columns"},
            {"post-hook": [{"sql": "alter table {{ this }} add column at date"}]},
        ],
    )
    def test_are_not_known_where_the_model_says_that_others_may_be_added(
        self, config: dict[str, Any], manifest: dict[str, Any], project: DbtProject
    ) -> None:
        node(manifest, "bare")["config"].update(config)

        assert None is self.made(manifest, project)["sales/bare"]

    @pytest.mark.parametrize(
        ("package", "name", "columns"),
        [
            ("shop", "postgres__create_table_as", None),
            ("audited", "materialization_table_default", None),
            ("shop", "cents", ("one",)),
            ("dbt_postgres", "postgres__create_table_as", ("one",)),
        ],
    )
    def test_are_not_known_where_the_project_makes_tables_in_its_own_way(
        self,
        package: str,
        name: str,
        columns: tuple[str, ...] | None,
        manifest: dict[str, Any],
        project: DbtProject,
    ) -> None:
        macro = {"package_name": package, "name": name}
        manifest["macros"][f"macro.{package}.{name}"] = {**macro, "macro_sql": ""}

        assert columns == self.made(manifest, project)["sales/bare"]


def load(
    manifest: dict[str, Any],
    project: DbtProject,
    translator: DagsterDbtTranslator | None = None,
) -> dg.AssetsDefinition:
    """Return the assets that a location makes from a manifest."""

    @dbt_assets(
        manifest=copy.deepcopy(manifest),
        project=project,
        dagster_dbt_translator=translator or FreshlineDbtTranslator(),
        exclude="by_target by_folder",
    )
    def models():  # Dagster reads an annotation as types of outputs
        yield

    return models
