"""Wait for a code server: what `deploy/ready` runs in the location's environment.

A server is ready when it is healthy and lists its repositories. That its port is open says less: a
proxy opens it for code that did not load. Dagster has no public function that lists repositories.
"""

from __future__ import annotations

import sys
import time

import grpc  # type: ignore[import-untyped]  # it brings no types
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import deserialize_value
from dagster_shared.error import SerializableErrorInfo
from grpc_health.v1 import (  # type: ignore[import-untyped]  # it brings no types
    health_pb2,
    health_pb2_grpc,
)

HOST = "127.0.0.1"
READY_SECONDS = 180.0
"""Dagster, too, gives a location three minutes to load."""
POLL_SECONDS = 0.5


class NotReadyError(Exception):
    """The server does not answer yet."""


def main(location: str, port: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            error = load_error(int(port))
            break
        except NotReadyError as reason:
            if time.monotonic() > deadline:
                sys.exit(f"{location} is not ready after {READY_SECONDS:.0f} s: {reason}")
        time.sleep(POLL_SECONDS)
    if error is not None:
        sys.exit(f"{location} runs on port {port}, but its code does not load:\n{error}")


def load_error(port: int) -> str | None:
    """Return why the server has no definitions; None if it has.

    Raises `NotReadyError` when it does not answer.
    """
    try:
        with grpc.insecure_channel(f"{HOST}:{port}") as channel:
            request = health_pb2.HealthCheckRequest(service="DagsterApi")
            health = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        if health.status != health_pb2.HealthCheckResponse.SERVING:
            name = health_pb2.HealthCheckResponse.ServingStatus.Name(health.status)
            raise NotReadyError(f"its health is {name}")
        answer = deserialize_value(DagsterGrpcClient(host=HOST, port=port).list_repositories())
    except grpc.RpcError as error:
        raise NotReadyError(f"nothing answers on port {port} ({error.code().name})") from error
    except DagsterUserCodeUnreachableError as error:
        raise NotReadyError(str(error)) from error
    return answer.to_string() if isinstance(answer, SerializableErrorInfo) else None


if __name__ == "__main__":
    main(*sys.argv[1:])
