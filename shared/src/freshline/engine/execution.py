"""One run, in a process of its own: it ends when it is to end, and writes nothing after that.

The process is a fork of a worker that has loaded the code of the run. If the worker has other code,
or its files have changed since, it is a new Python that loads that code as it is.
"""

from __future__ import annotations

import json
import math
import multiprocessing.process
import multiprocessing.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import dagster as dg
from billiard.util import set_pdeathsig  # type: ignore[attr-defined]  # not in the stubs
from dagster._cli.api import _execute_run_command_body
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import deserialize_value
from dagster._utils.interrupts import capture_interrupts
from sqlalchemy.exc import InterfaceError, OperationalError

from freshline.connections import kept_connections
from freshline.engine.broker import WORD_EVERY, Broker, BrokerError
from freshline.engine.origin import Code, code_of, folder_of
from freshline.words import span
from freshline.workspace.runner import code_server_environment

__all__ = ["execute_run"]

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the status of the run."""
_SURE_FOR: Final = 2.0
"""Seconds for which a look counts. What is written later needs a new one."""

_ALONE_FOR: Final = 10.0
"""Seconds without an answer of broker or database after which a run ends itself. Others, which can
reach them, give it up after `SILENT_AFTER`, and may make it again: by then it must have ended."""

_AWAY_SECONDS: Final = 60.0
"""How long a run waits for what is away: for the broker before it begins, afterwards it needs none;
for the database each time that it has something to write."""

_PROCESS: Final = multiprocessing.process.current_process()
"""This process for multiprocessing. Celery's forks put their own there, which may have no children:
Dagster's default executor, and others, could start none."""

_T = TypeVar("_T")

_LAUNCHED: Final = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
_ENDED: Final = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
_DECIDING_EVENTS: Final = (
    dg.DagsterEventType.RUN_START,
    dg.DagsterEventType.RUN_SUCCESS,
    dg.DagsterEventType.RUN_FAILURE,
    dg.DagsterEventType.RUN_CANCELED,
)


def execute_run(
    arguments: str,
    worker: str,
    broker_url: str,
    codes: Collection[Code],
    changed: str | None,
    instance: dg.DagsterInstance | None,
) -> None:
    """Execute the run that `arguments` (a serialized `ExecuteRunArgs`) names.

    That is in this process if it has the code of the run: `codes` are those that the worker of the
    name `worker` has loaded, and `changed` is a file that has changed since; None: none has. Else
    it is in the Python of the run's code, which loads that as it is now. `instance` is the host's
    if the worker has opened it.
    """
    _be_a_run()
    multiprocessing.process._current_process = _PROCESS  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        _execute(arguments, worker, broker_url, codes, changed, instance)
    finally:
        # Celery's forks end without it. Locks of dbt have names in /dev/shm, which this deletes.
        multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]  # noqa: SLF001


def _execute(
    arguments: str,
    worker: str,
    broker_url: str,
    codes: Collection[Code],
    changed: str | None,
    instance: dg.DagsterInstance | None,
) -> None:
    given = _read(arguments, worker)
    origin = given.job_origin.repository_origin
    if code_of(origin) not in codes:
        python = origin.executable_path
        why = f"its code is in {folder_of(origin) or python}, and this worker has other code"
    elif changed:
        python, why = sys.executable, f"{changed} has changed"
    else:
        _execute_here(given, worker, broker_url, instance)
        return
    if not Path(python).exists():
        _fail(
            given,
            f"{why}. There is no {python} on this host: deploy that release here too, or "
            "keep releases until their last run has ended.",
        )
        return
    said = {"arguments": arguments, "worker": worker, "why": why}
    ended = _execute_by(python, folder_of(origin), said, broker_url)
    if ended:  # if the run has begun, it has said what became of it, or is given up
        _fail(given, f"{why}, and {python} ended with status {ended}; the worker's log says why.")


def _read(arguments: str, worker: str) -> ExecuteRunArgs:
    """Return the arguments of a run. One that this Dagster cannot read fails, and says so."""
    try:
        return deserialize_value(arguments, ExecuteRunArgs)
    except Exception as error:  # another version of Dagster has written it: anything may not fit
        _refuse(arguments, worker, error)
        raise


def _refuse(arguments: str, worker: str, error: Exception) -> None:
    """Fail a run of which this Dagster cannot read what the launcher says."""
    if not os.environ.get("DAGSTER_HOME"):
        return  # the instance is named there alone
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(json.loads(arguments)["pipeline_run_id"])
        if run is None or run.is_finished:
            return
        instance.report_run_failed(
            run,
            f"{worker} has Dagster {dg.__version__} and cannot read what the daemon's Dagster says "
            f"of the run ({error}). Give the location and the daemon versions that can be mixed, "
            "and upgrade the daemon first.",
        )


