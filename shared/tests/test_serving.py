"""`freshline serve`: a code server that is kept going, and replaced beside the old one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import psutil
import pytest
from engine_teams import until
from releases import BIN, BROKEN, Host, Service, asking, await_end, free_port, read_until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with a release; what is started there has ended after the test."""
    host = Host(tmp_path)
    host.point(host.release("1"))
    try:
        yield host
    finally:
        host.stop()


def server_of(service: Service) -> psutil.Process:
    """Return the code server that a service keeps going, as soon as a former one has ended."""
    until(lambda: len(service.process.children()) == 1)
    (server,) = service.process.children()
    return server


class TestServe:
    def test_ends_on_sigterm_with_all_that_it_has_started_also_as_a_job_of_a_script(
        self, host: Host
    ) -> None:
        service = host.serve(job=True)
        family = [service.process, *service.children()]
        assert len(family) > 1

        service.process.send_signal(signal.SIGTERM)

        await_end(family, 30)

    def test_leaves_nothing_when_it_is_killed(self, host: Host) -> None:
        service = host.serve()
        family = service.children()
        assert family

        service.kill()

        await_end(family, 30)
        host.serve()  # nothing has the port, or the control socket

    def test_replaces_a_server_that_was_killed_and_says_so(self, host: Host) -> None:
        service = host.serve()
        before = host.server_id()

        server_of(service).kill()

        service.await_line("one: answers on", times=2)
        assert before != host.server_id()
        assert "one: its code server ended by signal 9; next one in" in service.log

    def test_refuses_a_port_that_another_one_has_although_nothing_listens_there_yet(
        self, host: Host
    ) -> None:
        host.environment.pop("FRESHLINE_RUN_DIR")
        services = [host.start(*host.serving(host.port)) for _ in range(2)]

        loser = until(lambda: next((it for it in services if it.program.poll() is not None), None))

        assert 2 == loser.program.returncode
        assert f"port {host.port} of 127.0.0.1 cannot be used" in loser.log
        (winner,) = (it for it in services if it is not loser)
        winner.await_line("one: answers on")

    def test_refuses_a_location_that_has_a_supervisor_already(self, host: Host) -> None:
        host.serve()

        second = host.start(*host.serving(free_port()))

        assert 2 == second.program.wait(60)
        assert "this location has a supervisor here already" in second.log

    def test_refuses_a_location_whose_code_is_elsewhere(self, host: Host) -> None:
        (host.current / "workspace.yaml").write_text(
            "load_from: [{grpc_server: {location_name: one, host: far, port: 4001}}]"
        )
        options = ("serve", "one", "--port", "4001", "-w", "workspace.yaml")

        refused = host.start(BIN / "freshline", *options)

        assert 2 == refused.program.wait(60)
        assert "one is a code server at far:4001, so its code is not named here" in refused.log

    def test_tells_systemd_when_it_serves_and_when_it_ends(self, host: Host) -> None:
        path = host.run / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(path))
            systemd.settimeout(90)
            host.environment["NOTIFY_SOCKET"] = str(path)
            service = host.serve()
            assert b"READY=1" == systemd.recv(100)
            service.process.terminate()
            assert b"STOPPING=1" == systemd.recv(100)


class TestReady:
    def test_waits_for_a_server_that_loads(self, host: Host) -> None:
        host.start(*host.serving(host.port))

        status, said = self.ready(host)

        assert 0 == status, said

    def test_says_that_code_does_not_load(self, host: Host) -> None:
        """A proxy answers in any case."""
        broken = host.folder / "broken.py"
        broken.write_text(BROKEN)
        proxy = (BIN / "dagster", "code-server", "start", "--port", str(host.port))
        service = host.start(*proxy, "--python-file", broken, "--host", "127.0.0.1")

        status, said = self.ready(host)
        for process in [service.process, *service.children()]:
            process.kill()  # told to end, it would take minutes

        assert 1 == status
        assert "its code does not load" in said
        assert "broken on purpose" in said

    def test_says_that_nothing_answers(self, host: Host) -> None:
        status, said = self.ready(host, "--seconds", "1")

        assert 1 == status
        assert f"nothing answers on 127.0.0.1:{host.port}" in said

    def ready(self, host: Host, *options: str) -> tuple[int, str]:
        command = [BIN / "freshline", "ready", "one", "--port", str(host.port), *options]
        done = subprocess.run(command, capture_output=True, text=True, env=host.environment)
        return done.returncode, done.stderr


