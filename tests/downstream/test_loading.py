"""A location is loaded by the gate as Dagster loads it: its path, folder, variables and Python."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.waiting import wait_until

FRESHLINE = Path(sys.executable).with_name("freshline")

# Its description is what the code of a location sees: where Python searches, and what is set.
SEES = """\
import json, os, sys
import dagster as dg
{imports}

seen = {{
    "path": sys.path,
    "folder": os.getcwd(),
    "variables": {{name: os.environ.get(name) for name in ("COMMON", "OWN", "GIVEN")}},
}}


@dg.asset(description=json.dumps(seen))
def {name}(): ...


defs = dg.Definitions(assets=[{name}])
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the commands no variable of Dagster but those of a test."""
    for name in [it for it in os.environ if it.startswith("DAGSTER_")]:
        monkeypatch.delenv(name)


def freshline(folder: Path, *arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    """Run the command in `folder`; return its status, standard output and standard error."""
    outcome = subprocess.run(
        [FRESHLINE, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return outcome.returncode, outcome.stdout, outcome.stderr


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def location(path: Path, name: str, imports: str = "") -> None:
    write(path, SEES.format(name=name, imports=imports))


def python_path(*folders: Path) -> str:
    """Return PYTHONPATH with `folders` first; freshline itself may be on it."""
    return os.pathsep.join(filter(None, [*map(str, folders), os.environ.get("PYTHONPATH")]))


def seen_by(contract: Path) -> Any:
    return json.loads(json.loads(contract.read_text())["exports"][0]["description"])


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_code_sees_what_it_sees_in_a_code_server_of_dagster(tmp_path: Path) -> None:
    """All entries of PYTHONPATH count, and a module that hides one of Python's is found."""
    for number in (1, 2):
        write(tmp_path / f"library{number}" / f"common{number}.py")
    location(tmp_path / "loc" / "defs_a.py", "a", "import common1, common2, sibling")
    write(tmp_path / "loc" / "sibling.py", "from names import mine")
    write(tmp_path / "loc" / "names.py", "mine = 1")
    write(tmp_path / "loc" / "json.py", "loads = dumps = None")
    write(tmp_path / "loc" / "runner.py", "raise RuntimeError('never imported')")
    path = python_path(tmp_path / "library1", tmp_path / "library2")
    loaded = {"module_name": "defs_a", "location_name": "loaded", "working_directory": "loc"}

    with code_server(tmp_path, "-m", "defs_a", "-d", "loc", PYTHONPATH=path) as port:
        served = {"host": "elsewhere.invalid", "port": 1, "location_name": "served"}
        entries = [{"python_module": loaded}, {"grpc_server": served}]
        write(tmp_path / "workspace.yaml", json.dumps({"load_from": entries}))
        server = f"served=127.0.0.1:{port}"

        outcome = freshline(tmp_path, "contract", "write", "--server", server, PYTHONPATH=path)

    assert (0, "") == (outcome[0], outcome[2])
    by_dagster = seen_by(tmp_path / "contracts" / "served.json")
    by_the_gate = seen_by(tmp_path / "loc" / "contract.json")
    # Dagster has the relative name of the working directory there.
    assert ("loc", str(tmp_path / "loc")) == (
        by_dagster["path"].pop(0),
        by_the_gate["path"].pop(0),
    )
    assert by_dagster == by_the_gate


def test_projects_of_dg_get_their_own_variables(tmp_path: Path) -> None:
    """`.env` of the workspace wins over the environment, that of a project over both."""
    write(tmp_path / ".env", "COMMON=workspace\nOWN=workspace\n")
    projects = "".join(f'[[workspace.projects]]\npath = "{name}"\n' for name in ("shop", "stock"))
    write(tmp_path / "dg.toml", f'directory_type = "workspace"\n{projects}')
    for name in ("shop", "stock"):
        location(tmp_path / name / "src" / name / "definitions.py", name)
        project = f'[tool.dg.project]\nroot_module = "{name}"\n'
        write(tmp_path / name / "pyproject.toml", project)
    write(tmp_path / "shop" / ".env", "OWN=shop\n")
    (tmp_path / "shop" / "src" / "deep").mkdir()
    given = {"COMMON": "environment", "GIVEN": "environment"}

    status, _, notice = freshline(tmp_path, "contract", "write", **given)
    inside, out, hint = freshline(tmp_path / "shop" / "src" / "deep", "check", "--committed")

    assert (0, "") == (status, notice)
    variables = {"COMMON": "workspace", "OWN": "shop", "GIVEN": "environment"}
    shop = seen_by(tmp_path / "shop" / "contract.json")
    assert (str(tmp_path), variables) == (shop["folder"], shop["variables"])
    stock = seen_by(tmp_path / "stock" / "contract.json")
    assert {**variables, "OWN": "workspace"} == stock["variables"]
    assert (0, "No findings (1 location, 1 asset, 0 imports).\n") == (inside, out)
    assert "one project of the workspace ../../../dg.toml; for all projects give -w" in hint


VAULT = """\
from dagster._core.secrets import SecretsLoader
from dagster._serdes import ConfigurableClass


class Vault(SecretsLoader, ConfigurableClass):
    inst_data = None

    @classmethod
    def config_type(cls):
        return {}

    @classmethod
    def from_config_value(cls, inst_data, config_value):
        return cls()

    def get_secrets_for_environment(self, location_name):
        return {"OWN": f"secret of {location_name}"}
"""


