"""Where a page stands in the navigation. The build fails for a page of docs/ that has no place."""

from __future__ import annotations

from typing import Final

NAVIGATION: Final = {
    "Start": [
        "docs/concepts",
        "docs/first-steps",
        "docs/adopting",
        "docs/renaming",
        "docs/comparison",
    ],
    "Concepts": [
        "docs/freshness",
        "docs/partitions",
        "docs/contracts",
        "docs/engine",
        "docs/faults",
        "docs/versions",
    ],
    "How-to": [
        "docs/adding",
        "docs/airbyte",
        "docs/standards",
        "docs/deploy",
        "docs/clusters",
        "CONTRIBUTING",
    ],
    "On duty": [
        "docs/operations",
        "docs/status",
        "docs/report",
        "docs/monitoring",
    ],
    "Reference": [
        "docs/site/commands",
        "docs/site/python",
        "bench/README",
        "shared/CHANGELOG",
    ],
}
"""The pages of each section, without `.md`. The front page stands above all sections."""


def as_markdown() -> str:
    """Return a table of contents for each section, which puts its pages into the navigation."""
    return "".join(
        "\n".join(("", "```{toctree}", ":hidden:", f":caption: {section}", "", *entries, "```", ""))
        for section, entries in ((it, [f"/{page}" for page in NAVIGATION[it]]) for it in NAVIGATION)
    )
