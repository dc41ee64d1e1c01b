"""Asks a code server whether it has loaded its definitions, and which server it is.

A server is ready when it is healthy and lists its repositories. That its port is open says less: a
proxy opens it for code that did not load. Dagster has no public function that lists repositories.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # it brings no types
from dagster._grpc.__generated__.dagster_api_pb2 import Empty, ListRepositoriesRequest
from dagster._grpc.__generated__.dagster_api_pb2_grpc import DagsterApiStub
from dagster._serdes import deserialize_value
from dagster_shared.error import SerializableErrorInfo
from grpc_health.v1 import (  # type: ignore[import-untyped]  # it brings no types
    health_pb2,
    health_pb2_grpc,
)

from freshline.errors import NotReadyError

__all__ = ["Answer", "address_of", "ask_server", "await_server", "is_healthy"]

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - others listen on them
_ANSWER_SECONDS: Final = 5.0
_ASK_EVERY: Final = 0.5
_OPTIONS: Final = (
    # Each question has a connection of its own: an open one stays with the server that it has.
    ("grpc.use_local_subchannel_pool", 1),
    # A workspace of thousands of assets is longer than gRPC's four megabytes.
    ("grpc.max_receive_message_length", -1),
)


@dataclass(frozen=True)
class Answer:
    """What a code server says of itself."""

    server_id: str
    load_error: str | None
    """Why its code did not load; None: it did."""


def address_of(host: str, port: int) -> str:
    """Return where a client on this machine reaches a server that listens on `host`."""
    plain = host.strip("[]")
    reached = _WILDCARDS.get(plain, plain)
    return f"[{reached}]:{port}" if ":" in reached else f"{reached}:{port}"


def is_healthy(address: str, seconds: float = _ANSWER_SECONDS) -> bool:
    """Return whether a code server answers within `seconds`. Its code may not have loaded."""
    try:
        with grpc.insecure_channel(address, options=_OPTIONS) as channel:
            _check_health(channel, address, seconds)
    except (grpc.RpcError, NotReadyError):
        return False
    return True


def ask_server(address: str, seconds: float = _ANSWER_SECONDS) -> Answer:
    """Ask the server at `address` (``HOST:PORT``, ``unix:PATH``); answers take at most `seconds`.

    Raises `NotReadyError` when none answers, or when it is not healthy.
    """
    try:
        with grpc.insecure_channel(address, options=_OPTIONS) as channel:
            _check_health(channel, address, seconds)
            stub = DagsterApiStub(channel)  # type: ignore[no-untyped-call]  # it has no types
            server = stub.GetServerId(Empty(), timeout=seconds)
            listed = stub.ListRepositories(ListRepositoriesRequest(), timeout=seconds)
    except grpc.RpcError as error:
        raise NotReadyError(f"nothing answers on {address} ({error.code().name})") from error
    answer = deserialize_value(listed.serialized_list_repositories_response_or_error)
    error_info = answer if isinstance(answer, SerializableErrorInfo) else None
    return Answer(server.server_id, error_info.to_string() if error_info else None)


def _check_health(channel: Any, address: str, seconds: float) -> None:
    """Raises `NotReadyError` and what gRPC raises."""
    request = health_pb2.HealthCheckRequest(service="DagsterApi")
    health = health_pb2_grpc.HealthStub(channel).Check(request, timeout=seconds)
    if health.status != health_pb2.HealthCheckResponse.SERVING:
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(health.status)
        raise NotReadyError(f"the health of the server on {address} is {name}")


def await_server(address: str, seconds: float) -> Answer:
    """Ask until a server answers. Raises `NotReadyError` when none does within `seconds`."""
    until = time.monotonic() + seconds
    while True:
        try:
            return ask_server(address)
        except NotReadyError as error:
            if time.monotonic() > until:
                raise NotReadyError(f"{error}, {seconds:g} s after the first question") from error
        time.sleep(_ASK_EVERY)
