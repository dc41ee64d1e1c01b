"""Which code locations does a workspace have, and what does each one's own Python say of it?

`file` reads workspace.yaml. `runner` starts `child` in the Python of every location, and reads
what it wrote; what a code server runs is asked by `server`.
"""

from freshline.workspace.file import Entry, read_workspace
from freshline.workspace.runner import Inspected, inspect_entries

__all__ = ["Entry", "Inspected", "inspect_entries", "read_workspace"]
