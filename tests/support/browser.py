"""The UI in a real browser: Debian's chromium, headless, and nothing but loopback."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import sync_playwright

# Without these, Chromium looks up its maker's hosts at every start.
QUIET = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    # It refuses to run as root otherwise.
    "--no-sandbox",
]


@dataclass(frozen=True)
class Lineage:
    """What the page of the global lineage shows."""

    text: str


def chromium() -> str | None:
    """The installed browser; None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def look_at_lineage(
    url: str, groups: Sequence[str], wanted: Sequence[str], picture: Path
) -> Lineage:
    """Open the lineage of all locations, wait until every wanted name shows, take a picture."""
    executable = chromium()
    assert executable is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        page = browser.new_page(viewport={"width": 2200, "height": 1100})
        # Groups are drawn folded unless the address unfolds them.
        unfolded = ",".join(f"global@global:{group}" for group in groups)
        page.goto(f"{url}/asset-groups?expanded={quote(unfolded)}")
        for name in wanted:
            page.get_by_text(name, exact=True).first.wait_for(timeout=60_000)
        page.screenshot(path=picture)
        text = page.inner_text("body")
        browser.close()
    return Lineage(text)
