"""dbt loaded once, in a process whose forks run it.

A process that is forked for every run calls `load_dbt` after it has loaded the location. In each
run, ``build_dbt(context, dbt)`` with a `FreshlineDbtResource` then runs dbt in a fork of the run's
process. Without `load_dbt`, and for any other program than the ``dbt`` of this Python environment,
dagster-dbt starts the program.

dbt compiles much of itself when it is used for the first time: what reads and writes a manifest, or
validates a project. `load_dbt` has it done before there is a run. Of the projects themselves
nothing is kept: each run reads and compares them as the program does, so a model that was edited
since is built as it is now. Only the syntax tree of a macro is kept, by the macro's text:
dagster-dbt reads dbt's five hundred macros in each run, for an adapter that counts rows.

dagster-dbt offers no way to say how dbt is started. `load_dbt` puts `_Subprocess` in the place of
the module `subprocess` in the one private module that starts it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from dagster_dbt import DbtCliResource
from dagster_dbt.core import dbt_cli_invocation
from packaging.version import Version

from freshline.dbt.build import projects_of_resources
from freshline.dbt.fork import DbtFork, forget_dbt

__all__ = ["load_dbt"]

_logger: Final = logging.getLogger(__name__)

_ENTRY_POINT: Final = "dbt.cli.main:cli"
"""What the program calls, in the versions of dbt that can run in a fork."""

_USED_LATE: Final[tuple[str, ...]] = (
    "dbt.task.build",
    "dbt_common.clients.agate_helper",
    "multiprocessing.dummy",
)
"""What dbt imports only when it builds."""

_KEPT_TREES: Final = 10_000
"""So many syntax trees of macros are kept at most."""


def load_dbt() -> bool:
    """Load dbt and its adapters, and let runs in forks of this process use them.

    Call it once, after the location was loaded. It leaves no connection, thread, lock or open file.
    Returns whether runs will use it. False: the program of this environment is not that of
    dbt-core 1, so it will be started as ever.
    """
    program = _own_program()
    if program is None:
        return False
    from dbt_common.clients import jinja

    for name in ("dbt.cli.main", *_USED_LATE):
        importlib.import_module(name)
    for name in _adapters():
        try:
            importlib.import_module(name)
        except Exception:
            # Maybe no project uses it. If one does, dbt says so when it runs.
            _logger.warning("The dbt adapter %s cannot be imported", name, exc_info=True)
    jinja.parse = lru_cache(_KEPT_TREES)(jinja.parse)
    for project, profiles in projects_of_resources().items():
        _rehearse(project, profiles)
        _rehearse_adapter(project, profiles, program)
    setattr(  # noqa: B010  (an assignment would be an error of types: it is no module)
        dbt_cli_invocation, "subprocess", _Subprocess(program, _search_path(program))
    )
    return True


def _rehearse(project: Path, profiles: Path | None) -> None:
    """Invoke dbt on a project, with nothing to do. It does not connect to a warehouse."""
    from dbt.cli.main import dbtRunner

    parsed = project / "target" / "partial_parse.msgpack"
    # dbt changes the working folder of the process.
    with contextlib.chdir(project), tempfile.TemporaryDirectory() as folder:
        done = dbtRunner().invoke(
            [
                *("--quiet", "--no-send-anonymous-usage-stats"),
                # The static parser starts threads, which a fork would wait for in vain.
                "--no-static-parser",
                *("--log-path", folder, "--log-level-file", "none"),
                *(("--partial-parse-file-path", str(parsed)) if parsed.exists() else ()),
                *("build", "--select", "freshline_selects_nothing", "--target-path", folder),
                *("--project-dir", str(project)),
                *(("--profiles-dir", str(profiles)) if profiles else ()),
            ]
        )
    if done.exception is not None:
        # Each run will fail with it, or will not if it is mended until then.
        _logger.warning("dbt cannot load the project %s yet: %s", project, done.exception)
    del done
    _forget_all()


def _rehearse_adapter(project: Path, profiles: Path | None, program: Path) -> None:
    """Make an adapter as dagster-dbt makes one in each run. It does not connect to a warehouse."""
    resource = DbtCliResource(
        project,
        profiles_dir=os.fspath(profiles) if profiles else None,
        dbt_executable=os.fspath(program),
    )
    try:
        resource._initialize_dbt_core_adapter(())  # noqa: SLF001  # there is no public way
    except Exception as error:  # noqa: BLE001  # each run will say it too, without row counts
        _logger.warning("dagster-dbt cannot make an adapter for %s yet: %s", project, error)
    _forget_all()


def _forget_all() -> None:
    """Keep nothing of what dbt knows of a project."""
    forget_dbt()
    # Adapters and manifests have locks, in cycles.
    gc.collect()


class _Subprocess:
    """What dagster-dbt uses of the module `subprocess`. `Popen` forks for one program."""

    PIPE = subprocess.PIPE
    STDOUT = subprocess.STDOUT

    def __init__(self, program: Path, search_path: Sequence[str]) -> None:
        self._program = os.fspath(program)
        self._search_path = search_path

    def Popen(  # noqa: N802  (its name in `subprocess`)
        self,
        args: Sequence[str],
        *,
        stdout: int,
        stderr: int,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str],
    ) -> DbtFork | subprocess.Popen[bytes]:
        if args[0] != self._program:
            return subprocess.Popen(args, stdout=stdout, stderr=stderr, env=env, cwd=cwd)
        return DbtFork(args, env=env, cwd=cwd, search_path=self._search_path)


def _own_program() -> Path | None:
    """Return the program ``dbt`` of this environment if it is dbt-core's, else None."""
    try:
        core = distribution("dbt-core")
    except PackageNotFoundError:
        return None
    program = Path(sys.executable).with_name("dbt")
    entries = core.entry_points.select(group="console_scripts", name="dbt")
    if (
        Version(core.version).major == 1
        and [entry.value for entry in entries] == [_ENTRY_POINT]
        and _has_installed(core, program)
    ):
        return program
    return None


def _has_installed(package: Distribution, file: Path) -> bool:
    """Return whether a package has installed a file: another one may have the same name."""
    return any(
        path.name == file.name and os.path.normpath(path.locate()) == os.path.normpath(file)
        for path in package.files or ()
    )


def _adapters() -> list[str]:
    """Return the names of the modules of the adapters that are installed."""
    from dbt import adapters, include

    # Each adapter has its macros in dbt.include, under its own name.
    with_macros = {found.name for found in pkgutil.iter_modules(include.__path__)}
    return [
        f"dbt.adapters.{found.name}"
        for found in pkgutil.iter_modules(adapters.__path__)
        if found.name in with_macros
    ]


def _search_path(program: Path) -> list[str]:
    """Return the `sys.path` that Python gives the program. Loading a location may change ours."""
    script = "import json, sys; json.dump(sys.path, sys.stdout)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], check=True, capture_output=True, text=True
    )
    found: Any = json.loads(done.stdout)
    return [os.fspath(program.parent), *found]
