"""`freshline log`: what was requested, why, and what became of it."""

from __future__ import annotations

import json
import os
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
from event_logs import plain
from event_logs import run as run_by_hand
from freshline.cli import app
from freshline.log import Follower, Request, json_schema
from typer.testing import CliRunner, Result
from working_day import JOIN, STARGAZER, SYNC, WorkingDay, day_of_a_command

NOON = "2026-03-10T12:00+00:00"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@dataclass
class Story:
    """What the command printed in the course of the day."""

    page: Result
    document: Any
    later: Result
    """What was requested in the last minute."""
    nothing: Result
    """The same in a minute in which nothing was."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Nine minutes: all is made, then the source of the sync is closed."""
    with day_of_a_command(tmp_path_factory.mktemp("home")) as day:
        yield play(day)


def play(day: WorkingDay) -> Story:
    day.until("12:05:20")
    nothing = ask(day, "--since", "1m")
    with day.stopped():
        run_by_hand(day.instance, plain("by_hand"))
    day.is_closed = True
    day.until_requested().until("12:09:00").until_requested()
    document = json.loads(ask(day, "--json").stdout)
    return Story(ask(day), document, ask(day, "--since", "1m"), nothing)


def ask(day: WorkingDay, *arguments: str) -> Result:
    with day.stopped():
        return run("log", *arguments)


class TestLines:
    def test_a_run_is_one_line(self, story: Story) -> None:
        lines = story.page.output.splitlines()

        assert 0 == story.page.exit_code
        why = f"for {JOIN}: first version"
        assert [
            f"12:00:05 UTC  ingestion        {SYNC}  succeeded after 52 s  {why}",
            f"12:01:00 UTC  analytics_core   {STARGAZER}  succeeded after 11 s  {why}",
            f"12:01:15 UTC  analytics_marts  {JOIN}  succeeded after 10 s  {why}",
        ] == lines[:3]

    def test_a_failed_run_has_its_error_and_what_was_left(self, story: Story) -> None:
        failed = story.page.output.splitlines()[3]

        assert re.fullmatch(
            rf"12:0\d:\d\d UTC  ingestion        {SYNC}  "
            r"failed after 2 s: RuntimeError: the source is closed  "
            rf"for {JOIN}, due 12:10:05 UTC: latest start, \d s to spare",
            failed,
        )

    def test_a_run_that_was_not_launched_is_queued(self, story: Story) -> None:
        assert f"{SYNC}  queued  for {JOIN}, due" in story.page.output.splitlines()[-1]

    def test_runs_of_others_are_left_out(self, story: Story) -> None:
        assert "by_hand" not in story.page.output

    def test_since_leaves_out_what_is_older(self, story: Story) -> None:
        assert "succeeded" not in story.later.output
        assert "queued" in story.later.output

    def test_it_says_that_nothing_was_requested(self, story: Story) -> None:
        assert 0 == story.nothing.exit_code
        assert "freshline has requested nothing since 12:04:20 UTC.\n" == story.nothing.output

    @pytest.mark.parametrize(
        ("since", "message"),
        [
            ("yesterday", "--since 'yesterday' is no time; write 30m, 2h or 3d"),
            ("2026-03-10T12:00", "--since '2026-03-10T12:00' has no time zone"),
            ("2999-01-01T00:00+00:00", "is still to come; give a time in the past"),
        ],
    )
    def test_a_bad_time_is_refused(self, since: str, message: str) -> None:
        result = run("log", "--since", since)

        assert 2 == result.exit_code
        assert message in result.output


class TestJson:
    def test_it_is_valid_by_the_schema(self, story: Story) -> None:
        jsonschema.validate(story.document, json_schema())

    def test_a_run_has_these_values(self, story: Story) -> None:
        first = dict(story.document["requests"][0])

        assert first.pop("run_id")
        assert first.pop("plan")
        assert {
            "requested_at": "2026-03-10T12:00:05.000+00:00",
            "location": "ingestion",
            "assets": [SYNC],
            "checks": [],
            "partition": None,
            "target": JOIN,
            "deadline": None,
            "slack_seconds": None,
            "reason": f"for {JOIN}: first version",
            "result": "succeeded",
            "started_at": "2026-03-10T12:00:05.000+00:00",
            "ended_at": "2026-03-10T12:00:57.000+00:00",
            "error": None,
        } == first


@pytest.fixture
def day(tmp_path: Path) -> Iterator[WorkingDay]:
    with day_of_a_command(tmp_path) as day:
        yield day


class TestFollow:
    def news(self, day: WorkingDay, follower: Follower) -> list[tuple[tuple[str, ...], str]]:
        with day.stopped():
            found: list[Request] = follower.news(day.instance, day.now)
        return [(it.assets, it.result) for it in found]

    def test_a_run_is_told_when_it_is_requested_and_when_it_ends(self, day: WorkingDay) -> None:
        follower = Follower(day.now - 1.0)
        day.tick()
        before = self.news(day, follower)
        day.until_requested()
        requested = [self.news(day, follower) for _ in range(2)]
        day.make_runs()
        ended = [self.news(day, follower) for _ in range(2)]
        day.sleep_until("12:10:00")
        later = self.news(day, follower)

        assert [] == before
        assert [[((SYNC,), "queued")], []] == requested
        assert [[((SYNC,), "succeeded")], []] == ended
        assert [] == later

    def test_a_run_that_takes_long_is_told_when_it_ends(self, day: WorkingDay) -> None:
        follower = Follower(day.now - 1.0)
        day.tick().until_requested()
        first = self.news(day, follower)
        day.sleep_until("14:00:00")
        meanwhile = self.news(day, follower)
        day.make_runs()

        assert [((SYNC,), "queued")] == first
        assert [] == meanwhile
        assert [((SYNC,), "succeeded")] == self.news(day, follower)

    def test_a_run_that_is_deleted_is_forgotten(self, day: WorkingDay) -> None:
        follower = Follower(day.now - 1.0)
        day.tick().until_requested()
        self.news(day, follower)
        for run in day.instance.get_runs():
            day.instance.delete_run(run.run_id)

        assert [] == self.news(day, follower)

    def test_the_next_look_makes_up_for_one_that_has_failed(
        self, day: WorkingDay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        follower = Follower(day.now - 1.0)
        day.tick().until_requested()

        def restarting(*_: Any, **__: Any) -> Any:
            raise ConnectionError("the database is restarting")

        with monkeypatch.context() as outage:
            outage.setattr(dg.DagsterInstance, "get_run_records", restarting)
            with pytest.raises(ConnectionError):
                self.news(day, follower)

        assert [((SYNC,), "queued")] == self.news(day, follower)

    @pytest.mark.parametrize("options", [[], ["--json"]])
    def test_the_command_goes_on_until_it_is_interrupted(
        self, day: WorkingDay, options: list[str]
    ) -> None:
        day.tick().until_requested()
        command = [sys.executable, "-c", "from freshline.cli import app; app()", "log"]
        following = subprocess.Popen(
            [*command, "--follow", "--since", NOON, *options],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        try:
            assert following.stdout
            requested = following.stdout.readline()
            day.make_runs()
            ended = following.stdout.readline()
            following.send_signal(signal.SIGINT)
            status = following.wait(60)
        finally:
            following.kill()
            following.communicate()

        if options:
            assert ["queued", "succeeded"] == [
                json.loads(line)["result"] for line in (requested, ended)
            ]
        else:
            assert f"ingestion  {SYNC}  queued  for {JOIN}: first version\n" in requested
            assert f"ingestion  {SYNC}  succeeded after 52 s  for {JOIN}" in ended
        assert 0 == status
