"""Hold the namespaces of a host; when standard input ends, kill all that runs there, and end.

Standard input ends when the test closes it, and also when the test itself is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress

from network import processes_in_network_of


def main(name: str) -> None:
    own = os.getpid()
    socket.sethostname(name)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    print("ready", flush=True)
    sys.stdin.read()
    while running := [pid for pid in processes_in_network_of(own) if pid != own]:
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
