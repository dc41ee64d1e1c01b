"""``freshline metrics``: the exporter for Prometheus."""

from __future__ import annotations

from threading import Thread
from typing import Annotated

import typer

from freshline.cli.extras import require_extra

__all__ = ["metrics_command"]


def metrics_command(
    port: Annotated[int, typer.Option(help="The port to listen on.", min=0, max=65535)] = 9187,
    host: Annotated[
        str,
        typer.Option(help="The address to listen on; 0.0.0.0 is every one that the host has."),
    ] = "127.0.0.1",
) -> None:
    """Serve metrics of all targets and locations, for Prometheus, until it is stopped.

    They are of the Dagster instance. While its database does not answer, freshline_up is 0 and no
    other figure is shown.
    """
    require_extra("metrics", "prometheus_client")

    from freshline.cli.instance import instance_folder, open_instance
    from freshline.cli.stopping import stop_requested
    from freshline.lookout import Lookout
    from freshline.metrics import Exporter, MetricsServer

    def say(line: str) -> None:
        typer.echo(f"freshline metrics: {line}", err=True)

    instance_folder()  # what is wrong with the settings is said now, not at the first scrape
    with MetricsServer(host, port, Exporter(Lookout(open_instance), say)) as server:
        stop = stop_requested()
        Thread(target=server.serve_forever, daemon=True).start()
        say(f"listens on {server.url}")
        stop.wait()
        server.shutdown()
