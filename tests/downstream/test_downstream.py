"""`freshline check` on workspaces that are not ours: no crash, no false alarm, no defect missed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.versions import python_with
from support.waiting import wait_until

HERE = Path(__file__).parent
ROWS = sorted(path.name for path in (HERE / "rows").iterdir() if path.is_dir())
FAILING = HERE / "styles" / "failing_in_every_way"  # has tests of its own
STYLES = sorted(path.name for path in FAILING.parent.iterdir() if path.is_dir())
DBT_PYTHON = HERE.parents[1] / "analytics_core" / ".venv" / "bin" / "python"
FRESHLINE = Path(sys.executable).with_name("freshline")

# Text of the message about each row's defect, which a person of the other team must understand.
SAYS = {
    "renamed_asset": "`core` exports `mart/stargazer`.",
    "dropped_column": "column `user_login` of `mart/stargazers` does not exist in `core`",
    "changed_type": "`starred_at` of `mart/stargazers` is `text` in `core`",
    "made_twice": "by `ingestion` (ingestion/definitions.py) and by `marts` (marts/definitions.py)",
    "cycle": "`mart/months` (marts) -> `mart/stargazers` (core) -> `raw/stars` (ingestion) -> ",
    "impossible_policy": "2 min asked, the path takes at the very least ",
    "policy_nobody_keeps": "carries a maximum lag, and nobody keeps it: `marts` does not use",
    "twenty_seconds": "20 s asked, the path takes at the very least ",
    "unlaunchable": "`mart/stargazers` of `core` cannot be requested, and `mart/months` needs it: ",
    "not_requested": "`mart/months` needs it: core, which makes it, is not under freshline.",
    "foreign_view": "is a view on `mart/stargazers`, which `core` rebuilds: dbt then drops",
    "stale_contract": "marts/contract.json no longer matches the code of `marts`",
    "newer_schema": "has schema 2, this freshline knows 1",
    "key_against_convention": "`Marts/MonthTotals` of `marts` has the layer 'Marts', which",
    "does_not_load": "`core` cannot be asked: it does not load.",
}


def check(folder: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the answer of the gate, run in `folder` as a user does."""
    outcome = subprocess.run(
        [FRESHLINE, "check", "--json", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert outcome.returncode in (0, 1), outcome.stderr
    return outcome.returncode, json.loads(outcome.stdout)


def found(answer: dict[str, Any]) -> list[list[Any]]:
    return [
        [finding["severity"], finding["rule"], finding["location"], finding["key"]]
        for finding in answer["findings"]
    ]


def copy_workspace(folder: Path, target: Path) -> tuple[list[list[Any]], list[str]]:
    """Copy `folder` over `target`; return what the gate must find there, and its arguments."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    arguments = target / "args.json"
    return (
        json.loads((target / "expected.json").read_text()),
        json.loads(arguments.read_text()) if arguments.exists() else [],
    )


@pytest.mark.parametrize("name", ROWS)
def test_the_gate_finds_the_defect_of_a_row(name: str, tmp_path: Path) -> None:
    copy_workspace(HERE / "rows" / "clean", tmp_path)
    expected, arguments = copy_workspace(HERE / "rows" / name, tmp_path)

    status, answer = check(tmp_path, *arguments)

    assert expected == found(answer)
    assert any(severity == "finding" for severity, *_ in expected) == bool(status)
    assert SAYS.get(name, "") in " ".join(finding["message"] for finding in answer["findings"])


@pytest.mark.parametrize("name", [name for name in STYLES if name != FAILING.name])
def test_the_gate_finds_the_defects_of_a_style(name: str, tmp_path: Path) -> None:
    for neighbour in STYLES:
        shutil.copytree(HERE / "styles" / neighbour, tmp_path / neighbour)
    expected, arguments = copy_workspace(HERE / "styles" / name, tmp_path / name)
    environment = {"DOWNSTREAM_STOCK": "b", "DOWNSTREAM_DBT_PYTHON": str(DBT_PYTHON)}
    for project in (tmp_path / name).glob("*/dbt_project.yml"):
        parse(project.parent)

    status, answer = check(tmp_path / name, *arguments, **environment)

    assert expected == found(answer)
    assert any(severity == "finding" for severity, *_ in expected) == bool(status)


def parse(project: Path) -> None:
    """Build a dbt project's manifest, as its deploy does."""
    subprocess.run(
        [DBT_PYTHON.with_name("dbt"), "parse", "--no-partial-parse"],
        cwd=project,
        env={**os.environ, "DBT_PROFILES_DIR": str(project), "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        check=True,
        capture_output=True,
        timeout=120,
    )


def test_a_location_that_fails_says_why_and_hides_no_other(tmp_path: Path) -> None:
    expected, arguments = copy_workspace(FAILING, tmp_path)

    status, answer = check(tmp_path, *arguments)

    assert (1, expected) == (status, found(answer))
    by_location = {finding["location"]: finding for finding in answer["findings"]}
    assert ["noisy", "bad_policy"] == [it["name"] for it in answer["locations"] if it["known"]]
    assert (
        f'  File "{tmp_path}/raises.py", line 2, in load',
        '    raise RuntimeError("the warehouse\'s host is not set")',
        "RuntimeError: the warehouse's host is not set",
    ) == tuple(by_location["raises"]["details"][-3:])
    for location, words in {
        "exits": "SystemExit: 3",
        "dies": "its Python ended by signal 9",
        "hangs": "it did not load within 5 seconds",
        "not_there": "not_there.py",
        "no_python": f"its Python no/such/python cannot be started from {tmp_path}: No such file",
        "not_a_python": "its Python ended without an answer",
        "bad_policy": "maximum_lag_minutes must be a number of minutes, not 'soon'",
        "nobody_answers": "127.0.0.1:1",
    }.items():
        finding = by_location[location]
        assert words in " ".join([finding["message"], *finding["details"]])


def test_a_process_that_a_location_starts_ends_with_it(tmp_path: Path) -> None:
    copy_workspace(FAILING, tmp_path)
    marker = f"{600 + os.getpid()}"
    noisy = (tmp_path / "noisy.py").read_text().replace('"600"', f'"{marker}"')
    (tmp_path / "noisy.py").write_text(noisy)
    (tmp_path / "workspace.yaml").write_text("load_from: [{python_file: noisy.py}]\n")

    assert [] == found(check(tmp_path)[1])

    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert f"sleep\0{marker}\0".encode() not in running


def test_each_location_is_loaded_by_its_own_python(tmp_path: Path) -> None:
    """Three Dagster versions in one workspace, two of them older than the gate's own."""
    copy_workspace(HERE / "rows" / "clean", tmp_path)
    workspace = tmp_path / "workspace.yaml"
    pythons = {"core": python_with("1.12.9"), "marts": python_with("1.13.4")}
    for location, python in pythons.items():
        entry = f"relative_path: {location}/definitions.py"
        chosen = f"{entry}, executable_path: {python}"
        workspace.write_text(workspace.read_text().replace(entry, chosen))

    assert [] == found(check(tmp_path)[1])

    written = subprocess.run([FRESHLINE, "contract", "write"], cwd=tmp_path, check=False)
    assert 0 == written.returncode
    contract = json.loads((tmp_path / "core" / "contract.json").read_text())
    assert "1.12.9" == contract["dagster_version"]


LOCATION = """\
import dagster as dg


@dg.asset(key=["chain", "t{number}"], deps=[{deps}])
def table(): ...


defs = dg.Definitions(assets=[table])
"""


@pytest.mark.parametrize("broken", [None, 25])
def test_fifty_locations_are_all_checked(broken: int | None, tmp_path: Path) -> None:
    entries = []
    for number in range(50):
        dep = f"t{number - 1}{'_typo' if number == broken else ''}"
        deps = f'["chain", "{dep}"]' if number else ""
        (tmp_path / f"l{number}.py").write_text(LOCATION.format(number=number, deps=deps))
        entries.append(
            {"python_file": {"relative_path": f"l{number}.py", "location_name": f"l{number}"}}
        )
    (tmp_path / "workspace.yaml").write_text(json.dumps({"load_from": entries}))

    status, answer = check(tmp_path)

    expected = [["finding", "unknown-import", f"l{broken}", "chain/t24_typo"]] if broken else []
    assert (len(expected), expected) == (status, found(answer))
    assert 50 == sum(location["known"] for location in answer["locations"])


def test_a_code_server_gives_the_same_answer_as_its_code(tmp_path: Path) -> None:
    """A `grpc_server` entry gets the same answer as the code that it serves."""
    copy_workspace(HERE / "rows" / "clean", tmp_path)
    copy_workspace(HERE / "rows" / "changed_type", tmp_path)
    loaded_status, loaded = check(tmp_path)
    with code_server(tmp_path / "core" / "definitions.py") as port:
        workspace = tmp_path / "workspace.yaml"
        entry = "python_file: {relative_path: core/definitions.py, location_name: core}"
        served = f"grpc_server: {{host: 127.0.0.1, port: {port}, location_name: core}}"
        workspace.write_text(workspace.read_text().replace(entry, served))

        status, answer = check(tmp_path)

    assert (loaded_status, found(loaded)) == (status, found(answer))
    assert loaded["locations"] == answer["locations"]


@contextmanager
def code_server(file: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = ["-m", "dagster", "api", "grpc", "--python-file", str(file)]
    where = ["--host", "127.0.0.1", "--port", str(port)]
    with (file.parent / "server.log").open("wb") as log:
        server = subprocess.Popen([sys.executable, *command, *where], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), "the code server answers", seconds=120, every=0.1)
        yield port
    finally:
        server.kill()
        server.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