class TestHandover:
    def test_a_release_takes_over_while_a_client_asks_all_the_time(self, host: Host) -> None:
        host.serve()
        before, release = host.server_id(), host.release("2")

        with asking(host.port) as answers, host.ask() as supervisor:
            supervisor.ask({"release": str(release)})
            read_until(supervisor, "done")
            done_at = time.monotonic()
            supervisor.ask({"keep": True})
            read_until(supervisor, "kept")
            until(lambda: answers[-1].asked_at > done_at + 2)

        after = host.server_id()
        assert before != after
        # The old one up to some moment, and then the new one.
        assert [before, after] == [server for server, _ in groupby(it.server_id for it in answers)]
        assert {after} == {it.server_id for it in answers if it.asked_at > done_at}

    def test_the_release_is_loaded_from_its_folder_by_its_python(self, host: Host) -> None:
        service, release = host.serve(), host.release("2")

        self.hand_over(host, release)

        server = server_of(service)
        assert str(release) == server.cwd()
        assert str(release / ".venv" / "bin" / "python") == server.cmdline()[0]
        assert release == host.served()

    def test_a_server_that_dies_after_a_handover_is_replaced_from_the_same_release(
        self, host: Host
    ) -> None:
        service, release = host.serve(), host.release("2")
        self.hand_over(host, release)

        server_of(service).kill()

        service.await_line("one: answers on", times=3)
        assert str(release) == server_of(service).cwd()

    def test_an_old_server_that_does_not_end_is_killed(self, host: Host) -> None:
        """Dagster gives what it was asked a minute; here it has two seconds."""
        code = (
            "from freshline.cli import app; from freshline.serving.code_server import CodeServers"
        )
        code += "; CodeServers.leave_seconds = 2.0; app()"
        service = host.start(sys.executable, "-c", code, *host.serving(host.port)[1:])
        service.await_line("one: answers on")
        release = host.release("2")
        old = server_of(service)
        old.suspend()

        self.hand_over(host, release)

        service.await_line("the former code server does not end, and is killed")
        await_end([old], 30)

    @pytest.mark.parametrize(
        ("hindrance", "seconds", "message"),
        [
            (BROKEN, 120, "ended with status 1 before it served"),
            ("while True: time.sleep(1)", 1, "did not load within"),
        ],
    )
    def test_a_release_that_does_not_load_leaves_the_former_one(
        self, host: Host, hindrance: str, seconds: int, message: str
    ) -> None:
        host.serve()
        before, release = host.server_id(), host.release("2", hindrance=hindrance)

        with host.ask() as supervisor:
            supervisor.ask({"release": str(release), "seconds": seconds})
            lines = read_until(supervisor, "back")

        (error,) = (line["error"] for line in lines if "error" in line)
        assert message in str(error)
        assert str(release) in str(error)
        assert before == host.server_id()

    def test_a_client_that_is_gone_before_the_end_leaves_the_former_one(self, host: Host) -> None:
        service, former = host.serve(), host.served()
        release = host.release("2")

        with host.ask() as supervisor:
            supervisor.ask({"release": str(release)})
            read_until(supervisor, "done")
        service.await_line("one: answers on", times=3)

        assert str(former) == server_of(service).cwd()
        assert former == host.served()

    def test_a_second_deploy_waits_for_the_end_of_the_first(self, host: Host) -> None:
        host.serve()
        release = host.release("2")

        with host.ask() as first, host.ask() as second:
            first.ask({"release": str(release)})
            read_until(first, "progress")
            second.ask({"release": str(release)})
            (refused,) = read_until(second, "error")
            read_until(first, "done")

        assert "another deploy of one is under way" in str(refused["error"])

    @pytest.mark.parametrize(
        ("request_line", "message"),
        [
            ({"release": "2"}, "with an absolute path"),
            ({"releases": "/2"}, "is no request"),
            ({"release": "/nowhere/2"}, "/nowhere/2 is no folder"),
            ({"release": "/", "seconds": "soon"}, "seconds must be a number greater than 0"),
            ({"release": "/"}, "there is no /.venv/bin/python"),
        ],
    )
    def test_a_bad_request_is_refused(
        self, host: Host, request_line: dict[str, str], message: str
    ) -> None:
        host.start(*host.serving(host.port))
        until((host.run / "one.server.sock").exists)

        with host.ask() as supervisor:
            supervisor.ask(request_line)
            (refused,) = read_until(supervisor, "error")

        assert message in str(refused["error"])

    def hand_over(self, host: Host, release: Path) -> None:
        with host.ask() as supervisor:
            supervisor.ask({"release": str(release)})
            read_until(supervisor, "done")
            supervisor.ask({"keep": True})
            read_until(supervisor, "kept")


def test_a_control_socket_is_for_its_user_alone(host: Host) -> None:
    host.serve()

    assert 0o600 == (host.run / "one.server.sock").stat().st_mode & 0o777


def test_a_leashed_program_gets_its_signal_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = "import os, signal, sys; signal.signal(15, lambda *_: sys.exit(os.write(1, b'told')))"
    program += "\nos.write(1, b'there\\n')\nwhile True: signal.pause()"
    parent = "import subprocess, sys; from freshline.serving.leash import leashed; "
    parent += f"subprocess.run(leashed(sys.executable, 15, '-c', {program!r}))"
    read, write = os.pipe()
    with os.fdopen(read) as output:
        first = subprocess.Popen([sys.executable, "-c", parent], stdout=write)
        os.close(write)
        assert "there\n" == output.readline()

        first.kill()
        first.wait()

        assert "told" == output.read()  # and it has ended
