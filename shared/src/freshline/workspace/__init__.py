"""Looking at a workspace: which locations it has, and what each one's own Python says of it."""

from freshline.workspace.file import Entry, read_workspace
from freshline.workspace.runner import Inspected, inspect_entries

__all__ = ["Entry", "Inspected", "inspect_entries", "read_workspace"]
