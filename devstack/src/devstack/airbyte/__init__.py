"""The embedded Airbyte: the slice of Airbyte's API that real clients call, over real connectors.

Where things are:

==========================  ====================================================================
``server``                  the foreground program ``devstack serve airbyte``
``api``, ``internal_api``   the two HTTP APIs: ``/api/public/v1`` and ``/api/v1``
``timeline``                a page for people: one job, where Airbyte's UI would show it
``models``                  what goes in and out, in Airbyte's own shapes
``errors``, ``auth``        Airbyte's problem documents; access tokens and basic auth
``catalog``                 connection settings to and from a protocol catalog
``configuration``           a connector's specification: check a configuration, hide its secrets
``registry``                which connectors exist, where their specification and catalog lie
``store``                   sources, destinations, connections and jobs, in Postgres
``jobs``                    starts, watches and cancels one worker process a job
``worker``                  that process: connector in, rows out
``protocol``                the connector's side of it: the Airbyte protocol
``destination``, ``tables`` the database's side: staging, upsert, state in the same transaction
``columns``                 JSON schema to Postgres types, one value to its column
``faults``                  failures on demand, for tests
``describe``                writes a connector's ``spec.json`` and ``catalog.json``
==========================  ====================================================================

The server checks every configuration against the connector's specification when a source or
destination is created or changed, and answers 422 with the path of the field that is wrong. The
specification itself is not part of Airbyte's public API: it is in
``connectors/<connector>/spec.json``, written by ``devstack.airbyte.describe``.

Which endpoints there are is decided by who calls: ``ingestion``, dagster-airbyte, Airbyte's SDK,
and people who follow a link to a job. Parameters of these endpoints are all understood, whoever
sends them: a filter that is ignored would answer with the wrong objects.
"""

from __future__ import annotations

from pathlib import Path


def serve(
    database_url: str,
    data: Path,
    port: int = 0,
    *,
    with_parent: bool = False,
    faults: bool = False,
    internal_api: bool = True,
    connectors: Path | None = None,
) -> None:
    """Run the server in the foreground until it is told to stop.

    Args:
        database_url: The database that keeps sources, connections and jobs.
        data: A folder for credentials and logs; made when missing.
        port: TCP port on loopback; 0 for any free one.
        with_parent: Stop also when standard input closes.
        faults: Answer ``/faults``, the switchboard of failures for tests.
        internal_api: Answer ``/api/v1`` as well, which newer Airbytes do not.
        connectors: A file of further connectors, in the format of ``connectors.json``.

    Raises:
        DevstackError: when the port is taken, the database unreachable or a file unreadable.
    """
    # Imported late: each sync's worker imports this package and needs none of the web server.
    from devstack.airbyte.server import run

    run(
        database_url,
        data,
        port,
        with_parent=with_parent,
        faults=faults,
        internal_api=internal_api,
        connectors=connectors,
    )
