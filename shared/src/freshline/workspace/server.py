"""Asks a running code server (a ``grpc_server`` entry) for the contract of its location."""

from __future__ import annotations

import socket as sockets
from collections import Counter
from collections.abc import Iterable
from typing import Any

from freshline.contract.describe import document, is_single_run
from freshline.contract.node import Node
from freshline.declared import has_native_policy, written_policies
from freshline.names import KIND, STUB

__all__ = ["describe_server", "nodes_of"]


def describe_server(
    location: str, host: str, port: int | None, socket: str | None, ssl: bool
) -> dict[str, Any]:
    """Return the contract document of the location that a code server has loaded.

    Raises `ConnectionError` if no server answers, and Dagster's own errors if the location did not
    load there.
    """
    # Dagster has no public function that asks a code server for its assets.
    from dagster import DagsterInstance
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
    from dagster._core.remote_representation.code_location import GrpcServerCodeLocation

    origin = GrpcServerCodeLocationOrigin(
        host=host, port=port, socket=socket, location_name=location, use_ssl=ssl
    )
    if port:
        _check_host(location, host)
    with DagsterInstance.ephemeral() as instance:
        try:
            remote = GrpcServerCodeLocation(origin, instance=instance, watch_server=False)
        except DagsterUserCodeUnreachableError as error:
            raise ConnectionError(
                f"no code server answers at {host}:{socket or port}; start it, or name one for "
                f"this command with --server {location}=HOST:PORT"
            ) from error
        try:
            snaps = [
                snap
                for repository in remote.get_repositories().values()
                for snap in repository.repository_snap.asset_nodes
            ]
            versions = remote.get_dagster_library_versions() or {}
        finally:
            remote.cleanup()
    return document(nodes_of(snaps), location, versions.get("dagster", ""))


def _check_host(location: str, host: str) -> None:
    """Raise `ConnectionError` if the name of the host has no address here, as outside of Docker."""
    try:
        sockets.getaddrinfo(host, None)
    except OSError as error:
        raise ConnectionError(
            f"the host {host} of its code server is not known here ({error.strerror}); name the "
            f"server for this command with --server {location}=HOST:PORT"
        ) from error


def nodes_of(snaps: Iterable[Any]) -> list[Node]:
    """Return the assets in Dagster's snapshots of asset nodes, without its stubs."""
    kept = [snap for snap in snaps if STUB not in snap.metadata]
    sizes = Counter(snap.execution_set_identifier for snap in kept)
    return [
        Node(
            path=tuple(snap.asset_key.path),
            made=snap.execution_type.name == "MATERIALIZATION",
            deps=tuple(edge.parent_asset_key.to_user_string() for edge in snap.parent_edges),
            execution_set=_execution_set(snap) if sizes[snap.execution_set_identifier] > 1 else "",
            group=snap.group_name,
            owners=tuple(snap.owners or ()),
            kinds=tuple(tag[len(KIND) :] for tag in snap.tags or {} if tag.startswith(KIND)),
            partitions=snap.partitions and snap.partitions.get_partitions_definition(),
            mappings={
                edge.parent_asset_key.to_user_string(): edge.partition_mapping
                for edge in snap.parent_edges
                if edge.partition_mapping is not None
            },
            single_run=is_single_run(snap.backfill_policy),
            observed=snap.execution_type.name == "OBSERVATION",
            # Since Dagster 1.13.
            virtual=getattr(snap, "is_virtual", False),
            code_version=snap.code_version,
            description=snap.description,
            metadata=snap.metadata,
            policies=tuple(written_policies(snap)),
            native_policy=has_native_policy(snap),
        )
        for snap in kept
    ]


def _execution_set(snap: Any) -> str:
    """Return the name of the computation if its assets are always made together, else ""."""
    alone = snap.execution_set_identifier is None
    return "" if alone else str(snap.node_definition_name or snap.op_name or "")
