"""Tell whether a worker of this host takes runs of a location: what probes of containers ask.

``python deploy/worker_ready.py LOCATION`` ends with status 0 if one does, else with 1 and the
reason. A worker has no port. It says every few seconds at the broker that it is there, and the run
launcher goes by the same word.
"""

from __future__ import annotations

import os
import socket
import sys

from freshline.engine.broker import SILENT_AFTER, Broker, BrokerError


def main(location: str) -> None:
    host = socket.gethostname()
    try:
        workers = Broker(os.environ["FRESHLINE_BROKER_URL"]).workers()
    except BrokerError as error:
        sys.exit(f"The broker does not answer: {error}")
    if not any(
        worker.location == location
        and worker.name.endswith(f"@{host}")
        and worker.age <= SILENT_AFTER
        and not worker.leaving
        for worker in workers
    ):
        sys.exit(f"No worker of {location} takes runs on {host}.")


if __name__ == "__main__":
    main(*sys.argv[1:])
