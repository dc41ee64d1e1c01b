"""`devstack serve ...`: one server in the foreground.

Each server prints one line of JSON once it is ready, and stops on SIGTERM or SIGINT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from devstack.errors import DevstackError
from devstack.ports import LOOPBACK

# Each command imports what it needs, so that `devstack status` does not load a web server.

serve = typer.Typer(help="One server in the foreground.", no_args_is_help=True)

Port = Annotated[int, typer.Option(min=0, max=65535, help="TCP port on loopback; 0: any free one.")]
Host = Annotated[
    str,
    typer.Option(help="Listen here instead of on loopback, for tests with hosts of their own."),
]
WithParent = Annotated[bool, typer.Option("--with-parent", help="Stop when standard input closes.")]


@serve.command("postgres")
def serve_postgres(
    data: Annotated[Path, typer.Option(help="Data directory; made when missing, kept after.")],
    host: Host = LOOPBACK,
    port: Port = 0,
    log: Annotated[Path | None, typer.Option(help="Its log. Default: postgres.log in DATA.")] = (
        None
    ),
    throwaway: Annotated[
        bool,
        typer.Option("--throwaway", help="For tests: fast, not durable, deleted at the end."),
    ] = False,
    with_parent: WithParent = False,
) -> None:
    """Serve Postgres until told to stop."""
    from devstack.postgres.server import PostgresServer
    from devstack.serving import StopSignal, announce

    stop = StopSignal(with_parent=with_parent)
    with PostgresServer(data, host=host, port=port, log=log, throwaway=throwaway) as server:
        address = server.address
        announce(
            {
                "host": address.host,
                "port": address.port,
                "user": address.user,
                "password": address.password,
                "database": address.database,
            }
        )
        stop.watch(server.wait)
        stop.wait()
        if server.wait(0) is not None:
            raise DevstackError(f"postgres ended by itself:\n{server.log_tail()}")


@serve.command("broker")
def serve_broker(
    data: Annotated[Path, typer.Option(help="Data directory; made when missing, kept after.")],
    host: Host = LOOPBACK,
    port: Port = 0,
    log: Annotated[Path | None, typer.Option(help="Its log. Default: valkey.log in DATA.")] = None,
    password: Annotated[
        str | None,
        typer.Option(
            envvar="DEVSTACK_BROKER_PASSWORD",
            show_envvar=True,
            help="What clients need; as a variable no other user sees it. Default: new.",
        ),
    ] = None,
    with_parent: WithParent = False,
) -> None:
    """Serve a broker for queued runs (Valkey) until told to stop."""
    from devstack.broker.server import BrokerServer
    from devstack.serving import StopSignal, announce

    stop = StopSignal(with_parent=with_parent)
    with BrokerServer(data, password=password, host=host, port=port, log=log) as server:
        address = server.address
        announce({"host": address.host, "port": address.port, "password": address.password})
        stop.watch(server.wait)
        stop.wait()
        if server.wait(0) is not None:
            raise DevstackError(f"broker ended by itself:\n{server.log_tail()}")


@serve.command("workers")
def serve_workers(
    root: Annotated[Path, typer.Option(help="The checkout.")],
    with_parent: WithParent = False,
) -> None:
    """Make the runs of the checkout's code locations until told to stop."""
    from devstack.serving import StopSignal, announce
    from devstack.workers import Workers

    stop = StopSignal(with_parent=with_parent)
    with Workers(root) as workers:
        announce({"root": str(root)})
        stop.watch(workers.wait)
        stop.wait()
        code = workers.wait(0)
        if code is not None:
            raise DevstackError(f"freshline worker ended by itself, with status {code}")


@serve.command("github")
def serve_github(
    stars: Annotated[
        Path | None,
        typer.Option(help="CSV of star events, read again if it changes. Default: a live stream."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the stream.")] = 1,
    rate: Annotated[
        float, typer.Option(min=0.01, max=10_000, help="New stars a minute in the stream.")
    ] = 2.0,
    epoch: Annotated[
        int | None,
        typer.Option(help="When new stars began to arrive, in seconds since 1970. Default: now."),
    ] = None,
    quiet: Annotated[
        str | None,
        typer.Option(
            help="Hours without new stars in the stream, UTC: 22:00-06:00. Default: none."
        ),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(help="owner/name, served even if the file has no star of it."),
    ] = None,
    port: Port = 0,
    token: Annotated[
        str | None,
        typer.Option(envvar="GITHUB_TOKEN", help="The one good token. Default: new."),
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests an hour (GitHub: 5000). Default: a million.")
    ] = None,
    page_cap: Annotated[
        int | None, typer.Option(min=1, help="Last page served (GitHub: 400). Default: no cap.")
    ] = None,
    with_parent: WithParent = False,
) -> None:
    """Serve the GitHub stand-in until told to stop."""
    import secrets
    import time

    from devstack.github.quiet import QuietHours
    from devstack.github.server import DEFAULT_RATE_LIMIT, GitHub
    from devstack.github.stars import (
        DEFAULT_REPOSITORY,
        StarFile,
        Stars,
        StarStream,
        StreamSettings,
    )
    from devstack.http_server import serve_http
    from devstack.ports import listening_socket
    from devstack.serving import StopSignal, announce

    stop = StopSignal(with_parent=with_parent)
    source: Stars
    if stars is not None:
        source = StarFile(stars)
    else:
        source = StarStream(
            StreamSettings(
                repository=repository or DEFAULT_REPOSITORY,
                seed=seed,
                epoch=int(time.time()) if epoch is None else epoch,
                per_minute=rate,
                quiet=None if quiet is None else QuietHours.parse(quiet),
            )
        )
    names = source.repositories()
    chosen = repository or (names[0] if names else DEFAULT_REPOSITORY)
    token = token or secrets.token_urlsafe(24)
    stand_in = GitHub(
        source,
        token=token,
        repository=chosen,
        rate_limit=rate_limit or DEFAULT_RATE_LIMIT,
        page_cap=page_cap,
    )
    serve_http(
        stand_in.application(),
        listening_socket(port, purpose="github"),
        purpose="github",
        stop=stop,
        ready=lambda url: announce({"url": url, "repository": chosen, "token": token}),
    )


@serve.command("airbyte")
def serve_airbyte(
    database_url: Annotated[
        str,
        typer.Option(
            envvar="DEVSTACK_AIRBYTE_DATABASE_URL",
            show_envvar=True,
            help="Where it keeps connections and jobs. As a variable no other user sees it.",
        ),
    ],
    data: Annotated[Path, typer.Option(help="Folder for credentials and logs; made when missing.")],
    port: Port = 0,
    connectors: Annotated[
        Path | None, typer.Option(help="A file of further connectors, like connectors.json.")
    ] = None,
    internal_api: Annotated[
        bool, typer.Option("--internal-api/--no-internal-api", help="Answer /api/v1 as well.")
    ] = True,
    faults: Annotated[
        bool, typer.Option("--faults", help="For tests: faults on request at /faults.")
    ] = False,
    with_parent: WithParent = False,
) -> None:
    """Serve the embedded Airbyte until told to stop."""
    from devstack import airbyte

    airbyte.serve(
        database_url,
        data,
        port,
        with_parent=with_parent,
        faults=faults,
        internal_api=internal_api,
        connectors=connectors,
    )
