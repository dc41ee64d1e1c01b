"""Airbyte's protocol: a connector writes messages to standard output, one line of JSON each."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MASK = "**********"
# How much of a connector's standard error is shown when it ends without a reason.
_STDERR_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Failure:
    """Why a sync failed, with the fields of Airbyte's own failure reasons."""

    message: str
    internal_message: str = ""
    failure_type: str = "system_error"
    origin: str = "source"
    stacktrace: str = ""


class ConnectorError(Exception):
    """The connector failed; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass
class Reading:
    """One `read` of a connector: what it gets, and the RECORD and STATE messages that it writes.

    The connector's LOG messages go to standard error. If it fails, `messages` raises
    `ConnectorError` with the reason after it has ended.
    """

    command: list[str]
    configuration: dict[str, Any]
    catalog: dict[str, Any]
    state: list[dict[str, Any]]
    environment: dict[str, str]
    # Masked in the log and in failures, even if the connector writes them.
    secrets: list[str] = field(default_factory=list)
    # A connector that writes nothing for so long is killed. As long as in Airbyte: a source may
    # have to wait an hour for a rate limit.
    heartbeat_seconds: float = 5400
    _failures: list[Failure] = field(default_factory=list)
    _incomplete: list[Failure] = field(default_factory=list)

    def messages(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """Yield type, content and size in bytes of each RECORD and STATE message, in order.

        Raises `ConnectorError` after the last one when the connector has failed.
        """
        with tempfile.TemporaryDirectory(prefix="sync-") as name, tempfile.TemporaryFile() as err:
            process = self._start(Path(name), err)
            watchdog = _Watchdog(process, self.heartbeat_seconds)
            output: Any = process.stdout
            try:
                for line in output:
                    watchdog.heard_from = time.monotonic()
                    message = _parse(line)
                    kind = message.get("type")
                    if kind == "RECORD" or kind == "STATE":
                        yield kind, message[kind.lower()], len(line)
                    else:
                        self._note(message)
                code = process.wait()
            finally:
                process.kill()
                process.wait()
                output.close()
            if watchdog.has_killed:
                raise ConnectorError(
                    Failure(f"The connector said nothing for {self.heartbeat_seconds:.0f} s.")
                )
            # An error says why it failed; an incomplete stream says only that it did.
            for failure in (*self._failures, *self._incomplete):
                raise ConnectorError(failure)
            if code != 0:
                err.seek(0, 2)
                err.seek(max(0, err.tell() - _STDERR_TAIL_BYTES))
                tail = self._without_secrets(err.read().decode(errors="replace"))
                raise ConnectorError(Failure(_ending(code), internal_message=tail))

    def _start(self, folder: Path, errors: Any) -> subprocess.Popen[bytes]:
        """Start the connector. Files in `folder` hold secrets: only its owner may enter it."""
        arguments = ["read"]
        for option, document in (
            ("config", self.configuration),
            ("catalog", self.catalog),
            *([("state", self.state)] if self.state else []),
        ):
            file = folder / f"{option}.json"
            file.write_text(json.dumps(document))
            arguments += [f"--{option}", str(file)]
        leash = [sys.executable, "-I", "-S", str(Path(__file__).with_name("leash.py"))]
        try:
            return subprocess.Popen(
                [*leash, *self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self.environment,
                cwd=folder,
            )
        except OSError as error:
            raise ConnectorError(Failure(f"The connector did not start: {error}")) from error

    def _note(self, message: dict[str, Any]) -> None:
        trace = message.get("trace") or {}
        if trace.get("type") == "ERROR":
            error = trace.get("error") or {}
            self._failures.append(
                Failure(
                    message=self._without_secrets(error.get("message") or "The connector failed."),
                    internal_message=self._without_secrets(error.get("internal_message") or ""),
                    failure_type=error.get("failure_type") or "system_error",
                    stacktrace=self._without_secrets(error.get("stack_trace") or ""),
                )
            )
        status = trace.get("stream_status") or {}
        if status.get("status") == "INCOMPLETE":
            name = (status.get("stream_descriptor") or {}).get("name")
            self._incomplete.append(Failure(f"The stream {name} was not read to its end."))
        log = message.get("log") or {}
        if log and log.get("level") not in ("DEBUG", "TRACE"):
            text = self._without_secrets(f"{log.get('level')}: {log.get('message')}")
            print(f"connector {text}", file=sys.stderr, flush=True)

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MASK)
        return text


class _Watchdog:
    """Kills a connector that has been silent for too long."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process = process
        self._seconds = seconds
        self.heard_from = time.monotonic()
        self.has_killed = False
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self._process.poll() is None:
            silent = time.monotonic() - self.heard_from
            if silent >= self._seconds:
                self.has_killed = True
                self._process.kill()
                return
            # At most a second, because the process may end long before.
            time.sleep(min(self._seconds - silent, 1))


def _parse(line: bytes) -> dict[str, Any]:
    """Return one message; an empty one for other text, such as what a library prints.

    Raises `ConnectorError` for a damaged record or state: it must not be lost silently.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        if b'"RECORD"' in line or b'"STATE"' in line:
            raise ConnectorError(Failure("The connector wrote a damaged message.")) from None
        return {}
    return message if isinstance(message, dict) else {}


def _ending(code: int) -> str:
    if code < 0:
        return f"The connector was killed by signal {-code}."
    return f"The connector ended with status {code} and gave no reason."
