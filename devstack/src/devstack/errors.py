"""The one exception that a user sees as a message, not as a traceback."""

from __future__ import annotations


class DevstackError(Exception):
    """Something that the user can put right: the text says what is wrong, and what to do."""
