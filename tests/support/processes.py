"""Programs that a test starts, each in a session of its own, so that all processes can be ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from support.waiting import wait_until


class Daemon:
    """A program that runs for long, with its output in a file."""

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell starts background jobs, perhaps these tests, with SIGINT ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill the program and all that it started, as a crash of the machine would."""
        for pid in family_of(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):  # what has lost its parent
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def interrupt(self, seconds: float = 60) -> int:
        """Interrupt the program as Ctrl-C on a terminal does; return its exit status."""
        if self.is_running():
            os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(seconds)

    def wait(self, seconds: float) -> int:
        """Wait at most `seconds` for the program to end; return its exit status."""
        return self._process.wait(seconds)

    def members(self) -> set[int]:
        """Return the process ids of the program and all that it started, without zombies."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self._process.pid and fields[0] != "Z":
                    found.add(int(folder.name))
        return found

    def listens_at(self) -> set[IPv4Address | IPv6Address]:
        """Return the addresses at which the program, or one that it started, listens for TCP."""
        sockets = set()
        for pid in self.members():
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(str(descriptor.readlink()))
        found = set()
        for table in ("tcp", "tcp6"):
            for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                local, state, inode = (line.split()[place] for place in (1, 3, 9))
                if state == _LISTEN and f"socket:[{inode}]" in sockets:
                    found.add(_address(local.partition(":")[0]))
        return found


class Job(Daemon):
    """A program that a script has started with `&` before it ended.

    A shell without job control starts such a program with SIGINT ignored, and nobody waits for it.
    """

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], log: Path
    ) -> None:
        script = '"$@" & echo $! > "$0"'
        note = log.with_suffix(".pid")
        super().__init__(["sh", "-c", script, note, *command], cwd=cwd, env=env, log=log)
        self._process.wait()
        self._pid = int(note.read_text())

    @property
    def pid(self) -> int:
        return self._pid

    def is_running(self) -> bool:
        return self._pid in self.members()


def family_of(pid: int) -> dict[int, str]:
    """Return a process and all that descend from it: when each started, by its id.

    What has ended is left out, although its parent may not have reaped it yet.
    """
    table = _all_processes()
    found, waiting = {}, [pid]
    while waiting:
        one = waiting.pop()
        if one in table:
            found[one] = table[one][1]
        waiting += [child for child, (parent, _) in table.items() if parent == one]
    return found


def still_running(family: Mapping[int, str]) -> set[int]:
    """Return the ids in what `family_of` returned earlier whose processes have not ended."""
    table = _all_processes()
    return {pid for pid, start in family.items() if pid in table and table[pid][1] == start}


def _all_processes() -> dict[int, tuple[int, str]]:
    """Return the parent of each process that has not ended, and when it started, by its id."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(folder.name)] = (int(fields[1]), fields[19])
    return found


_LISTEN = "0A"
"""The state in /proc/net/tcp."""


def _address(words: str) -> IPv4Address | IPv6Address:
    """Read an address of /proc/net/tcp: hexadecimal, each 32 bits in the machine's byte order."""
    parts = [bytes.fromhex(words[start : start + 8]) for start in range(0, len(words), 8)]
    if sys.byteorder == "little":
        parts = [part[::-1] for part in parts]
    address = ip_address(b"".join(parts))
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def await_port(daemon: Daemon, port: int, *, seconds: float) -> None:
    """Wait until something listens on `port`; fail with the output of `daemon` if it ends first."""

    def listens() -> bool:
        assert daemon.is_running(), daemon.output()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, f"{daemon.log.name} listens on port {port}", seconds=seconds)
