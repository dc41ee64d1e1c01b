"""What every foreground program of the stack shares: announce itself, wait, stop."""

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
    """Set by SIGTERM, SIGINT or, with ``with_parent``, by the end of standard input.

    A parent that dies, however violently, closes the pipe it held to our standard input; this is
    the only notice that survives its SIGKILL.
    """

    def __init__(self, *, with_parent: bool) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        # A signal writes to the socket, whichever thread it reaches and whatever that one does;
        # a Python-level handler alone would wait for the main thread to wake up for other reasons.
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        if with_parent:
            threading.Thread(target=self._watch_parent, daemon=True).start()

    def set(self) -> None:
        """Stop as if a signal had arrived."""
        with contextlib.suppress(BlockingIOError):
            self._writer.send(b"\0")

    def watch(self, wait_for_end: Callable[[], object]) -> None:
        """Stop also when this call returns: when the program served has ended by itself."""

        def end() -> None:
            wait_for_end()
            self.set()

        threading.Thread(target=end, daemon=True).start()

    def wait(self) -> None:
        """Block until told to stop."""
        self._reader.recv(1)

    def _watch_parent(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self.set()


def announce(facts: Mapping[str, Any]) -> None:
    """Print the one line of JSON that says the program is ready and how to reach it."""
    try:
        print(json.dumps(facts), flush=True)
    except BrokenPipeError:
        # Nobody reads it any more; the program is about to be told to stop, or runs unattended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
