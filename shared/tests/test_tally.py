"""What a process counts of the runs that it sees."""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
import pytest
from event_logs import broken, graph, plain, queue, run
from freshline.history import History
from freshline.history.tally import Work
from freshline.model import Graph
from freshline.names import OLD_REASON_TAG, REASON_TAG

REQUESTED = {REASON_TAG: "for mart: new inputs"}
OF_0_1 = {OLD_REASON_TAG: "for mart by 2026-11-30 10:05:33 UTC: new inputs"}
HERE: Graph = graph(root=(), mart=("root",))


class Watched:
    """A history that has read what there was before."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._history = History(instance)
        self.read()

    def read(self) -> Work:
        """Return what was counted so far; these runs do not say where they were started."""
        self._history.read(HERE, time.time())
        return self._history.work().get("unknown", Work())


def test_runs_are_counted_by_result(instance: dg.DagsterInstance) -> None:
    watched = Watched(instance)
    run(instance, plain("root"))
    run(instance, broken("mart"))
    waiting = queue(instance, plain("root"))
    instance.report_run_canceled(waiting)

    assert {"succeeded": 1, "failed": 1, "canceled": 1} == watched.read().ended


def test_what_was_over_before_is_not_counted(postgres: dg.DagsterInstance) -> None:
    run(postgres, plain("root"))
    watched = Watched(postgres)

    assert Work() == watched.read()


def test_a_run_is_counted_once(postgres: dg.DagsterInstance) -> None:
    watched = Watched(postgres)
    run(postgres, plain("root"))
    watched.read()

    assert {"succeeded": 1} == watched.read().ended


def test_work_is_the_time_of_steps(postgres: dg.DagsterInstance) -> None:
    def slow() -> dg.MaterializeResult[Any]:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        return dg.MaterializeResult()

    watched = Watched(postgres)
    run(postgres, plain("root", body=slow), plain("mart", "root", body=slow))

    assert watched.read().seconds >= 0.4


@pytest.mark.parametrize(
    ("tags", "requests"),
    [(REQUESTED, 1), (OF_0_1, 1), ({}, 0)],
    ids=["by freshline", "by freshline 0.1", "by hand"],
)
def test_a_request_is_a_run_with_a_reason(
    postgres: dg.DagsterInstance, tags: dict[str, str], requests: int
) -> None:
    watched = Watched(postgres)
    queue(postgres, plain("root"), tags=tags)

    assert requests == watched.read().requests


def test_a_retry_is_no_request(postgres: dg.DagsterInstance) -> None:
    watched = Watched(postgres)
    first = queue(postgres, plain("root"), tags=REQUESTED)
    queue(
        postgres,
        plain("root"),
        tags=REQUESTED,
        parent_run_id=first.run_id,
        root_run_id=first.run_id,
    )

    assert 1 == watched.read().requests
