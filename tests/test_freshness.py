"""Freshness across code locations, with real processes: three code servers and their workers, each
on its own Dagster minor version, the real daemon, broker and Postgres. One story runs for some ten
minutes; each test checks one fact in its log.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from operator import sub

import pytest
from devstack_fixtures import Broker, PostgresServer
from support.story import Made, Stage, Story

EVENTS, CLEAN, BOARD = "raw/events", "core/clean", "core/board"
FAST, SLOW = "mart/fast", "mart/slow"
DEPS: dict[str, list[str]] = {
    EVENTS: [],
    CLEAN: [EVENTS],
    BOARD: [EVENTS],
    FAST: [EVENTS],
    SLOW: [CLEAN, FAST],
}
EASY_MINUTES, FAST_MINUTES, SLOW_MINUTES = 10.0, 1.5, 3.0
CYCLES = 6


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    broker_server: Callable[..., Broker],
) -> Iterator[Story]:
    with (
        postgres_server.new_database() as instance,
        postgres_server.new_database() as warehouse,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("FRESHLINE_BROKER_URL", broker_server().url)
        for name, value in instance.environ("DAGSTER_PG").items():
            patch.setenv(name, value)
        environment = {**os.environ, "WAREHOUSE_DSN": warehouse.dsn}
        stage = Stage(tmp_path_factory.mktemp("freshness"), environment, DEPS)
        stage.add("ingestion", "1.12.9", {EVENTS: None})
        stage.add("core", "1.13.4", {CLEAN: None, BOARD: EASY_MINUTES})
        stage.add("marts", "1.13.27", {FAST: EASY_MINUTES, SLOW: EASY_MINUTES})
        stage.chapter("start")
        dagster = stage.start_dagster()
        try:
            stage.await_made(SLOW, 1, "start", seconds=240)
            stage.await_age(FAST, FAST_MINUTES * 60)

            # One team tightens its policies and reloads its location; nobody else does anything.
            stage.write("marts", {FAST: FAST_MINUTES, SLOW: SLOW_MINUTES})
            dagster.graphql.reload("marts")
            stage.chapter("tightened")
            stage.await_made(FAST, 1, "tightened", seconds=180)
            stage.write("core", {CLEAN: None, BOARD: FAST_MINUTES})
            dagster.graphql.reload("core")
            dagster.stop_webserver()

            stage.await_made(FAST, 2, "tightened", seconds=240)
            stage.chapter("steady")
            stage.await_made(FAST, CYCLES, "steady", seconds=CYCLES * FAST_MINUTES * 90)

            # A run that is killed would be tried again first, on the old inputs.
            stage.await_rest(SLOW, seconds=2 * FAST_MINUTES * 60)
            dagster.stop_location("marts")
            stage.chapter("marts down")
            stage.await_made(BOARD, 2, "marts down", seconds=4 * FAST_MINUTES * 60)
            stage.chapter("marts back")
            dagster.start_location("marts")
            stage.await_made(SLOW, 1, "marts back", seconds=240)
            stage.chapter("caught up")
            stage.await_made(FAST, 1, "caught up", seconds=4 * FAST_MINUTES * 60)
            stage.read()
            (stage.folder / "story.txt").write_text(stage.story.as_text())
            yield stage.story
        finally:
            dagster.stop()


TWO_RUNS_SECONDS = 15.0
"""The time of two runs in a row. If two versions are closer together, one of them was needless."""


def share_of_time_late(made: list[Made], minutes: float) -> float:
    """Return the part of the time, from 0 to 1, in which the data was older than `minutes`.

    The time is that from the first version to the last; the age of the data is that of its rows.
    """
    late = sum(
        max(0.0, after.at - before.newest - minutes * 60)
        for before, after in itertools.pairwise(made)
    )
    return late / (made[-1].at - made[0].at)


def test_another_teams_asset_runs_within_a_minute_of_a_tighter_policy(story: Story) -> None:
    first = story.of(EVENTS, "tightened")[0]

    # The mart was older than the new policy allows. Nothing ran before: the old one allowed it.
    mart = story.of(FAST, "start", "tightened")[-1]
    assert first.at - mart.newest > FAST_MINUTES * 60
    assert mart.inputs[EVENTS] == story.of(EVENTS, "start", "tightened")[-1].id
    assert first.at - story.chapters["tightened"] < 60


@pytest.mark.parametrize(
    ("target", "minutes"), [(FAST, FAST_MINUTES), (SLOW, SLOW_MINUTES), (BOARD, FAST_MINUTES)]
)
def test_no_target_is_ever_late_after_warm_up(story: Story, target: str, minutes: float) -> None:
    made = story.of(target, "steady", "marts down")

    assert len(made) >= 2
    assert share_of_time_late(made, minutes) == 0


def test_every_version_is_made_from_newer_inputs_than_the_one_before(story: Story) -> None:
    for key in DEPS:
        times = [made.newest for made in story.of(key, "start")]

        assert sorted(set(times)) == times


def test_inputs_of_another_location_are_made_first(story: Story) -> None:
    by_id = {made.id: made for made in story.made}

    for made in story.of(FAST, "start") + story.of(CLEAN, "start") + story.of(BOARD, "start"):
        consumed = by_id[made.inputs[EVENTS]]
        assert (consumed.key, consumed.newest) == (EVENTS, made.newest)


def test_the_slower_target_runs_about_half_as_often(story: Story) -> None:
    fast = len(story.of(FAST, "steady", "marts down"))
    slow = len(story.of(SLOW, "steady", "marts down"))

    assert fast / 3 <= slow <= fast * 2 / 3


def test_the_lag_in_the_metadata_is_that_of_the_rows(story: Story) -> None:
    for made in story.of(FAST, "start") + story.of(SLOW, "start"):
        assert made.data_time == pytest.approx(made.newest, abs=0.001)
        assert made.lag == pytest.approx(made.at - made.newest, abs=2)


def test_other_locations_are_not_late_while_a_location_is_down(story: Story) -> None:
    made = story.of(BOARD, "steady", "marts back")

    assert len(story.of(BOARD, "marts down", "marts back")) >= 2
    assert share_of_time_late(made, FAST_MINUTES) == 0


@pytest.mark.parametrize("target", [FAST, SLOW])
def test_a_location_that_is_back_catches_up_with_one_run_of_each_asset(
    story: Story, target: str
) -> None:
    made = [made.at for made in story.of(target, "marts back")]

    assert len(made) >= 1
    assert len(story.of(target, "marts back", "caught up")) <= 1
    gaps = [gap for gap in map(sub, made[1:], made) if gap < TWO_RUNS_SECONDS]
    assert gaps == [], story.as_text()
