"""Code servers of `dagster dev` that have died or hang, and how they come back.

`dagster dev` starts a proxy for each location, and the proxy starts the server that has the code.
Webserver and daemon both talk to the proxies. Dagster starts a proxy that has died again, but not a
server: the proxy does not look, and the location's sensors stay still until somebody reloads it in
the UI. This module looks at what the UI shows, and reloads such a location. The proxy then starts a
new server, which the daemon notices by itself.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LOOK_SECONDS = 2.0
ANSWER_SECONDS = 10.0
RELOAD_SECONDS = 300.0
"""A location may load for long. Dagster itself gives up after three minutes."""
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 120.0
"""After so long without a reload, the pauses begin at the first one again."""
UNREACHABLE = "DagsterUserCodeUnreachableError"
"""What Dagster calls it when no server answers. Other errors are in a location's code."""
ENDED_AT_START = "gRPC server exited with return code"
"""Part of Dagster's message about a server that died while it loaded the code."""

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries { name
  locationOrLoadError { ... on PythonError { className message } } } } } }"""
_RELOAD = """mutation($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"""


class WebserverError(Exception):
    """The webserver does not answer, or answers with errors."""


@dataclass(frozen=True)
class LoadError:
    """Why a location is not loaded."""

    kind: str
    message: str

    @property
    def is_of_the_server(self) -> bool:
        """Whether a new server may help. Against an error in the code it does not."""
        return self.kind == UNREACHABLE or ENDED_AT_START in self.message

    @property
    def reason(self) -> str:
        """The first line of the message."""
        return self.message.strip().partition("\n")[0]


@dataclass
class _Trouble:
    """The recent past of a location whose server has died."""

    reloads: int = 0
    last: float = -math.inf
    """When the last reload ended, in seconds of the monotonic clock; infinite while one runs."""
    is_open: bool = False
    """Whether it was reloaded, and is not back yet."""

    @property
    def pause(self) -> float:
        """The seconds from the last reload to the next: longer each time."""
        return min(FIRST_PAUSE_SECONDS * 2.0 ** (self.reloads - 1), LONGEST_PAUSE_SECONDS)


class CodeServers:
    """The code servers behind the webserver at `url`.

    `say` is called with one line of text for each server that is replaced or cannot be.
    """

    def __init__(self, url: str, say: Callable[[str], None]) -> None:
        self._url = f"{url}/graphql"
        self._say = say
        self._troubles: dict[str, _Trouble] = {}

    def watch(self) -> None:
        """Look for dead servers and replace them, without end."""
        while True:
            # If the webserver does not come up or stays away, `dagster dev` says so and ends.
            with contextlib.suppress(WebserverError):
                self.revive()
            time.sleep(LOOK_SECONDS)

    def revive(self) -> None:
        """Reload each location whose server has died, unless that was tried a moment ago.

        Raises `WebserverError`.
        """
        for name, error in self._locations():
            trouble = self._troubles.setdefault(name, _Trouble())
            since = time.monotonic() - trouble.last
            if error is not None and error.is_of_the_server:
                if since >= trouble.pause:
                    self._reload(name, trouble)
            elif trouble.is_open:
                trouble.is_open = False
                self._say(_outcome(name, error))
            elif since > STEADY_SECONDS:
                trouble.reloads = 0

    def _reload(self, name: str, trouble: _Trouble) -> None:
        if trouble.is_open:
            self._say(
                f"the code server of {name} does not answer, nor does a new one; trying again"
            )
        trouble.is_open = True
        trouble.reloads += 1
        trouble.last = math.inf

        def ask() -> None:
            # The answer may be the error of the old server, although the new one runs. So whether
            # it runs is asked later, with all the others.
            try:
                with contextlib.suppress(WebserverError):
                    self._ask(_RELOAD, RELOAD_SECONDS, name=name)
            finally:
                trouble.last = time.monotonic()

        # A location that loads for a minute must not delay the others.
        threading.Thread(target=ask, daemon=True).start()

    def _locations(self) -> Iterator[tuple[str, LoadError | None]]:
        """Yield each location, and why it is not loaded; None if it is."""
        workspace = self._ask(_LOCATIONS, ANSWER_SECONDS)["workspaceOrError"]
        for entry in workspace.get("locationEntries", ()):
            yield entry["name"], _load_error(entry)

    def _ask(self, query: str, seconds: float, **variables: str) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url, body, headers)  # noqa: S310 (loopback)
        try:
            with urllib.request.urlopen(request, timeout=seconds) as reply:  # noqa: S310
                answer = json.load(reply)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise WebserverError(str(error)) from error
        if "errors" in answer:
            raise WebserverError(str(answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data


def _load_error(entry: dict[str, Any]) -> LoadError | None:
    error = entry["locationOrLoadError"] or {}
    if "message" not in error:
        return None
    return LoadError(error["className"] or "", error["message"])


def _outcome(name: str, error: LoadError | None) -> str:
    replaced = f"the code server of {name} no longer answered; a new one runs"
    return replaced if error is None else f"{replaced}, but its code does not load: {error.reason}"
