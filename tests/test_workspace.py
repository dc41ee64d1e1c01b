"""The whole workspace: `dagster dev` over all code locations, with the stack, dbt and the real
connector, and without a click. One story is played; each test asserts one fact of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import psycopg
import pytest
from devstack_fixtures import Broker, Database, PostgresServer, Program
from support.browser import Lineage, chromium, look_at_lineage
from support.contracts import read_contracts
from support.dagster import HOST_BIN, LOCATIONS, ROOT, GraphQL, free_port
from support.processes import Daemon
from support.stars import write_stars
from support.waiting import wait_until

FIRST, LATER = 400, 60
SYNC = ("postgres/stargazers", "postgres/stargazers_user")
MARTS = ("mart/mart_gh_stargazer", "mart/mart_gh_cumulative", "mart/mart_gh_join")
CHANGED = "analytics_core"
"""The location whose team adds a model while the others work on."""
MAXIMUM_LAG = 5 * 60
"""Seconds that mart_gh_cumulative may be behind, by its policy."""
NEW_MODEL = """{{ config(schema="mart") }}
select repository, count(*) as stars from {{ ref("mart_gh_stargazer") }} group by 1
"""


@dataclass
class Story:
    """What the test saw of the workspace, in this order."""

    first_months: Mapping[str, int]
    second_months: Mapping[str, int]
    locations: dict[str, str] = field(default_factory=dict)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    picture: Lineage | None = None
    first_pass: dict[str, int] = field(default_factory=dict)
    second_pass: dict[str, int] = field(default_factory=dict)
    joined: int = 0
    listens_at: set[IPv4Address | IPv6Address] = field(default_factory=set)
    validation: str = ""
    servers_before: dict[str, set[int]] = field(default_factory=dict)
    servers_after: dict[str, set[int]] = field(default_factory=dict)
    assets_after_reload: set[str] = field(default_factory=set)
    run_in_flight: str = ""
    exit_status: int | None = None
    left_behind: set[int] = field(default_factory=set)


class Workspace:
    """A copy of the checkout's root, in which one location can be changed, and what runs in it."""

    def __init__(self, root: Path, environment: Mapping[str, str], warehouse: Database) -> None:
        self.root = root
        self._warehouse = warehouse
        for name in ("workspace.yaml", "dagster.yaml"):
            shutil.copy(ROOT / name, root / name)
        for name in LOCATIONS:
            if name != CHANGED:
                (root / name).symlink_to(ROOT / name)
        ignore = shutil.ignore_patterns(".venv", "logs", "__pycache__")
        shutil.copytree(ROOT / CHANGED, root / CHANGED, ignore=ignore)
        (root / CHANGED / ".venv").symlink_to(ROOT / CHANGED / ".venv")
        (root / "shared").symlink_to(ROOT / "shared")
        port = free_port()
        self.graphql = GraphQL(f"http://127.0.0.1:{port}")
        self.environment = {
            **environment,
            # The copy goes before the installed package, which is a link to the checkout.
            "PYTHONPATH": str(root / CHANGED / "src"),
        }
        limits = [HOST_BIN / "python", ROOT / "tools" / "limits.py"]
        subprocess.run(limits, env={**self.environment, "DAGSTER_HOME": str(root)}, check=True)
        self.dagster = Daemon(
            [HOST_BIN / "dagster", "dev", "-w", "workspace.yaml", "-p", str(port)],
            cwd=root,
            env=self.environment,
            log=root / "dagster.log",
        )
        self.workers = Daemon(
            [HOST_BIN / "freshline", "worker", "-w", "workspace.yaml"],
            cwd=root,
            env={**self.environment, "DAGSTER_HOME": str(root)},
            log=root / "workers.log",
        )

    def months(self) -> dict[str, int]:
        """Return the stars of each month that has any, as mart_gh_cumulative counts them."""
        rows = self.query(
            "select to_char(month, 'YYYY-MM'), stars from mart.mart_gh_cumulative where stars > 0"
        )
        return dict(rows)

    def query(self, sql: str) -> list[Any]:
        with psycopg.connect(self._warehouse.dsn) as connection:
            return connection.execute(sql).fetchall()

    def await_months(self, months: Mapping[str, int], *, seconds: float) -> None:
        def are_there() -> bool:
            self.fail_fast()
            there = self.query("select to_regclass('mart.mart_gh_cumulative') is not null")
            return there == [(True,)] and self.months() == months

        wait_until(are_there, f"{sum(months.values())} stars in the mart", seconds=seconds)

    def validate(self) -> str:
        """Return the output of Dagster's own check of the definitions."""
        return subprocess.run(
            [HOST_BIN / "dagster", "definitions", "validate", "-w", "workspace.yaml"],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout

    def fail_fast(self) -> None:
        assert self.dagster.is_running(), self.dagster.output()[-5000:]
        failed = self.graphql.runs(statuses=["FAILURE"])
        assert not failed, failed

    def await_run(self, run_id: str, statuses: set[str], *, seconds: float) -> str:
        def status() -> str | None:
            now: str = self.graphql.run(run_id)["status"]
            return now if now in statuses else None

        return wait_until(status, f"run {run_id} is one of {statuses}", seconds=seconds)

    def servers(self) -> dict[str, set[int]]:
        """Return the process ids of the code servers by location."""
        found: dict[str, set[int]] = {}
        for pid in self.dagster.members():
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            for location in LOCATIONS:
                if "grpc" in words and f"{location}.definitions" in words:
                    found.setdefault(location, set()).add(pid)
        return found


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    github_server: Callable[..., Program],
    airbyte_server: Callable[..., Program],
    broker_server: Callable[..., Broker],
) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("workspace")
    stars = folder / "stars.csv"
    more = folder / "more.csv"
    story = Story(write_stars(stars, FIRST), write_stars(more, FIRST, LATER))
    github = github_server(stars=stars)
    with (
        postgres_server.new_database() as instance,
        postgres_server.new_database() as warehouse,
        postgres_server.new_database() as airbyte_store,
    ):
        airbyte = airbyte_server(database_url=airbyte_store.dsn)
        environment = {
            **os.environ,
            **instance.environ("DAGSTER_PG"),
            **warehouse.environ("WAREHOUSE"),
            "FRESHLINE_BROKER_URL": broker_server().url,
            "AIRBYTE_URL": airbyte.url,
            "AIRBYTE_CLIENT_ID": airbyte.client_id,
            "AIRBYTE_CLIENT_SECRET": airbyte.client_secret,
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": github.token,
            "GITHUB_REPOSITORY": github.repository,
        }
        environment.pop("DAGSTER_HOME", None)
        root = folder / "checkout"
        root.mkdir()
        workspace = Workspace(root, environment, warehouse)
        try:
            play_first_pass(workspace, story)
            port = int(github.url.rpartition(":")[2])
            github.stop()
            github_server(stars=more, port=port, token=github.token)
            play_second_pass(workspace, story)
            play_reload(workspace, story)
            story.validation = workspace.validate()
            story.exit_status = workspace.dagster.interrupt()
            # A code server takes some seconds to end after dagster itself.
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not workspace.dagster.members(), "all is ended", seconds=60)
            story.left_behind = workspace.dagster.members()
            yield story
        finally:
            workspace.dagster.kill()
            workspace.workers.kill()


