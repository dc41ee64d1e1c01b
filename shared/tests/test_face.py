"""The names that `freshline` offers: all that a location needs, loaded on first use."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import freshline
import pytest

ROOT = Path(__file__).resolve().parents[2]
# These need dagster-dbt, which only locations with a dbt project have: see shared/dbt/tests.
NEED_DAGSTER_DBT = {"FreshlineDbtResource", "FreshlineDbtTranslator", "build_dbt", "dbt_manifest"}


@pytest.mark.parametrize("name", sorted(set(dir(freshline)) - NEED_DAGSTER_DBT))
def test_every_name_loads_and_is_documented(name: str) -> None:
    assert getattr(freshline, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No freshline attribute nothing"):
        freshline.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_names_that_need_no_dagster_load_without_it() -> None:
    program = "import sys; from freshline import MaxLag, PolicyError, max_lag, prepare_dbt; "
    program += "print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert ("False\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize("location", ["ingestion", "analytics_core", "analytics_marts"])
def test_a_location_imports_from_freshline_only_these_names(location: str) -> None:
    files = list((ROOT / location / "src").rglob("*.py"))

    assert {"freshline"} == {name for file in files for name in imported_of_freshline(file)}


def test_the_readme_names_each_private_module_of_dagster_that_is_used() -> None:
    readme = (ROOT / "shared" / "README.md").read_text(encoding="utf-8")
    files = Path(freshline.__file__).parent.rglob("*.py")
    private = {
        name
        for file in files
        for name in imported_modules(file)
        if name.startswith("dagster") and "._" in name
    }

    assert "dagster._grpc.server" in private
    assert set() == {name for name in private if f"`{name}" not in readme}


def imported_of_freshline(file: Path) -> Iterator[str]:
    """Yield the modules of freshline that `file` imports from."""
    yield from (name for name in imported_modules(file) if name.split(".")[0] == "freshline")


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the modules that `file` imports, or imports names from."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        yield from names
