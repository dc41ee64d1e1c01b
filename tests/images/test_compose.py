"""deploy/compose.yaml, as Compose itself reads it. No engine runs here, so nothing is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.dagster import LOCATIONS, ROOT

COMPOSE = Path(sys.executable).with_name("docker-compose")
SHARED = ("postgres", "broker", "webserver", "daemon")
"""What every team reaches."""
OURS = ("freshline/",)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that docs/clusters.md asks for; each has a password of its own."""
    folder = tmp_path_factory.mktemp("secrets")
    for name in ("host", *LOCATIONS):
        (folder / f"{name}.env").write_text(f"DAGSTER_PG_PASSWORD=password-of-{name}\n")
    (folder / "postgres_password").write_text("password-of-host")
    (folder / "broker.conf").write_text("requirepass password-of-the-broker\n")
    return folder


def compose(secrets: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMPOSE, "--file", ROOT / "deploy" / "compose.yaml", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(secrets), "FRESHLINE_SECRETS": str(secrets)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def services(secrets: Path) -> dict[str, dict[str, Any]]:
    """The services with all that they inherit, and the content of their files of variables."""
    done = compose(secrets, "config", "--format", "json")
    assert 0 == done.returncode, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def ours(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: it for name, it in services.items() if it["image"].startswith(OURS)}


def test_compose_accepts_the_file(secrets: Path) -> None:
    done = compose(secrets, "config", "--quiet")

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_compose_names_a_file_of_passwords_that_is_missing(tmp_path: Path) -> None:
    done = compose(tmp_path, "config", "--quiet")

    assert 0 != done.returncode
    assert str(tmp_path) in done.stderr


def test_each_location_has_a_server_and_a_worker_of_one_image(
    services: dict[str, dict[str, Any]],
) -> None:
    for location in LOCATIONS:
        name = location.replace("_", "-")
        server, worker = services[name], services[f"{name}-worker"]

        assert ["serve", location] == server["command"][:2]
        assert ["worker", location] == worker["command"][:2]
        assert server["image"] == worker["image"] == server["build"]["args"]["IMAGE"]
        assert location == server["build"]["args"]["LOCATION"]


@pytest.mark.parametrize("host", ["webserver", "webserver-read-only", "daemon"])
def test_the_host_knows_where_each_location_is(
    services: dict[str, dict[str, Any]], host: str
) -> None:
    for location in LOCATIONS:
        environment = services[host]["environment"]
        server = services[environment[f"{location.upper()}_HOST"]]

        assert location in server["command"]
        assert environment[f"{location.upper()}_PORT"] in server["command"]


def test_a_team_reaches_the_host_and_no_other_team(services: dict[str, dict[str, Any]]) -> None:
    networks = {name: set(it["networks"]) for name, it in services.items()}
    for location in LOCATIONS:
        name = location.replace("_", "-")
        for own in (networks[name], networks[f"{name}-worker"]):
            assert all(own & networks[it] for it in SHARED)
            others = [
                it for it in networks if it.removesuffix("-worker") != name and own & networks[it]
            ]
            assert {*SHARED, "webserver-read-only"} == set(others)


def test_a_service_has_the_passwords_of_its_own_file_alone(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in ours(services).items():
        location = name.removesuffix("-worker").replace("-", "_")
        owner = location if location in LOCATIONS else "host"
        text = json.dumps(service)

        assert f"password-of-{owner}" in text
        assert 1 == len({it for it in ("host", *LOCATIONS) if f"password-of-{it}" in text})


def test_ours_write_nothing_to_their_root_and_gain_no_rights(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in ours(services).items():
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
        assert ["no-new-privileges:true"] == service["security_opt"], name


def test_every_service_is_asked_for_its_health_and_comes_back(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert "unless-stopped" == service["restart"], name


def test_a_worker_is_given_longer_to_end_than_its_runs(services: dict[str, dict[str, Any]]) -> None:
    for location in LOCATIONS:
        worker = services[f"{location.replace('_', '-')}-worker"]
        command = worker["command"]
        drain = int(command[command.index("--drain") + 1])

        assert f"{(drain + 15) // 60}m{(drain + 15) % 60}s" == worker["stop_grace_period"]


def test_only_webservers_are_published_and_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = {name: it["ports"] for name, it in services.items() if it.get("ports")}

    assert {"webserver", "webserver-read-only"} == set(published)
    assert {"127.0.0.1"} == {port["host_ip"] for ports in published.values() for port in ports}
