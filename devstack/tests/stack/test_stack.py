"""`devstack up|down|status|reset`, as a user runs them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from checkout import Checkout
from devstack.airbyte.store import Store
from devstack.processes import wait_for_end
from devstack_fixtures import Database
from helpers import command_lines_with

# What `up` starts if the Airbyte is elsewhere, in this order.
STARTED = ("postgres", "github", "broker")
STARS = "repository,user_id,login,starred_at\n"


@pytest.fixture
def complete(quick_folder: Path) -> Iterator[Checkout]:
    """A checkout with an Airbyte, in which nothing has been started yet."""
    made = Checkout(quick_folder, airbyte=True)
    yield made
    made.clean()


class TestUp:
    """`devstack up`."""

    def test_databases_and_github_answer_and_no_secret_is_printed(self, checkout: Checkout) -> None:
        output = checkout.run("up")
        values = checkout.settings()
        secrets = {
            name: value
            for name, value in values.items()
            if name.endswith(("PASSWORD", "TOKEN", "SECRET"))
        }
        broker = checkout.broker()

        assert (
            checkout.query("select current_user || ' ' || current_database()")
            == "warehouse warehouse"
        )
        assert checkout.query("select current_user::text", "DAGSTER_PG") == "dagster"
        assert checkout.query("create schema mine") is None
        assert (
            checkout.get(f"/repos/{values['GITHUB_REPOSITORY']}").json()["stargazers_count"] >= 3000
        )
        with broker:
            assert broker.ping()
        # No client is made for an Airbyte that is not the stack's own.
        assert set(secrets) == {"DAGSTER_PG_PASSWORD", "WAREHOUSE_PASSWORD", "GITHUB_TOKEN"}
        secrets["FRESHLINE_BROKER_URL"] = broker.get_connection_kwargs()["password"]
        shown = output + checkout.logs() + checkout.records()
        assert [name for name, secret in secrets.items() if secret in shown] == []

    def test_changes_nothing_when_everything_runs(self, checkout: Checkout) -> None:
        checkout.run("up")
        before = {name: checkout.pid(name) for name in STARTED}
        output = checkout.run("up")

        assert {name: checkout.pid(name) for name in before} == before
        assert output.count("already running") == len(STARTED)

    def test_two_commands_at_once_start_one_stack(self, checkout: Checkout) -> None:
        both = [checkout.start("up") for _ in range(2)]
        outputs = [process.communicate(timeout=180)[0] for process in both]

        assert [process.returncode for process in both] == [0, 0], outputs
        assert "".join(outputs).count("postgres: started") == 1
        assert "".join(outputs).count("postgres: already running") == 1

    def test_starts_killed_services_again_with_their_data(self, checkout: Checkout) -> None:
        checkout.run("up")
        checkout.query("create table kept as select 42 as answer")
        with checkout.broker() as broker:
            broker.lpush("queue", "a run")
        for name in STARTED:
            victim = psutil.Process(checkout.pid(name))
            family = [victim, *victim.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            assert wait_for_end(family, 30) == []
        killed = checkout.states()
        checkout.run("up")

        assert killed == {**dict.fromkeys(STARTED, "ended"), "airbyte": "external"}
        assert checkout.query("select answer from kept") == 42
        with checkout.broker() as broker:
            assert broker.lrange("queue", 0, -1) == ["a run"]

    def test_data_survive_down_and_up(self, checkout: Checkout) -> None:
        checkout.run("up")
        checkout.query("create table kept as select 42 as answer")
        with checkout.broker() as broker:
            broker.lpush("queue", "a run")
        checkout.run("down")
        checkout.run("up")

        assert checkout.query("select answer from kept") == 42
        with checkout.broker() as broker:
            assert broker.lrange("queue", 0, -1) == ["a run"]

    def test_takes_over_passwords_changed_in_the_settings(self, checkout: Checkout) -> None:
        checkout.run("up")
        path = checkout.root / ".env"
        for old in (
            checkout.settings()["WAREHOUSE_PASSWORD"],
            checkout.broker().get_connection_kwargs()["password"],
        ):
            path.write_text(path.read_text().replace(old, "changed-by-hand"))
        checkout.run("up")

        assert checkout.query("select 1") == 1
        with checkout.broker() as broker:
            assert broker.ping()
        assert checkout.settings()["FRESHLINE_BROKER_URL"].startswith("redis://:changed-by-hand@")

    def test_makes_new_settings_when_the_file_was_deleted(self, checkout: Checkout) -> None:
        checkout.run("up")
        (checkout.root / ".env").unlink()
        checkout.run("up")

        assert checkout.query("select 1") == 1
        assert checkout.get("/rate_limit").status_code == 200
        with checkout.broker() as broker:
            assert broker.ping()

    @pytest.mark.parametrize("name", ["postgres", "github", "airbyte", "broker"])
    def test_busy_port_gives_a_clear_message_and_starts_nothing(
        self, checkout: Checkout, name: str
    ) -> None:
        other = Checkout(
            checkout.root.parent / f"{checkout.root.name}-other", airbyte=name == "airbyte"
        )
        other.root.mkdir()
        other.run("up")
        if name == "airbyte":
            del checkout.variables["AIRBYTE_URL"]
        checkout.variables[f"DEVSTACK_{name.upper()}_PORT"] = str(other.ports[name])
        output = checkout.run("up", code=1)
        still = other.states()
        other.clean()

        assert f"{name}: port {other.ports[name]} on 127.0.0.1 is in use" in output
        assert f"DEVSTACK_{name.upper()}_PORT" in output
        assert "Traceback" not in output
        assert command_lines_with(str(checkout.root / ".local")) == []
        assert {still[name] for name in STARTED} == {"running"}

    def test_service_that_does_not_start_shows_the_end_of_its_log(self, checkout: Checkout) -> None:
        checkout.run("up")
        checkout.run("down")
        (checkout.root / ".local/postgres/cluster/global/pg_control").unlink()
        output = checkout.run("up", code=1)

        assert "could not find the database system" in output
        assert str(checkout.root / ".local/log/postgres.log") in output

    def test_two_checkouts_run_side_by_side(self, checkout: Checkout) -> None:
        other = Checkout(checkout.root.parent / f"{checkout.root.name}-other")
        other.root.mkdir()
        checkout.run("up")
        other.run("up")
        checkout.query("create table only_here (x int)")

        assert other.query("select to_regclass('only_here')") is None
        checkout.run("down")
        assert other.states()["postgres"] == "running"
        other.clean()


class TestWithAirbyte:
    """All services together."""

    def test_airbyte_accepts_the_client_of_the_settings_also_after_it_changed(
        self, quick_folder: Path
    ) -> None:
        checkout = Checkout(quick_folder, airbyte=True)
        try:
            output = checkout.run("up")
            first = self.token_status(checkout)
            secrets = [checkout.settings()["AIRBYTE_CLIENT_SECRET"]]
            (checkout.root / ".env").unlink()
            output += checkout.run("up")
            second = self.token_status(checkout)
            secrets.append(checkout.settings()["AIRBYTE_CLIENT_SECRET"])
            states = checkout.states()
            output += checkout.logs()
        finally:
            checkout.clean()

        assert (first, second) == (200, 200)
        assert secrets[0] != secrets[1]
        assert [secret for secret in secrets if secret in output] == []
        assert states == dict.fromkeys((*STARTED, "airbyte"), "running")
        assert checkout.listening() == []

    def test_airbyte_keeps_its_records_in_a_database_of_its_own(self, complete: Checkout) -> None:
        """The records hold secrets, and everybody who builds models can read the warehouse."""
        complete.run("up")
        superuser = psycopg.conninfo.make_conninfo(
            host="127.0.0.1",
            port=complete.ports["postgres"],
            user="postgres",
            password=(complete.root / ".local/postgres/password").read_text().strip(),
        )
        with psycopg.connect(superuser, dbname="embedded_airbyte") as connection:
            found = connection.execute("select count(*) from airbyte.workspace").fetchone()

        assert found == (1,)
        assert complete.query("select to_regclass('airbyte.workspace')") is None
        password = complete.root / ".local/airbyte/database_password"
        assert oct(password.stat().st_mode & 0o777) == "0o600"
        assert password.read_text() not in complete.logs()

    def test_airbyte_keeps_its_records_out_of_databases_of_the_users_own(
        self, complete: Checkout, database: Database
    ) -> None:
        complete.variables |= database.environ("WAREHOUSE") | database.environ("DAGSTER_PG")
        complete.run("up")
        with psycopg.connect(database.dsn) as connection:
            found = connection.execute("select to_regclass('airbyte.workspace')").fetchone()

        assert self.token_status(complete) == 200
        assert found == (None,)
        assert complete.states()["postgres"] == "running"

    def test_airbyte_keeps_using_records_that_are_in_the_stacks_warehouse(
        self, complete: Checkout
    ) -> None:
        """An older version of the stack has put them there."""
        complete.variables["AIRBYTE_URL"] = "http://airbyte.invalid"
        complete.run("up")
        values = complete.settings()
        store = Store(
            psycopg.conninfo.make_conninfo(
                host=values["WAREHOUSE_HOST"],
                port=values["WAREHOUSE_PORT"],
                user=values["WAREHOUSE_USER"],
                password=values["WAREHOUSE_PASSWORD"],
                dbname=values["WAREHOUSE_DATABASE"],
            )
        )
        store.open()
        (before,) = store.workspaces()
        store.close()
        del complete.variables["AIRBYTE_URL"]
        complete.run("up")
        values = complete.settings()
        client = (values["AIRBYTE_CLIENT_ID"], values["AIRBYTE_CLIENT_SECRET"])
        url = f"{values['AIRBYTE_URL']}/api/public/v1/workspaces"
        (after,) = httpx.get(url, auth=client).json()["data"]

        assert after["workspaceId"] == str(before.id)

    def token_status(self, checkout: Checkout) -> int:
        values = checkout.settings()
        client = {
            "client_id": values["AIRBYTE_CLIENT_ID"],
            "client_secret": values["AIRBYTE_CLIENT_SECRET"],
        }
        url = f"{values['AIRBYTE_URL']}/api/public/v1/applications/token"
        return httpx.post(url, json=client).status_code


class TestStars:
    """`DEVSTACK_STARS`."""

    def test_file_is_served_and_its_repository_becomes_the_setting(
        self, checkout: Checkout
    ) -> None:
        checkout.run("up")
        live = checkout.settings()["GITHUB_REPOSITORY"]
        (checkout.root / "my.csv").write_text(STARS + "octo/mine,1,ann,2020-01-01T00:00:00Z\n")
        checkout.variables["DEVSTACK_STARS"] = "my.csv"
        checkout.run("up")

        assert live == "octo/live-stars"
        assert checkout.settings()["GITHUB_REPOSITORY"] == "octo/mine"
        assert checkout.get("/repos/octo/mine/stargazers").json()[0]["login"] == "ann"

    def test_bad_file_is_refused_before_anything_starts(self, checkout: Checkout) -> None:
        (checkout.root / "my.csv").write_text(STARS + "octo/mine,1,ann,yesterday\n")
        checkout.variables["DEVSTACK_STARS"] = "my.csv"
        output = checkout.run("up", code=1)

        assert "my.csv, line 2: starred_at 'yesterday' is not a time" in output
        assert not (checkout.root / ".env").exists()

    def test_repository_that_the_file_does_not_have_is_refused(self, checkout: Checkout) -> None:
        (checkout.root / "my.csv").write_text(STARS + "octo/mine,1,ann,2020-01-01T00:00:00Z\n")
        checkout.variables |= {"DEVSTACK_STARS": "my.csv", "GITHUB_REPOSITORY": "octo/yours"}
        output = checkout.run("up", code=1)

        assert "GITHUB_REPOSITORY is octo/yours" in output
        assert "it has octo/mine" in output

    def test_live_stream_has_no_new_stars_in_quiet_hours(self, checkout: Checkout) -> None:
        epoch = checkout.root / ".local" / "github" / "epoch"
        epoch.parent.mkdir(parents=True)
        epoch.write_text(f"{int(time.time()) - 5 * 3600}\n")
        path = "/repos/octo/live-stars/stargazers?per_page=100&page=31"  # after the history
        checkout.run("up")
        loud = checkout.get(path).json()
        checkout.variables["DEVSTACK_QUIET"] = "00:00-24:00"
        checkout.run("up")

        assert len(loud) == 100
        assert checkout.get(path).json() == []

    def test_bad_quiet_hours_are_refused_before_anything_starts(self, checkout: Checkout) -> None:
        checkout.variables["DEVSTACK_QUIET"] = "22-6"
        output = checkout.run("up", code=1)

        assert "DEVSTACK_QUIET (or --quiet) is '22-6'; it must be the hours" in output
        assert not (checkout.root / ".env").exists()

    def test_live_stream_has_the_same_stars_after_down_and_up(self, checkout: Checkout) -> None:
        checkout.run("up")
        path = "/repos/octo/live-stars/stargazers?per_page=100&page=30"
        before = checkout.get(path).json()
        checkout.run("down")
        checkout.run("up")

        assert len(before) == 100
        assert checkout.get(path).json() == before


class TestDown:
    """`devstack down`."""

    def test_leaves_nothing_running(self, checkout: Checkout) -> None:
        checkout.run("up")
        up = checkout.listening()
        checkout.run("down")

        assert up == list(STARTED)
        assert checkout.listening() == []
        assert command_lines_with(str(checkout.root)) == []

    def test_says_so_when_nothing_was_running(self, checkout: Checkout) -> None:
        assert "nothing was running" in checkout.run("down")

    def test_does_not_stop_another_program_that_now_has_a_recorded_process_id(
        self, checkout: Checkout
    ) -> None:
        checkout.run("up")
        record = checkout.root / ".local/run/github.json"
        content = json.loads(record.read_text())
        github = psutil.Process(content["pid"])
        github.terminate()
        assert wait_for_end([github], 60) == []
        with subprocess.Popen(["sleep", "600"]) as foreign:
            record.write_text(json.dumps({**content, "pid": foreign.pid}))
            checkout.run("down")

            assert foreign.poll() is None
            foreign.kill()


class TestStatus:
    """`devstack status`."""

    def test_shows_what_runs_where(self, checkout: Checkout) -> None:
        checkout.run("up")
        lines = checkout.run("status").splitlines()

        assert lines[1].split() == [
            *("postgres", "running", f"127.0.0.1:{checkout.ports['postgres']}"),
            *(str(checkout.pid("postgres")), str(checkout.root / ".local/log/postgres.log")),
        ]
        assert lines[3].split()[:3] == ["airbyte", "external", "http://airbyte.invalid"]
        assert lines[4].split()[:3] == [
            *("broker", "running", f"127.0.0.1:{checkout.ports['broker']}"),
        ]

    def test_shows_a_broker_of_the_users_own_without_its_password(self, checkout: Checkout) -> None:
        checkout.variables["FRESHLINE_BROKER_URL"] = "redis://me:secret@broker.invalid:6379/0"
        output = checkout.run("status", code=1)

        assert "secret" not in output
        assert output.splitlines()[4].split() == ["broker", "external", "broker.invalid:6379"]

    def test_shows_that_a_service_hangs(self, checkout: Checkout) -> None:
        checkout.run("up")
        process = psutil.Process(checkout.pid("github"))
        process.suspend()
        state = checkout.states()["github"]
        process.resume()

        assert state == "not answering"
        assert checkout.states()["github"] == "running"

    def test_shows_services_as_stopped_before_the_first_start(self, checkout: Checkout) -> None:
        assert "stopped" in checkout.run("status", code=1)


class TestReset:
    """`devstack reset`."""

    def test_deletes_the_data_and_keeps_the_passwords(self, checkout: Checkout) -> None:
        checkout.run("up")
        checkout.query("create table gone (x int)")
        with checkout.broker() as broker:
            broker.lpush("queue", "a run")
        before = checkout.settings()
        (checkout.root / ".local" / "of-another-tool").mkdir()
        checkout.run("reset", "--yes")
        left = sorted(path.name for path in (checkout.root / ".local").iterdir())
        checkout.run("up")

        assert left == ["derived.json", "leaving", "lock", "of-another-tool"]
        assert checkout.settings() == before
        assert checkout.query("select to_regclass('gone')") is None
        with checkout.broker() as broker:
            assert broker.lrange("queue", 0, -1) == []

    def test_asks_first(self, checkout: Checkout) -> None:
        checkout.run("up")
        output = checkout.run("reset", code=1)

        assert "Delete all data" in output
        assert checkout.query("select 1") == 1
