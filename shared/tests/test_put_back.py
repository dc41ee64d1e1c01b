"""A run that Dagster cannot launch goes back into its queue, and everybody is told why.

The queue is Dagster's own, on Postgres and on SQLite.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from event_logs import graph, plain
from freshline.cli import app
from freshline.contract import Contract, contract_materialization
from freshline.engine.broker import Broker, Worker
from freshline.history import History
from freshline.history.events import EventLog
from freshline.location import with_freshline
from freshline.model import Graph
from freshline.names import HELD_UP_BY, HELD_UP_PHASE
from freshline.policy import max_lag
from freshline.sensor.lag_check import lag_evaluation
from freshline.sensor.outlook import Observer
from freshline.words import clock
from run_queue import enqueue, launch, queueing_instance
from typer.testing import CliRunner

ROOT_AND_MART = graph(root=(), mart=())
STANDS = 40.0
"""Seconds for which an attempt tells something: two pauses of 5 s, and 30 s for the attempt."""
Home = Callable[..., dg.DagsterInstance]


@pytest.fixture(params=["postgres", "sqlite"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Return how to make an empty instance with a queue, given settings."""
    if request.param == "postgres":
        instance = request.getfixturevalue("postgres_instance")
        instance.wipe()
        settings = yaml.safe_load((Path(instance.root_directory) / "dagster.yaml").read_text())
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(queueing_instance(tmp_path, **given))


def refuse(instance: dg.DagsterInstance, *runs: dg.DagsterRun) -> None:
    """Let the launcher launch all runs but these from now on."""
    launcher: Any = instance.run_launcher
    launcher.bad_user_code_run_ids = {run.run_id for run in runs}


def why(run: dg.DagsterRun) -> str:
    """Return what the launcher says of a run that it refuses."""
    return f"User code error launching run {run.run_id}"


def held(history: History, lineage: Graph = ROOT_AND_MART, later: float = 0.0) -> dict[str, str]:
    """Return what the runs in the queue wait for, by the asset that they make."""
    assets = history.read(lineage, time.time() + later).assets
    return {key: it.pending.held_by for key, it in assets.items() if it.pending}


class TestQueuedRuns:
    def test_all_of_the_location_say_why_none_is_launched(self, home: Home) -> None:
        """Dagster tries one of them, and no other one until it tries again."""
        instance = home()
        history = History(instance)
        first, second = (enqueue(instance, plain(key)) for key in ("root", "mart"))
        assert {"root": "", "mart": ""} == held(history)

        refuse(instance, first, second)
        assert [] == launch(instance)

        assert {"root": why(first), "mart": why(first)} == held(history)
        assert held(history) == held(History(instance))

    def test_say_nothing_more_when_they_are_launched(self, home: Home) -> None:
        instance = home()
        history = History(instance)
        run = enqueue(instance, plain("root"))
        refuse(instance, run)
        launch(instance)
        assert "" != held(history)["root"]

        refuse(instance)
        launch(instance)
        assert "" != held(history)["root"]  # it may be put back this time, too
        instance.report_engine_event("Launched, as a real launcher says.", run)

        assert {"root": ""} == held(history)
        pending = history.read(ROOT_AND_MART, time.time()).assets["root"].pending
        assert pending is not None
        assert pending.launched_at is not None

    def test_say_nothing_more_when_another_run_of_the_location_has_begun(self, home: Home) -> None:
        """Whatever they wait for now, somebody is there to take them."""
        instance = home(runs={"max_concurrent_runs": 1})
        history = History(instance)
        waiting = enqueue(instance, plain("root"))
        refuse(instance, waiting)
        launch(instance)
        urgent = enqueue(instance, plain("mart"), tags={"dagster/priority": "1"})
        assert {"root": why(waiting), "mart": why(waiting)} == held(history)

        launch(instance)
        began = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, urgent.job_name)
        instance.report_dagster_event(began, urgent.run_id)

        assert {"root": "", "mart": ""} == held(history)

    def test_say_nothing_more_when_dagster_has_stopped_trying(self, home: Home) -> None:
        """Where all slots are taken it tries nothing, so nothing is known."""
        instance = home()
        history = History(instance)
        run = enqueue(instance, plain("root"))
        refuse(instance, run)
        launch(instance)
        (attempt,) = instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT
        ).records

        assert {"root": why(run)} == held(history)
        assert attempt.timestamp + STANDS == history.until
        assert {"root": ""} == held(history, later=STANDS)

    def test_of_another_location_say_nothing(self, home: Home) -> None:
        instance = home()
        refuse(instance, enqueue(instance, plain("root")))
        launch(instance)
        enqueue(instance, plain("mart"), location="there")

        assert "" == held(History(instance))["mart"]

    def test_cost_no_question_while_nothing_is_tried(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        instance = home()
        history = History(instance)
        refuse(instance, enqueue(instance, plain("root")))
        launch(instance)
        held(history)
        asked: list[str] = []
        monkeypatch.setattr(EventLog, "put_back", lambda _, run_id: asked.append(run_id))

        assert "" != held(history)["root"]
        assert [] == asked


@dg.asset(metadata=max_lag(10))
def mart() -> None: ...


def test_a_location_without_workers_is_named_until_there_is_one(
    home: Home, tmp_path: Path, broker_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker_url = broker_server().url
    launcher = {
        "module": "freshline.engine.launcher",
        "class": "WarmRunLauncher",
        "config": {"broker": broker_url},
    }
    instance = home(launcher=launcher)
    definitions = with_freshline(dg.Definitions(assets=[mart]), location="here")
    contract = Contract.from_definitions(definitions.get_repository_def(), "here", tick_seconds=5.0)
    instance.report_runless_asset_event(contract_materialization(contract))
    run = enqueue(instance, mart)
    created = instance.get_run_records()[0].create_timestamp.timestamp()
    observer, words = Observer(), Broker(broker_url)

    def blame() -> str:
        plan = observer.look(instance, time.time()).plan
        target = plan.targets["mart"]
        assert target.blame is not None
        assert "queue" == target.blame.phase.value
        metadata = lag_evaluation(target, plan.now).metadata
        assert target.blame.message == metadata[HELD_UP_BY].value
        assert "queue" == metadata[HELD_UP_PHASE].value
        return target.blame.message

    queued = f"mart has been queued since {clock(created, time.time())}"
    assert queued == blame()

    assert [] == launch(instance)
    start = "start one: freshline worker here"
    assert f"{queued}: no worker of here was heard of in the last week; {start}" == blame()

    words.say_worker(Worker("here-1", "here", places=4, leaving=True))
    assert [] == launch(instance)
    (gone,) = words.workers()
    now = time.time()
    expected = {  # the second may have passed since
        f"{queued}: no worker of here since {clock(now - gone.age - ago, now)}; {start}"
        for ago in (-1, 0, 1)
    }
    assert blame() in expected

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shown = CliRunner().invoke(app, ["status", "--json"])
    (target,) = json.loads(shown.stdout)["targets"]
    assert (1, "late") == (shown.exit_code, target["status"])
    assert target["held_up_by"]["message"] in expected
    assert "queue" == target["held_up_by"]["phase"]

    words.say_worker(Worker("here-1", "here", places=4))
    assert [run.run_id] == [it.run_id for it in launch(instance)]
    starting = observer.look(instance, time.time()).plan.targets["mart"].blame
    assert starting is not None
    assert ("start", False) == (starting.phase.value, "no worker" in starting.message)
