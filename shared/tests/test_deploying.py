"""`freshline deploy`: a release takes the place of another, or all stays as it was.

One host for all tests: the real code server, workers, daemon, Postgres and broker. Contracts are
published as locations' sensors publish them. Every test leaves some release served, by the code
server and the workers alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from conftest import write_instance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from engine_teams import Runs, create_run, instance_settings, until
from freshline.contract import (
    Contract,
    Export,
    Import,
    UsedColumn,
    contract_materialization,
    read_contracts,
)
from releases import BIN, BROKEN, Host

Status = dg.DagsterRunStatus
IN_THE_SERVER = "'grpc' in sys.orig_argv"
IN_A_WORKER = "'freshline.engine.worker' in sys.orig_argv"

READER = Contract(
    location="two",
    published_as="two",
    exports=(Export(key="mart/orders", deps=("raw/orders",), owners=("team:two",)),),
    imports=(
        Import(
            key="raw/orders",
            used_by=("mart/orders",),
            columns=(UsedColumn(name="amount", type="text", used_by=("mart/orders",)),),
        ),
        # Nobody makes it: that is wrong already, and no deploy of `one` makes it worse.
        Import(key="raw/missing", used_by=("mart/orders",)),
    ),
)


class Team(Runs):
    """A host, and the runs of its location `one`."""

    def __init__(self, host: Host, instance: dg.DagsterInstance) -> None:
        self.host = host
        self.instance = instance
        self.number = 1
        self.context: WorkspaceProcessContext

    @property
    def worker_log(self) -> str:
        return "\n".join(service.log for service in self.host.services)

    def submit(self, asset: str = "orders", location: str = "one") -> str:
        run_id = self.create(asset, location)
        self.queue(run_id)
        return run_id

    def create(self, asset: str = "orders", location: str = "one") -> str:
        """Create a run by the code that is served now."""
        until(
            lambda: self.loaded() == self.host.server_id(),
            why=f"{self.host.server_id()} is not loaded, but {self.loaded()}",
        )
        return create_run(self.instance, self.context, location, dg.AssetKey(["raw", asset]))

    def queue(self, run_id: str) -> None:
        self.instance.submit_run(run_id, self.context.create_request_context())

    def loaded(self) -> str | None:
        """Return which code server the webserver would have loaded by now."""
        request = self.context.create_request_context()
        found = request.has_code_location("one")
        return request.get_code_location("one").server_id if found else None

    def release(self, text: str = "", **options: Any) -> Path:
        """Make the next release."""
        self.number += 1
        return self.host.release(str(self.number), text, **options)

    def current(self) -> Path:
        """Return the release that is served: `current` points at it, and all serve it."""
        release = self.host.current.resolve()
        assert [release, release] == [self.host.served(kind) for kind in ("server", "worker")]
        return release

    def deploy(self, release: Path) -> None:
        done = self.host.deploy(release)
        assert 0 == done.returncode, done.stdout + done.stderr

    def published(self) -> list[str]:
        """Return the columns of the asset, as the sensor of `one` has published them."""
        contracts = read_contracts(self.instance)
        export = contracts["one"].contract.by_key["raw/orders"] if "one" in contracts else None
        return [column.name for column in export.columns or ()] if export else []


@pytest.fixture(scope="module")
def team(
    broker_server: Any, postgres_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    host = Host(tmp_path_factory.mktemp("host"), FRESHLINE_BROKER_URL=broker_server().url)
    home = host.folder / "home"
    host.point(host.release("1", "first"))
    entry = {"location_name": "one", "host": "127.0.0.1", "port": host.port}
    workspace = host.folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": entry}]}))
    before = os.environ.get("FRESHLINE_BROKER_URL")
    os.environ["FRESHLINE_BROKER_URL"] = host.environment["FRESHLINE_BROKER_URL"]
    try:
        with postgres_server.new_database() as database:
            write_instance(home, database)
            storage = yaml.safe_load((home / "dagster.yaml").read_text())
            (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings(storage)))
            with dg.DagsterInstance.from_config(str(home)) as instance:
                try:
                    host.serve()
                    host.work()
                    host.start(BIN / "dagster-daemon", "run", "-w", workspace)
                    instance.report_runless_asset_event(contract_materialization(READER))
                    team = Team(host, instance)
                    target = WorkspaceFileTarget([str(workspace)])
                    with WorkspaceProcessContext(instance, target) as context:
                        team.context = context
                        yield team
                finally:
                    host.stop()
    finally:
        if before is None:
            os.environ.pop("FRESHLINE_BROKER_URL")
        else:
            os.environ["FRESHLINE_BROKER_URL"] = before


class TestDeploy:
    def test_a_release_takes_the_place_of_code_server_and_workers_and_its_changes_are_told(
        self, team: Team
    ) -> None:
        until(lambda: team.published() == ["id", "amount", "note"])
        before, server = team.current(), team.host.server_id()
        release = team.release(columns=["id", "amount", "at"])

        done = team.host.deploy(release)

        assert 0 == done.returncode, done.stderr
        assert release == team.current()
        assert server != team.host.server_id()
        assert "one: `raw/orders`: column `note` removed" in done.stdout
        assert f"one: {release} serves in place of {before}" in done.stderr

    def test_a_release_that_breaks_another_location_is_not_served(self, team: Team) -> None:
        until(lambda: team.published())
        before, server = team.current(), team.host.server_id()

        done = team.host.deploy(team.release(columns=["id"]))

        assert 1 == done.returncode
        assert "missing-column" in done.stdout
        assert "unknown-import" not in done.stdout, "that was wrong before"
        assert "does not fit what is published, so one is served as before" in done.stderr
        assert (before, server) == (team.current(), team.host.server_id())

    def test_the_former_release_can_be_deployed_again(self, team: Team) -> None:
        former = team.current()
        team.deploy(team.release())

        team.deploy(former)

        assert former == team.current()

    @pytest.mark.parametrize(
        ("hindrance", "message"),
        [
            (BROKEN, "broken on purpose"),
            (f"if {IN_THE_SERVER}: {BROKEN}", "the code server of one in"),
            (f"if {IN_A_WORKER}: {BROKEN}", "the worker of one in"),
        ],
        ids=["anywhere", "in the server", "in a worker"],
    )
    def test_a_release_that_does_not_load_leaves_the_former_one(
        self, team: Team, hindrance: str, message: str
    ) -> None:
        before = team.current()

        done = team.host.deploy(team.release(hindrance=hindrance))

        assert 1 == done.returncode
        assert message in done.stdout + done.stderr
        assert before == team.current()

    def test_a_deploy_that_is_killed_leaves_the_former_one(self, team: Team) -> None:
        before, server = team.current(), team.host.server_id()
        waits = f"while {IN_THE_SERVER}: time.sleep(0.05)"
        release = team.release(hindrance=waits)
        deploy = team.host.start(*team.host.deploying(release))
        deploy.await_line(f"a new code server loads {release}")

        deploy.kill()

        until(lambda: team.host.served() == before)
        assert (before, server) == (team.current(), team.host.server_id())

    def test_a_deploy_that_is_killed_between_server_and_workers_leaves_the_former_one(
        self, team: Team
    ) -> None:
        before = team.current()
        release = team.release(hindrance=f"while {IN_A_WORKER}: time.sleep(0.05)")
        deploy = team.host.start(*team.host.deploying(release))
        deploy.await_line(f"a new worker loads {release}")
        server = team.host.server_id()

        deploy.kill()

        until(lambda: team.host.server_id() != server)
        assert before == team.current()

    def test_a_folder_named_current_stops_a_deploy(self, team: Team, tmp_path: Path) -> None:
        before, release = team.current(), team.release()
        moved = tmp_path / release.name
        release.rename(moved)
        (tmp_path / "current").mkdir()
        release.symlink_to(moved)

        done = team.host.deploy(release)

        assert 1 == done.returncode
        assert "is no symlink" in done.stderr
        assert before == team.current()


class TestRuns:
    def test_a_run_executes_the_code_that_was_served_when_it_was_created(self, team: Team) -> None:
        old = team.release("old")
        team.deploy(old)
        early, late = team.create(), team.create()
        team.queue(early)
        assert team.wait(early) is Status.SUCCESS
        assert "A new Python makes this run" not in team.messages(early)

        team.deploy(team.release("new"))
        team.queue(late)
        newest = team.submit()

        assert team.wait(late) is Status.SUCCESS
        assert f"its code is in {old}, and this worker has other code" in team.messages(late)
        assert team.wait(newest) is Status.SUCCESS
        assert "A new Python makes this run" not in team.messages(newest)
        runs = (early, late, newest)
        assert ["old", "old", "new"] == [team.made(run_id, "text") for run_id in runs]

    def test_a_run_whose_release_is_gone_fails_and_is_made_again_by_the_next_one(
        self, team: Team
    ) -> None:
        gone = team.release("gone")
        team.deploy(gone)
        late = team.create()
        team.deploy(team.release("next"))

        (gone / ".venv").rename(gone / "moved")
        team.queue(late)

        assert team.wait(late) is Status.FAILURE
        assert f"There is no {gone}/.venv/bin/python on this host" in team.messages(late)
        retry = until(lambda: team.retry_of(late)).run_id
        assert team.wait(retry) is Status.SUCCESS
        assert "next" == team.made(retry, "text")

    def test_a_run_whose_python_does_not_start_fails_and_says_so(self, team: Team) -> None:
        broken = team.release("broken")
        team.deploy(broken)
        late = team.create()
        team.deploy(team.release("next"))

        python = broken / ".venv" / "bin" / "python"
        python.unlink()
        python.write_text("#!/bin/sh\nexit 3\n")
        python.chmod(0o755)
        team.queue(late)

        assert team.wait(late) is Status.FAILURE
        assert f"{python} ended with status 3" in team.messages(late)
        retry = until(lambda: team.retry_of(late)).run_id
        assert team.wait(retry) is Status.SUCCESS


def test_a_host_without_services_says_what_to_do(tmp_path: Path) -> None:
    host = Host(tmp_path)

    done = host.deploy(host.release("1"))

    assert 1 == done.returncode
    assert "nothing serves one here" in done.stderr
    assert "neither one.server.sock nor one.worker.sock" in done.stderr


def test_another_release_s_freshline_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path)
    one, other = host.release("1"), host.release("2")
    command = [*host.deploying(one)[:-1], other]

    refused = host.start(*command, cwd=tmp_path)

    assert 1 == refused.program.wait(60)
    assert f"this freshline is of {one}/.venv, not of the release" in refused.log
