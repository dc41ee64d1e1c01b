"""Starts, watches and cancels syncs. A job has one worker process and one thread that watches it.

The worker and its connector are one process group, so that one signal ends both. It is always safe
to kill them: rows that are committed stay, and all others are read again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from devstack.airbyte import catalog
from devstack.airbyte.configuration import secrets_of
from devstack.airbyte.errors import conflict, not_found, unprocessable
from devstack.airbyte.faults import Switchboard
from devstack.airbyte.registry import Connector, Kind, Registry
from devstack.airbyte.store import Actor, Store, StoredConnection, StoredJob

_log = logging.getLogger(__name__)
# Seconds between two tries to write a job's outcome, while the database cannot be reached.
_RETRY_SECONDS = 0.5
_LOGS_KEPT = 100
_LOG_LINES_SHOWN = 1000


class JobRunner:
    """The syncs of this server."""

    def __init__(
        self, store: Store, registry: Registry, switchboard: Switchboard, data: Path
    ) -> None:
        """Keep logs, and what syncs need on disk, in the folder `data`."""
        self._store = store
        self._registry = registry
        self._switchboard = switchboard
        self._logs = data / "logs"
        self._scratch = data / "syncs"
        self._syncs: dict[int, _Sync] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._logs.mkdir(exist_ok=True, mode=0o700)
        # A server that was killed leaves configurations behind, secrets and all.
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(exist_ok=True, mode=0o700)

    def start(self, connection_id: UUID) -> StoredJob:
        """Start a sync and return its job.

        Raises `Problem` 404 for an unknown connection, 409 for one that is inactive or is being
        synced, 422 when the connector of its source is not installed.
        """
        connection = self._store.connection(connection_id)
        if connection is None:
            raise not_found("connection", connection_id)
        if connection.settings["status"] != "active":
            raise conflict("The connection is not active.")
        order = self._order(connection)
        # Under the lock, so that `cancel` finds the job's sync, whether it has started or not.
        with self._lock:
            job = self._store.add_job(connection.id, connection.workspace_id, "sync")
            if job is None:
                raise conflict("A sync is already running for this connection.")
            sync = self._syncs[job.id] = _Sync(
                job.id, self.log_file(job.id), self._scratch / f"job-{job.id}"
            )
        started = False
        try:
            started = sync.start({**order, "job_id": job.id}, lambda: self._watch(sync))
        except OSError as error:
            self._end(job.id, "failed", {"message": f"The worker did not start: {error}"})
        if not started:
            self._forget(sync)
        self._forget_old_logs()
        return job

    def cancel(self, job: StoredJob) -> None:
        """Cancel a job and wait until nothing of it runs; do nothing if it has ended."""
        if self._store.end_job(job.id, "cancelled"):
            self._kill(job.id)

    def cancel_connection(self, connection_id: UUID) -> None:
        """Cancel the running job of a connection, if it has one."""
        job = self._store.running_job(connection_id)
        if job is not None:
            self.cancel(job)

    def log_file(self, job_id: int) -> Path:
        """Return the log of a job's worker and connector. Only the newest logs are kept."""
        return self._logs / f"job-{job_id}.log"

    def log_lines(self, job_id: int) -> list[str]:
        """Return the last lines of a job's log; none once the log is gone."""
        try:
            text = self.log_file(job_id).read_text(errors="replace")
        except FileNotFoundError:
            return []
        return text.splitlines()[-_LOG_LINES_SHOWN:]

    def stop(self) -> None:
        """End all syncs and fail their jobs."""
        self._stopping.set()
        with self._lock:
            syncs = list(self._syncs.values())
        for sync in syncs:
            sync.kill()
        for sync in syncs:
            sync.join()
        try:
            self._store.fail_running("The Airbyte server was stopped while this job was running.")
        except psycopg.Error:
            # The database cannot be reached. The server fails these jobs when it starts again.
            _log.warning("could not mark the running jobs as failed")

    def _kill(self, job_id: int) -> None:
        with self._lock:
            sync = self._syncs.get(job_id)
        if sync is not None:
            sync.kill()
            sync.join()

    def _watch(self, sync: _Sync) -> None:
        outcome: dict[str, Any] = {}
        try:
            for line in sync.reports():
                if "outcome" in line:
                    outcome = line
                else:
                    self._note(sync.job_id, line)
            code = sync.finish()
            if not outcome:
                outcome = {"outcome": "failed", "failure": _death(code)}
            self._end(sync.job_id, outcome["outcome"], outcome.get("failure"))
        finally:
            self._forget(sync)

    def _note(self, job_id: int, line: dict[str, Any]) -> None:
        try:
            self._store.note_progress(job_id, line["rows"], line["bytes"])
        except psycopg.Error as error:
            _log.warning("job %s: progress not noted: %s", job_id, error)

    def _end(self, job_id: int, status: str, failure: dict[str, Any] | None) -> None:
        """Write a job's outcome; try again for as long as the database cannot be reached."""
        while not self._stopping.is_set():
            try:
                self._store.end_job(job_id, status, failure)
            except psycopg.Error as error:
                _log.warning("job %s: outcome not written yet: %s", job_id, error)
                self._stopping.wait(_RETRY_SECONDS)
            else:
                return

    def _order(self, connection: StoredConnection) -> dict[str, Any]:
        source, source_connector = self._actor("source", connection.source_id)
        destination, _ = self._actor("destination", connection.destination_id)
        command = source_connector.command_line()
        if not os.access(command[0], os.X_OK):
            raise unprocessable(
                f"the connector {source_connector.name} is not installed: {command[0]} is missing"
            )
        return {
            "connection_id": str(connection.id),
            "command": command,
            "source": source.configuration,
            "secrets": secrets_of(source_connector.specification, source.configuration),
            "destination": destination.configuration,
            "streams": catalog.streams_to_sync(
                source_connector, connection.settings, destination.configuration["schema"]
            ),
            "fault": self._switchboard.job_fault(),
        }

    def _actor(self, kind: Kind, actor_id: UUID) -> tuple[Actor, Connector]:
        actor = self._store.actor(kind, actor_id)
        if actor is None:
            raise not_found(kind, actor_id)
        connector = self._registry.find(kind, type=actor.type)
        if connector is None:
            raise unprocessable(f"this server has no {kind} of type {actor.type!r}")
        return actor, connector

    def _forget(self, sync: _Sync) -> None:
        with self._lock:
            self._syncs.pop(sync.job_id, None)

    def _forget_old_logs(self) -> None:
        logs = sorted(self._logs.glob("job-*.log"), key=lambda file: file.stat().st_mtime)
        for file in logs[:-_LOGS_KEPT]:
            file.unlink(missing_ok=True)


