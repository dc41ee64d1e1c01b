"""Times in the options of commands: so long before or after now, or a time with its zone."""

from __future__ import annotations

from datetime import datetime

from freshline.errors import CommandError
from freshline.words import read_span

__all__ = ["read_end", "read_since"]


def read_end(text: str, now: float) -> float:
    """Return the time to come (UTC, epoch seconds) that `--until` means at `now`.

    Raises `CommandError`.
    """
    end = _read("--until", text, now, 1.0)
    if end <= now:
        raise CommandError(f"--until {text!r} is over already; give a time to come.")
    return end


def read_since(text: str, now: float) -> float:
    """Return the past time (UTC, epoch seconds) that `--since` means at `now`.

    Raises `CommandError`.
    """
    since = _read("--since", text, now, -1.0)
    if since > now:
        raise CommandError(f"--since {text!r} is still to come; give a time in the past.")
    return max(0.0, since)


def _read(option: str, text: str, now: float, sign: float) -> float:
    seconds = read_span(text)
    if seconds is not None:
        return now + sign * seconds
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CommandError(
            f"{option} {text!r} is no time; write 30m, 2h or 3d, or 2026-12-24T18:00+01:00."
        ) from None
    if given.tzinfo is None:
        raise CommandError(
            f"{option} {text!r} has no time zone; write it as in {text.strip()}+00:00."
        )
    return given.timestamp()