def play_first_pass(workspace: Workspace, story: Story) -> None:
    """Wait until the sensors and the schedule have filled the marts; record what is there."""
    wait_until(workspace.graphql.is_up, "the webserver answers", seconds=120)
    story.locations = workspace.graphql.locations()
    workspace.await_months(story.first_months, seconds=300)
    story.first_pass = workspace.months()

    def is_joined() -> bool:
        workspace.fail_fast()
        return workspace.query("select to_regclass('mart.mart_gh_join') is not null") == [(True,)]

    wait_until(is_joined, "mart_gh_join is there", seconds=180)
    story.joined = workspace.query("select sum(stars) from mart.mart_gh_join")[0][0]
    story.assets = workspace.graphql.assets()
    story.listens_at = workspace.dagster.listens_at()
    picture = Path(os.environ.get("LINEAGE_PICTURE", workspace.root / "lineage.png")).resolve()
    if chromium() is not None:
        names = [key.rpartition("/")[2] for key in (*SYNC, *MARTS)]
        story.picture = look_at_lineage(workspace.graphql.url, LOCATIONS, names, picture)


def play_second_pass(workspace: Workspace, story: Story) -> None:
    """Start a sync of new stars by hand, and wait until the marts have them too."""
    run_id = workspace.graphql.launch("ingestion", *SYNC)
    workspace.await_run(run_id, {"SUCCESS"}, seconds=180)
    # No sooner than its policy asks for: the mart may have been made just before the sync.
    workspace.await_months(story.second_months, seconds=MAXIMUM_LAG + 60)
    story.second_pass = workspace.months()


