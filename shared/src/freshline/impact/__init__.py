"""What breaks if this changes: every consumer of an asset or column, across locations."""

from freshline.impact.consumers import Consumer, consumers

__all__ = ["Consumer", "consumers"]
