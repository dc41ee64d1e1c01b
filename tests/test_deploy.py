"""What deploy/ has for hosts: units of systemd, the reverse proxy, where locations are served.

The commands of the units are run as they stand there, with this checkout as the release.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from own_stack import link_checkout
from snapshots import addressed, deployed
from support.dagster import HOST_BIN, LOCATIONS, ROOT, GraphQL, free_port
from support.processes import Daemon
from support.waiting import wait_until
from websockets.sync.client import connect

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
MUTATION = 'mutation { deleteRun(runId: "nobody") { __typename } }'
PASSWORDS = {"operator": "may-change", "reader": "may-look"}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not installed: no systemd-analyze"
)
needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="nginx is not installed: apt-get install nginx"
)


# --- units -----------------------------------------------------------------------------------


@needs_systemd
def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    """It warns, and succeeds, also about settings that it does not know."""
    texts = {unit.name: unit.read_text(encoding="utf-8") for unit in UNITS}
    programs = {
        line.partition("=")[2].split()[0].replace("%i", "ingestion")
        for text in texts.values()
        for line in text.splitlines()
        if line.startswith("ExecStart=")
    }
    for program in programs:
        stand_in = tmp_path / program.lstrip("/")
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.touch(mode=0o755)
    for name, text in texts.items():
        moved = text.replace("=/srv/", f"={tmp_path}/srv/").replace("=/usr/", f"={tmp_path}/usr/")
        (tmp_path / name.replace("@.", "@ingestion.")).write_text(moved, encoding="utf-8")
    instances = [tmp_path / name.replace("@.", "@ingestion.") for name in texts]

    said = run(["systemd-analyze", "verify", "--man=no", *instances])

    assert (0, "", "") == (said.returncode, said.stdout, said.stderr)


def test_the_target_has_every_service_and_stops_it() -> None:
    services = [unit for unit in UNITS if unit.suffix == ".service"]
    assert services

    for service in services:
        text = service.read_text(encoding="utf-8")
        assert "\nWantedBy=freshline.target\n" in text, service
        assert "\nPartOf=freshline.target\n" in text, service


def settings_of(file: str) -> dict[str, str]:
    """Return the settings that environment.example has for /etc/freshline/<file>."""
    text = (DEPLOY / "environment.example").read_text(encoding="utf-8")
    sections = re.split(r"^# --- /etc/freshline/(\S+): .*$", text, flags=re.MULTILINE)
    section = dict(zip(sections[1::2], sections[2::2], strict=True))[file]
    lines = [line for line in section.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def command_of(unit: str, settings: Mapping[str, str], location: str = "") -> list[str]:
    """Return what a unit starts, with this checkout as the release that is served."""
    text = (DEPLOY / "systemd" / unit).read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    line = line.replace("%i", location)
    line = re.sub(r"/srv/freshline/\w+/releases/current", str(ROOT), line)
    return [re.sub(r"\$\{(\w+)\}", lambda it: settings[it[1]], word) for word in shlex.split(line)]


# --- a host ----------------------------------------------------------------------------------


class Host:
    """The webservers and one code server, started as the units say, each on a free port."""

    def __init__(self, home: Path, database: Any) -> None:
        self.home = home
        self.release = home / "release"
        self.release.mkdir()
        link_checkout(self.release)
        (self.release / "deploy").symlink_to(DEPLOY)
        self.ports = {"full": free_port(), "read-only": free_port(), "ingestion": free_port()}
        text = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
        text = text.replace(".local/dagster", str(home / "dagster"))
        (home / "dagster.yaml").write_text(text, encoding="utf-8")
        common = settings_of("environment")
        common |= {"DAGSTER_HOME": str(home), "INGESTION_PORT": str(self.ports["ingestion"])}
        common |= database.environ("DAGSTER_PG")
        common["FRESHLINE_BROKER_URL"] = "redis://127.0.0.1:1/0"
        self.environment = {**os.environ, **settings_of("host.environment"), **common}
        self.own = {**os.environ, **settings_of("LOCATION.environment"), **common}
        self.own["FRESHLINE_PORT"] = common["INGESTION_PORT"]
        del self.own["FRESHLINE_RUN_DIR"]  # it is a folder of this machine's services
        self.services: list[Daemon] = []

    def start(self, name: str, command: list[str], env: Mapping[str, str]) -> Daemon:
        service = Daemon(command, cwd=self.release, env=env, log=self.home / f"{name}.log")
        self.services.append(service)
        return service

    def start_webserver(self, unit: str, port: int) -> None:
        command = command_of(unit, self.environment)
        command[command.index("-p") + 1] = str(port)
        self.start(unit, command, self.environment)

    def url(self, name: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def stop(self) -> None:
        for service in self.services:
            service.kill()


@pytest.fixture(scope="module")
def host(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with postgres_server.new_database() as database:
        host = Host(tmp_path_factory.mktemp("host"), database)
        try:
            serve = command_of("freshline-server@.service", host.own, "ingestion")
            host.start("ingestion", serve, host.own)
            host.start_webserver("freshline-webserver.service", host.ports["full"])
            host.start_webserver("freshline-webserver-ro.service", host.ports["read-only"])
            for name, prefix in (("full", ""), ("read-only", "/ro")):
                web = GraphQL(host.url(name, prefix))
                wait_until(web.is_up, f"the {name} webserver answers", seconds=120)
            yield host
        finally:
            host.stop()


def test_the_unit_of_a_code_server_serves_a_location_where_the_webserver_looks(host: Host) -> None:
    ready = [ROOT / "ingestion" / ".venv" / "bin" / "freshline", "ready", "ingestion"]

    said = run([*ready, "--port", str(host.ports["ingestion"])])

    assert 0 == said.returncode, said.stderr
    web = GraphQL(host.url("full"))
    wait_until(lambda: web.locations()["ingestion"] == "LOADED", "the webserver has it", seconds=60)


def test_a_mutation_on_the_read_only_side_is_refused(host: Host) -> None:
    asked = {
        name: GraphQL(host.url(name, prefix)).ask(MUTATION)["deleteRun"]["__typename"]
        for name, prefix in (("full", ""), ("read-only", "/ro"))
    }

    assert {"full": "RunNotFoundError", "read-only": "UnauthorizedError"} == asked


# --- the reverse proxy -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxy(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run nginx with the settings of deploy/, before the webservers; yield its address."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    made += ["-subj", "/CN=freshline.example", "-keyout", str(key), "-out", str(certificate)]
    run(made).check_returncode()
    write_passwords(folder / "operators.htpasswd", "operator")
    write_passwords(folder / "readers.htpasswd", "operator", "reader")
    text = (DEPLOY / "nginx" / "freshline.conf").read_text(encoding="utf-8")
    for old, new in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "listen 80": f"listen 127.0.0.1:{free_port()}",
        "/etc/ssl/certs/freshline.example.pem": str(certificate),
        "/etc/ssl/private/freshline.example.key": str(key),
        "/etc/freshline/": f"{folder}/",
        "127.0.0.1:3000": f"127.0.0.1:{host.ports['full']}",
        "127.0.0.1:3001": f"127.0.0.1:{host.ports['read-only']}",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "freshline.conf").write_text(text, encoding="utf-8")
    temporary = [f"{it}_temp_path {folder};" for it in ("client_body", "proxy", "fastcgi")]
    temporary += [f"{it}_temp_path {folder};" for it in ("uwsgi", "scgi")]
    # As root it would give up its rights, and the folders of tests are their user's alone.
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {' '.join(temporary)} include {folder}/freshline.conf; }}\n",
        encoding="utf-8",
    )
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    said = run([*command, "-t"])
    assert 0 == said.returncode, said.stderr
    assert "warn" not in said.stderr, said.stderr
    server = Daemon(command, cwd=folder, env=os.environ, log=folder / "log")
    try:
        url = f"https://127.0.0.1:{port}"
        wait_until(lambda: status(f"{url}/", None) == 401, "nginx answers", seconds=30)
        yield url
    finally:
        server.kill()


def write_passwords(file: Path, *users: str) -> None:
    lines = []
    for user in users:
        made = run(["openssl", "passwd", "-apr1", PASSWORDS[user]])
        lines.append(f"{user}:{made.stdout.strip()}\n")
    file.write_text("".join(lines), encoding="utf-8")


def word_of(user: str) -> str:
    """Return the header by which a user says who it is."""
    return "Basic " + base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()


def trusting() -> ssl.SSLContext:
    """Return how to connect to a server whose certificate is the test's own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def status(url: str, user: str | None) -> int:
    """Return the status of the page; 0: nothing answers."""
    auth = (user, PASSWORDS[user]) if user else None
    try:
        return httpx.get(url, auth=auth, verify=trusting()).status_code
    except httpx.TransportError:
        return 0


