"""What every foreground program of the stack shares: announce itself, wait, stop."""

from __future__ import annotations

import json
import os
import signal
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
        self._event = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._event.set())
        if with_parent:
            threading.Thread(target=self._watch_parent, daemon=True).start()

    def set(self) -> None:
        """Stop as if a signal had arrived."""
        self._event.set()

    def watch(self, wait_for_end: Callable[[], object]) -> None:
        """Stop also when this call returns: when the program served has ended by itself."""

        def end() -> None:
            wait_for_end()
            self._event.set()

        threading.Thread(target=end, daemon=True).start()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until told to stop, or for so many seconds; true when told to stop."""
        return self._event.wait(seconds)

    def _watch_parent(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self._event.set()


def announce(facts: Mapping[str, Any]) -> None:
    """Print the one line of JSON that says the program is ready and how to reach it."""
    try:
        print(json.dumps(facts), flush=True)
    except BrokenPipeError:
        # Nobody reads it any more; the program is about to be told to stop, or runs unattended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
