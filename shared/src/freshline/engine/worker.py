"""A worker: loads its location once, and forks for each run that it takes from the queue.

``python -m freshline.engine.worker ARGUMENTS`` in the Python of the location. ARGUMENTS is JSON:
`name` of the worker, `location`, `target` (fields of Dagster's `LoadableTargetOrigin`), `places`
and `report`, a file descriptor. One line of JSON is written there when the worker takes runs: which
files it has loaded.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Final

import dagster as dg
from celery import Celery, bootsteps
from celery.signals import worker_ready
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.server import LoadedRepositories

from freshline.connections import kept_connections
from freshline.engine.broker import WORD_EVERY, Broker, BrokerError, Worker
from freshline.engine.execution import execute_run
from freshline.engine.loaded_files import LoadedFiles, recorded
from freshline.engine.origin import codes_of
from freshline.engine.queues import TASK, queue_of, queue_settings

__all__ = ["main"]

_REFILL_EVERY: Final = 1.0
"""Seconds between two looks for places whose process has ended. Celery sees most of them at once;
one whose run has left a program behind it sees after 5 s."""


def main(arguments: str) -> None:
    """Serve the queue of a location until SIGTERM; runs that were begun are ended first.

    The same when its supervisor is killed: nobody would tell it any more that its code has changed.
    """
    values = json.loads(arguments)
    broker_url = os.environ["FRESHLINE_BROKER_URL"]
    own = Worker(
        values["name"],
        values["location"],
        values["places"],
        # As in Dagster's code servers, which write it into the runs that they create.
        image=os.environ.get("DAGSTER_CURRENT_IMAGE"),
    )
    with recorded() as files:
        loaded = _load(values["target"], own.location)
        # `dagster dev` without this folder has an instance that only its own processes know of.
        instance = dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else None
    codes = codes_of(sys.executable, loaded.code_pointers_by_repo_name.values())
    _warm(instance)
    app = Celery("freshline", broker=broker_url)
    app.conf.update(queue_settings())
    app.conf.worker_consumer = "freshline.engine.reconnecting:ReconnectingConsumer"

    @app.task(name=TASK)
    def execute(run: str) -> None:
        execute_run(run, own.name, broker_url, codes, files.changed(), instance)

    app.steps["worker"].add(_Refill)
    _say_where(app, own, Broker(broker_url))
    worker_ready.connect(lambda **_: _report(values["report"], files), weak=False)
    gc.collect()
    gc.freeze()  # what is there now is shared with all runs: collecting it would copy it
    app.worker_main(
        [
            "--quiet",  # no banner
            "worker",
            f"--hostname={own.name}",
            f"--queues={queue_of(own.location, own.image)}",
            f"--concurrency={own.places}",
            "--pool=prefork",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )


def _load(target: dict[str, Any], location: str) -> LoadedRepositories:
    """Load the location as a code server does. Dagster has no public function for it."""
    origin = LoadableTargetOrigin(executable_path=sys.executable, **target)
    known = inspect.signature(LoadedRepositories).parameters  # 1.12 does not know the name
    named: dict[str, Any] = (
        {"code_location_name": location} if "code_location_name" in known else {}
    )
    return LoadedRepositories(origin, None, [], None, **named)


def _warm(instance: dg.DagsterInstance | None) -> None:
    """Do once what every run would do first: import what runs need, and dbt if it is there.

    Nothing stays open: a connection does not survive a fork.
    """

    @dg.asset
    def nothing() -> None:
        inspect.stack()  # dbt does it for each flag, and Python reads the sources of all callers

    with dg.DagsterInstance.ephemeral() as ephemeral:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        dg.materialize([nothing], instance=ephemeral, run_config=quiet)
    if instance is not None:
        with kept_connections(instance):
            instance.get_runs(limit=1)
    if "dagster_dbt" in sys.modules:  # the location has a dbt project
        from freshline.dbt.warm import load_dbt

        load_dbt()


class _Refill(bootsteps.StartStopStep):
    """Has a new process soon for each that has made its run."""

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

    def start(self, parent: Any) -> None:
        parent.timer.call_repeatedly(_REFILL_EVERY, parent.pool.maintain_pool)


def _say_where(app: Celery, own: Worker, broker: Broker) -> None:
    """Have the worker say every few seconds that it is there, and from some moment that it leaves.

    The timer goes on while Celery ends: what it says then must not be that the worker is there.
    """
    word = own

    class Presence(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")

        def start(self, parent: Any) -> None:
            parent.timer.call_repeatedly(WORD_EVERY, _say)
            _say()

        def stop(self, _: Any) -> None:
            nonlocal word
            word = replace(own, leaving=True)
            _say()

    def _say() -> None:
        with suppress(BrokerError):  # it may be away for a while; Celery says so
            broker.say_worker(word)

    app.steps["worker"].add(Presence)


def _report(descriptor: int, files: LoadedFiles) -> None:
    with os.fdopen(descriptor, "w") as pipe:
        pipe.write(json.dumps(asdict(files)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
