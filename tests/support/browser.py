"""Dagster's UI in a real browser: headless Chromium, which connects to loopback only."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import expect, sync_playwright

# Without these, Chromium connects to its maker's servers at each start.
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # Chromium does not run as root with its sandbox.
    "--no-sandbox",
]


@dataclass(frozen=True)
class Lineage:
    """What the page of the global lineage shows."""

    text: str


def chromium() -> str | None:
    """Return the path of the installed browser; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def look_at_lineage(
    url: str, groups: Sequence[str], wanted: Sequence[str], picture: Path
) -> Lineage:
    """Open the lineage of all locations and wait until every wanted name is on the page.

    Save a screenshot as `picture`; return what the page shows.
    """
    executable = chromium()
    assert executable is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        # High enough for the group of the contracts, which is above all others.
        page = browser.new_page(viewport={"width": 2200, "height": 1300})
        # The page shows groups closed unless the address names them.
        expanded = ",".join(f"global@global:{group}" for group in groups)
        page.goto(f"{url}/asset-groups?expanded={quote(expanded)}")
        for name in wanted:
            page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        expect(page.get_by_text("Loading...")).to_have_count(0, timeout=60_000)
        page.screenshot(path=picture)
        text = page.inner_text("body")
        browser.close()
    return Lineage(text)
