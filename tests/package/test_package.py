"""The wheel and the sdist: what is in them, and that the wheel works where nothing else of ours is.

The wheel is installed into empty environments, once with the oldest versions that its metadata
allows and once with the newest ones. Its programs run in a temporary folder and find nothing of
this checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from support.dagster import ROOT
from support.page import Command, Edit, read_steps
from support.processes import Daemon

HERE = Path(__file__).parent
PROJECT = ROOT / "shared"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
UV = Path(sys.executable).with_name("uv")
OTHERS = ["dbt-duckdb>=1.9"]
"""What the workspace needs and freshline does not: the adapter of its dbt project."""


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must succeed; return what it prints on standard output."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Built:
    """What `uv build` made: the sdist from the checkout, the wheel from the sdist."""

    wheel: Path
    sdist: Path

    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            return Parser().parsestr(wheel.read(name).decode())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--out-dir", folder, PROJECT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return Built(wheel, sdist)


def files_of_the_package() -> set[str]:
    """Return the committed files below shared/src, relative to it."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=PROJECT)
    return {line.removeprefix("src/") for line in listed.splitlines() if line.startswith("src/")}


def test_the_wheel_has_every_file_of_the_package_and_no_other(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())

    info = f"freshline-{PYPROJECT['version']}.dist-info"
    assert files_of_the_package() == {name for name in names if not name.startswith(info)}
    assert {"freshline/py.typed", "freshline/dbt/freshline_dbt/dbt_project.yml"} <= names
    assert f"{info}/licenses/LICENSE" in names


def test_the_sdist_has_the_sources_and_what_an_index_shows(built: Built) -> None:
    root = f"freshline-{PYPROJECT['version']}/"
    with tarfile.open(built.sdist) as sdist:
        names = {name.removeprefix(root) for name in sdist.getnames()}

    assert {f"src/{name}" for name in files_of_the_package()} <= names
    assert {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"} <= names


def test_an_index_accepts_and_can_show_the_metadata(built: Built) -> None:
    files = [built.wheel, built.sdist]

    run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=built.wheel.parent)

    metadata = built.metadata()
    assert "Apache-2.0" == metadata["License-Expression"]
    assert {"airbyte", "dbt", "engine", "metrics", "notify", "report"} == set(
        metadata.get_all("Provides-Extra", [])
    )


def test_the_changelog_has_the_version() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"\n## [{PYPROJECT['version']}]" in changelog


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and a copy of the workspace."""

    environment: Path
    workspace: Path

    def env(self) -> dict[str, str]:
        """Return variables in which nothing names this checkout or another environment."""
        return {
            "PATH": os.pathsep.join([str(self.environment / "bin"), os.defpath]),
            "HOME": str(self.workspace),
            "DAGSTER_HOME": str(self.workspace),
            "WAREHOUSE": str(self.workspace / "warehouse.duckdb"),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of the environment, which must succeed; return what it prints."""
        path = self.environment / "bin" / program
        return run(path, *arguments, cwd=self.workspace, env=self.env())

    def version(self, package: str) -> Version:
        program = f"import importlib.metadata as it; print(it.version({package!r}))"
        return Version(self.run("python", "-c", program).strip())


