"""How commands end that run until somebody stops them."""

from __future__ import annotations

import signal
from threading import Event

__all__ = ["stop_requested"]


def stop_requested() -> Event:
    """Return an event that is set when the process is asked to end, by SIGTERM or Ctrl-C.

    A script that starts the process with `&` has it ignore SIGINT; this ends that, too.
    """
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
