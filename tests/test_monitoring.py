"""`deploy/monitoring`, with the real Prometheus and Alertmanager, and the real `freshline notify`.

The instance is on Postgres. Locations are what they are to everybody else: contracts, signs of life
and versions in the event log. The rules and settings are those of `deploy/monitoring`, with shorter
times.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import yaml
from devstack_fixtures import PostgresServer
from freshline.contract import Export
from freshline.policy import MaxLag
from support.dagster import HOST_BIN, ROOT, free_port
from support.processes import Daemon, await_port
from support.waiting import wait_until
from webhook import Webhook, running_webhook

sys.path.append(str(ROOT / "shared" / "tests"))
from outlooks import contract, hear, publish, report

MONITORING = ROOT / "deploy" / "monitoring"
EXTRACTED = ROOT / ".local" / "monitoring" / "usr" / "bin"
"""Where .ci/run puts the programs of Debian's packages, without installing these."""
WAIT_SECONDS = 90


def program(name: str) -> Path:
    """Return the path of a program; skip the test if this machine has none."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], str(EXTRACTED)]))
    if found is None:
        pytest.skip(f"there is no {name}: install Debian's prometheus and prometheus-alertmanager")
    return Path(found)


# --- the files alone ------------------------------------------------------------------------------


def test_the_rules_do_what_their_tests_say() -> None:
    promtool = program("promtool")
    done = subprocess.run(
        [promtool, "test", "rules", "rules.test.yml"],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_and_alertmanager_accept_the_settings() -> None:
    for command in (
        [program("promtool"), "check", "config", "prometheus.yml"],
        [program("amtool"), "check-config", "alertmanager.yml"],
    ):
        done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr


def queries() -> list[str]:
    """Return all PromQL in the rules and the dashboard, with values for its variables."""
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    found += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [re.sub(r"\$(target|location)\b", ".*", text) for text in found]


def test_rules_and_dashboard_use_only_metrics_that_there_are() -> None:
    names = (ROOT / "shared" / "tests" / "metrics.txt").read_text()
    known = set(re.findall(r"^(freshline_\w+)\{", names, re.MULTILINE))
    used = {name for text in queries() for name in re.findall(r"\bfreshline_\w+", text)}

    assert used
    assert set() == used - known


# --- running --------------------------------------------------------------------------------------


@dataclass
class Stage:
    """Prometheus, Alertmanager, the exporter and the notifier over one instance."""

    folder: Path
    instance: dg.DagsterInstance
    webhook: Webhook
    prometheus: str = ""
    daemons: list[Daemon] = field(default_factory=list)

    def start(self, name: str, *command: str | Path, port: int | None = None) -> Daemon:
        env = {**os.environ, "DAGSTER_HOME": str(self.folder)}
        daemon = Daemon(command, cwd=self.folder, env=env, log=self.folder / f"{name}.log")
        self.daemons.append(daemon)
        if port is not None:
            await_port(daemon, port, seconds=60)
        return daemon

    def query(self, text: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": text}).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def messages(self, cause: str) -> list[dict[str, Any]]:
        """Return the messages of Alertmanager about a cause."""
        found = self.webhook.at("/alertmanager")
        return [it for it in found if it["groupLabels"] == {"cause": cause}]

    def await_alert(self, status: str, cause: str) -> dict[str, Any]:
        """Wait for a message of that status about that cause."""

        def found() -> dict[str, Any] | None:
            return next((it for it in self.messages(cause) if it["status"] == status), None)

        return wait_until(found, f"{status}: {cause}", seconds=WAIT_SECONDS)

    def await_told(self, owner: str, words: str) -> dict[str, Any]:
        """Wait until the notifier has told an owner something with these words in its title."""

        def found() -> dict[str, Any] | None:
            return next((it for it in self.webhook.at(owner) if words in it["title"]), None)

        return wait_until(found, f"{owner} hears {words!r}", seconds=WAIT_SECONDS)


def quick(text: str) -> str:
    """Return settings or rules with times that a test can wait for."""
    text = re.sub(r"((?:scrape|evaluation|group)_interval): \w+", r"\1: 1s", text)
    # Long enough for all alerts of one cause to fire on a busy machine.
    text = text.replace("group_wait: 30s", "group_wait: 12s")
    return text.replace("for: 1m", "for: 3s").replace("target_broken[1m]", "target_broken[3s]")


def without_budgets(rules: str) -> str:
    """Leave the alerts about error budgets out: of a minute, some seconds are a large part."""
    content = yaml.safe_load(rules)
    for group in content["groups"]:
        group["rules"] = [
            it for it in group["rules"] if it.get("alert") != "FreshlineBurningBudget"
        ]
    return yaml.safe_dump(content, sort_keys=False)


@contextmanager
def staged(folder: Path, instance: dg.DagsterInstance) -> Iterator[Stage]:
    with running_webhook() as webhook:
        stage = Stage(folder, instance, webhook)
        try:
            ports = {name: free_port() for name in ("metrics", "prometheus", "alertmanager")}
            names = ("prometheus.yml", "alertmanager.yml", "rules.yml")
            settings = {name: quick((MONITORING / name).read_text()) for name in names}
            settings["rules.yml"] = without_budgets(settings["rules.yml"])
            settings["prometheus.yml"] = (
                settings["prometheus.yml"]
                .replace("9187", str(ports["metrics"]))
                .replace("9093", str(ports["alertmanager"]))
            )
            settings["alertmanager.yml"] = settings["alertmanager.yml"].replace(
                "127.0.0.1:8088/", f"{webhook.host}/alertmanager"
            )
            settings["notify.toml"] = "\n".join(
                [
                    f'others = ["json://{webhook.host}/others"]',
                    "[owners]",
                    f'"team:ingest" = ["json://{webhook.host}/ingest"]',
                    f'"team:marts" = ["json://{webhook.host}/marts"]',
                ]
            )
            for name, text in settings.items():
                (folder / name).write_text(text)
            stage.start(
                "metrics",
                *(HOST_BIN / "freshline", "metrics", "--port", str(ports["metrics"])),
                port=ports["metrics"],
            )
            stage.start(
                "alertmanager",
                program("prometheus-alertmanager"),
                "--config.file=alertmanager.yml",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
                "--cluster.listen-address=",
                port=ports["alertmanager"],
            )
            stage.start(
                "prometheus",
                program("prometheus"),
                "--config.file=prometheus.yml",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
                port=ports["prometheus"],
            )
            stage.prometheus = f"http://127.0.0.1:{ports['prometheus']}"
            stage.start("notify", HOST_BIN / "freshline", "notify")
            yield stage
        finally:
            for daemon in stage.daemons:
                daemon.kill()


HOUR = 3_600.0
TARGETS = [f"mart/{name}" for name in ("a", "b", "c", "d", "e")]
OLD = "mart/old"
INGEST = contract("ingest", Export(key="raw/orders", owners=("team:ingest",)))
MARTS = contract(
    "marts",
    *(
        Export(key=key, deps=("raw/orders",), owners=("team:marts",), policy=MaxLag(60))
        for key in TARGETS
    ),
    Export(key=OLD, owners=("team:marts",), policy=MaxLag(60)),
    tick=600.0,  # so it need not be heard of as often
)


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[Stage]:
    for name in ("prometheus", "prometheus-alertmanager"):
        program(name)
    folder = tmp_path_factory.mktemp("monitoring")
    with postgres_server.new_database() as database:
        settings = {
            "scheme": "postgresql+psycopg2",
            "hostname": database.host,
            "port": database.port,
            "username": database.user,
            "password": database.password,
            "db_name": database.name,
        }
        storage = {"storage": {"postgres": {"postgres_db": settings}}}
        (folder / "dagster.yaml").write_text(yaml.safe_dump(storage))
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            # It is silent a minute from now, if nothing is heard of it.
            publish(instance, INGEST, ago=120.0)
            publish(instance, MARTS)
            report(instance, "raw/orders", ago=130.0)
            for key in TARGETS:
                report(instance, key, ago=125.0, inputs=["raw/orders"])
            # It is late a quarter of a minute from now.
            report(instance, OLD, ago=HOUR - 15.0)
            with staged(folder, instance) as stage:
                yield stage


@pytest.fixture(scope="module")
def story(stage: Stage) -> Stage:
    """One target is late, and then made; a location falls silent, and is heard of again."""
    stage.await_alert("firing", OLD)
    stage.await_told("/marts", f"{OLD}: its promise is broken")
    report(stage.instance, OLD)
    stage.await_alert("resolved", OLD)
    stage.await_told("/marts", f"{OLD}: its promise is no longer broken")

    stage.await_alert("firing", "ingest")
    stage.await_told("/ingest", "5 promises are broken: ingest is silent")
    hear(stage.instance, "ingest")
    stage.await_alert("resolved", "ingest")
    stage.await_told("/ingest", "5 promises are no longer broken")
    return stage


class TestStory:
    def test_every_query_of_rules_and_dashboard_is_understood(self, story: Stage) -> None:
        for text in queries():
            story.query(text)

    def test_prometheus_reads_the_figures_of_each_target(self, story: Stage) -> None:
        (found,) = story.query(f'freshline_maximum_lag_seconds{{target="{OLD}"}}')

        assert str(int(HOUR)) == found["value"][1]
        assert "marts" == found["metric"]["location"]

    def test_a_late_target_is_one_alert(self, story: Stage) -> None:
        found = story.messages(OLD)

        assert ["firing", "resolved"] == [it["status"] for it in found]
        (alert,) = found[0]["alerts"]
        assert ("FreshlineTargetLate", OLD, "marts") == tuple(
            alert["labels"][name] for name in ("alertname", "target", "location")
        )

    def test_a_silent_location_and_its_five_targets_are_one_message(self, story: Stage) -> None:
        found = story.messages("ingest")

        assert ["firing", "resolved"] == [it["status"] for it in found]
        names = [
            (it["labels"]["alertname"], it["labels"].get("target")) for it in found[0]["alerts"]
        ]
        assert [
            ("FreshlineLocationSilent", None),
            *(("FreshlineTargetLate", key) for key in TARGETS),
        ] == sorted(names, key=lambda it: it[1] or "")

    def test_the_notifier_tells_each_owner_once(self, story: Stage) -> None:
        titles = {
            owner: [it["title"] for it in story.webhook.at(owner)]
            for owner in ("/ingest", "/marts", "/others")
        }

        assert [] == titles["/others"]
        assert [True, False] == ["broken: ingest is silent" in it for it in titles["/ingest"]]
        assert 4 == len(titles["/marts"])
