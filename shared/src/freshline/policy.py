"""`MaxLag`: how far behind an asset's data may be."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MaxLag"]


@dataclass(frozen=True, slots=True)
class MaxLag:
    """The lag stays at or below `minutes`: at every moment, or at every tick of `cron`."""

    minutes: float
    cron: str | None = None
    timezone: str | None = None
