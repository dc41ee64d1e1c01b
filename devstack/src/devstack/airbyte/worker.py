"""One sync, in a process of its own: it reads the connector's messages and commits rows.

The server writes the order to standard input, as one line, and reads lines of JSON from standard
output: `{"rows": n, "bytes": n}` after each commit, and in the end `{"outcome": "succeeded"}` or
`{"outcome": "failed", "failure": {...}}`. When standard input closes, the server is gone, and the
worker kills its process group at once. It can be killed safely at any time; tests do so at random.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

import psycopg

from devstack.airbyte.destination import Destination, SupersededError
from devstack.airbyte.protocol import ConnectorError, Failure, Reading

# The shortest time between two commits: some connectors checkpoint after every page, and each
# commit is a transaction. A checkpoint that is skipped is covered by a later one.
_COMMIT_SECONDS = 0.2
# The variables that a connector gets from this process' environment. None is a secret of ours.
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy"),
)


def main() -> None:
    """Carry out the order on standard input and report the outcome."""
    # JSON may have integers of any length.
    sys.set_int_max_str_digits(0)
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_die_with_server, daemon=True).start()
    try:
        run(order)
        _report({"outcome": "succeeded"})
    # Any error is reported to the server and becomes the job's failure.
    except Exception as error:  # noqa: BLE001
        _report({"outcome": "failed", "failure": dataclasses.asdict(_failure_of(error))})
    # Do not wait for the thread that waits for the server.
    os._exit(0)


def run(order: dict[str, Any]) -> None:
    """Sync once.

    Raises `ConnectorError` when the source fails, `psycopg.Error` when the destination does, and
    `SupersededError` when another job has taken over the connection. Rows up to the last commit
    are kept.
    """
    destination = Destination(order["destination"], order["connection_id"], order["job_id"])
    try:
        state = destination.prepare(order["streams"])
        reading = Reading(
            command=order["command"],
            configuration=order["source"],
            catalog={"streams": [_configured(one, order["job_id"]) for one in order["streams"]]},
            state=state,
            environment=connector_environment(),
            secrets=order["secrets"],
        )
        _Pump(destination, _Fault(**order.get("fault", {}))).run(reading)
    finally:
        destination.close()


class _Pump:
    """Moves messages from the connector to the destination and decides when to commit."""

    def __init__(self, destination: Destination, fault: _Fault) -> None:
        self._destination = destination
        self._fault = fault
        self._committed_at = float("-inf")
        self._last_states: dict[str, dict[str, Any]] = {}

    def run(self, reading: Reading) -> None:
        resumable = self._destination.resumable
        for kind, content, size in reading.messages():
            if kind == "RECORD":
                self._destination.add(content, size)
                self._fault.after_record()
                continue
            name = _stream_of(content)
            if name in resumable:
                self._checkpoint({name: content}, {name})
            elif name == "" and resumable:
                self._checkpoint({"": content}, resumable)
        # The connector succeeded, so what follows its last checkpoint is complete as well.
        self._commit(self._last_states, self._destination.streams)

    def _checkpoint(self, states: dict[str, dict[str, Any]], streams: set[str]) -> None:
        self._last_states.update(states)
        if time.monotonic() - self._committed_at >= _COMMIT_SECONDS:
            self._commit(states, streams)

    def _commit(self, states: dict[str, dict[str, Any]], streams: set[str]) -> None:
        self._destination.commit(states, streams=streams)
        self._committed_at = time.monotonic()
        _report({"rows": self._destination.rows, "bytes": self._destination.bytes})


class _Fault:
    """A fault ordered by a test: after so many records the worker fails or is killed."""

    def __init__(self, kind: str = "", after_records: int = 0) -> None:
        self._kind = kind
        self._left = after_records

    def after_record(self) -> None:
        if not self._kind:
            return
        self._left -= 1
        if self._left > 0:
            return
        if self._kind == "worker_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ConnectorError(Failure("The source failed halfway, as it was told to."))


def _configured(order: dict[str, Any], job_id: int) -> dict[str, Any]:
    """Return a stream for the connector's catalog, in the form of Airbyte's protocol."""
    overwrites = order["destination_sync_mode"].startswith("overwrite")
    return {
        "stream": order["stream"],
        "sync_mode": order["sync_mode"],
        # What Airbyte's platform calls overwrite_dedup, its protocol calls overwrite.
        "destination_sync_mode": order["destination_sync_mode"].replace(
            "overwrite_dedup", "overwrite"
        ),
        "cursor_field": order.get("cursor_field") or [],
        "primary_key": order.get("primary_key") or [],
        "generation_id": job_id if overwrites else 0,
        "minimum_generation_id": job_id if overwrites else 0,
        "sync_id": job_id,
    }


def _stream_of(state: dict[str, Any]) -> str:
    """Return the stream that a STATE stands for; an empty text if it stands for all."""
    if state.get("type") == "STREAM":
        return str(state["stream"]["stream_descriptor"]["name"])
    return ""


def connector_environment() -> dict[str, str]:
    """Return a connector's environment: some variables of ours, and one that forbids telemetry."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**kept, "DO_NOT_TRACK": "1"}


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, ConnectorError):
        return error.failure
    if isinstance(error, SupersededError):
        return Failure("Another sync of this connection has taken over.", origin="airbyte_platform")
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    origin = "destination" if isinstance(error, psycopg.Error) else "replication"
    return Failure(
        f"{type(error).__name__}: {error}".strip().splitlines()[0],
        internal_message=str(error),
        origin=origin,
        stacktrace=trace,
    )


def _report(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _die_with_server() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