@needs_nginx
class TestProxy:
    @pytest.mark.parametrize(
        ("user", "expected"), [(None, (401, 401)), ("reader", (401, 200)), ("operator", (200, 200))]
    )
    def test_who_may_look_and_who_may_change(
        self, proxy: str, user: str | None, expected: tuple[int, int]
    ) -> None:
        pages = (f"{proxy}/server_info", f"{proxy}/ro/server_info")

        assert expected == tuple(status(page, user) for page in pages)

    @pytest.mark.parametrize("path", ["/ro/../graphql", "/ro/..%2fgraphql", "/ro%2f../graphql"])
    def test_a_reader_reaches_the_other_side_by_no_detour(self, proxy: str, path: str) -> None:
        # Other clients would shorten the path themselves.
        server = proxy.removeprefix("https://")
        with closing(HTTPSConnection(server, context=trusting())) as connection:
            connection.request("GET", path, headers={"Authorization": word_of("reader")})

            assert connection.getresponse().status in (401, 404)

    def test_a_mutation_on_the_read_only_side_is_refused(self, proxy: str) -> None:
        answers = [
            httpx.post(
                f"{proxy}{path}/graphql",
                json={"query": MUTATION},
                auth=("operator", PASSWORDS["operator"]),
                verify=trusting(),
            ).json()["data"]["deleteRun"]["__typename"]
            for path in ("", "/ro")
        ]

        assert ["RunNotFoundError", "UnauthorizedError"] == answers

    @pytest.mark.parametrize(
        ("path", "site", "expected"),
        [
            ("/graphql?query={version}", "same-origin", 200),
            ("/graphql?query={version}", "cross-site", 403),
            ("/ro/graphql?query={version}", "cross-site", 403),
            ("/server_info", "cross-site", 200),  # a link in a chat
        ],
    )
    def test_pages_of_others_cannot_ask_in_the_name_of_a_user(
        self, proxy: str, path: str, site: str, expected: int
    ) -> None:
        auth = ("operator", PASSWORDS["operator"])

        answer = httpx.get(
            f"{proxy}{path}", auth=auth, verify=trusting(), headers={"Sec-Fetch-Site": site}
        )

        assert expected == answer.status_code

    @pytest.mark.parametrize("path", ["/graphql", "/ro/graphql"])
    def test_events_come_by_a_websocket(self, proxy: str, path: str) -> None:
        with connect(
            f"wss{proxy.removeprefix('https')}{path}",
            ssl=trusting(),
            subprotocols=["graphql-ws"],  # type: ignore[list-item]  # a name is a string
            additional_headers={"Authorization": word_of("operator")},
        ) as socket:
            socket.send(json.dumps({"type": "connection_init"}))
            answer = json.loads(socket.recv(timeout=30))

        assert "connection_ack" == answer["type"]


