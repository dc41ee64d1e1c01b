"""Loads code locations and writes down what they say. Runs in the locations' own Python.

Started by path, with nothing but Dagster to rely on: freshline need not be installed there. One
process serves all locations of an interpreter: it imports Dagster once (seconds) and forks for
each, so that none sees what another's code did. Usage: ``python child.py TASKS.json``, where
every task says what to load, where to write the result, and how long it may take. Stops at once
when its standard input closes, so that nothing outlives the one who started it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

TRACEBACK_LINES = 6


def main(tasks_file: str) -> None:
    """Serve every task of `tasks_file`, in order."""
    plan = json.loads(Path(tasks_file).read_text())
    describe = _describe_module(plan["names"], plan["describe"])
    try:
        # Everything that every location needs, before the first fork.
        import dagster  # noqa: F401
        from dagster._core.types.loadable_target_origin import LoadableTargetOrigin  # noqa: F401
        from dagster._grpc.server import LoadedRepositories  # noqa: F401
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the location's answer
        for task in plan["tasks"]:
            _write(task["result"], {"error": "its Python cannot load Dagster", **_why(error)})
        return
    for task in plan["tasks"]:
        if not _run(describe, task):
            return


def _run(describe: Any, task: dict[str, Any]) -> bool:
    """Load one location in a process of its own; False: whoever asked has gone."""
    pid = os.fork()
    if pid == 0:
        try:
            _load(describe, task)
        finally:
            # Not a return: neither the location's exit handlers nor its threads are to run on.
            os._exit(0)
    deadline = time.monotonic() + task["seconds"]
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            _kill(pid)  # what it left behind in its group
            if not Path(task["result"]).exists():
                _write(task["result"], {"error": f"its Python ended {_how(status)}"})
            return True
        gone = bool(select.select([sys.stdin], [], [], 0.02)[0])
        if gone or time.monotonic() > deadline:
            _kill(pid)
            os.waitpid(pid, 0)
            limit = f"it did not load within {task['seconds']:g} seconds"
            _write(task["result"], {"error": limit})
            return not gone


def _load(describe: Any, task: dict[str, Any]) -> None:
    os.setsid()  # so that whatever the location's code starts ends with it
    _silence(task["log"])
    outcome: dict[str, Any]
    try:
        inspect = _ask if task["field"] == "server" else _inspect
        outcome = {"document": inspect(describe, task)}
        json.dumps(outcome)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the location's answer
        outcome = {"error": "it does not load", **_why(error)}
    _write(task["result"], outcome)


def _inspect(describe: Any, task: dict[str, Any]) -> Any:
    # What a code server does with a workspace entry; nothing public loads one.
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
    from dagster._grpc.server import LoadedRepositories

    os.chdir(task["start"])
    origin = LoadableTargetOrigin(
        executable_path=sys.executable,
        working_directory=task["working_directory"] or task["start"],
        attribute=task["attribute"],
        **{task["field"]: task["target"]},
    )
    loaded = LoadedRepositories(origin, None, [], None)
    repositories = list(loaded.definitions_by_name.values())
    return describe.describe(repositories, task["location"], task["folder"])


def _ask(_: Any, task: dict[str, Any]) -> Any:
    # Only the Python that runs the gate asks servers, and it has freshline.
    from freshline.workspace.server import describe_server

    return describe_server(task["location"], **task["target"])


def _why(error: BaseException) -> dict[str, list[str]]:
    """The lines of the traceback that say most: the innermost cause, the location's own frames."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _own(frame.filename)]
    lines = "".join(traceback.format_list(frames[-2:]))
    lines += "".join(traceback.format_exception_only(type(error), error))
    return {"traceback": lines.strip("\n").splitlines()[-TRACEBACK_LINES:]}


def _own(filename: str) -> bool:
    installed = "site-packages" in Path(filename).parts
    return not installed and not filename.startswith("<frozen") and filename != __file__


def _how(status: int) -> str:
    # A wait status: the signal in the low seven bits, the exit status in the high byte.
    return f"by signal {status & 0x7F}" if status & 0x7F else f"with status {status >> 8}"


def _describe_module(names: str, describe: str) -> Any:
    """The gate's own `describe`, with the `names` that belong to it.

    Afterwards the location's code finds its own freshline, which may be of another version.
    """
    _load_file("freshline.names", names)
    module = _load_file("freshline_describe", describe)
    del sys.modules["freshline.names"]
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
    """Let the location's code print into `log` alone: results travel in files of their own."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _write(path: str, outcome: dict[str, Any]) -> None:
    # Renamed into place: a result is whole or absent.
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(outcome))
    partial.replace(path)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    # Python puts this file's folder first on the path, where its neighbours could hide modules
    # of the locations.
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    main(sys.argv[1])
