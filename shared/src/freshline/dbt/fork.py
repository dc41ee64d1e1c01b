"""A fork of this process that is the program ``dbt`` to whoever started it.

The program takes three seconds of CPU before it does anything, nearly all of it to import itself. A
fork of a process that has imported dbt has that behind it. But a fork also inherits what the
program would not have: descriptors, signal handlers, loggers, state of dbt. `_become_program` gives
the fork what the program has instead; then it calls the function that the program calls.

**Threads.** A fork has only the thread that forked. A lock that another thread held at that moment
is never released in the fork, and whoever waits for it waits for ever. What makes it safe here:

- Python itself puts right the locks of `logging`, `threading`, `random` and of thread pools, and
  the C library those of its memory and its files.
- A lock of a module that another thread is just importing stays held. So dbt and its adapters are
  imported before (`freshline.dbt.warm`): a fork imports nothing of Dagster's, and of dbt nearly
  nothing.
- The fork uses no object with a lock that the process before had in use: it has new standard
  streams, its loggers have no handlers, dbt's event manager and adapters are new. It never touches
  connections, of Dagster's storage or of an adapter.
- Nothing of that is finalized either, which might wait for a lock, or close a connection that is
  still in use: the garbage collector leaves alone what was there before, the rest is kept (`_kept`)
  and the fork ends without deallocating anything.
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import inspect
import io
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import warnings
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import popen_fork, resource_tracker
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import IO, Any, Final

__all__ = ["DbtFork", "forget_dbt"]

_GRACE_SECONDS: Final = 25.0
"""How long dbt may take to cancel its queries when its parent has died. dagster-dbt grants a run
that is cancelled the same."""

_kept: Final[list[object]] = []
"""What a fork has inherited and neither uses nor finalizes."""


class DbtFork:
    """A running ``dbt``: what dagster-dbt uses of `subprocess.Popen`, with the same meaning.

    Standard output and error both go to the pipe `stdout`. If the process that started it dies, it
    cancels its queries and ends; the program would go on.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str],
        search_path: Sequence[str],
    ) -> None:
        """Start it. `args` has the program's path first; `search_path` becomes `sys.path`."""
        self.args = args
        # Adapters have semaphores. This process of Python, which all forks share, keeps a list of
        # them, to delete those that a killed process leaves behind. It may have to be started.
        tracker = resource_tracker.getfd()
        reading, writing = os.pipe()
        parent = os.pidfd_open(os.getpid())
        try:
            with _forking() as signals:
                start = _Start(
                    args=tuple(args),
                    env=dict(env),
                    cwd=os.fspath(cwd),
                    search_path=tuple(search_path),
                    output=writing,
                    parent=parent,
                    tracker=tracker,
                    signals=signals,
                )
                # Of the standard library, because it knows what a fork of Python has to reset, and
                # how it ends: finalizers, threads that are waited for, the exit status.
                process = ForkProcess(
                    target=_become_program, args=(start,), name="dbt", daemon=False
                )
                # Not process.start(), which refuses to in a daemonic process. Celery's workers
                # are. It would also make this process wait for dbt when it ends.
                self._started = popen_fork.Popen(process)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
            os.close(parent)
        self.stdout: IO[bytes] = os.fdopen(reading, "rb")
        self.pid: int = self._started.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or the negative number of the signal that ended it; None: it runs."""
        found = self._started.poll()
        if found is not None:
            self._started.close()  # its descriptors
        return found

    def poll(self) -> int | None:
        """Return `returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        """Return `returncode` when it has ended. Raises `subprocess.TimeoutExpired`; seconds."""
        if timeout is not None and not self._ends_within(timeout):
            raise subprocess.TimeoutExpired(list(self.args), timeout)
        self._started.wait()
        return self.returncode

    def _ends_within(self, seconds: float) -> bool:
        # Not by wait(timeout): that looks at a pipe, which the fork closes when it starts.
        if self.returncode is not None:
            return True
        pidfd = os.pidfd_open(self.pid)
        try:
            return _is_over(pidfd, seconds)
        finally:
            os.close(pidfd)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class _Start:
    """What a fork needs to become the program. `output`, `parent`, `tracker` are descriptors."""

    args: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    search_path: tuple[str, ...]
    output: int
    parent: int
    tracker: int | None
    signals: Collection[int]


@contextlib.contextmanager
def _forking() -> Iterator[Collection[int]]:
    """Yield the set of blocked signals as it was, in a block that may fork.

    In the block no signal is delivered and no garbage is collected, in the fork either: handlers
    and finalizers of this process must not run there. Python's warning about a fork with threads
    is answered at the top of this module.
    """
    collecting = gc.isenabled()
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
            yield signals
    finally:
        if collecting:
            gc.enable()
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)


def _become_program(start: _Start) -> None:
    """Be the program, from its start to its end. Runs in the fork and raises `SystemExit`."""
    gc.freeze()
    gc.enable()
    _replace_descriptors(start)
    _replace_streams()
    _forget_loggers()
    _kept.append(forget_dbt())
    _take_environment(start)
    _reset_warnings()
    # The program would have these frames less.
    sys.setrecursionlimit(sys.getrecursionlimit() + len(inspect.stack(context=0)))
    threading.Thread(
        target=_end_with, args=(start.parent,), name="end with parent", daemon=True
    ).start()
    _reset_signals(start.signals)
    # Empty, as that of a new process.
    contextvars.Context().run(_call_program, start.args)


def _replace_descriptors(start: _Start) -> None:
    """Give the fork the descriptors of the program: no input, output to the pipe, no others.

    The others are not closed: objects of the process before still have their numbers and might
    close what dbt has opened under the same number since. They all become ``/dev/null``.
    """
    null = os.open(os.devnull, os.O_RDWR)
    kept = {start.parent, start.tracker, null}
    os.dup2(null, 0)
    os.dup2(start.output, 1)
    os.dup2(start.output, 2)
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if number > 2 and number not in kept:
            os.dup2(null, number, inheritable=False)


def _replace_streams() -> None:
    """Make new standard streams: the old ones hold what the other process has not yet written."""
    old = sys.__stdout__
    encoding, errors = (old.encoding, old.errors) if old else ("utf-8", "strict")
    _kept.extend((sys.stdin, sys.stdout, sys.stderr))
    _kept.extend((sys.__stdin__, sys.__stdout__, sys.__stderr__))
    # Unbuffered, as dagster-dbt asks the program to be (PYTHONUNBUFFERED).
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _writer(1, encoding, errors)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _writer(2, encoding, "backslashreplace")  # type: ignore[misc]


def _writer(descriptor: int, encoding: str, errors: str | None) -> io.TextIOWrapper:
    raw = io.FileIO(descriptor, "w", closefd=False)
    # As Python makes them with `-u`: text right above the descriptor.
    return io.TextIOWrapper(raw, encoding, errors, write_through=True)


def _forget_loggers() -> None:
    """Take every handler off: it may write to Dagster's event log, or to the run's output."""
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            for handler in logger.handlers[:]:
                if not isinstance(handler, logging.NullHandler):  # a library's, says nothing
                    _kept.append(handler)
                    logger.removeHandler(handler)
    logging.root.setLevel(logging.WARNING)
    logging.disable(logging.NOTSET)
    logging.captureWarnings(capture=False)


def forget_dbt() -> tuple[object, ...]:
    """Put dbt's state back to what it is in a new process; return objects that it has replaced.

    Before each invocation dagster-dbt loads the project, to have an adapter of its own for row
    counts. dbt begins an invocation by closing the connections of the adapters that it knows. In a
    fork they are those of the other process, which goes on to use them.
    """
    from dbt import deprecations
    from dbt.adapters.factory import FACTORY
    from dbt.flags import set_flags
    from dbt_common.clients.jinja import template_cache
    from dbt_common.events.event_manager import EventManager
    from dbt_common.events.event_manager_client import ctx_set_event_manager, get_event_manager
    from dbt_common.events.functions import reset_metadata_vars

    replaced = (FACTORY.adapters, FACTORY.lock, get_event_manager())
    FACTORY.adapters = {}
    FACTORY.lock = threading.Lock()
    ctx_set_event_manager(EventManager())
    set_flags(Namespace(USE_COLORS=True))  # type: ignore[no-untyped-call]  # as below, dbt's own
    deprecations.reset_deprecations()  # type: ignore[no-untyped-call]
    deprecations.buffered_deprecations.clear()
    reset_metadata_vars()  # those of the run's environment are read anew
    template_cache.clear()  # a template knows the file that it was read from
    return replaced


def _take_environment(start: _Start) -> None:
    os.environ.clear()
    os.environ.update(start.env)
    os.chdir(start.cwd)
    sys.argv = list(start.args)
    # dbt takes each module on the path that is called dbt_... for a plugin. The path of a process
    # that has loaded a location may have the location's folder too.
    sys.path[:] = start.search_path
    sys.excepthook = sys.__excepthook__
    threading.excepthook = threading.__excepthook__


def _reset_warnings() -> None:
    """Show the warnings that Python shows if nobody has asked for others."""
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


def _reset_signals(blocked: Collection[int]) -> None:
    """Handle signals as a new Python does: SIGINT interrupts, others have the system's default.

    What is ignored stays ignored, except SIGINT: cancelling has to work in a background process
    that a shell has started too.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _end_with(parent: int) -> None:
    """Interrupt dbt when its parent has died, and kill it if it does not end. Runs in a thread."""
    _is_over(parent, None)
    main = threading.main_thread()
    if main.ident is not None:
        signal.pthread_kill(main.ident, signal.SIGINT)
    main.join(_GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_over(pidfd: int, seconds: float | None) -> bool:
    """Wait until a process has ended, or for so many seconds. Return whether it has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))


def _call_program(args: Sequence[str]) -> None:
    """Call what the installed program calls. Raises `SystemExit`, as it does.

    Not `dbtRunner`, for which exit statuses and messages about a wrong option would have to be
    made again, and which calls itself `cli` in its events.
    """
    from dbt.cli.main import cli

    command: Any = cli
    command.main(list(args[1:]), prog_name=Path(args[0]).name)
