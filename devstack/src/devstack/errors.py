"""The one exception that a user sees as a message instead of a traceback."""

from __future__ import annotations


class DevstackError(Exception):
    """Something the user can put right. The text says what is wrong and what to do about it."""
