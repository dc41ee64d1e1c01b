"""What a location's sensor keeps in its cursor."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final

__all__ = ["Cursor"]

_ABOUT: Final = "What is reported already; without it, all is reported again. To see it: View Raw."

_KEPT: Final = "__class__"
"""Of a cursor that begins with this name, Dagster's UI shows all other values in one line."""


@dataclass(slots=True)
class Cursor:
    """What earlier ticks have reported, and what the location waits for.

    Its text is for people too: Dagster's UI shows it, in one line. It stays JSON, because Dagster's
    daemon reads it once a second while there is news: YAML takes forty times as long. What it keeps
    is where Dagster has the class of its own cursors, which its UI leaves out of that line.
    """

    targets: dict[str, str] = field(default_factory=dict)
    """How each of the location's targets stands, see `lag_check.recorded_state`."""
    contracts: str = ""
    """What the last check of the contracts depended on."""
    checks: dict[str, str] = field(default_factory=dict)
    """The versions that were seen by checks on assets that the location does not make."""
    awaits: list[str] = field(default_factory=list)
    """The assets of which a new version lets the location request something soon."""

    @classmethod
    def read(cls, text: str | None) -> Cursor:
        """Read what `text` keeps; nothing, if it is empty or cannot be read."""
        try:
            known = json.loads(text or "{}")
            known = known.get(_KEPT, known)  # an older freshline keeps it on the first level
            return cls(
                dict(known.get("targets", {})),
                str(known.get("contracts", "")),
                dict(known.get("checks", {})),
                [str(key) for key in known.get("awaits", ())],
            )
        except (ValueError, TypeError, AttributeError):
            return cls()  # it was set by hand: report everything again

    def to_text(self) -> str:
        """Return the text that `read` understands."""
        kept = {name: value for name, value in asdict(self).items() if value}
        # Dagster's UI knows it by its first characters, so there is no line break.
        return json.dumps({_KEPT: dict(sorted(kept.items())), "about": _ABOUT})
