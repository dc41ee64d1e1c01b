"""`FreshlineComponent` in dg projects on disk, loaded as Dagster loads them."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from freshline.component import FreshlineComponent
from freshline.contract import Contract
from freshline.errors import FreshlineError
from freshline.policy import MaxLag

# Dagster warns of a parameter that it gives itself.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `execution_type`")

NUMBERS = count()
ORDERS = """
import dagster as dg
from freshline import max_lag

@dg.asset(key=["mart", "orders"], metadata=max_lag(5))
def orders(): ...

@dg.asset(key=["report", "weekly"], group_name="reports")
def weekly(): ...

days = dg.DailyPartitionsDefinition("2026-01-01")
hours = dg.HourlyPartitionsDefinition("2026-01-01-00:00")

@dg.asset(
    key=["report", "daily"], partitions_def=dg.MultiPartitionsDefinition({"a": days, "b": hours})
)
def daily(): ...

feed = dg.AssetSpec("feed")
"""
FROM_YAML = """
type: dagster.DefsFolderComponent
post_processing:
  assets:
    - target: "key:report/weekly"
      attributes:
        metadata: {freshline/max_lag: {minutes: 60, cron: "0 9 * * *"}}
"""
FRESHLINE = "type: freshline.component.FreshlineComponent\n"


Load = Callable[[dict[str, str]], dg.Definitions]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Return a function that loads a dg project with the given files in its `defs` folder."""
    name = f"dg_project_{next(NUMBERS)}"

    def loaded(files: dict[str, str]) -> dg.Definitions:
        defs = tmp_path / "src" / name / "defs"
        for path, text in files.items():
            file = defs / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for folder in (defs, defs.parent):
            (folder / "__init__.py").touch()
        (tmp_path / "pyproject.toml").write_text(
            f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{name}"\n'
            'code_location_name = "shop"\n'
        )
        importlib.invalidate_caches()
        return dg.load_from_defs_folder(path_within_project=tmp_path)

    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    yield loaded
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def policies(definitions: dg.Definitions, location: str = "shop") -> dict[str, MaxLag]:
    contract = Contract.from_definitions(definitions.get_repository_def(), location)
    return {export.key: export.policy for export in contract.exports if export.policy}


def targets_with_a_check(definitions: dg.Definitions) -> set[str]:
    checks = definitions.get_repository_def().asset_checks_defs_by_key
    return {key.asset_key.to_user_string() for key in checks if key.name == "maximum_lag"}


@pytest.mark.parametrize("folder", ["freshline", "zz_after_all_others", "shop/deep/inside"])
def test_a_project_gets_what_with_freshline_adds(load: Load, folder: str) -> None:
    definitions = load({"shop/orders.py": ORDERS, f"{folder}/defs.yaml": FRESHLINE})
    repository = definitions.get_repository_def()
    contract = Contract.from_definitions(repository, "shop")

    assert {"mart/orders": MaxLag(5)} == policies(definitions)
    assert {"mart/orders"} == targets_with_a_check(definitions)
    assert repository.has_sensor_def("update_sensor")
    assert ("shop", 5) == (contract.published_as, contract.tick_seconds)


def test_the_attributes_name_location_sensor_and_tick(load: Load) -> None:
    yaml = f"{FRESHLINE}attributes: {{location: sales, sensor_name: mine, tick_seconds: 30}}\n"
    definitions = load({"orders.py": ORDERS, "freshline/defs.yaml": yaml})
    repository = definitions.get_repository_def()
    contract = Contract.from_definitions(repository, "sales")

    assert repository.has_sensor_def("mine")
    assert ("sales", 30) == (contract.published_as, contract.tick_seconds)


def test_a_policy_in_another_components_yaml_is_read(load: Load) -> None:
    definitions = load(
        {
            "shop/orders.py": ORDERS,
            "shop/defs.yaml": FROM_YAML,
            "freshline/defs.yaml": FRESHLINE,
        }
    )
    expected = {"mart/orders": MaxLag(5), "report/weekly": MaxLag(60, "0 9 * * *")}

    assert expected == policies(definitions)
    assert set(expected) == targets_with_a_check(definitions)


