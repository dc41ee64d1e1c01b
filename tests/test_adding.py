"""All that docs/adding.md adds, added to one copy of this checkout, one after the other.

These are a model, an asset in Python, a second connection and a fourth location, which is retired
at last. The content of files and the commands are those of the page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from dotenv import dotenv_values
from support.dagster import ROOT, free_port
from support.waiting import wait_until

# Not copied: the repository itself, and what set-up makes.
LEFT_OUT = (".git", ".env", ".local", ".tox", ".venv", ".*_cache", "target", "dbt_packages")


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout with a git repository and environments of its own."""

    root: Path
    stack: Mapping[str, str]
    """Variables with which its stack runs beside others, without an Airbyte."""

    def run(self, *command: str, folder: str = ".", **variables: str) -> str:
        """Run a command that must succeed in a folder of the copy; return its output."""
        done = subprocess.run(
            command,
            cwd=self.root / folder,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def make(self, line: str, **variables: str) -> str:
        """Run a line `make ...` of the page, with the Python of this process."""
        line = line.replace("make ", f"make PYTHON={sys.executable} ")
        return self.run("bash", "-ec", line, **variables)

    def times_that_workers_began(self, location: str) -> int:
        """Return how often workers of the location have begun to take runs."""
        return self.read(".local/log/workers.log").count(f"{location}: takes runs")

    def commit(self) -> None:
        self.run("git", "add", "-A")
        author = ("-c", "user.name=reader", "-c", "user.email=reader@example.com")
        self.run("git", *author, "commit", "--quiet", "--no-gpg-sign", "-m", "as the page says")

    def changed(self) -> set[str]:
        """Return the files that differ from the last commit, new ones included."""
        lines = self.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()
        return {line[3:] for line in lines}

    def read(self, file: str) -> str:
        return (self.root / file).read_text(encoding="utf-8")

    def write(self, file: str, text: str) -> None:
        (self.root / file).write_text(text, encoding="utf-8")

    def replace(self, file: str, old: str, new: str) -> None:
        text = self.read(file)
        assert text.count(old) == 1, (file, old)
        self.write(file, text.replace(old, new))


def blocks(page: str, heading: str) -> list[str]:
    """Return the code blocks of one section of a page in docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A copy of this checkout, with everything committed."""
    folder = tmp_path_factory.mktemp("adding")
    folder.chmod(0o711)  # Postgres may run as another user, who must enter
    servers = ("POSTGRES", "GITHUB", "AIRBYTE", "BROKER")
    ports = {f"DEVSTACK_{name}_PORT": str(free_port()) for name in servers}
    copy = Checkout(folder / "checkout", {**ports, "AIRBYTE_URL": "http://airbyte.invalid"})
    shutil.copytree(ROOT, copy.root, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    copy.run("git", "init", "--quiet")
    copy.commit()
    yield copy
    if (copy.root / ".local" / "run").exists():
        copy.make("make down", **copy.stack)


@pytest.fixture(scope="module")
def changed(checkout: Checkout) -> set[str]:
    """The files of the old locations that differ after the page's last commands."""
    add_model(checkout, "analytics_marts/dbt_project_2", "mart_gh_weekday")
    add_python_asset(checkout)
    add_connection(checkout)
    # The new location is copied from what is committed.
    checkout.commit()
    copy, without_python, entry, commands = blocks("adding.md", "A fourth location")
    checkout.run("bash", "-ec", copy)
    checkout.run("bash", "-ec", without_python)
    add_model(checkout, "analytics_growth/dbt_project_3", "mart_gh_growth")
    checkout.write("workspace.yaml", checkout.read("workspace.yaml") + entry)
    snapshots, check, _, _ = commands.splitlines()
    for line in (snapshots, check):
        checkout.make(line)
    return {file for file in checkout.changed() if not file.startswith("analytics_growth/")}


def add_model(checkout: Checkout, project: str, name: str) -> None:
    for text in blocks("adding.md", "A dbt model")[:2]:
        content = text.replace("mart_gh_weekday", name)
        file = content.split()[1]  # after the sign that begins a comment
        checkout.write(f"{project}/models/mart/{file}", content)


def add_python_asset(checkout: Checkout) -> None:
    (code,) = blocks("adding.md", "An asset in Python")
    page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    file, imported, assets = (
        re.findall(pattern, page)[0]
        for pattern in (r"`(\S+/gh_report\.py)`", r"`(from \S+ import \S+)`", r"`(assets=[^`]+)`")
    )
    checkout.write(file, code)
    definitions = str(Path(file).with_name("definitions.py"))
    checkout.replace(definitions, "\n\ndefs = ", f"\n{imported}\n\ndefs = ")
    checkout.replace(definitions, "assets=[dbt_models]", assets)


def add_connection(checkout: Checkout) -> None:
    section = blocks("airbyte.md", "From nothing to a second connection")
    (code,) = (block for block in section if "CONNECTIONS" in block)
    checkout.replace(
        "ingestion/src/ingestion/connections.py",
        "CONNECTIONS = check_connections((fetch_stargazer,))\n",
        code,
    )


def test_additions_change_only_their_own_files_and_the_snapshots(changed: set[str]) -> None:
    served = {f"deploy/{name}" for name in ("workspace.yaml", "environment.example")}
    assert {"workspace.yaml"} | served | {
        f"{location}/{snapshot}"
        for location in ("ingestion", "analytics_marts")
        for snapshot in ("contract.json", "tests/lineage.json")
    } == changed


@pytest.mark.usefixtures("changed")
def test_the_tests_of_the_workspace_still_pass(checkout: Checkout) -> None:
    files = [f"tests/test_{name}.py" for name in ("gate", "isolation", "deploy")]
    checkout.run(".venv/bin/python", "-m", "pytest", "-q", *files)


@pytest.mark.usefixtures("changed")
def test_the_tests_of_the_new_location_pass(checkout: Checkout) -> None:
    checkout.run(".venv/bin/python", "-m", "pytest", "-q", folder="analytics_growth")


@pytest.mark.usefixtures("changed")
def test_a_test_of_models_passes_unchanged_when_a_model_is_added(checkout: Checkout) -> None:
    test = "tests/test_models.py::test_a_mart_is_as_old_as_its_oldest_input"
    checkout.run(".venv/bin/python", "-m", "pytest", "-q", test, folder="analytics_marts")


@pytest.mark.usefixtures("changed")
def test_the_new_location_has_a_role_and_workers(checkout: Checkout) -> None:
    up = blocks("adding.md", "A fourth location")[-1].splitlines()[-1]
    checkout.make(up, **checkout.stack)

    settings = dotenv_values(checkout.root / ".env")
    with psycopg.connect(
        host=settings["WAREHOUSE_HOST"],
        port=settings["WAREHOUSE_PORT"],
        user=settings["WAREHOUSE_USER_analytics_growth"],
        password=settings["WAREHOUSE_PASSWORD_analytics_growth"],
        dbname=settings["WAREHOUSE_DATABASE"],
    ) as connection:
        assert connection.execute("select current_user").fetchone() == ("analytics_growth",)
    wait_until(
        lambda: checkout.times_that_workers_began("analytics_growth") == 1,
        "a worker of the new location takes runs",
        seconds=300,
    )


@pytest.mark.usefixtures("changed")
def test_a_retired_location_leaves_no_trace(checkout: Checkout) -> None:
    """The last test: it takes away what the others need."""
    entry = blocks("adding.md", "A fourth location")[2]
    checkout.replace("workspace.yaml", entry, "")
    shutil.rmtree(checkout.root / "analytics_growth")
    others = checkout.times_that_workers_began("analytics_marts")

    for line in blocks("adding.md", "Retiring a location")[0].splitlines():
        checkout.make(line, **checkout.stack)

    assert "analytics_growth" not in checkout.read("deploy/workspace.yaml")
    wait_until(
        lambda: checkout.times_that_workers_began("analytics_marts") > others,
        "the other locations have workers again",
        seconds=300,
    )
    assert 1 == checkout.times_that_workers_began("analytics_growth")
