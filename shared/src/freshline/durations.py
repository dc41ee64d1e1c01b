"""What each asset's runs took, by phase, as the event log tells it.

The arithmetic is in `freshline.moments`, which the simulation shares.
"""

from __future__ import annotations

from freshline.moments import MEMORY, including, measure, remember

__all__ = ["MEMORY", "including", "measure", "remember"]
