"""What is only installed with an extra of freshline, such as ``freshline[metrics]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from freshline.errors import CommandError

__all__ = ["needs_extra"]


@contextmanager
def needs_extra(extra: str, package: str) -> Iterator[None]:
    """Turn a failed import of `package`, which `extra` installs, into a `CommandError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise CommandError(
            f"this command needs the package {package}: pip install 'freshline[{extra}]'"
        ) from None
