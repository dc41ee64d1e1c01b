"""DbtFork beside the program: what it prints, how it ends, and what it has inherited."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dbt.adapters.factory import FACTORY
from freshline.dbt import fork
from freshline.dbt.fork import DbtFork
from freshline.dbt.warm import load_dbt

PROGRAM = str(Path(sys.executable).with_name("dbt"))
WAIT_SECONDS = 180.0


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    """dbt loaded, without what `load_dbt` changes in dagster-dbt."""
    with pytest.MonkeyPatch.context() as patch:
        from dagster_dbt.core import dbt_cli_invocation

        patch.setattr(dbt_cli_invocation, "subprocess", subprocess)
        assert load_dbt()
        yield


@pytest.fixture(autouse=True)
def _sigterm_ends() -> Iterator[None]:
    """As in a run. Here Dagster may have given it what SIGINT has, which jobs of scripts ignore."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., DbtFork]]:
    """A function that starts forks, which are killed at the end of the test."""
    started = []

    def begin(*args: str, env: dict[str, str] | None = None) -> DbtFork:
        found = DbtFork(
            [PROGRAM, *args],
            env=dict(os.environ) if env is None else env,
            cwd=tmp_path,
            search_path=sys.path,
        )
        started.append(found)
        return found

    yield begin
    for each in started:
        each.stdout.close()
        each.kill()
        each.wait()


@pytest.mark.parametrize(
    "args",
    [
        ("build", "--help"),
        (),
        ("nonsense",),
        ("build", "--no-such-option"),
        ("build", "--threads", "many"),
        ("list", "--log-format", "json", "--no-send-anonymous-usage-stats"),  # there is no project
    ],
)
def test_prints_and_exits_as_the_program_does(
    args: tuple[str, ...], start: Any, tmp_path: Path
) -> None:
    program = subprocess.run(
        [PROGRAM, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        check=False,
    )

    process = start(*args)

    assert without_ids(program.stdout) == without_ids(process.stdout.read())
    assert program.returncode == process.wait()


def without_ids(output: bytes) -> list[Any]:
    """Return the lines of dbt's output, without what each invocation has of its own."""
    lines: list[Any] = []
    for line in output.decode().splitlines():
        if line.startswith("{"):
            info = json.loads(line)["info"]
            if info["name"] != "CommandCompleted":  # names the second
                lines.append((info["name"], info["level"], info["msg"]))
        else:
            lines.append(line)
    return lines


class TestTheProcess:
    def test_takes_a_signal(self, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fork, "_call_program", say_and_wait)
        process = start()
        assert b"ready\n" == process.stdout.readline()
        assert None is process.poll()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0)

        process.terminate()

        assert -signal.SIGTERM == process.wait(timeout=WAIT_SECONDS)
        assert -signal.SIGTERM == process.poll() == process.returncode
        process.kill()  # there is nothing to kill any more, and another process may have its number

    def test_is_interrupted_even_if_its_parent_ignores_that(
        self, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fork, "_call_program", say_and_wait)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = start()
        finally:
            signal.signal(signal.SIGINT, before)
        assert b"ready\n" == process.stdout.readline()

        process.send_signal(signal.SIGINT)

        assert b"KeyboardInterrupt" in process.stdout.read()
        assert 1 == process.wait(timeout=WAIT_SECONDS)

    def test_is_no_zombie_and_leaves_no_descriptor(self, start: Any) -> None:
        start("--help").wait()  # what Python keeps for all forks
        before = descriptors()

        process = start("--help")
        process.stdout.read()
        process.stdout.close()
        process.wait()

        assert before == descriptors()
        with pytest.raises(ChildProcessError):
            os.waitpid(process.pid, 0)

    def test_starts_in_a_daemonic_process_as_celerys_are(
        self, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)

        process = start("build", "--help")

        assert b"Usage: dbt build" in process.stdout.read()
        assert 0 == process.wait()
        assert [] == multiprocessing.active_children()

    def test_is_in_the_group_of_its_parent(
        self, start: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fork, "_call_program", say_and_wait)
        process = start()
        process.stdout.readline()

        assert os.getpgrp() == os.getpgid(process.pid)
        assert os.getsid(0) == os.getsid(process.pid)


def say_and_wait(args: object) -> None:
    print("ready")
    select.select([], [], [])


def descriptors() -> set[str]:
    # The one that lists the folder has the same number each time.
    return {path.name for path in Path("/dev/fd").iterdir()}


