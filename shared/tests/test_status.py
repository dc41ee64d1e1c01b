"""`freshline status`: how targets stand, and why one asset has not run, on a played day."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest
from freshline.cli import app
from freshline.contract.pauses import pause_event
from freshline.model import Pause
from freshline.overview import status_of
from freshline.sensor.outlook import Observer
from freshline.status.document import json_schema
from scenes import clock
from typer.testing import CliRunner, Result
from working_day import JOIN, STARGAZER, SYNC, WorkingDay, day_of_a_command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@dataclass
class Story:
    """What the commands printed in the course of the day."""

    fresh: Result
    queued: Result
    """When the sync was requested, and its run has not begun."""
    late: Result
    why_late: Result
    why_sync: Result
    alone: Result
    """When nothing ticks any more."""
    documents: dict[str, Any]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Ten minutes: all is made, then the source of the sync is closed and the join is late."""
    with day_of_a_command(tmp_path_factory.mktemp("home")) as day:
        yield play(day)


def play(day: WorkingDay) -> Story:
    day.until("12:05:20")
    fresh = ask(day)
    documents = {"fresh": document(day, "status")}
    day.is_closed = True
    queued = ask(day.until_requested().tick())
    day.until("12:10:30")
    late, why_late, why_sync = ask(day), ask(day, JOIN), ask(day, SYNC)
    documents["late"] = document(day, "status")
    documents["why"] = document(day, "status", JOIN)
    day.sleep_until("12:20:00")
    return Story(fresh, queued, late, why_late, why_sync, ask(day), documents)


def ask(day: WorkingDay, *arguments: str) -> Result:
    with day.stopped():
        return run("status", *arguments)


def document(day: WorkingDay, *arguments: str) -> Any:
    with day.stopped():
        return json.loads(run(*arguments, "--json").stdout)


class TestPage:
    def test_a_promise_that_is_kept_ends_with_0(self, story: Story) -> None:
        first, _, target, *_ = story.fresh.output.splitlines()

        assert 0 == story.fresh.exit_code
        assert "12:05:20 UTC: 1 target, 1 fresh, in 3 code locations." == first
        assert f"fresh       {JOIN}  5 min 15 s of 10 min  until 12:10:05 UTC" in target

    def test_the_path_has_the_share_of_each_hop(self, story: Story) -> None:
        (path,) = (line for line in story.fresh.output.splitlines() if line.strip()[:4] == "path")

        assert f"path  {SYNC} 52 s 65% > {STARGAZER} 14 s 18% > {JOIN} 14 s 18%" == path.strip()

    def test_the_next_run_is_named_with_its_location(self, story: Story) -> None:
        assert re.search(rf"next  {SYNC} in ingestion starts in \d+ min", story.fresh.output)
        assert f"next  {SYNC} in ingestion has been queued since 12:0" in story.queued.output

    def test_a_broken_promise_ends_with_1_and_names_who_holds_it_up(self, story: Story) -> None:
        assert 1 == story.late.exit_code
        assert "1 target, 1 blocked" in story.late.output
        assert f"held up by ingestion: {SYNC} failed" in story.late.output
        assert "the source is closed" in story.late.output
        assert f"next  {SYNC} in ingestion is tried again at" in story.late.output

    def test_who_is_not_heard_of_is_said(self, story: Story) -> None:
        assert 1 == story.alone.exit_code
        assert "Dagster's daemon has not been heard of since 12:10:2" in story.alone.output
        for location in ("ingestion", "analytics_core", "analytics_marts"):
            assert f"{location} has not been heard of since 12:" in story.alone.output
        assert "its code server" not in story.alone.output


class TestExplanation:
    def test_an_asset_says_what_would_have_to_be_true(self, story: Story) -> None:
        text = story.why_sync.output

        assert 0 == story.why_sync.exit_code
        assert f"needed by       {JOIN}" in text
        assert "[x] ingestion is heard of" in text
        assert re.search(r"\[ \] it is 12:\d\d:\d\d UTC: it failed .*: the source is closed", text)

    def test_one_further_down_names_what_it_waits_for(self, story: Story) -> None:
        text = story.why_late.output

        assert 1 == story.why_late.exit_code
        assert f"[ ] {STARGAZER} has data newer than" in text
        assert f"waits for       {SYNC} in ingestion is tried again at" in text
        assert "that runs when  [x] ingestion is heard of" in text

    @pytest.mark.usefixtures("story")
    def test_an_unknown_key_is_named_with_the_one_that_was_meant(self) -> None:
        result = run("status", "mart/mart_gh_joins")

        assert 2 == result.exit_code
        assert f"makes mart/mart_gh_joins; did you mean {JOIN}?" in result.output


