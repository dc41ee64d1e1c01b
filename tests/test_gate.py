"""The gate over this workspace's committed contracts: shut for each planted defect, else open."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCATIONS = ("ingestion", "analytics_core", "analytics_marts")
FRESHLINE = Path(sys.executable).with_name("freshline")

Contracts = dict[str, dict[str, Any]]


@pytest.fixture
def contracts() -> Contracts:
    return {
        name: json.loads((ROOT / name / "contract.json").read_text(encoding="utf-8"))
        for name in LOCATIONS
    }


def check(contracts: Contracts, folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """The exit status and findings of ``freshline check --committed`` over `contracts`."""
    shutil.copy(ROOT / "workspace.yaml", folder)
    for name, contract in contracts.items():
        # The gate looks for a contract where the location's project and Python are.
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
    """The columns of `mart_gh_stargazer` with some retyped, or (None) dropped."""
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


def test_the_workspace_is_clean(contracts: Contracts, tmp_path: Path) -> None:
    assert (0, []) == check(contracts, tmp_path)


@pytest.mark.parametrize(
    ("defect", "rule", "location", "said"),
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
def test_a_defect_is_stopped_before_anything_runs(
    contracts: Contracts,
    tmp_path: Path,
    defect: Callable[[Contracts], None],
    rule: str,
    location: str,
    said: str,
) -> None:
    defect(contracts)

    status, findings = check(contracts, tmp_path)

    (finding,) = findings
    assert (1, rule, location) == (status, finding["rule"], finding["location"])
    assert said in finding["message"]
