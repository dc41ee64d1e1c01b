"""freshline.dbt.prepare, and loading a project that is not prepared."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import freshline
import pytest
from dagster_dbt import DbtProject
from freshline.dbt.build import dbt_manifest
from freshline.dbt.prepare import changed, prepare_dbt
from freshline.errors import ManifestMissingError


@pytest.fixture
def copied(project: DbtProject, tmp_path: Path) -> Path:
    """A prepared copy of the project that the test may change."""
    folder = tmp_path / project.project_dir.name
    shutil.copytree(project.project_dir, folder)
    # Prepare the copy anew: dbt links local packages by absolute path, so the folder matters.
    prepare(folder)
    return folder


def prepare(folder: Path) -> None:
    """Prepare a project in a process of its own: dbt leaves files open."""
    subprocess.run([sys.executable, "-m", "freshline.dbt.prepare", str(folder)], check=True)


def test_a_project_that_has_not_changed_is_not_parsed_again(copied: Path) -> None:
    before = (copied / "target" / "manifest.json").stat().st_mtime_ns

    assert 0 == prepare_dbt([str(copied)])

    assert before == (copied / "target" / "manifest.json").stat().st_mtime_ns


def test_a_changed_project_is_loaded_with_a_warning(
    copied: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = DbtProject(copied)
    # By default, Dagster's loggers do not pass messages on to pytest.
    monkeypatch.setattr(logging.getLogger("dagster"), "propagate", True)
    dbt_manifest(project)
    assert [] == caplog.messages
    assert not changed(copied)

    (copied / "models" / "new.sql").write_text("select 1 as one")

    assert changed(copied)
    assert project.manifest_path == dbt_manifest(project)
    (message,) = caplog.messages
    assert "shop has changed since it was prepared" in message
    assert f"-m freshline.dbt.prepare {copied}" in message


def test_a_project_has_changed_when_a_file_that_dbt_reads_has(copied: Path) -> None:
    for name in ("warehouse.duckdb", "contract.json", ".venv/lib/models/a.sql"):
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_text("anything")
        assert not changed(copied), name

    for name in ("models/a.sql", "models/b.yml", "models/c.md", "models/d.py", "seeds/e.csv"):
        (copied / name).write_text("anything")
        assert changed(copied), name
        (copied / name).unlink()
        assert not changed(copied), name


def test_a_project_that_was_never_prepared_is_refused_with_the_command(copied: Path) -> None:
    shutil.rmtree(copied / "target")

    with pytest.raises(ManifestMissingError, match=f"-m freshline.dbt.prepare {copied}"):
        dbt_manifest(DbtProject(copied))


def test_a_project_that_dbt_refuses_is_not_prepared(copied: Path) -> None:
    (copied / "models" / "new.sql").write_text("select * from {{ ref('nothing') }}")

    command = [sys.executable, "-m", "freshline.dbt.prepare", str(copied)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 1 == done.returncode
    assert "'nothing' which was not found" in done.stdout
    assert f"{copied} could not be prepared" in done.stderr
    assert changed(copied) is False, "the project counts as never prepared"


@pytest.mark.parametrize("declared", ["packages.yml", "dependencies.yml"])
def test_a_project_can_use_the_macros_of_the_installed_freshline(
    copied: Path, declared: str
) -> None:
    (copied / declared).write_text("packages:\n  - local: target/freshline_dbt\n")
    (copied / "models" / "bare.yml").write_text(
        "models: [{name: bare, columns: [{name: one, data_tests: "
        "[{freshline_dbt.accepted_range: {arguments: {min_value: 1}}}]}]}]"
    )

    prepare(copied)

    manifest = json.loads((copied / "target" / "manifest.json").read_text())
    assert "macro.freshline_dbt.test_accepted_range" in manifest["macros"]
    assert any("accepted_range_bare_one" in name for name in manifest["nodes"])
    macros = Path(freshline.__file__).with_name("dbt") / "freshline_dbt"
    assert macros == (copied / "target" / "freshline_dbt").resolve()


def test_macros_that_are_elsewhere_now_are_a_change_that_prepare_mends(copied: Path) -> None:
    (copied / "packages.yml").write_text("packages:\n  - local: target/freshline_dbt\n")
    prepare(copied)
    link = copied / "target" / "freshline_dbt"
    where = link.readlink()
    link.unlink()
    link.symlink_to(copied / "an" / "environment" / "that" / "is" / "gone")
    assert changed(copied)

    prepare(copied)

    assert where == link.readlink()
    assert not changed(copied)


def test_files_in_place_of_the_link_to_the_macros_are_replaced(copied: Path) -> None:
    link = copied / "target" / "freshline_dbt"
    where = link.readlink()
    link.unlink()
    shutil.copytree(where, link)

    prepare(copied)

    assert where == link.readlink()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "usage: "), (["no/such/folder"], "no/such/folder is not a dbt project")],
)
def test_a_folder_that_is_no_project_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == prepare_dbt(arguments)
    assert message in capsys.readouterr().err
