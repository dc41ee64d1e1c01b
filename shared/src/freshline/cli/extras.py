"""What is only installed with an extra of freshline, such as ``freshline[metrics]``."""

from __future__ import annotations

from importlib.util import find_spec

from freshline.errors import CommandError

__all__ = ["require_extra"]


def require_extra(extra: str, *packages: str) -> None:
    """Raise `CommandError` if one of the `packages` is missing, which `extra` installs."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise CommandError(
            f"this command needs {' and '.join(missing)}: pip install 'freshline[{extra}]'"
        )
