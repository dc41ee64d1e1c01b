"""Looking at a workspace: which locations it has, and what each one's own Python says of it."""

from freshline.inspection.runner import Inspected, inspect_entries
from freshline.inspection.workspace import Entry, WorkspaceError, read_workspace

__all__ = ["Entry", "Inspected", "WorkspaceError", "inspect_entries", "read_workspace"]