class _Sync:
    """One worker process and the thread that watches it.

    Temporary files of the worker and the connector, such as the configuration with its secrets, are
    in `folder`, which is deleted when they end, however they end.
    """

    def __init__(self, job_id: int, log: Path, folder: Path) -> None:
        self.job_id = job_id
        self._log = log
        self._folder = folder
        self._process: Any = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._killed = False

    def start(self, order: dict[str, Any], watch: Callable[[], None]) -> bool:
        """Start the worker. Return false if the job has been cancelled in the meantime."""
        with self._lock:
            if self._killed:
                return False
            self._folder.mkdir(mode=0o700)
            self._log.touch(mode=0o600)
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "devstack.airbyte.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env={**os.environ, "TMPDIR": str(self._folder)},
                    start_new_session=True,
                )
            self._thread = threading.Thread(target=watch, name=f"job-{self.job_id}", daemon=True)
        # If the worker has died already, the watching thread finds out how.
        with suppress(BrokenPipeError):
            # On standard input, because the order holds secrets and any user sees command lines.
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        self._thread.start()
        return True

    def reports(self) -> Iterator[dict[str, Any]]:
        """Yield the worker's lines until it ends."""
        for line in self._process.stdout:
            yield json.loads(line)

    def finish(self) -> int:
        """Wait for the worker to end, end what it has left behind, and return its exit code."""
        # Wait without reaping: until the worker is reaped, no other process can get its id, which
        # is also the id of its process group.
        if hasattr(os, "waitid"):
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._kill_group()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):
                    pipe.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            return int(self._process.wait())

    def kill(self) -> None:
        """End the worker and its connector at once."""
        with self._lock:
            self._killed = True
            if self._process is not None and self._process.returncode is None:
                self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def join(self) -> None:
        """Wait for the watching thread to end."""
        thread = self._thread
        if thread is not None and thread.ident is not None:
            thread.join()


def _death(code: int) -> dict[str, Any]:
    reason = f"killed by signal {-code}" if code < 0 else f"ended with status {code}"
    return {
        "message": f"The worker was {reason}." if code < 0 else f"The worker {reason}.",
        "origin": "airbyte_platform",
    }
