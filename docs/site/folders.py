"""Links to folders of the repository: a site has no page for them, so their names are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref


def name_folders(app: Any, document: nodes.document) -> None:
    """Replace each link to a folder that exists by its text. The others cause a warning."""
    page = Path(app.env.doc2path(app.env.docname))
    for link in list(document.findall(pending_xref)):
        target = link.get("reftarget", "")
        if link.get("reftype") == "myst" and target and (page.parent / target).is_dir():
            link.replace_self(link.children[0].children if link.children else [])
