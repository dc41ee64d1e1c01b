"""Which code locations does a workspace have, and what does the code of each define?

`source` says what declares them: `file` reads workspace.yaml, `projects` reads dg.toml and
pyproject.toml, and each makes an `entry` for every location. `runner` runs `child` in the Python of
every location and reads its results. `server` asks code servers.
"""

from freshline.workspace.entry import Entry
from freshline.workspace.source import WorkspaceSource, find_workspace, read_workspace

__all__ = [
    "Entry",
    "WorkspaceSource",
    "find_workspace",
    "read_workspace",
]
