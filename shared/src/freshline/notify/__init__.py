"""Notify: tell the owners of assets when a promise breaks, and when it is kept again.

`settings` reads who is told where. `standing` says of each target whether its promise is broken,
by whom, and who owns what; `incidents` groups what one cause breaks, and decides what is still to
be told; `messages` words it and `delivery` sends it. `memory` keeps in the Dagster instance what
was told, and which of several notifiers does the telling. `notifier` puts them together.
"""

from freshline.notify.notifier import Notifier
from freshline.notify.settings import NotifySettings, read_notify_settings

__all__ = ["Notifier", "NotifySettings", "read_notify_settings"]
