"""`make dev`, started by a script in the background: code servers that die, and its end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.dagster import LOCATIONS, ROOT, GraphQL, free_port
from support.processes import Job, family_of, still_running
from support.stars import write_stars
from support.waiting import wait_until

PROMISED_SECONDS = 30
"""What the end may take after SIGTERM."""
SERVICES = ("POSTGRES", "AIRBYTE", "GITHUB", "BROKER")
SYNC_ENDED = r"UTC  ingestion\s+postgres/stargazers, postgres/stargazers_user\s+succeeded after "
NOT_LINKED = (".env", ".git", ".local", ".tox", "tools")


@dataclass
class Story:
    """What the test saw, in this order."""

    output: str = ""
    """What `make dev` said after the servers had died."""
    log: str = ""
    """What it said of runs up to then."""
    processes: int = 0
    """How many processes ran before the end."""
    left_behind: set[int] = field(default_factory=set)


class Dev:
    """`make dev` in a folder with links to this checkout, but with a stack of its own."""

    def __init__(self, folder: Path) -> None:
        root = folder / "checkout"
        root.mkdir()
        for path in ROOT.iterdir():
            if path.name not in NOT_LINKED:
                (root / path.name).symlink_to(path)
        shutil.copytree(ROOT / "tools", root / "tools")
        write_stars(folder / "stars.csv", 60)
        port = free_port()
        self.graphql = GraphQL(f"http://127.0.0.1:{port}")
        ports = {f"DEVSTACK_{name}_PORT": str(free_port()) for name in SERVICES}
        # Set-up is left out: it would make environments in the links' targets.
        self.job = Job(
            ["make", "--old-file=setup", "dev"],
            cwd=root,
            env={
                **os.environ,
                **ports,
                "DEVSTACK_ROOT": str(root),
                "DEVSTACK_STARS": str(folder / "stars.csv"),
                "DAGSTER_PORT": str(port),
            },
            log=folder / "dev.log",
        )

    def await_ticks(self, since: float) -> None:
        """Wait until each location's sensor has ticked after `since`, in epoch seconds."""

        def have_ticked() -> bool:
            assert self.job.is_running(), self.job.output()[-5000:]
            return (
                self.graphql.is_up()
                and self.is_loaded()
                and all(self._ticked(one, since) for one in LOCATIONS)
            )

        wait_until(have_ticked, "each sensor has ticked", seconds=300)

    def is_loaded(self) -> bool:
        return self.graphql.locations() == dict.fromkeys(LOCATIONS, "LOADED")

    def _ticked(self, location: str, since: float) -> bool:
        query = """query($selector: RepositorySelector!) {
            sensorsOrError(repositorySelector: $selector) { ... on Sensors { results {
              name sensorState { ticks(limit: 5) { timestamp status } } } } } }"""
        selector = {"repositoryLocationName": location, "repositoryName": "__repository__"}
        sensors = self.graphql.ask(query, selector=selector)["sensorsOrError"].get("results", [])
        return any(
            tick["timestamp"] > since and tick["status"] in ("SUCCESS", "SKIPPED")
            for sensor in sensors
            if sensor["name"] == "update_sensor"
            for tick in sensor["sensorState"]["ticks"]
        )

    def servers(self) -> dict[str, int]:
        """Return the process id of the code server of each location."""
        found = {}
        for pid in family_of(self.job.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue  # a run's process, which has ended meanwhile
            for location in LOCATIONS:
                if "grpc" in words and f"{location}.definitions" in words:
                    found[location] = pid
        return found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("dev")
    story = Story()
    dev = Dev(folder)
    try:
        dev.await_ticks(since=0.0)
        play_a_sync(dev, story)
        play_deaths(dev, story)
        play_the_end(dev, story)
        yield story
    finally:
        left = set(family_of(dev.job.pid)) if dev.job.is_running() else story.left_behind
        for pid in left:
            # The end of one may have ended another.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def play_a_sync(dev: Dev, story: Story) -> None:
    """Wait until the first sync has ended."""

    def has_ended() -> bool:
        return re.search(SYNC_ENDED, dev.job.output()) is not None

    wait_until(has_ended, "a line says that the first sync has ended", seconds=180)
    story.log = dev.job.output()


def play_deaths(dev: Dev, story: Story) -> None:
    """Kill the code server of each location, and wait until all sensors tick again."""
    before = dev.servers()
    assert set(LOCATIONS) == set(before)
    begin = len(dev.job.output())
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def are_back() -> bool:
        said = all(_replaced(location) in dev.job.output() for location in LOCATIONS)
        return said and dev.is_loaded()

    wait_until(are_back, "each location is loaded again", seconds=120)
    dev.await_ticks(since=time.time())
    story.output = dev.job.output()[begin:]


def play_the_end(dev: Dev, story: Story) -> None:
    """Ask `make` itself to stop, and wait for as long as was promised."""
    family = family_of(dev.job.pid)
    story.processes = len(family)
    os.kill(dev.job.pid, signal.SIGTERM)
    try:
        wait_until(lambda: not still_running(family), "all is ended", seconds=PROMISED_SECONDS)
    except TimeoutError:
        story.left_behind = still_running(family)


def _replaced(location: str) -> str:
    return f"dev: the code server of {location} no longer answered; a new one runs\n"


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_code_server_that_died_is_replaced_and_one_line_says_so(
    story: Story, location: str
) -> None:
    lines = [line for line in story.output.splitlines() if f"code server of {location} " in line]

    assert [_replaced(location).strip()] == lines


def test_a_line_says_why_a_run_was_requested_and_what_became_of_it(story: Story) -> None:
    syncs = [line for line in story.log.splitlines() if "UTC  ingestion  " in line]
    queued, ended = syncs[:2]

    assert re.search(r"  (queued|starting|running)  for mart/mart_gh_\w+: first version$", queued)
    assert re.search(r"  succeeded after .* s  for mart/mart_gh_\w+: first version$", ended)


def test_no_line_is_a_debug_event_of_dagster(story: Story) -> None:
    assert [] == [line for line in story.log.splitlines() if " - DEBUG - " in line]


def test_sigterm_ends_everything_that_make_dev_has_started(story: Story) -> None:
    # make, devstack, dev.py, dagster, its webserver and daemon, two for each location, four servers
    assert story.processes >= 6 + 2 * len(LOCATIONS) + len(SERVICES)
    assert set() == story.left_behind