class TestJson:
    @pytest.mark.parametrize("moment", ["fresh", "late", "why"])
    def test_it_is_valid_by_the_schema(self, story: Story, moment: str) -> None:
        jsonschema.validate(story.documents[moment], json_schema())

    def test_a_target_has_these_values(self, story: Story) -> None:
        document = story.documents["fresh"]
        (target,) = document["targets"]

        assert (1, True, "2026-03-10T12:05:20.000+00:00") == (
            document["schema_version"],
            document["kept"],
            document["at"],
        )
        assert {
            "asset": JOIN,
            "location": "analytics_marts",
            "owners": ["team:marts"],
            "status": "fresh",
            "lag_seconds": 315.0,
            "maximum_lag_seconds": 600.0,
            "cron": None,
            "timezone": None,
            "data_time": "2026-03-10T12:00:05.000+00:00",
            "deadline": "2026-03-10T12:10:05.000+00:00",
            "measured": True,
            "held_up_by": None,
            "unchanged_since": None,
            "never_promised": {},
        } == {name: target[name] for name in target.keys() - CHANGING}
        assert [0.65, 0.175, 0.175] == [hop["share"] for hop in target["path"]]

    def test_what_holds_a_target_up_has_these_values(self, story: Story) -> None:
        document = story.documents["late"]
        (target,) = document["targets"]
        held, step = target["held_up_by"], target["next"]

        assert not document["kept"]
        assert ("ingestion", SYNC, "failing") == (held["location"], held["asset"], held["phase"])
        assert ("ingestion", SYNC, "failing") == (step["location"], step["asset"], step["phase"])

    def test_locations_and_the_daemon_have_these_values(self, story: Story) -> None:
        document = story.documents["fresh"]

        assert not document["daemon"]["silent"]
        assert [
            ("analytics_core", False, []),
            ("analytics_marts", False, []),
            ("ingestion", False, []),
        ] == [(it["location"], it["silent"], it["stopped_sensors"]) for it in document["locations"]]


CHANGING = {"shortest_possible_seconds", "reason", "next", "expected", "path"}
"""What the planner's estimates are in; other tests look at them."""


@pytest.fixture
def day(tmp_path: Path) -> Iterator[WorkingDay]:
    with day_of_a_command(tmp_path) as day:
        yield day


class TestTroubles:
    def test_without_a_contract_there_is_nothing_to_say(self, day: WorkingDay) -> None:
        result = ask(day)

        assert 2 == result.exit_code
        assert "no location has published a contract in this instance" in result.output

    def test_a_silent_location_is_named_while_the_daemon_runs(self, day: WorkingDay) -> None:
        day.tick().until("12:04:00", without="ingestion")
        result = ask(day)

        assert 1 == result.exit_code
        assert "ingestion has not been heard of since 12:00:00 UTC: its code server is down" in (
            result.output
        )
        assert "daemon" not in result.output

    def test_a_sensor_that_was_stopped_is_named(self, day: WorkingDay) -> None:
        day.tick().until("12:04:00", without="ingestion")
        stop_sensor(day.instance, "ingestion")

        assert "ingestion has not been heard of since 12:00:00 UTC: update_sensor was stopped" in (
            ask(day).output
        )

    def test_a_pause_breaks_no_promise(self, day: WorkingDay) -> None:
        day.tick()
        with day.stopped():
            pause = Pause(clock("10 14:00"), "the warehouse moves")
            day.instance.report_runless_asset_event(pause_event("analytics_marts", pause))
        result = ask(day.tick())

        assert 0 == result.exit_code
        assert "analytics_marts is paused until 14:00:00 UTC: the warehouse moves" in result.output
        assert f"paused      {JOIN}" in result.output

    def test_a_long_list_is_shortened(
        self, day: WorkingDay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.cli.status._SHOWN", 0)
        day.tick()

        assert "1 more: 1 late; --all lists them." in ask(day).output
        assert f"late        {JOIN}" in ask(day, "--all").output

    def test_a_second_look_sees_what_has_happened(self, day: WorkingDay) -> None:
        day.tick()
        observer = Observer()
        with day.stopped():
            before = status_of(observer.look(day.instance, day.now), day.instance)
        day.until("12:02:00")
        with day.stopped():
            after = status_of(observer.look(day.instance, day.now), day.instance)

        assert (False, True) == (before.kept, after.kept)


class TestWatch:
    def test_it_needs_a_terminal(self, day: WorkingDay) -> None:
        day.tick()
        result = ask(day, "--watch")

        assert 2 == result.exit_code
        assert "--watch redraws a terminal, and this is none" in result.output

    def test_it_is_for_people(self) -> None:
        result = run("status", "--watch", "--json")

        assert 2 == result.exit_code
        assert "--watch redraws a page for people" in result.output

    def test_it_redraws_in_place_until_it_is_interrupted(self, day: WorkingDay) -> None:
        day.tick()
        command = [sys.executable, "-c", "from freshline.cli import app; app()"]
        terminal, end = pty.openpty()
        watching = subprocess.Popen(
            [*command, "status", "--watch"],
            stdin=end,
            stdout=end,
            stderr=end,
            env={**os.environ, "TERM": "xterm"},
        )
        os.close(end)
        try:
            # The page is drawn, then drawn again above itself.
            drawn = read_until(terminal, rb"in 3 code locations[\s\S]*\x1b\[1A[\s\S]*in 3 code")
            watching.send_signal(signal.SIGINT)
            status = watching.wait(60)
        finally:
            watching.kill()
            watching.wait()
            os.close(terminal)

        assert JOIN.encode() in drawn
        assert 1 == status


def read_until(terminal: int, pattern: bytes) -> bytes:
    """Read until the output has `pattern`. A program that ends before raises `OSError`."""
    output = b""
    while not re.search(pattern, output):
        output += os.read(terminal, 65_536)
    return output


def stop_sensor(instance: dg.DagsterInstance, location: str) -> None:
    """Write what Dagster writes when somebody stops a sensor in the UI."""
    from dagster._core.definitions.run_request import InstigatorType
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus

    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
    origin = repository.get_instigator_origin("update_sensor")
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.STOPPED)
    instance.add_instigator_state(state)
