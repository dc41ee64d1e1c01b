"""Which assets, in any location, does a change reach?

`consumers` finds the assets that depend on an asset or column. `since` finds the changes since a
git revision.
"""

from freshline.impact.consumers import Consumer, consumers

__all__ = ["Consumer", "consumers"]
