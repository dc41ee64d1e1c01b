"""Hosts of the test's own: network namespaces on a bridge, and what can happen between them.

`Network` takes this process into a network namespace of its own, in which the bridge is: the desk,
from which a person would look at the hosts. Nothing of it is on the machine's own network, and all
of it is gone when this process and those that it has started have ended. Root can do that; any
other user can inside a user namespace, where the kernel allows it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

__all__ = ["Host", "Network", "NetworkError", "processes_in_network_of", "small_disk"]

_DESK = "10.77.0.1"
_NEEDED = ("ip", "nft", "nsenter", "unshare")
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000

_HOLDER = Path(__file__).with_name("holder.py")


class NetworkError(Exception):
    """Hosts cannot be made here. The text says why."""


class Network:
    """The hosts of a test, on one bridge; they end with the `with` block.

    Entering it raises `NetworkError`. This process stays in its own namespace afterwards.
    """

    def __init__(self) -> None:
        self._hosts: list[Host] = []

    def __enter__(self) -> Self:
        missing = [program for program in _NEEDED if shutil.which(program) is None]
        if missing:
            raise NetworkError(
                f"{', '.join(missing)} not found; Debian has them in iproute2, nftables, util-linux"
            )
        _leave_the_machines_network()
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "hosts", "type", "bridge")
        _run("ip", "address", "add", f"{_DESK}/24", "dev", "hosts")
        _run("ip", "link", "set", "hosts", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.close()

    def add(self, name: str) -> Host:
        """Return a new host, which the others reach."""
        address = f"10.77.0.{len(self._hosts) + 2}"
        host = Host(name, address, f"cable{len(self._hosts)}")
        self._hosts.append(host)
        return host


class Host:
    """A machine with one cable to the others."""

    def __init__(self, name: str, address: str, cable: str) -> None:
        self.name = name
        self.address = address
        self._cable = cable
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--uts", sys.executable, _HOLDER, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert b"ready\n" == self._holder.stdout.readline(), f"{name} was not made"
        self.pid = self._holder.pid
        """The process that holds its namespaces."""
        peer = ("peer", "name", "eth0", "netns", str(self.pid))
        _run("ip", "link", "add", cable, "type", "veth", *peer)
        _run("ip", "link", "set", cable, "master", "hosts", "up")
        self.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    @property
    def within(self) -> list[str]:
        """The command that becomes the program behind it, on this host."""
        return ["nsenter", "--target", str(self.pid), "--net", "--uts"]

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command on this host, with `text` as its input, and return what it prints."""
        return _run(*self.within, *command, text=text)

    def close(self) -> None:
        """End everything on this host, and the host."""
        self._holder.communicate()

    # --- faults ---------------------------------------------------------------------------

    def lose_power(self) -> None:
        """Kill everything on this host at once."""
        while running := [pid for pid in processes_in_network_of(self.pid) if pid != self.pid]:
            for pid in running:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Pull the cable out of this host as long as the context is open."""
        _run("ip", "link", "set", self._cable, "down")
        try:
            yield
        finally:
            _run("ip", "link", "set", self._cable, "up")

    @contextmanager
    def silent_to(self, *others: Host) -> Iterator[None]:
        """Drop each packet between this host and `others`: nobody learns why there is no answer."""
        rules = [
            (chain, f"ip {end} {other.address} drop")
            for other in others
            for chain, end in (("input", "saddr"), ("output", "daddr"))
        ]
        with self._filtered(rules):
            yield

    @contextmanager
    def refusing(self, *others: Host) -> Iterator[None]:
        """Answer each TCP packet of `others` with a reset, as a firewall does."""
        refuse = "meta l4proto tcp reject with tcp reset"
        with self._filtered([("input", f"ip saddr {other.address} {refuse}") for other in others]):
            yield

    @contextmanager
    def losing(self, percent: int) -> Iterator[None]:
        """Drop `percent` of the packets that this host gets, and of those that it sends."""
        rule = f"numgen random mod 100 < {percent} drop"
        with self._filtered([("input", f"iif eth0 {rule}"), ("output", f"oif eth0 {rule}")]):
            yield

    @contextmanager
    def _filtered(self, rules: Sequence[tuple[str, str]]) -> Iterator[None]:
        lines = ["table inet faults {"]
        for chain in ("input", "output"):
            lines += [f"chain {chain} {{", f"type filter hook {chain} priority 0;"]
            lines += [rule for name, rule in rules if name == chain]
            lines.append("}")
        lines.append("}")
        self.run("nft", "-f", "-", text="\n".join(lines))
        try:
            yield
        finally:
            self.run("nft", "delete", "table", "inet", "faults")


def processes_in_network_of(pid: int) -> list[int]:
    """Return the processes that share the network namespace of one, and that one."""
    own, found = Path(f"/proc/{pid}/ns/net").readlink(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (folder / "ns" / "net").readlink() == own:
                found.append(int(folder.name))
    return found


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Have a disk of its own at `folder` as long as the context is open."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "none", str(folder))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def _leave_the_machines_network() -> None:
    """Take this process, and all that it starts, into a network and mounts of its own."""
    user, group = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNET | _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        as_whom = "root has no right to" if user == 0 else "users may not"
        reason = os.strerror(ctypes.get_errno())
        raise NetworkError(f"{as_whom} make network namespaces here: {reason}")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None):
        reason = os.strerror(ctypes.get_errno())
        raise NetworkError(f"mounts cannot be kept from the machine: {reason}")


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetworkError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
