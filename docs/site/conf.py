"""The documentation as a site, built from the files that people also read in the repository.

`make site` builds it: Sphinx, with the checkout as its folder of sources. So a link between two
files is the same on the site as in the repository. A warning, such as a link to a heading that is
not there, fails the build. Pages load nothing from elsewhere.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE))
from commands import describe_commands  # noqa: E402  # beside this file, which is not installed
from folders import name_folders  # noqa: E402  # as above
from navigation import NAVIGATION, as_markdown  # noqa: E402  # as above

logging.getLogger("alembic").setLevel(logging.WARNING)  # Dagster imports it

project = "freshline"
author = "freshline"
project_copyright = "the authors of freshline; Apache-2.0"
html_title = "freshline"
html_theme = "furo"
extensions = ["myst_parser", "sphinx.ext.autodoc"]

# --- which files are pages -------------------------------------------------------------------

root_doc = "README"
PAGES = [root_doc, *(page for section in NAVIGATION.values() for page in section)]
include_patterns = [f"{page}.md" for page in PAGES] + ["docs/*.md"]
# Folders that are not walked through: environments, for one, have a hundred thousand files.
exclude_patterns = [
    path.name
    for path in ROOT.iterdir()
    if path.is_dir() and path.name not in {page.partition("/")[0] for page in PAGES}
]

# --- how they are read and shown -------------------------------------------------------------

myst_heading_anchors = 4  # as GitHub names them
smartquotes = False  # the pages show options such as --json, and what commands print
default_role = "literal"  # in docstrings, `name` is code
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
autodoc_mock_imports = ["dagster_dbt"]  # the host, which builds the site, has no dbt
python_maximum_signature_line_length = 80
highlight_language = "text"
pygments_style = "tango"  # edits are green and red
suppress_warnings = ["misc.highlighting_failure"]  # the SQL of dbt models has Jinja in it
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False


def setup(app: Any) -> dict[str, Any]:
    """Add what no file has: the navigation, the commands."""
    app.connect("source-read", _complete)
    app.connect("doctree-read", name_folders)
    app.connect("build-finished", _make_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _complete(_: Any, page: str, source: list[str]) -> None:
    if page == root_doc:
        source[0] += as_markdown()
    if page == "docs/site/commands":
        source[0] += describe_commands()


def _make_index(app: Any, error: Exception | None) -> None:
    """Make the front page what a web server shows for the folder."""
    if error is None and app.builder.name == "html":
        front = Path(app.outdir, f"{root_doc}.html")
        Path(app.outdir, "index.html").write_bytes(front.read_bytes())