@pytest.fixture(scope="module", params=["lowest-direct", "highest"], ids=["oldest", "newest"])
def installed(
    request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """The wheel with both extras, and the oldest or newest versions of all that it names."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment, cwd=folder)
    # uv takes the oldest version only of what it is asked for itself.
    named = [Requirement(text) for text in built.metadata().get_all("Requires-Dist", [])]
    for requirement in named:
        requirement.marker = None
    install = ["pip", "install", "--quiet", "--compile-bytecode", "--resolution", request.param]
    into = ["--python", str(environment / "bin" / "python")]
    run(UV, *install, *into, built.wheel, *map(str, named), *OTHERS, cwd=folder)
    workspace = folder / "workspace"
    shutil.copytree(HERE / "workspace", workspace)
    return Installed(environment, workspace)


def test_the_environment_has_the_dagster_that_the_metadata_promises(
    request: pytest.FixtureRequest, installed: Installed
) -> None:
    named = [Requirement(text) for text in PYPROJECT["dependencies"]]
    (dagster,) = (requirement for requirement in named if requirement.name == "dagster")
    oldest, end = sorted(Version(it.version) for it in dagster.specifier)
    found = installed.version("dagster")

    if "oldest" in request.node.name:
        assert oldest == found
    else:
        assert (end.major, end.minor - 1) == (found.major, found.minor)


def test_freshline_comes_from_the_wheel_and_says_its_version(installed: Installed) -> None:
    where = installed.run("python", "-c", "import freshline; print(freshline.__file__)")
    assert Path(where.strip()).is_relative_to(installed.environment)

    expected = f"freshline {PYPROJECT['version']}, Dagster {installed.version('dagster')}\n"
    assert expected == installed.run("freshline", "--version")


def test_an_asset_of_dagster_airbyte_gets_the_key_and_columns_of_a_stream(
    installed: Installed,
) -> None:
    answer = json.loads(installed.run("python", "streams.py"))

    assert {"key": "postgres/github_stars", "last_column": "starred_at"} == answer


@pytest.fixture(scope="module")
def prepared(installed: Installed) -> Installed:
    """The workspace after what a deploy does: dbt deps and parse, contracts."""
    installed.run("python", "-m", "freshline.dbt.prepare", "shop")
    installed.run("freshline", "contract", "write")
    return installed


def test_the_gate_finds_nothing_until_a_producer_renames_its_table(prepared: Installed) -> None:
    said = prepared.run("freshline", "check")
    assert "No findings (2 locations, 3 assets, 1 import).\n" == said
    feed = prepared.workspace / "feed.py"
    code = feed.read_text()

    feed.write_text(code.replace('asset_key("raw", "orders")', 'asset_key("raw", "order")'))
    try:
        done = subprocess.run(
            [prepared.environment / "bin" / "freshline", "check", "--json"],
            cwd=prepared.workspace,
            env=prepared.env(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        feed.write_text(code)

    assert 1 == done.returncode, done.stderr
    rules = {(it["rule"], it["location"]) for it in json.loads(done.stdout)["findings"]}
    assert ("unknown-import", "shop") in rules


def test_the_page_for_adopters_is_true(installed: Installed, tmp_path: Path) -> None:
    """Each edit of docs/adopting.md fits the example, and each command prints what is there."""
    shutil.copytree(ROOT / "examples" / "adopting", tmp_path, dirs_exist_ok=True)
    steps = list(read_steps(ROOT / "docs" / "adopting.md"))
    assert {Command, Edit} == {type(step) for step in steps}

    for step in steps:
        if isinstance(step, Edit):
            subprocess.run(
                ["git", "apply", "-p0", "-"], cwd=tmp_path, input=step.patch, text=True, check=True
            )
            continue
        done = subprocess.run(
            ["sh", "-c", step.line],
            cwd=tmp_path,
            env=installed.env() | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        assert step.output == printed, f"{step.line}\n{printed}\n{done.stderr}"


@pytest.fixture
def daemon(prepared: Installed) -> Iterator[Daemon]:
    """Dagster's daemon, which starts a code server for each location and ticks their sensors."""
    # Two processes that create the tables of SQLite at the same time disturb each other.
    prepared.run("dagster", "instance", "migrate")
    started = Daemon(
        [prepared.environment / "bin" / "dagster-daemon", "run", "-w", "workspace.yaml"],
        cwd=prepared.workspace,
        env=prepared.env(),
        log=prepared.workspace / "daemon.log",
    )
    yield started
    started.interrupt()
    started.kill()


def test_a_policy_of_one_location_runs_the_other_and_then_dbt(
    prepared: Installed, daemon: Daemon
) -> None:
    try:
        answer: dict[str, Any] = json.loads(prepared.run("python", "watch.py", "300"))
    except AssertionError as error:
        raise AssertionError(daemon.output()) from error

    assert 0 == answer["failed_runs"]
    assert {"mart/report"} == {found["target"] for found in answer["assets"].values()}
    assert [[42]] == answer["rows"]
    assert {"freshline/lag_seconds", "dagster/row_count", "dagster/column_schema"} <= set(
        answer["assets"]["mart/revenue"]["metadata"]
    )
    assert "has changed since it was prepared" not in daemon.output()
