"""The embedded Airbyte: the part of Airbyte's API that its clients call, over real connectors.

Where to read on, by the question that you have:

    server          how does `devstack serve airbyte` start and stop?
    api             what does the public API answer, `/api/public/v1`?
    actors          what can be done to sources and destinations?
    connections     what can be done to connections?
    internal_api    what does the internal API answer, `/api/v1`?
    timeline        what does a link to a job show?
    models          what do requests and answers look like?
    pages           how is a long list split into pages?
    errors          how is a request refused?
    auth            who may call?
    catalog         which streams of a connection are synced, and how?
    configuration   is a connector's configuration good, and what in it is secret?
    registry        which connectors are there, and where are their files?
    describe        how are a connector's `spec.json` and `catalog.json` written?
    store           where are sources, destinations, connections and jobs kept?
    jobs            how is a sync started, watched and cancelled?
    worker          what does the process of one sync do?
    protocol        how is a connector run, and how are its messages read?
    leash           how does a connector die with its worker?
    destination     how do rows and state get into the database, in one transaction?
    tables          with which SQL are tables made and filled?
    columns         which column does a field get, and what becomes of its values?
    faults          how does a test make the server or a sync fail?

The server checks every configuration against the connector's specification when a source or
destination is created or changed, and answers 422 with the path of the field that is wrong. The
specification itself is not part of Airbyte's public API: it is in
`connectors/<connector>/spec.json`, written by `devstack.airbyte.describe`.

There are only the endpoints that these callers use: `ingestion`, dagster-airbyte, Airbyte's SDK,
and people who follow a link to a job. Each endpoint understands all of Airbyte's parameters: if a
filter were ignored, the answer would hold the wrong objects.
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
    """Serve in the foreground until SIGTERM or SIGINT.

    `with_parent` stops the server also when standard input closes.

    Sources, destinations, connections and jobs are kept in the database, credentials and logs in
    the folder `data`, which is made if it is missing. `port` is on loopback; 0 takes a free one.
    `internal_api` answers `/api/v1` as well, which newer Airbytes do not. `connectors` is a file of
    further connectors, like `connectors.json`. `faults` answers `/faults`, with which tests make
    requests and syncs fail. Raises `DevstackError` when the port is taken, the database cannot be
    reached or a file cannot be read.
    """
    # Imported late: the worker of each sync imports this package, and needs no web server.
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
