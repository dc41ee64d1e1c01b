"""tools/setup.py: names each problem and what to do about it, and does nothing twice."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from projects import Project, find_projects
from support.dagster import ROOT


@pytest.fixture
def setup() -> ModuleType:
    """The module, loaded anew."""
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


def is_stale(setup: ModuleType, name: str) -> bool:
    (project,) = setup.choose_projects([name])
    return bool(setup.is_stale(project))


def test_setup_refuses_an_old_python_and_says_how_to_name_another(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "OLDEST_PYTHON", (sys.version_info.major, 99))

    with pytest.raises(SystemExit, match=r"Python 3\.\d+ .* does not fit: .*\n.*PYTHON="):
        setup.main([])


def test_setup_refuses_a_python_without_venv_and_names_the_package(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)

    with pytest.raises(SystemExit, match=r"has no venv module\.\n.*apt-get install python3-venv"):
        setup.main([])


def test_setup_refuses_an_unknown_project_and_lists_the_known_ones(setup: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"No project is called ingest\.\n.*ingestion"):
        setup.main(["ingest"])


def test_setup_refuses_a_full_disk_before_it_installs_anything(
    setup: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "NEEDED_BYTES", 10**18)

    with pytest.raises(SystemExit, match=r"GB are free .* GB are needed\.\n.*Make room"):
        setup.main(["team"])

    assert not (checkout / "team" / ".venv").exists()


def test_setup_does_nothing_the_second_time(
    setup: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.main(["team"])
    made = (checkout / "team" / ".venv" / ".setup").stat().st_mtime_ns
    assert "team: environment ready" in capsys.readouterr().out

    setup.main(["team"])

    assert capsys.readouterr().out == ""
    assert made == (checkout / "team" / ".venv" / ".setup").stat().st_mtime_ns


def test_setup_makes_a_half_finished_environment_anew(
    setup: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = checkout / "team" / ".venv" / "bin"
    half.mkdir(parents=True)
    (half / "python").write_text("not a Python")

    setup.main(["team"])

    python = checkout / "team" / ".venv" / "bin" / "python"
    assert subprocess.run([python, "-c", ""], check=False).returncode == 0


def test_an_environment_is_stale_when_its_lock_file_has_changed(
    setup: ModuleType, checkout: Path
) -> None:
    (checkout / "other").mkdir()
    shutil.copy(checkout / "team" / "requirements.lock", checkout / "other")
    setup.main(["team", "other"])
    assert not is_stale(setup, "team")

    with (checkout / "team" / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")

    assert is_stale(setup, "team")
    assert not is_stale(setup, "other")


def test_setup_reports_a_package_that_cannot_be_installed(
    setup: ModuleType, checkout: Path
) -> None:
    lock = checkout / "team" / "requirements.lock"
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000"))

    with pytest.raises(SystemExit, match=r"Could not install team's packages:(.|\n)*goes on where"):
        setup.main(["team"])

    assert is_stale(setup, "team")


def test_a_folder_with_a_lock_file_is_a_project(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "notes").mkdir()
    package = tmp_path / "analytics_growth" / "src" / "analytics_growth"
    package.mkdir(parents=True)
    (package / "prepare.py").touch()
    folder = tmp_path / "analytics_growth"
    (folder / "requirements.lock").touch()
    (folder / "pyproject.toml").write_text(
        """
        dependency-groups = { test = ["pytest"] }
        build-system = { requires = ["hatchling"] }
        tool.uv.sources.freshline = { path = "../shared", editable = true }
        """
    )

    projects = find_projects(tmp_path)

    assert [".", "analytics_growth"] == list(projects)
    assert projects["analytics_growth"] == Project(
        name="analytics_growth",
        lock_inputs=("pyproject.toml", "--group", "test"),
        local_packages=("shared", "analytics_growth"),
        prepare=("-m", "analytics_growth.prepare"),
    )