def play_reload(workspace: Workspace, story: Story) -> None:
    """Add a model and reload its location, while another team's sync runs."""
    folder = workspace.root / CHANGED
    (folder / "dbt_project_1" / "models" / "mart_gh_added.sql").write_text(NEW_MODEL)
    subprocess.run(
        [folder / ".venv" / "bin" / "python", "-m", f"{CHANGED}.prepare"],
        cwd=workspace.root,
        env=workspace.environment,
        check=True,
    )
    story.servers_before = workspace.servers()
    run_id = workspace.graphql.launch("ingestion", *SYNC)
    workspace.await_run(run_id, {"STARTED", "SUCCESS"}, seconds=120)
    workspace.graphql.reload(CHANGED)
    story.servers_after = workspace.servers()
    story.assets_after_reload = set(workspace.graphql.assets())
    story.run_in_flight = workspace.await_run(run_id, {"SUCCESS", "FAILURE"}, seconds=180)


def test_every_location_loads(story: Story) -> None:
    assert dict.fromkeys(LOCATIONS, "LOADED") == story.locations


def test_dagsters_own_validation_passes(story: Story) -> None:
    for name in LOCATIONS:
        assert f"Validation successful for code location {name}." in story.validation


def test_nothing_listens_beyond_loopback(story: Story) -> None:
    assert story.listens_at
    assert all(address.is_loopback for address in story.listens_at), story.listens_at


def test_dagster_shows_the_lineage_of_the_committed_contracts(story: Story) -> None:
    shown = {
        key: (
            node["repository"]["location"]["name"],
            sorted("/".join(dependency["path"]) for dependency in node["dependencyKeys"]),
        )
        for key, node in story.assets.items()
        if node["isExecutable"]
    }

    assert {
        export["key"]: (location, sorted(export.get("deps", [])))
        for location, contract in read_contracts().items()
        for export in contract.get("exports", [])
    } == shown


def test_the_locations_are_one_lineage(story: Story) -> None:
    upstream, waiting = set(), ["mart/mart_gh_join"]
    while waiting:
        key = waiting.pop()
        upstream.add(key)
        waiting += ["/".join(dep["path"]) for dep in story.assets[key]["dependencyKeys"]]

    assert {*SYNC, *MARTS} <= upstream


def test_no_asset_of_the_lineage_is_a_stub(story: Story) -> None:
    assert [] == [key for key, node in story.assets.items() if node["isAutoCreatedStub"]]


def test_a_browser_shows_the_lineage(story: Story) -> None:
    if story.picture is None:
        pytest.skip("chromium is not installed: apt-get install chromium")

    for key in (*SYNC, *MARTS):
        assert key.rpartition("/")[2] in story.picture.text


def test_the_mart_holds_exactly_the_stars_of_the_source(story: Story) -> None:
    assert dict(story.first_months) == story.first_pass
    assert sum(story.first_pass.values()) == FIRST


def test_the_joined_mart_holds_every_star(story: Story) -> None:
    assert story.joined == FIRST


def test_a_second_pass_adds_exactly_the_new_stars(story: Story) -> None:
    assert dict(story.second_months) == story.second_pass
    assert sum(story.second_pass.values()) == FIRST + LATER


def test_a_reload_adds_the_new_model(story: Story) -> None:
    assert {"mart/mart_gh_added"} == story.assets_after_reload - set(story.assets)


def test_a_reload_keeps_the_servers_of_the_other_locations(story: Story) -> None:
    assert set(LOCATIONS) == set(story.servers_before)
    for name in LOCATIONS:
        if name != CHANGED:
            assert story.servers_before[name] <= story.servers_after[name]


def test_a_reload_does_not_disturb_the_run_of_another_team(story: Story) -> None:
    assert story.run_in_flight == "SUCCESS"


def test_ctrl_c_leaves_no_process_behind(story: Story) -> None:
    assert story.exit_status == 0
    assert set() == story.left_behind
