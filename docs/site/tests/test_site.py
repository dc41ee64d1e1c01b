"""A build of the site finds what is wrong with its pages, and its pages need no network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import freshline
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "docs" / "site"))
from commands import list_commands  # noqa: E402  # beside conf.py, which is not installed
from navigation import NAVIGATION  # noqa: E402  # as above

OWN_PAGES = ("docs/site/commands", "docs/site/python")
READ = ["README.md", "CONTRIBUTING.md", "LICENSE", "bench", "dagster.yaml", "deploy", "docs"]
READ += ["examples", "pyproject.toml", "shared"]
"""What pages are made of and what they link to."""

WRONG = """
# A page that nobody lists

A [page](nowhere.md), a [heading](adopting.md#nowhere), a [file](../shared/nowhere.py), a
[folder](../nowhere), and ![a picture](nowhere.png).
"""
FOUND = ("nowhere.md", "local id", "nowhere.py", "../nowhere'", "nowhere.png", "toctree")


@dataclass(frozen=True)
class Build:
    """What became of the site of a copy of this checkout, with the page `WRONG` in it."""

    status: int
    said: str
    folder: Path


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("site")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in READ:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, checkout / name)
    (checkout / "docs" / "wrong.md").write_text(WRONG, encoding="utf-8")
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--conf-dir", "docs/site"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", folder / "html"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Build(done.returncode, done.stdout, folder / "html")


@pytest.mark.parametrize("word", FOUND)
def test_a_build_fails_for_what_leads_nowhere(build: Build, word: str) -> None:
    lines = [line for line in build.said.splitlines() if "WARNING" in line]

    assert 1 == build.status
    assert [] == [line for line in lines if "/docs/wrong.md:" not in line], build.said
    assert [] != [line for line in lines if word in line], build.said


class Loaded(HTMLParser):
    """Collects the addresses that a browser loads for a page, without a click."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"link": "href", "script": "src", "img": "src", "iframe": "src"}.get(tag)
        self.addresses += [value or "" for name, value in attrs if name == wanted]


def test_pages_load_nothing_from_elsewhere(build: Build) -> None:
    pages = {path: path.read_text(encoding="utf-8") for path in build.folder.rglob("*.html")}
    outside = []
    for path, text in pages.items():
        loaded = Loaded()
        loaded.feed(text)
        outside += [(path, it) for it in loaded.addresses if re.match(r"(\w+:)?//", it)]

    assert "docs/adopting.html" in {str(path.relative_to(build.folder)) for path in pages}
    assert [] == outside


def test_the_readme_lists_the_pages_of_the_navigation() -> None:
    listed = re.findall(
        r"\((docs/\w[\w-]*)\.md\)", (ROOT / "README.md").read_text(encoding="utf-8")
    )
    pages = [page for section in NAVIGATION.values() for page in section]

    assert [] == [it for it in pages if it.startswith("docs/") and it not in (*listed, *OWN_PAGES)]


def test_the_front_page_is_the_readme(build: Build) -> None:
    page = (build.folder / "index.html").read_text(encoding="utf-8")

    assert "<h1>freshline" in page
    assert "report.png" in page


def test_the_reference_has_each_public_name_once() -> None:
    page = (ROOT / "docs" / "site" / "python.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)

    assert sorted(freshline.__all__) == sorted(documented)


def typed(page: Path) -> list[str]:
    """Return the commands of freshline in the code of a page, each on one line."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^ *```\w*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL))
    lines = re.findall(
        r"^ *(?:\$ )?(freshline [a-z].*)$", blocks.replace("\\\n", " "), re.MULTILINE
    )
    return [*lines, *re.findall(r"`(freshline [a-z][^:`]*)`", text)]


def test_pages_show_commands_and_options_that_are_there() -> None:
    known = {command.name: command for command in list_commands()}
    pages = [ROOT / "README.md", ROOT / "shared" / "README.md", *(ROOT / "docs").glob("*.md")]
    lines = [(page.name, line) for page in pages for line in typed(page)]
    wrong = []
    for page, line in lines:
        words = re.split(r"[#|;>&]", line)[0].split()
        names = [name for name in (" ".join(words[:3]), " ".join(words[:2])) if name in known]
        options = {it.partition("=")[0] for it in words if re.match(r"--?[a-z]", it)}
        if not names or not options <= known[names[0]].options:
            wrong.append((page, line))

    assert len(lines) > 50
    assert [] == wrong
