"""Which files a location was loaded from, and what of them counts as a change."""

from __future__ import annotations

import importlib
import json
import py_compile
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from freshline.engine.loaded_files import LoadedFiles, recorded

CODE = """
from pathlib import Path

TEXT = Path(__file__).with_name("settings.txt").read_text()
MODELS = sorted(path.name for path in Path(__file__).with_name("models").iterdir())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python searches, with a module that reads a file and lists a folder."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "first.sql").write_text("select 1")
    (tmp_path / "settings.txt").write_text("some text")
    (tmp_path / "loaded_here.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("loaded_here", None)


@pytest.fixture
def loaded(folder: Path) -> LoadedFiles:
    """What was loaded, as another process reads it."""
    with recorded() as files:
        importlib.import_module("loaded_here")
    found = LoadedFiles.from_json(json.loads(json.dumps(asdict(files))))
    assert found.changed() is None
    return found


@pytest.mark.parametrize("name", ["loaded_here.py", "settings.txt"])
def test_a_file_that_was_read_has_changed(loaded: LoadedFiles, folder: Path, name: str) -> None:
    (folder / name).write_text("# another text")

    assert str(folder / name) == loaded.changed()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_file_is_saved_while_others_load(folder: Path, *, compiled: bool) -> None:
    if compiled:
        py_compile.compile(str(folder / "loaded_here.py"))
    new = folder / "new.txt"
    new.write_text(f"{CODE}# saved")
    with recorded() as files:
        importlib.import_module("loaded_here")
        new.replace(folder / "loaded_here.py")  # as an editor does, in another process

    assert str(folder / "loaded_here.py") == files.changed()


def test_what_loading_writes_has_not_changed(folder: Path) -> None:
    with recorded() as files:
        (folder / "settings.txt").read_text()
        (folder / "settings.txt").write_text("parsed")

    assert files.changed() is None


def test_a_file_that_was_read_is_gone(loaded: LoadedFiles, folder: Path) -> None:
    (folder / "settings.txt").unlink()

    assert str(folder / "settings.txt") == loaded.changed()


def test_a_folder_that_was_listed_has_a_new_file(loaded: LoadedFiles, folder: Path) -> None:
    (folder / "models" / "second.sql").write_text("select 2")

    assert str(folder / "models") == loaded.changed()


@pytest.mark.parametrize("name", ["another.py", "package/__init__.py"])
def test_there_is_a_new_module(loaded: LoadedFiles, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")

    assert str(folder) == loaded.changed()


@pytest.mark.parametrize("name", ["dagster.log", "logs/dbt.log"])
def test_what_is_no_module_may_appear_where_python_searches(
    loaded: LoadedFiles, folder: Path, name: str
) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")

    assert loaded.changed() is None