def _execute_here(
    given: ExecuteRunArgs,
    worker: str,
    broker_url: str,
    opened: dg.DagsterInstance | None = None,
    why: str = "",
) -> None:
    """Execute the run in this process, with the instance that is `opened` if one is.

    `why` says why it is a new process; empty: it is a fork.
    """
    with (
        capture_interrupts(),
        opened or _patiently(lambda: _open_instance(given)) as instance,
        kept_connections(instance),
    ):
        run = _run_to_make(instance, given.run_id)
        broker = Broker(broker_url)
        process = f"{worker} {os.getpid()}"
        # Two processes that have both been given it may both have seen that it has not started.
        if run is None or not _patiently(lambda: broker.claim_run(given.run_id, process)):
            return
        with _Watch(instance, run.run_id, worker, broker).going():
            if why:
                instance.report_engine_event(f"A new Python makes this run: {why}.", run)
            _execute_run_command_body(run.run_id, instance, _ignore, set_exit_code_on_failure=True)


def _run_to_make(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    """Return the run; None: it is not to be made."""
    run = _patiently(lambda: instance.get_run_by_id(run_id))
    if run is not None and run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
    # Else it was deleted, terminated or given up, or another process has it, or it waits in
    # Dagster's queue again: the daemon took this message for one that the broker had not.
    return run if run is not None and run.status in _LAUNCHED else None


def _fail(given: ExecuteRunArgs, why: str) -> None:
    """Have the run fail; Dagster tries it again if it is told to, with the code that is served."""
    with _patiently(lambda: _open_instance(given)) as instance:
        run = _run_to_make(instance, given.run_id)
        if run:
            instance.report_run_failed(run, f"The run cannot be made: {why}")


def _open_instance(arguments: ExecuteRunArgs) -> dg.DagsterInstance:
    """Open the instance of this host, or else that of the daemon, which is on the same host then.

    `dagster dev` without `DAGSTER_HOME` has an instance that only its own processes know of.
    """
    if os.environ.get("DAGSTER_HOME") or arguments.instance_ref is None:
        return dg.DagsterInstance.get()
    return dg.DagsterInstance.from_ref(arguments.instance_ref)


def _execute_by(python: str, folder: Path | None, given: dict[str, str], broker_url: str) -> int:
    """Execute the run in a new process of `python`, which loads the code in `folder`.

    It may be that of an older or newer release: what it is given stays as it is. It is given that
    by a pipe, since passwords may be in it, which other users could read in its arguments. Return
    its exit status.
    """
    with suppress(OSError):  # not Linux: there it is not killed with its worker
        set_pdeathsig(signal.SIGKILL)  # the new process sees that, and ends as well
    environment = code_server_environment(folder or Path.cwd(), python)
    child = subprocess.Popen(
        [python, "-m", "freshline.engine.execution"],
        cwd=folder,
        env={**environment, "FRESHLINE_BROKER_URL": broker_url},
        stdin=subprocess.PIPE,
        text=True,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: child.send_signal(signal.SIGINT))
    child.communicate(json.dumps(given))
    return child.returncode


def _be_a_run() -> None:
    """Lead a process group, which is killed as a whole, and be interrupted as a new Python is.

    A child of Celery ignores interrupts, and is killed alone when its worker is: here, all that the
    run has started is to end as well.
    """
    os.setpgid(0, 0)
    with suppress(OSError):  # not Linux: there it is not killed either
        set_pdeathsig(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _patiently(ask: Callable[[], _T]) -> _T:
    """Return what `ask` returns, as soon as what it asks answers. Raises what that long raises."""
    until = time.monotonic() + _AWAY_SECONDS
    while True:
        try:
            return ask()
        except Exception as error:
            if not _is_away(error) or time.monotonic() > until:
                raise
            time.sleep(_LOOK_EVERY)


def _is_away(error: Exception) -> bool:
    """Return whether the broker, or a database that is away or has no room, is the reason.

    dagster-postgres has an exception of its own for one that it could not connect to.
    """
    reasons = (error, error.__cause__)
    away = BrokerError | OperationalError | InterfaceError
    return any(isinstance(reason, away) for reason in reasons)


def _ignore(_: object) -> None:
    """Take an event of the run: the event log has it."""


class _Watch:
    """Says that a run is being made, and ends it when it is canceled, given up or cut off."""

    def __init__(
        self, instance: dg.DagsterInstance, run_id: str, worker: str, broker: Broker
    ) -> None:
        self._instance = instance
        self._run_id = run_id
        self._worker = worker
        self._broker = broker
        self._broker_answers = True
        """Whether it did when it was last told something."""
        self._write = instance.handle_new_event
        self._over = threading.Event()
        self._ending = False
        """Whether the run itself has written how it ended."""
        self._looked_at = -math.inf
        self._heard_at = time.monotonic()
        """When the broker or the database was last asked something that it has answered."""
        self._interrupted = False
        self._parent = os.getppid()

    @contextmanager
    def going(self) -> Iterator[None]:
        """Watch as long as the context is open."""
        self._instance.handle_new_event = self._write_unless_over  # type: ignore[method-assign]
        threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._keep_looking, self._keep_saying, self._end_when_alone)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _write_unless_over(self, event: dg.EventLogEntry, **options: Any) -> None:
        """Write an event as soon as the database takes it. Raises what that raises for long."""

        def write() -> None:
            kind = self._deciding(event)
            before, is_ending = self._ending, kind not in (None, dg.DagsterEventType.RUN_START)
            if event.run_id == self._run_id and (kind or self._is_unsure()):
                self._look()
            self._ending = before or is_ending
            try:
                self._write(event, **options)
            except Exception:
                self._ending = before  # while it waits for the next attempt, it may be given up
                raise

        _patiently(write)
        self._tell(event)

    def _tell(self, event: dg.EventLogEntry) -> None:
        """Tell the daemon of a new version, for which another location may wait."""
        made = event.asset_materialization
        if made is None or not self._broker_answers:
            return
        try:
            self._broker.say_made(made.asset_key.to_user_string())
        except BrokerError:  # without a word of it, the daemon sees it a few seconds later
            self._broker_answers = False

    def _is_unsure(self) -> bool:
        return time.monotonic() - self._looked_at > _SURE_FOR

    def _deciding(self, event: dg.EventLogEntry) -> dg.DagsterEventType | None:
        """Return what `event` says of the run's status, which replaces what it was; None: nothing.

        Dagster replaces also one that somebody else has written since: canceled, or given up.
        """
        if event.run_id != self._run_id or not event.is_dagster_event:
            return None
        kind = event.get_dagster_event().event_type
        return kind if kind in _DECIDING_EVENTS else None

    def _keep_looking(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            if os.getppid() != self._parent:
                # The worker was killed. A run that says nothing any more is made again elsewhere.
                os.killpg(0, signal.SIGKILL)
            with suppress(Exception):  # the database may be away; the run's own writes will tell
                self._look()

    def _look(self) -> None:
        """Look at the run's status: interrupt it if it is to be canceled, kill it if it is over.

        Raises what the database raises.
        """
        asked_at = time.monotonic()
        run = self._instance.get_run_by_id(self._run_id)
        self._looked_at = self._heard_at = asked_at
        if run is None or (run.status in _ENDED and not self._ending):
            # Somebody else has said how it ended: a run that was given up may be made again
            # elsewhere by now. Nothing of it may write any more.
            os.killpg(0, signal.SIGKILL)
        elif run.status is dg.DagsterRunStatus.CANCELING and not self._interrupted:
            self._interrupted = True
            os.kill(os.getpid(), signal.SIGINT)

    def _keep_saying(self) -> None:
        while True:
            asked_at = time.monotonic()
            try:
                self._broker.say_run(self._run_id, self._worker)
                self._heard_at = max(self._heard_at, asked_at)
                self._broker_answers = True
            except BrokerError:  # it may be away for a while
                self._broker_answers = False
            if self._over.wait(WORD_EVERY):
                break
        with suppress(BrokerError):
            self._broker.end_run(self._run_id)

    def _end_when_alone(self) -> None:
        """End the run when its host seems to be cut off: it cannot learn that it was given up.

        Those who ask broker and database may wait for an answer for long. Code that lets no thread
        go on for a while is no sign: this one does not count up meanwhile either.
        """
        heard_at, looks = self._heard_at, 0
        while not self._over.wait(_LOOK_EVERY):
            looks = looks + 1 if heard_at == self._heard_at else 0
            heard_at = self._heard_at
            alone_for = time.monotonic() - heard_at
            if alone_for > _ALONE_FOR and looks * _LOOK_EVERY >= _ALONE_FOR:
                print(
                    f"freshline: neither broker nor database has answered for {span(alone_for)}; "
                    f"run {self._run_id} ends, because it is given up elsewhere",
                    file=sys.stderr,
                    flush=True,
                )
                os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Execute a run in this new Python, which a worker of perhaps another release has started."""
    _be_a_run()
    said = json.load(sys.stdin)
    worker = said["worker"]
    given = _read(said["arguments"], worker)
    _execute_here(given, worker, os.environ["FRESHLINE_BROKER_URL"], why=said["why"])


if __name__ == "__main__":
    main()
