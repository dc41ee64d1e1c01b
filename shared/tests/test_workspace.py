"""Reading the workspace file, and the process that loads locations."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from freshline.errors import WorkspaceError
from freshline.workspace import Entry, WorkspaceSource, child, read_workspace
from freshline.workspace.runner import BROUGHT


def entries(folder: Path, *load_from: Any) -> list[Entry]:
    file = folder / "workspace.yaml"
    file.write_text(json.dumps({"load_from": load_from}))
    return read_workspace(WorkspaceSource((file,)))


class TestReadWorkspace:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("entry", "name"),
        [
            ({"python_module": "shop.definitions"}, "shop.definitions"),
            ({"python_module": {"module_name": "shop", "attribute": "defs"}}, "shop:defs"),
            ({"python_file": "a/b.py"}, "b.py"),
            ({"python_file": {"relative_path": "b.py", "attribute": "x"}}, "b.py:x"),
            ({"python_package": "shop"}, "shop"),
            ({"autoload_defs_module": "shop.defs"}, "shop.defs"),
            ({"grpc_server": {"port": 4000}}, "grpc:localhost:4000"),
            ({"grpc_server": {"host": "h", "socket": "/s"}}, "grpc:h:/s"),
            ({"python_module": {"module_name": "m", "location_name": "mine"}}, "mine"),
        ],
    )
    def test_locations_have_the_names_that_dagster_gives_them(
        self, tmp_path: Path, entry: object, name: str
    ) -> None:
        assert [name] == [it.name for it in entries(tmp_path, entry)]

    def test_values_may_come_from_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_PYTHON", "/opt/shop/bin/python")
        monkeypatch.setenv("SHOP_PORT", "4001")

        loaded, served = entries(
            tmp_path,
            {"python_module": {"module_name": "m", "executable_path": {"env": "SHOP_PYTHON"}}},
            {"grpc_server": {"port": {"env": "SHOP_PORT"}}},
        )

        assert ("/opt/shop/bin/python", 4001) == (loaded.executable_path, served.port)

    def test_the_contract_is_beside_the_environment_of_the_location(self, tmp_path: Path) -> None:
        shop = tmp_path / "shop"
        (shop / ".venv" / "bin").mkdir(parents=True)
        (shop / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (shop / "pyproject.toml").touch()
        module = {"module_name": "m.definitions", "executable_path": "shop/.venv/bin/python"}

        (entry,) = entries(tmp_path, {"python_module": module})

        assert shop / "contract.json" == entry.contract_file

    def test_locations_in_one_folder_each_have_a_contract_file(self, tmp_path: Path) -> None:
        one, two = entries(tmp_path, {"python_file": "one.py"}, {"python_file": "two.py"})

        assert [tmp_path / "contract.one.py.json", tmp_path / "contract.two.py.json"] == [
            one.contract_file,
            two.contract_file,
        ]

    def test_the_folder_of_a_file_is_the_nearest_project(self, tmp_path: Path) -> None:
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "pyproject.toml").touch()

        (entry,) = entries(tmp_path, {"python_file": "shop/src/deep/definitions.py"})

        assert tmp_path / "shop" == entry.folder

    def test_an_executable_is_also_found_beside_the_workspace_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python").symlink_to(sys.executable)
        monkeypatch.chdir(elsewhere)

        (entry,) = entries(
            tmp_path, {"python_module": {"module_name": "m", "executable_path": "bin/python"}}
        )

        assert tmp_path == entry.start

    def test_a_file_without_locations_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "workspace.yaml").write_text("just text")

        with pytest.raises(WorkspaceError, match="has no load_from"):
            read_workspace(WorkspaceSource((tmp_path / "workspace.yaml",)))


@pytest.mark.parametrize(
    ("module", "ours"),
    [
        *((module, {it.__name__ for it in BROUGHT[:at]}) for at, module in enumerate(BROUGHT)),
        # Code servers are asked by the gate's own Python, which has freshline.
        (child, {"freshline.workspace.server"}),
    ],
)
def test_files_that_run_in_a_location_import_only_dagster(module: Any, ours: set[str]) -> None:
    """freshline is not installed in every location that the gate asks."""
    imported: set[str] = set()
    for statement in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(statement, ast.Import):
            imported.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            imported.add(statement.module or "")

    foreign = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert ours >= {name for name in foreign if name.split(".")[0] != "dagster"}


def test_a_child_ends_when_its_standard_input_closes(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "hangs.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(started)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    task = {
        "location": "hangs",
        "field": "python_file",
        "target": str(tmp_path / "hangs.py"),
        "attribute": None,
        "start": str(tmp_path),
        "working_directory": None,
        "folder": None,
        "env_folder": None,
        "seconds": 600,
        "result": str(tmp_path / "result"),
        "log": str(tmp_path / "log"),
    }
    plan = tmp_path / "plan.json"
    modules = {it.__name__: it.__file__ for it in BROUGHT}
    content = {"modules": modules, "path": str(tmp_path), "tasks": [task, task]}
    plan.write_text(json.dumps(content))
    process = subprocess.Popen([sys.executable, child.__file__, plan], stdin=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (started.exists() and started.read_text()):
        assert time.monotonic() < deadline, "the location was never loaded"
        time.sleep(0.05)

    assert process.stdin
    process.stdin.close()

    assert 0 == process.wait(60)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)
