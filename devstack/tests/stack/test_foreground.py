"""`devstack run -- COMMAND`: the stack runs while the command runs, and then nothing does."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from checkout import Checkout
from devstack.processes import descendants, wait_for_end
from helpers import DEVSTACK, command_lines_with, until


class Running:
    """`sh -c SCRIPT` under `devstack run`. `READY` in the script lets the test go on."""

    def __init__(self, checkout: Checkout, script: str) -> None:
        ready = checkout.root / "ready"
        script = script.replace("READY", f"touch {ready}")
        self.process = checkout.start("run", "--", "sh", "-c", script)
        try:
            until(lambda: ready.exists() or self.process.poll() is not None, seconds=120)
            assert ready.exists(), self.process.communicate()[0]
        except BaseException:
            self.process.kill()
            raise

    def end(self) -> int:
        self.output = self.process.communicate(timeout=120)[0]
        return self.process.returncode


def is_held(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class TestRun:
    """`devstack run`."""

    def test_command_has_the_settings_and_its_exit_code_is_returned(
        self, checkout: Checkout
    ) -> None:
        output = checkout.run("run", "--", "sh", "-c", "echo at $WAREHOUSE_PORT; exit 3", code=3)

        assert f"at {checkout.ports['postgres']}\n" in output
        assert checkout.listening() == []
        assert command_lines_with(str(checkout.root)) == []

    def test_stack_that_was_up_stays_up(self, checkout: Checkout) -> None:
        checkout.run("up")
        checkout.run("run", "--", "true")

        assert checkout.states()["postgres"] == "running"

    def test_stack_that_another_command_is_about_to_stop_is_not_used(
        self, checkout: Checkout
    ) -> None:
        may_end = checkout.root / "may-end"
        leaving = Running(
            checkout,
            f"stop() {{ while [ ! -e {may_end} ]; do sleep 0.1; done; exit 0; }};"
            " trap stop INT TERM; READY; while :; do sleep 0.1; done",
        )
        leaving.process.send_signal(signal.SIGTERM)
        until(lambda: is_held(checkout.root / ".local" / "leaving"), seconds=20)
        following = checkout.start("run", "--", "true")
        waits = following.stdout.readline() if following.stdout else ""
        may_end.touch()
        assert leaving.end() == 0
        output = following.communicate(timeout=120)[0]

        assert waits == "devstack: waiting for another devstack command to finish\n"
        assert "already running" not in output
        assert following.returncode == 0
        assert checkout.listening() == []

    def test_command_is_stopped_when_another_one_stops_what_it_uses(
        self, checkout: Checkout
    ) -> None:
        checkout.run("up")
        running = Running(checkout, f"READY; exec sleep 600 # {checkout.root}")
        checkout.run("down")

        assert running.end() == 1
        assert "was stopped by the command that had started it" in running.output
        assert command_lines_with(str(checkout.root)) == []

    def test_command_that_does_not_exist_is_refused(self, checkout: Checkout) -> None:
        output = checkout.run("run", "--", "no-such-command", code=1)

        assert "no-such-command: No such file or directory" in output
        assert checkout.listening() == []

    def test_command_that_does_not_exist_is_refused_when_path_has_a_closed_folder(
        self, checkout: Checkout, as_user: list[str]
    ) -> None:
        closed = checkout.root / "closed"
        closed.mkdir(mode=0)
        checkout.prefix = as_user
        checkout.variables["PATH"] = f"{closed}{os.pathsep}{os.environ['PATH']}"
        output = checkout.run("run", "--", "no-such-command", code=1)

        assert "no-such-command: No such file or directory" in output

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_signal_stops_the_command_first_then_the_stack(
        self, checkout: Checkout, number: signal.Signals
    ) -> None:
        """The command still reaches the database while it stops."""
        python = (
            "import os, socket; "
            "socket.create_connection(('127.0.0.1', int(os.environ['WAREHOUSE_PORT']))).close()"
        )
        running = Running(
            checkout,
            f'stop() {{ {sys.executable} -c "{python}" && echo reached; exit 7; }};'
            " trap stop INT TERM; READY; while :; do sleep 0.1; done",
        )
        running.process.send_signal(number)

        assert running.end() == 7
        assert "reached" in running.output
        assert checkout.listening() == []
        assert command_lines_with(str(checkout.root)) == []

    def test_orphans_of_the_command_are_stopped(self, checkout: Checkout) -> None:
        """Also an orphan in a session of its own."""
        orphan = checkout.root / "orphan"
        orphan.symlink_to("/bin/sleep")
        running = Running(
            checkout, f"setsid {orphan} 600 & setsid sh -c '{orphan} 600 & exit'; READY"
        )
        code = running.end()

        assert code == 0
        assert command_lines_with(str(checkout.root)) == []

    def test_command_that_ignores_signals_is_killed_at_the_second_one(
        self, checkout: Checkout
    ) -> None:
        running = Running(checkout, "trap '' INT TERM; READY; while :; do sleep 0.1; done")
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGTERM)

        assert running.end() == 128 + signal.SIGKILL
        assert command_lines_with(str(checkout.root)) == []

    def test_everything_ends_when_devstack_itself_is_killed(self, checkout: Checkout) -> None:
        running = Running(checkout, f"READY; exec sleep 600 # {checkout.root}")
        services = [psutil.Process(checkout.pid(name)) for name in ("postgres", "github", "broker")]
        running.process.kill()
        running.process.communicate()

        assert wait_for_end(services, 60) == []
        until(lambda: command_lines_with(str(checkout.root)) == [])
        assert checkout.listening() == []

    def test_everything_ends_when_the_parent_is_killed_if_asked_for(
        self, checkout: Checkout
    ) -> None:
        """As `make dev` asks for: make cannot pass on that it was killed."""
        ready = checkout.root / "ready"
        script = f'{DEVSTACK} run --with-parent --root {checkout.root} -- "$@"; exit'
        parent = subprocess.Popen(
            ["sh", "-c", script, "sh", "sh", "-c", f"touch {ready}; exec sleep 600"],
            env=checkout.environment,
        )
        until(ready.exists, seconds=120)
        family = descendants(parent.pid)
        parent.kill()
        parent.wait()

        assert wait_for_end(family, 60) == []
        assert checkout.listening() == []

    def test_interrupt_while_it_starts_leaves_nothing(self, checkout: Checkout) -> None:
        process = checkout.start("run", "--", "true")
        until((checkout.root / ".local/run/postgres.json").exists)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)

        assert process.returncode == 130
        assert command_lines_with(str(checkout.root)) == []

    def test_command_is_stopped_with_the_reason_when_a_service_ends(
        self, checkout: Checkout
    ) -> None:
        running = Running(checkout, "READY; sleep 600")
        psutil.Process(checkout.pid("github")).kill()

        assert running.end() == 1
        assert "github has ended by itself" in running.output
        assert checkout.listening() == []
