"""The gate on this workspace's committed contracts: it passes them, and fails for each defect."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.contracts import read_contracts
from support.dagster import ROOT

FRESHLINE = Path(sys.executable).with_name("freshline")
ASSETS = {
    "postgres/stargazers",
    "postgres/stargazers_user",
    "mart/mart_gh_stargazer",
    "mart/mart_gh_cumulative",
    "mart/mart_gh_join",
}
"""The assets in which the defects are planted or found."""

Contracts = dict[str, dict[str, Any]]


@pytest.fixture
def contracts() -> Contracts:
    """The committed contracts, reduced to `ASSETS`."""
    return {name: reduced(contract) for name, contract in read_contracts().items()}


def reduced(contract: dict[str, Any]) -> dict[str, Any]:
    exports = [export for export in contract.get("exports", []) if export["key"] in ASSETS]
    imports = [
        {**needed, "columns": used_by_assets(needed.get("columns", []))}
        for needed in used_by_assets(contract.get("imports", []))
    ]
    return {**contract, "exports": exports, "imports": imports}


def used_by_assets(needed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the imports (or columns) that `ASSETS` use, with only these in `used_by`."""
    users = [[key for key in one["used_by"] if key in ASSETS] for one in needed]
    return [{**one, "used_by": keys} for one, keys in zip(needed, users, strict=True) if keys]


def check(contracts: Contracts, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit status and the findings of `freshline check --committed`."""
    shutil.copy(ROOT / "workspace.yaml", folder)
    for name, contract in contracts.items():
        # The gate looks for the contract in the folder of the location's Python and project file.
        (folder / name / ".venv" / "bin").mkdir(parents=True)
        (folder / name / ".venv" / "bin" / "python").touch()
        (folder / name / "pyproject.toml").touch()
        (folder / name / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    outcome = subprocess.run(
        [FRESHLINE, "check", "--committed", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert outcome.returncode in (0, 1), outcome.stderr
    return outcome.returncode, json.loads(outcome.stdout)["findings"]


def export(contracts: Contracts, location: str, key: str) -> dict[str, Any]:
    (found,) = [it for it in contracts[location]["exports"] if it["key"] == key]
    return dict(found)


def change(contracts: Contracts, location: str, asset: str, **fields: Any) -> None:
    changed = {**export(contracts, location, asset), **fields}
    exports = contracts[location]["exports"]
    contracts[location]["exports"] = [changed if it["key"] == asset else it for it in exports]


def columns(contracts: Contracts, **types: str | None) -> list[dict[str, Any]]:
    """Return the columns of mart_gh_stargazer with other types; None drops a column."""
    return [
        {**column, "type": types.get(column["name"], column["type"])}
        for column in export(contracts, "analytics_core", "mart/mart_gh_stargazer")["columns"]
        if types.get(column["name"], column["type"]) is not None
    ]


def rename_mart_gh_stargazer(contracts: Contracts) -> None:
    change(contracts, "analytics_core", "mart/mart_gh_stargazer", key="mart/mart_gh_stars")


def drop_user_login(contracts: Contracts) -> None:
    kept = columns(contracts, user_login=None)
    change(contracts, "analytics_core", "mart/mart_gh_stargazer", columns=kept)


def change_starred_at_to_text(contracts: Contracts) -> None:
    retyped = columns(contracts, starred_at="text")
    change(contracts, "analytics_core", "mart/mart_gh_stargazer", columns=retyped)


def make_stargazers_again(contracts: Contracts) -> None:
    contracts["analytics_core"]["exports"].append({"key": "postgres/stargazers"})


def make_a_cycle(contracts: Contracts) -> None:
    change(contracts, "ingestion", "postgres/stargazers", deps=["mart/mart_gh_join"])


def ask_for_twenty_seconds(contracts: Contracts) -> None:
    policy = {"minutes": 20 / 60}
    change(contracts, "analytics_marts", "mart/mart_gh_cumulative", policy=policy)


def test_the_gate_passes_the_committed_contracts(tmp_path: Path) -> None:
    assert (0, []) == check(read_contracts(), tmp_path)


def test_the_gate_passes_the_reduced_contracts(contracts: Contracts, tmp_path: Path) -> None:
    assert (0, []) == check(contracts, tmp_path)


@pytest.mark.parametrize(
    ("defect", "rule", "location", "message"),
    [
        (
            rename_mart_gh_stargazer,
            "unknown-import",
            "analytics_marts",
            (
                "`analytics_marts` needs `mart/mart_gh_stargazer` for `mart/mart_gh_join`; "
                "`analytics_core` exports `mart/mart_gh_stars`."
            ),
        ),
        (
            drop_user_login,
            "missing-column",
            "analytics_marts",
            (
                "column `user_login` of `mart/mart_gh_stargazer` does not exist in "
                "`analytics_core`, which makes the table; used by `mart/mart_gh_join` of "
                "`analytics_marts`."
            ),
        ),
        (
            change_starred_at_to_text,
            "column-type",
            "analytics_marts",
            (
                "column `starred_at` of `mart/mart_gh_stargazer` is `text` in `analytics_core`, "
                "which makes the table; `mart/mart_gh_join` of `analytics_marts` uses it as "
                "`timestamptz`."
            ),
        ),
        (
            make_stargazers_again,
            "made-twice",
            "analytics_core",
            "`postgres/stargazers` is made by `ingestion` (",
        ),
        (
            make_a_cycle,
            "cycle",
            "analytics_marts",
            (
                "`mart/mart_gh_cumulative` (analytics_marts) -> `postgres/stargazers` (ingestion) "
                "-> `mart/mart_gh_join` (analytics_marts) -> `mart/mart_gh_cumulative` "
                "(analytics_marts)."
            ),
        ),
        (
            ask_for_twenty_seconds,
            "policy",
            "analytics_marts",
            "`mart/mart_gh_cumulative`: 20 s asked, the path takes at the very least ",
        ),
    ],
)
def test_the_gate_fails_for_a_defect(
    contracts: Contracts,
    tmp_path: Path,
    defect: Callable[[Contracts], None],
    rule: str,
    location: str,
    message: str,
) -> None:
    defect(contracts)

    status, findings = check(contracts, tmp_path)

    (finding,) = findings
    assert (1, rule, location) == (status, finding["rule"], finding["location"])
    assert message in finding["message"]
