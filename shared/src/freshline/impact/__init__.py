"""Whom does a change reach, in any location?

`consumers` finds who depends on an asset or column; `since` what has changed since a git revision.
"""

from freshline.impact.consumers import Consumer, consumers

__all__ = ["Consumer", "consumers"]
