"""The commands of a newcomer: `make demo`, `make dev` and the others of the Makefile."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.dagster import HOST_BIN, ROOT, free_port
from support.processes import Daemon
from support.stars import write_stars

DEMO_SECONDS = 600
# Settings of other servers, as a user exports them or as `make dev` writes them into `.env`.
ELSEWHERE = {
    "DAGSTER_PG_HOST": "127.0.0.1",
    "DAGSTER_PG_PORT": "1",
    "WAREHOUSE_HOST": "127.0.0.1",
    "WAREHOUSE_PORT": "1",
    "AIRBYTE_URL": "http://127.0.0.1:1",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with links to this checkout, but with an `.env` and a copy of tools/ of its own."""
    for path in ROOT.iterdir():
        if path.name not in (".env", ".git", ".local", ".tox", "tools"):
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    lines = [f"{name}={value}\n" for name, value in ELSEWHERE.items()]
    (tmp_path / ".env").write_text("".join(lines) + "DEVSTACK_STARS=yesterday.csv\n")
    return tmp_path


def test_demo_shows_one_pass_and_uses_no_other_stack(checkout: Path, tmp_path: Path) -> None:
    """The environment and `.env` name other servers, where nothing answers."""
    months = write_stars(tmp_path / "stars.csv", 60)
    environment = {**os.environ, **ELSEWHERE, "DEVSTACK_STARS": "stars.csv"}
    demo = Daemon(
        [HOST_BIN / "python", checkout / "tools" / "demo.py"],
        cwd=tmp_path,
        env=environment,
        log=tmp_path / "demo.log",
    )
    try:
        status = demo.wait(DEMO_SECONDS)
    finally:
        left_behind = run([HOST_BIN / "python", checkout / "tools" / "leftovers.py"]).stdout
        demo.kill()

    output = demo.output()
    assert status == 0, output
    assert left_behind == ""
    assert f"demo: {sum(months.values())} stars in all months of mart_gh_cumulative" in output
    for asset in ("postgres/stargazers", "postgres/stargazers_user", "mart/mart_gh_join"):
        assert asset in output


def test_dev_names_a_taken_port_and_how_to_choose_another(checkout: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = refusal(checkout, DAGSTER_PORT=str(port))

    assert f"Port {port} cannot be used" in message
    assert "DAGSTER_PORT=3001 make dev" in message


def test_dev_refuses_a_port_that_is_not_a_number(checkout: Path) -> None:
    message = refusal(checkout, DAGSTER_PORT="http")

    assert message == "DAGSTER_PORT=http is no port. Choose a number: DAGSTER_PORT=3001 make dev\n"


def test_dev_refuses_a_setting_with_different_values_in_dotenv_and_environment(
    checkout: Path,
) -> None:
    message = refusal(checkout, **{**ELSEWHERE, "AIRBYTE_URL": "https://airbyte.example.com"})

    assert message.startswith("AIRBYTE_URL: the environment and .env have different values")
    assert "example" not in message


def test_dev_accepts_a_setting_of_the_stack_that_differs_from_dotenv(checkout: Path) -> None:
    message = refusal(checkout, DEVSTACK_STARS="today.csv", DAGSTER_PORT="http")

    assert message.startswith("DAGSTER_PORT=http is no port")


def refusal(checkout: Path, **settings: str) -> str:
    """Return what `make dev` prints when it refuses to start; no stack is needed for that."""
    environment = {**os.environ, "DAGSTER_PORT": str(free_port()), **settings}
    answer = run([HOST_BIN / "python", checkout / "tools" / "dev.py"], env=environment)
    assert answer.returncode == 1
    assert answer.stdout == ""
    return answer.stderr


def run(command: list[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, **options
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dev", "PYTHON=python3.99"], "There is no program python3.99. Install Python 3.11"),
        (["down"], "Nothing is set up here yet: make setup"),
        (["status"], "Nothing is set up here yet: make setup"),
        (["reset"], "Nothing is set up here yet: make setup"),
    ],
    ids=" ".join,
)
def test_make_names_what_is_missing_and_what_to_do(
    tmp_path: Path, words: list[str], message: str
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    answer = run(["make", *words], cwd=tmp_path)

    assert answer.returncode == 2
    assert message in answer.stderr