@pytest.mark.parametrize("which", ["key: report/weekly", 'selection: "group:reports"'])
def test_a_policy_in_its_own_yaml_is_published_and_checked(load: Load, which: str) -> None:
    yaml = f"{FRESHLINE}attributes: {{policies: [{{{which}, maximum_lag_minutes: 30}}]}}\n"
    definitions = load({"orders.py": ORDERS, "freshline/defs.yaml": yaml})

    assert {"mart/orders": MaxLag(5), "report/weekly": MaxLag(30)} == policies(definitions)
    assert {"mart/orders", "report/weekly"} == targets_with_a_check(definitions)
    (contract,) = (
        it for it in definitions.resolve_all_asset_specs() if it.group_name == "freshline"
    )
    assert "| `report/weekly` | at most 30 minutes behind |" in (contract.description or "")


def test_a_policy_on_what_somebody_else_makes_is_watched(load: Load) -> None:
    yaml = f"{FRESHLINE}attributes: {{policies: [{{key: feed, maximum_lag_minutes: 30}}]}}\n"
    definitions = load({"orders.py": ORDERS, "freshline/defs.yaml": yaml})

    contract = Contract.from_definitions(definitions, "shop")

    assert [("feed", MaxLag(30))] == [(it.key, it.policy) for it in contract.watched]
    assert {"mart/orders", "feed"} == targets_with_a_check(definitions)


def test_the_sensor_keeps_a_policy_in_its_own_yaml(load: Load, memory: dg.DagsterInstance) -> None:
    yaml = f"{FRESHLINE}attributes: {{policies: [{{key: report/weekly, maximum_lag_minutes: 30}}]}}"
    repository = load({"orders.py": ORDERS, "freshline/defs.yaml": yaml}).get_repository_def()
    with dg.build_sensor_context(
        instance=memory, repository_def=repository, sensor_name="update_sensor"
    ) as context:
        result: Any = repository.get_sensor_def("update_sensor").evaluate_tick(context)
    (request,) = result.run_requests

    assert {dg.AssetKey(["mart", "orders"]), dg.AssetKey(["report", "weekly"])} == set(
        request.asset_selection
    )


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            "{policies: [{key: report/wekly, maximum_lag_minutes: 3}]}",
            r"freshline/defs.yaml: policies\[0\]: .* no asset report/wekly; did you mean report/w",
        ),
        (
            '{policies: [{selection: "group:none", maximum_lag_minutes: 3}]}',
            r"policies\[0\]: no asset of the project is in the selection 'group:none'",
        ),
        ("{policies: [{maximum_lag_minutes: 3}]}", r"policies\[0\]: .* either key or selection"),
        (
            "{policies: [{key: mart/orders, maximum_lag_minutes: 3}]}",
            "asset mart/orders has a policy already. Keep one",
        ),
        (
            "{policies: [{key: report/weekly, maximum_lag_minutes: 0}]}",
            r"policies\[0\]: maximum_lag_minutes must be above 0",
        ),
        (
            "{policies: [{key: report/daily, maximum_lag_minutes: 3}]}",
            r"policies\[0\]: asset report/daily carries .* cannot be kept: its partitions have two",
        ),
        ("{tick_seconds: 1}", "Use 5 or more"),
    ],
)
def test_bad_attributes_are_refused(load: Load, attributes: str, message: str) -> None:
    yaml = f"{FRESHLINE}attributes: {attributes}\n"
    assert re.search(message, _refusal(load, {"orders.py": ORDERS, "freshline/defs.yaml": yaml}))


def test_a_second_component_is_refused(load: Load) -> None:
    message = _refusal(load, {"one/defs.yaml": FRESHLINE, "two/defs.yaml": FRESHLINE})

    assert "A project has one FreshlineComponent; delete the other" in message


def test_dg_finds_it_by_its_entry_point() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["dagster_dg_cli.registry_modules"].values()
    registered = importlib.import_module(module)

    assert FreshlineComponent is registered.FreshlineComponent
    # What `dg` lists are the objects of the module that have this mark.
    assert hasattr(FreshlineComponent, "__dg_package_entry__")


def _refusal(load: Load, files: dict[str, str]) -> str:
    """Return what freshline says: Dagster wraps it once for each folder of the project."""
    with pytest.raises(Exception, match="Error while") as raised:
        load(files)
    error: BaseException = raised.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, FreshlineError)
    return str(error)
