"""Set-up says what is wrong and what to do, and does nothing twice."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.dagster import ROOT


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "tools")
    spec = importlib.util.spec_from_file_location("workspace_setup", ROOT / "tools" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path, setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a host and one more project, `team`, which installs nothing but uv."""
    shutil.copy(ROOT / "requirements.lock", tmp_path / "requirements.lock")
    project = tmp_path / "team"
    project.mkdir()
    (project / "requirements.lock").write_text(setup.uv_pin())
    (project / "pyproject.toml").write_text("")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "STATE", tmp_path / ".local")
    monkeypatch.setattr(setup, "UV", tmp_path / ".local" / "uv" / "bin" / "uv")
    return tmp_path


def is_stale(setup: ModuleType) -> bool:
    (team,) = setup.choose_projects(["team"])
    return bool(setup.is_stale(team))


def test_a_python_that_is_too_old_is_named_with_the_way_out(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "OLDEST_PYTHON", (sys.version_info.major, 99))

    with pytest.raises(SystemExit, match=r"Python 3\.\d+ .* does not fit: .*\n.*PYTHON="):
        setup.main([])


def test_a_python_without_venv_is_named_with_the_package_that_brings_it(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)

    with pytest.raises(SystemExit, match=r"has no venv module\.\n.*apt-get install python3-venv"):
        setup.main([])


def test_an_unknown_project_is_refused_with_the_ones_there_are(setup: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"No project is called ingest\.\n.*ingestion"):
        setup.main(["ingest"])


def test_a_full_disk_is_noticed_before_anything_is_installed(
    setup: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "NEEDED_BYTES", 10**18)

    with pytest.raises(SystemExit, match=r"GB are free .* GB are needed\.\n.*Make room"):
        setup.main(["team"])

    assert not (checkout / "team" / ".venv").exists()


def test_setting_up_twice_does_nothing_the_second_time(
    setup: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.main(["team"])
    made = (checkout / "team" / ".venv" / ".setup").stat().st_mtime_ns
    assert "team: environment ready" in capsys.readouterr().out

    setup.main(["team"])

    assert capsys.readouterr().out == ""
    assert made == (checkout / "team" / ".venv" / ".setup").stat().st_mtime_ns


def test_a_half_finished_environment_is_made_anew(
    setup: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = checkout / "team" / ".venv" / "bin"
    half.mkdir(parents=True)
    (half / "python").write_text("not a Python")

    setup.main(["team"])

    python = checkout / "team" / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0


def test_a_changed_lock_file_makes_its_own_environment_stale_and_no_other(
    setup: ModuleType, checkout: Path
) -> None:
    setup.main(["team"])
    assert not is_stale(setup)

    with (checkout / "team" / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")

    assert is_stale(setup)


def test_a_package_that_cannot_be_installed_is_one_message(
    setup: ModuleType, checkout: Path
) -> None:
    lock = checkout / "team" / "requirements.lock"
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000"))

    with pytest.raises(SystemExit, match=r"Could not install team's packages:(.|\n)*goes on where"):
        setup.main(["team"])

    assert is_stale(setup)