class TestWhatIsInherited:
    def test_is_what_the_program_has(
        self, start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(fork, "_call_program", describe)
        monkeypatch.setenv("OF_THE_PARENT", "1")
        monkeypatch.setitem(FACTORY.adapters, "postgres", Untouchable())
        env = {"WORD": "word", "PATH": os.environ["PATH"]}
        reading, writing = os.pipe()
        os.write(writing, b"of the parent")
        before = signal.signal(signal.SIGUSR1, lambda *_: None)
        handler = logging.StreamHandler(io.StringIO())
        logging.getLogger().addHandler(handler)
        logging.getLogger("dbt").addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                process = start("build", env=env)
            found = json.loads(process.stdout.read())
        finally:
            logging.getLogger().removeHandler(handler)
            logging.getLogger("dbt").removeHandler(handler)
            signal.signal(signal.SIGUSR1, before)
            os.close(reading)
            os.close(writing)

        assert 0 == process.wait()
        assert {
            "environment": env,
            "folder": str(tmp_path),
            "argv": [PROGRAM, "build"],
            "input": "",
            "handlers": [],
            "handled": ["SIGINT"],
            "blocked": [],
            "adapters": [],
            "collects": True,
            "open": [],
            "warns": True,
            "frames": True,
        } == found


class Untouchable:
    """An adapter of the parent: its connections must not be closed."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of the parent's adapter is used")


def describe(args: object) -> None:
    """Print what a fork has."""
    import gc

    with warnings.catch_warnings(record=True) as warned:
        warnings.warn("a warning", UserWarning, stacklevel=1)
        warnings.warn("not shown", DeprecationWarning, stacklevel=1)
    loggers = [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]
    handlers = [it for logger in loggers for it in logger.handlers]
    print(
        json.dumps(
            {
                "environment": dict(os.environ),
                "folder": str(Path.cwd()),
                "argv": sys.argv,
                "input": sys.stdin.read(),
                "handlers": [
                    repr(it) for it in handlers if not isinstance(it, logging.NullHandler)
                ],
                "handled": [
                    signal.Signals(it).name
                    for it in signal.valid_signals()
                    if callable(signal.getsignal(it))
                ],
                "blocked": [int(it) for it in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
                "adapters": list(FACTORY.adapters),
                "collects": gc.isenabled(),
                "open": list(open_files()),
                "warns": ["a warning"] == [str(it.message) for it in warned],
                "frames": room_for_frames() > 950,  # of 1,000
            }
        )
    )


def open_files() -> Iterator[str]:
    """Yield what is open beside standard streams, the parent, and Python's list of semaphores."""
    from multiprocessing import resource_tracker

    known = {"0", "1", "2", str(resource_tracker.getfd())}
    for path in Path("/dev/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder itself
            target = str(path.readlink())
            if path.name not in known and target != os.devnull and "pidfd" not in target:
                yield f"{path.name} {target}"


def room_for_frames(depth: int = 0) -> int:
    """Return how many calls deep a function may call itself."""
    try:
        return room_for_frames(depth + 1)
    except RecursionError:
        return depth


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads that hold locks most of the time: of logging, imports, streams, memory."""
    over = threading.Event()
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w")))
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("busy")
    logger.addHandler(handler)
    logger.propagate = False

    def load() -> None:
        sys.modules.pop("colorsys", None)
        importlib.import_module("colorsys")

    def repeat(act: Callable[[], object]) -> None:
        while not over.is_set():
            act()

    threads = [
        threading.Thread(target=repeat, args=(act,))
        for act in (
            lambda: logger.warning("busy"),
            load,
            lambda: stream.write("x" * 1000),
            lambda: [bytes(100_000) for _ in range(100)],
        )
    ]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()
    logger.removeHandler(handler)
    stream.close()


@pytest.mark.usefixtures("busy_threads")
def test_forks_end_while_other_threads_are_busy(start: Any) -> None:
    for _ in range(20):
        process = start("build", "--help")
        assert b"Usage: dbt build" in read_within(process, WAIT_SECONDS)
        assert 0 == process.wait(timeout=WAIT_SECONDS)


def read_within(process: DbtFork, seconds: float) -> bytes:
    """Return what a process prints until it ends. Fails if that takes longer."""
    output, deadline = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"the fork does not end; so far: {output!r}"
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            return output
        output += piece