def test_the_loader_of_secrets_in_the_settings_of_the_instance_is_used(tmp_path: Path) -> None:
    write(tmp_path / "library" / "vault.py", VAULT)
    write(tmp_path / "dagster.yaml", "secrets: {custom: {module: vault, class: Vault}}\n")
    location(tmp_path / "a" / "defs.py", "a")
    before = files(tmp_path)

    status, *_ = freshline(
        tmp_path,
        "contract",
        "write",
        "-f",
        "a/defs.py",
        PYTHONPATH=python_path(tmp_path / "library"),
    )

    assert 0 == status
    assert {*before, "a/contract.json"} == {*files(tmp_path)}
    assert "secret of defs.py" == seen_by(tmp_path / "a" / "contract.json")["variables"]["OWN"]


def test_a_project_is_loaded_by_the_python_of_its_own_environment(tmp_path: Path) -> None:
    """Also if that is a link, which Python itself must not resolve, and with its programs."""
    environment = tmp_path / "shop" / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "activate").touch()
    write(
        environment / "bin" / "python",
        f'#!/bin/sh\nGIVEN="$(command -v tool)" exec {sys.executable} "$@"\n',
    )
    write(environment / "bin" / "tool", "#!/bin/sh\n")
    for program in ("python", "tool"):
        (environment / "bin" / program).chmod(0o755)
    (tmp_path / "link").symlink_to(environment)
    location(tmp_path / "shop" / "shop" / "definitions.py", "shop")
    write(tmp_path / "shop" / "dg.toml", '[project]\nroot_module = "shop"\n')
    module = {"module_name": "shop.definitions", "working_directory": "shop"}
    entry = {"python_module": {**module, "executable_path": "link/bin/python"}}
    write(tmp_path / "workspace.yaml", json.dumps({"load_from": [entry]}))

    for arguments, programs in ((["-w", "shop/dg.toml"], environment), ([], tmp_path / "link")):
        assert 0 == freshline(tmp_path, "contract", "write", *arguments)[0]
        seen = seen_by(tmp_path / "shop" / "contract.json")
        assert str(programs / "bin" / "tool") == seen["variables"]["GIVEN"]


def test_code_may_be_named_as_dagster_dev_takes_it(tmp_path: Path) -> None:
    location(tmp_path / "a" / "defs.py", "a", "import beside")
    write(tmp_path / "a" / "beside.py")
    location(tmp_path / "here.py", "b")

    answers = [
        freshline(tmp_path, "check", "-m", "defs", "-d", "a", "-a", "defs"),
        freshline(tmp_path, "check", "-f", "a/defs.py", "-d", "a"),
        freshline(tmp_path, "check", "-m", "here"),
        freshline(tmp_path, "check", DAGSTER_MODULE_NAME="defs", DAGSTER_WORKING_DIRECTORY="a"),
        freshline(tmp_path, "check", DAGSTER_PYTHON_FILE="here.py", DAGSTER_ATTRIBUTE="defs"),
    ]

    assert [(0, "No findings (1 location, 1 asset, 0 imports).\n", "")] * 5 == answers


def test_the_gate_leaves_nothing_behind(tmp_path: Path) -> None:
    location(tmp_path / "loc" / "defs.py", "a", "import beside")
    write(tmp_path / "loc" / "beside.py")
    write(tmp_path / "broken.py", "import loc.beside, none")
    write(tmp_path / "dagster.yaml", "telemetry: {enabled: false}\n")
    write(tmp_path / "pyproject.toml", '[tool.dagster]\nmodule_name = "broken"\n')
    module = {"module_name": "defs", "working_directory": "loc"}
    write(tmp_path / "workspace.yaml", json.dumps({"load_from": [{"python_module": module}]}))
    before = files(tmp_path)

    failed, out, notice = freshline(tmp_path, "check", PYTHONDONTWRITEBYTECODE="")
    clean = freshline(tmp_path, "check", "-w", "workspace.yaml", PYTHONDONTWRITEBYTECODE="")

    assert 1 == failed
    assert "No module named 'none'" in out
    assert "reads pyproject.toml, as Dagster does here, not workspace.yaml; choose" in notice
    assert (0, "No findings (1 location, 1 asset, 0 imports).\n", "") == clean
    assert before == files(tmp_path)


def test_an_unknown_host_is_named_with_the_way_out(tmp_path: Path) -> None:
    server = {"host": "ingest.invalid", "port": 4000, "location_name": "ingest"}
    write(tmp_path / "workspace.yaml", json.dumps({"load_from": [{"grpc_server": server}]}))

    status, out, _ = freshline(tmp_path, "check", "--json")

    (finding,) = json.loads(out)["findings"]
    assert (1, "does-not-load", []) == (status, finding["rule"], finding["details"])
    assert "the host ingest.invalid of its code server is not known here" in finding["message"]
    assert "with --server ingest=HOST:PORT" in finding["message"]


@contextmanager
def code_server(folder: Path, *arguments: str, **environment: str) -> Iterator[int]:
    """Start a code server in `folder`, as Dagster does, and yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "api", "grpc", *arguments]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _answers(port), "the code server answers", seconds=120, every=0.1)
        yield port
    finally:
        server.kill()
        server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
