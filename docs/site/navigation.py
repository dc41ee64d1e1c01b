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
        "shared/README",
        "shared/CHANGELOG",
        "bench/README",
    ],
}
"""The pages of each section, without `.md`. The front page stands above all sections."""

TITLES: Final = {"shared/README": "Package, dbt macros, versions"}
"""What the navigation calls a page, if not by its first heading."""


def as_markdown() -> str:
    """Return a table of contents for each section, which puts its pages into the navigation."""
    return "".join(_contents(section, pages) for section, pages in NAVIGATION.items())


def _contents(section: str, pages: list[str]) -> str:
    entries = [f"{TITLES[it]} </{it}>" if it in TITLES else f"/{it}" for it in pages]
    return "\n".join(
        ("", "```{toctree}", ":hidden:", f":caption: {section}", "", *entries, "```", "")
    )
