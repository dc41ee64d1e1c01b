"""Which code a run is of: equal for the same code, however its paths are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster._core.code_pointer import CodePointer, FileCodePointer, ModuleCodePointer
from dagster._core.origin import RepositoryPythonOrigin
from freshline.engine.origin import Code, code_of, codes_of, folder_of


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """Two releases, whose Pythons are links to the same program, and `current`."""
    (tmp_path / "python").touch()
    for name in ("1", "2"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").symlink_to(tmp_path / "python")
    (tmp_path / "current").symlink_to("1")
    return tmp_path


def code(release: Path, pointer: CodePointer) -> Code:
    return code_of(RepositoryPythonOrigin(str(release / "bin" / "python"), pointer))


def module(release: Path, name: str = "shop") -> CodePointer:
    return ModuleCodePointer(name, "defs", str(release))


def test_a_link_to_a_release_is_the_release(releases: Path) -> None:
    link, release = releases / "current", releases / "1"

    assert code(release, module(release)) == code(link, module(link))


def test_another_python_folder_or_module_is_other_code(releases: Path) -> None:
    one, other = releases / "1", releases / "2"
    codes = {
        code(one, module(one)),
        code(other, module(one)),
        code(one, module(other)),
        code(one, module(one, "shop2")),
    }

    assert 4 == len(codes)


def test_a_file_is_the_same_wherever_dagster_was_started(releases: Path) -> None:
    file = str(releases / "1" / "shop.py")
    here, there = (FileCodePointer(file, "defs", folder) for folder in (str(releases), None))

    assert code(releases / "1", here) == code(releases / "1", there)


def test_what_a_worker_has_loaded_is_the_code_of_its_runs(releases: Path) -> None:
    release = releases / "1"
    pointer = module(release)

    loaded = codes_of(str(release / "bin" / "python"), [pointer])

    assert code(release, pointer) in loaded


def test_a_run_is_made_in_the_folder_of_its_code(releases: Path) -> None:
    python = str(releases / "1" / "bin" / "python")

    assert releases == folder_of(RepositoryPythonOrigin(python, module(releases)))
    assert folder_of(RepositoryPythonOrigin(python, ModuleCodePointer("a", "defs", None))) is None
