"""Which code locations does a workspace have, and what does the code of each define?

`file` reads workspace.yaml. `runner` runs `child` in the Python of every location and reads its
results. `server` asks code servers.
"""

from freshline.workspace.file import Entry, read_workspace
from freshline.workspace.runner import Inspected, inspect_entries

__all__ = ["Entry", "Inspected", "inspect_entries", "read_workspace"]
