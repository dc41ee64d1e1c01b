"""A project that reads a model of another project, which a plugin of dbt puts into its manifest.

dbt-loom and dbt Mesh do so. The plugin here does the same, through the same hook of dbt.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets
from freshline import with_freshline
from freshline.contract import Contract
from freshline.dbt.build import FreshlineDbtResource, build_dbt, dbt_manifest
from freshline.dbt.injected import injected_as_sources
from freshline.dbt.translator import FreshlineDbtTranslator
from freshline.errors import ManifestError

PLUGIN = """\
from dbt.contracts.graph.node_args import ModelNodeArgs
from dbt.plugins.manager import dbt_hook, dbtPlugin
from dbt.plugins.manifest import PluginNodes

SHOP = "shop"


class Neighbour(dbtPlugin):
    @dbt_hook
    def get_nodes(self):
        nodes = PluginNodes()
        for name in ("stars", "NOT_READ"):
            nodes.add_model(
                ModelNodeArgs(
                    name=name, package_name="core", identifier=name, schema="mart",
                    database=SHOP, access="public",
                    relation_name=f'"{SHOP}"."mart"."{name}"',
                )
            )
        return nodes


plugins = [Neighbour]
"""
FILES = {
    "shop/dbt_project.yml": """\
name: shop
profile: warehouse
models: {shop: {+schema: sales}}
flags: {send_anonymous_usage_stats: false}
""",
    "shop/profiles.yml": """\
warehouse:
  target: dev
  outputs:
    dev:
      type: postgres
      host: "{{ env_var('WAREHOUSE_HOST', 'localhost') }}"
      port: "{{ env_var('WAREHOUSE_PORT', '1') | int }}"
      user: "{{ env_var('WAREHOUSE_USER', 'me') }}"
      password: "{{ env_var('WAREHOUSE_PASSWORD', '') }}"
      dbname: "{{ env_var('WAREHOUSE_DATABASE', 'shop') }}"
      schema: public
""",
    "shop/models/reader.sql": "select id from {{ ref('core', 'stars') }}\n",
    "shop/models/own.sql": "select 1 as id\n",
    "plugin/dbt_neighbour/__init__.py": PLUGIN,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    folder = tmp_path_factory.mktemp("location")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(
        [sys.executable, "-m", "freshline.dbt.prepare", str(folder / "shop")],
        env=with_plugin(folder),
        check=True,
    )
    return DbtProject(folder / "shop")


def with_plugin(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(folder / "plugin"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def location(project: DbtProject, translator: DagsterDbtTranslator) -> dg.Definitions:
    @dbt_assets(manifest=dbt_manifest(project), project=project, dagster_dbt_translator=translator)
    def models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Any:
        yield from build_dbt(context, dbt)

    return with_freshline(
        dg.Definitions(assets=[models], resources={"dbt": FreshlineDbtResource(project)}),
        location="shop",
    )


@pytest.mark.parametrize("translator", [FreshlineDbtTranslator, DagsterDbtTranslator])
def test_an_injected_model_is_anothers_asset(project: DbtProject, translator: Any) -> None:
    contract = Contract.from_definitions(location(project, translator()), "shop")

    assert {"sales/reader", "sales/own"} == set(contract.by_key)
    assert ["mart/stars"] == [needed.key for needed in contract.imports]
    assert ("sales/reader",) == contract.imports[0].used_by


def test_freshlines_translator_says_how_to_read_such_a_manifest(project: DbtProject) -> None:
    with pytest.raises(ManifestError, match=r"project core.*manifest=dbt_manifest\(project\)"):

        @dbt_assets(manifest=project.manifest_path, dagster_dbt_translator=FreshlineDbtTranslator())
        def models() -> Any:
            yield


def test_the_gate_counts_it_as_anothers_if_it_is_in_the_manifest(
    project: DbtProject,
) -> None:
    """With Dagster's own translator and the manifest as it is, Dagster makes an asset of it."""

    @dbt_assets(manifest=project.manifest_path, dagster_dbt_translator=DagsterDbtTranslator())
    def models() -> Any:
        yield

    contract = Contract.from_definitions(dg.Definitions(assets=[models]), "shop")

    assert {"sales/reader", "sales/own"} == set(contract.by_key)
    assert ["stars"] == [needed.key for needed in contract.imports]


def test_a_manifest_without_such_models_is_read_from_its_file(project: DbtProject) -> None:
    manifest = injected_as_sources(json.loads(project.manifest_path.read_text()))

    assert manifest is injected_as_sources(manifest)


def test_a_group_of_the_other_project_is_left_out(project: DbtProject) -> None:
    """dbt-loom keeps its name, and dagster-dbt fails if the manifest does not have the group."""
    manifest = json.loads(project.manifest_path.read_text())
    manifest["nodes"]["model.core.stars"]["group"] = "core_team"

    @dbt_assets(
        manifest=dict(injected_as_sources(manifest)), dagster_dbt_translator=DagsterDbtTranslator()
    )
    def models() -> Any:
        yield

    assert {"sales/reader", "sales/own"} == {key.to_user_string() for key in models.keys}


def test_a_source_that_the_project_declares_is_the_same_table(project: DbtProject) -> None:
    manifest = json.loads(project.manifest_path.read_text())
    declared = {"source_name": "mart", "name": "stars", "resource_type": "source"}
    manifest["sources"]["source.shop.mart.stars"] = declared

    changed = injected_as_sources(manifest)

    assert {"source.shop.mart.stars": declared} == changed["sources"]
    reader = changed["nodes"]["model.shop.reader"]
    assert ["source.shop.mart.stars"] == reader["depends_on"]["nodes"]
    assert ["source.shop.mart.stars"] == changed["parent_map"]["model.shop.reader"]
    assert ["model.shop.reader"] == changed["child_map"]["source.shop.mart.stars"]


def test_dbt_builds_what_reads_it_and_not_the_model_itself(
    project: DbtProject, postgres_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", with_plugin(project.project_dir.parent)["PYTHONPATH"])
    with postgres_server.new_database() as database, dg.DagsterInstance.ephemeral() as instance:
        for name, value in database.environ("WAREHOUSE").items():
            monkeypatch.setenv(name, value)
        # The plugin's model has this database in its relation, and dbt on Postgres reads no other.
        plugin = project.project_dir.parent / "plugin" / "dbt_neighbour" / "__init__.py"
        plugin.write_text(PLUGIN.replace('"shop"', repr(database.name)))
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute("create schema mart")
            connection.execute("create table mart.stars as select 7 as id")

            job = location(
                project, FreshlineDbtTranslator()
            ).resolve_implicit_global_asset_job_def()
            result = job.execute_in_process(
                instance=instance, asset_selection=[dg.AssetKey(["sales", "reader"])]
            )

            assert [(7,)] == connection.execute("select id from public_sales.reader").fetchall()
    (made,) = (event.materialization for event in result.get_asset_materialization_events())
    assert "sales/reader" == made.asset_key.to_user_string()
    lineage: Any = made.metadata["dagster/column_lineage"].value
    assert [("mart/stars", "id")] == [
        (dep.asset_key.to_user_string(), dep.column_name) for dep in lineage.deps_by_column["id"]
    ]