# --- where locations are served --------------------------------------------------------------


def test_what_says_where_locations_are_served_is_up_to_date() -> None:
    workspace = (DEPLOY / "workspace.yaml").read_text(encoding="utf-8")
    example = (DEPLOY / "environment.example").read_text(encoding="utf-8")

    assert deployed(workspace, LOCATIONS) == workspace, "make snapshots"
    assert addressed(example, LOCATIONS) == example, "make snapshots"
    servers = [entry["grpc_server"] for entry in yaml.safe_load(workspace)["load_from"]]
    assert LOCATIONS == [server["location_name"] for server in servers]
    named = [server[field]["env"] for server in servers for field in ("host", "port")]
    assert set(named) <= settings_of("environment").keys()


def test_a_new_location_gets_the_next_port_and_the_others_keep_theirs() -> None:
    before = """A=1
# Ports, of `make snapshots`:
# here.
CORE_HOST=10.0.0.7
CORE_PORT=4007
GONE_HOST=127.0.0.1
GONE_PORT=4008

OTHER_PORT=5432
"""

    assert """A=1
# Ports, of `make snapshots`:
# here.
MY_GROWTH_HOST=127.0.0.1
MY_GROWTH_PORT=4009
CORE_HOST=10.0.0.7
CORE_PORT=4007

OTHER_PORT=5432
""" == addressed(before, ["my-growth", "core"])


def test_dagster_reads_the_addresses_from_the_environment(tmp_path: Path) -> None:
    program = "from dagster._core.workspace.load import location_origins_from_yaml_paths as load; "
    program += "print([(it.host, it.port) for it in load(['deploy/workspace.yaml'])])"
    settings = settings_of("environment") | {"INGESTION_HOST": "10.0.0.5"}

    said = run([HOST_BIN / "python", "-c", program], env={**os.environ, **settings})

    assert "('10.0.0.5', 4001)" in said.stdout, said.stderr


def run(
    command: list[Any], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
