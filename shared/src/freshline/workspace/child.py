"""Loads code locations, in their own Python, and writes their contracts to files.

It is started by path and imports Dagster only: freshline need not be installed there. One process
loads all locations of a Python. It imports Dagster once, which takes seconds, and forks for each
location, so that none is affected by the code of another. Usage: ``python child.py TASKS.json``;
every task says what to load, where to write the result, and how long that may take. Modules are
searched for as in ``python -m dagster api grpc``, which Dagster starts for a location. It stops at
once when its standard input closes, so that it never outlives the process that started it.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

TRACEBACK_LINES = 6

_STANDARD_LIBRARY = str(Path(os.__file__).parent) + os.sep


def main(tasks_file: str) -> None:
    """Load the location of every task of `tasks_file`, in order."""
    plan = json.loads(Path(tasks_file).read_text())
    _search_as_dagster(plan["path"])
    describe = _describe_module(plan["modules"])
    try:
        # Import what every location needs before the first fork.
        import dagster  # noqa: F401
        from dagster._core.types.loadable_target_origin import LoadableTargetOrigin  # noqa: F401
        from dagster._grpc.server import LoadedRepositories  # noqa: F401
    except BaseException as error:  # noqa: BLE001  # it goes into the result, whatever it is
        for task in plan["tasks"]:
            _write(
                task["result"], {"error": "its Python cannot load Dagster", **_traceback_of(error)}
            )
        return
    for task in plan["tasks"]:
        if not _run_task(describe, task):
            return


def _search_as_dagster(start: str | None) -> None:
    """Put the folder that Dagster is started in first on Python's path, in place of this file's.

    Dagster takes the first entry off while it loads a location. With Python's option -P there is
    none of a file or a start folder, so that Dagster takes off what comes next.
    """
    if not getattr(sys.flags, "safe_path", False):
        sys.path[:1] = [start] if start else []


def _run_task(describe: Any, task: dict[str, Any]) -> bool:
    """Load one location in a process of its own. Return False if our standard input has closed."""
    pid = os.fork()
    if pid == 0:
        try:
            _load(describe, task)
        finally:
            # End at once: no exit handler and no thread of the location may go on.
            os._exit(0)
    deadline = time.monotonic() + task["seconds"]
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _kill(pid)  # processes that it left running
            if not Path(task["result"]).exists():
                _write(task["result"], {"error": f"its Python ended {_ending(status)}"})
            return True
        closed = bool(select.select([sys.stdin], [], [], 0.02)[0])
        if closed or time.monotonic() > deadline:
            _kill(pid)
            os.waitpid(pid, 0)
            limit = f"it did not load within {task['seconds']:g} seconds"
            _write(task["result"], {"error": limit})
            return not closed


def _load(describe: Any, task: dict[str, Any]) -> None:
    os.setsid()  # a process group of its own, to end all processes of the location
    _silence(task["log"])
    outcome: dict[str, Any]
    try:
        ask = _ask_server if task["field"] == "server" else _inspect
        outcome = {"document": ask(describe, task)}
        json.dumps(outcome)
    except _NoAnswerError as error:
        outcome = {"error": str(error)}
    except BaseException as error:  # noqa: BLE001  # it goes into the result, whatever it is
        outcome = {"error": "it does not load", **_traceback_of(error)}
    _write(task["result"], outcome)


def _inspect(describe: Any, task: dict[str, Any]) -> Any:
    # Load the entry as a code server does. Dagster has no public function for it.
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._grpc.server import LoadedRepositories

    _load_secrets(task["location"], task["env_folder"])
    origin = LoadableTargetOrigin(
        executable_path=sys.executable,
        working_directory=task["working_directory"] or task["start"],
        attribute=task["attribute"],
        **{task["field"]: task["target"]},
    )
    known = inspect.signature(LoadedRepositories).parameters
    extra = {"code_location_name": task["location"]} if "code_location_name" in known else {}
    loaded = LoadedRepositories(origin, None, [], None, **extra)
    repositories = list(loaded.definitions_by_name.values())
    return describe.describe(repositories, task["location"], task["folder"])


def _load_secrets(location: str, env_folder: str | None) -> None:
    """Set the variables that Dagster sets for this location alone.

    They come from the loader that ``dagster.yaml`` names, else from the ``.env`` of its project.
    """
    from dagster._core.instance.ref import InstanceRef
    from dagster._core.secrets.env_file import get_env_var_dict

    home = os.environ.get("DAGSTER_HOME") or os.getcwd()  # noqa: PTH109
    settings = Path(home, "dagster.yaml")
    if settings.is_file() and re.search("^secrets:", settings.read_text(), re.MULTILINE):
        loader = InstanceRef.from_dir(home).secrets_loader
        os.environ.update(loader.get_secrets_for_environment(location) if loader else {})
        return
    named = json.loads(os.environ.get("DAGSTER_PROJECT_ENV_FILE_PATHS") or "{}")
    folder = env_folder or named.get(location)
    if folder:
        os.environ.update(get_env_var_dict(folder))


class _NoAnswerError(Exception):
    """No code server answers; says where, and what to do."""


def _ask_server(_: Any, task: dict[str, Any]) -> Any:
    # Code servers are asked from the Python of the gate, where freshline is installed.
    from freshline.workspace.server import describe_server

    try:
        return describe_server(task["location"], **task["target"])
    except ConnectionError as error:
        raise _NoAnswerError(str(error)) from error


def _traceback_of(error: BaseException) -> dict[str, list[str]]:
    """Return the last lines of the innermost cause's traceback, with the location's own frames."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _is_own_code(frame.filename)
    ]
    lines = "".join(traceback.format_list(frames[-2:]))
    lines += "".join(traceback.format_exception_only(type(error), error))
    return {"traceback": lines.strip("\n").splitlines()[-TRACEBACK_LINES:]}


def _is_own_code(filename: str) -> bool:
    # Installed packages are in folders of the standard library's, except in some environments.
    installed = "site-packages" in Path(filename).parts or filename.startswith(_STANDARD_LIBRARY)
    return not installed and not filename.startswith("<frozen") and filename != __file__


def _ending(status: int) -> str:
    # A wait status: the signal in the low seven bits, the exit status in the high byte.
    return f"by signal {status & 0x7F}" if status & 0x7F else f"with status {status >> 8}"


def _describe_module(modules: dict[str, str]) -> Any:
    """Load the gate's own modules, by name and file: the last is `describe`, which is returned.

    They are unloaded afterwards: the location may have another version of freshline.
    """
    module = None
    for name, path in modules.items():
        module = _load_file(name, path)
    for name in modules:
        del sys.modules[name]
    return module


def _load_file(name: str, path: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _silence(log: str) -> None:
    """Send all that the location's code prints to `log`, and give it an empty standard input."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _write(path: str, outcome: dict[str, Any]) -> None:
    # Renamed, so that a result is either complete or not there.
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(outcome))
    partial.replace(path)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
