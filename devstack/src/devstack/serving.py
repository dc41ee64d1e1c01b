"""What every server in the foreground does: say that it is ready, wait, stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any


class StopSignal:
    """A request to stop: SIGTERM, SIGINT or, with `with_parent`, the end of standard input.

    The kernel closes the pipe to our standard input when the parent ends, also when it is killed.
    """

    def __init__(self, *, with_parent: bool) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # The signal itself writes to the socket. A Python handler alone would run only once the
        # main thread wakes up for another reason.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        if with_parent:
            threading.Thread(target=self._watch_parent, daemon=True).start()

    def set(self) -> None:
        """Stop as if a signal had come."""
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"\0")

    def watch(self, wait_for_end: Callable[[], object]) -> None:
        """Call `wait_for_end` in a thread. When it returns, the server has ended: stop."""

        def end() -> None:
            wait_for_end()
            self.set()

        threading.Thread(target=end, daemon=True).start()

    def wait(self) -> None:
        """Wait until it is time to stop."""
        self._reader.recv(1)

    def _watch_parent(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self.set()


def announce(facts: Mapping[str, Any]) -> None:
    """Print one line of JSON: the server is ready, and this is how to reach it."""
    try:
        print(json.dumps(facts), flush=True)
    except BrokenPipeError:
        # Nobody reads standard output any more. Later prints must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
