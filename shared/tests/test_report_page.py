"""The page: what it says, how large it is, and how a real browser shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from conftest import write_instance
from freshline.cli import app
from freshline.contract import graph_of, read_contracts
from freshline.history.kept import Kept, read_past
from freshline.history.past import Past, Period
from freshline.model import Asset, Graph
from freshline.policy import MaxLag
from freshline.report import report_of
from freshline.report.lineage import lineage_drawing
from freshline.report.page import page
from playwright.sync_api import Page, sync_playwright
from scenes import clock
from support.browser import ARGUMENTS, chromium
from typer.testing import CliRunner, Result
from week_log import Week, fill_week
from working_day import day_of_a_command

NEED_CHROMIUM = pytest.mark.skipif(chromium() is None, reason="there is no Chromium here")
LARGEST = 1_000_000
END = clock("17 00:00")


@pytest.fixture(scope="module")
def html(postgres_server: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a week with ten thousand runs."""
    with postgres_server.new_database() as database:
        home = tmp_path_factory.mktemp("home")
        write_instance(home, database)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            week = fill_week(instance, END)
            return page_of(instance, week)


def page_of(instance: dg.DagsterInstance, week: Week) -> str:
    graph = graph_of(it.contract for it in read_contracts(instance).values())
    past = read_past(instance, graph, week.begin, week.end)
    return page(report_of(graph, past, week.begin, week.end))


class TestPage:
    def test_is_smaller_than_a_megabyte(self, html: str) -> None:
        assert len(html.encode()) < LARGEST

    def test_needs_nothing_from_elsewhere(self, html: str) -> None:
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", html))

        assert {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"} >= addresses
        assert "<script" not in html

    def test_says_what_the_promises_and_breaches_were(self, html: str) -> None:
        for said in (
            "mart/mart_gh_cumulative",
            "at most 5 min",
            "analytics_marts was not heard of",
            "it failed",
        ):
            assert said in html

    def test_every_colour_is_one_of_the_page(self, html: str) -> None:
        body = html[html.index("<body>") :]

        assert set(re.findall(r"var\(--([a-z0-9-]+)\)", body)) <= set(
            re.findall(r"--([a-z0-9-]+):", html)
        )
        assert [] == re.findall(r"(?:fill|stroke): #[0-9a-f]{6}", body)

    def test_names_in_it_are_those_of_one_drawing(self, html: str) -> None:
        names = re.findall(r'<(?:clipPath|path|g)[^>]* id="([^"]+)"', html)

        assert len(set(names)) == len(names)

    def test_of_an_instance_without_history_is_a_page_too(self) -> None:
        graph = Graph({"mart": Asset("mart", "marts", (), MaxLag(5))})
        html = page(report_of(graph, Past((Period(0.0, 60.0, 0),)), 0.0, 3600.0))

        assert "No asset has a policy whose history is known" not in html
        assert "not judged" in html

    def test_names_with_signs_of_html_stay_text(self) -> None:
        graph = Graph({"a<b>&$c$": Asset("a<b>&$c$", "x&y", (), MaxLag(5))})
        html = page(report_of(graph, Past((Period(0.0, 60.0, 0),)), 0.0, 60.0))

        assert "<b>&$c$" not in html
        assert "a&lt;b&gt;&amp;$c$" in html


class TestLineage:
    def test_has_every_asset(self) -> None:
        graph = Graph(
            {
                "root": Asset("root", "ingest"),
                "left": Asset("left", "core", ("root",)),
                "mart": Asset("mart", "marts", ("left", "root"), MaxLag(5)),
                "apart": Asset("apart", "marts"),
            }
        )
        drawn = lineage_drawing(graph, ["core", "ingest", "marts"])

        for svg in (drawn.wide, drawn.narrow):
            assert {"root", "left", "mart", "apart", "at most 5 min"} <= set(
                re.findall(r">([^<>]+)</t(?:ext|span)>", svg)
            )

    def test_of_a_large_graph_has_the_locations(self) -> None:
        assets = {
            f"{team}/{number}": Asset(f"{team}/{number}", team, ("one/0",) if team == "two" else ())
            for team in ("one", "two")
            for number in range(30)
        }
        drawn = lineage_drawing(Graph(assets), ["one", "two"])

        assert "30 assets" in drawn.wide
        assert "one/7" not in drawn.wide

    def test_of_nothing_is_empty(self) -> None:
        assert "<svg" in lineage_drawing(Graph({}), []).wide


@pytest.fixture(scope="class")
def browser() -> Iterator[Any]:
    """Chromium. As long as it is open, no other event loop runs here: nor does a run of Dagster."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@NEED_CHROMIUM
class TestInABrowser:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1400, 400])
    def test_is_shown_without_an_error_and_within_the_window(
        self, browser: Any, html: str, tmp_path: Path, width: int, scheme: str
    ) -> None:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        shown = context.new_page()
        problems: list[str] = []
        shown.on("console", lambda message: problems.append(message.text))
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("request", lambda it: problems.append(it.url) if it.url[:5] == "http:" else None)
        shown.goto(file.as_uri())

        assert [] == problems
        assert width == shown.evaluate("document.documentElement.scrollWidth")
        assert [] == too_wide(shown, width)
        assert contrast(shown) >= 7.0
        visible = shown.locator("svg:visible")
        assert visible.count() * 2 == shown.locator("svg").count()
        classes = visible.evaluate_all("all => all.map(it => it.getAttribute('class'))")
        assert {"wide" if width == 1400 else "narrow"} == set(classes)
        context.close()


def too_wide(shown: Page, width: int) -> list[str]:
    """Return the texts of elements that reach beyond the window."""
    found: list[str] = shown.evaluate(
        """width => [...document.querySelectorAll('body *')]
        .filter(it => it.getClientRects().length)
        .filter(it => !it.closest('thead') || width > 760)
        .filter(it => it.getBoundingClientRect().right > width + 1
                   || it.getBoundingClientRect().left < -1)
        .map(it => it.tagName + ' ' + it.textContent.slice(0, 40))""",
        width,
    )
    return found


def contrast(shown: Page) -> float:
    """Return the contrast of text and background, as WCAG defines it."""
    colours = shown.evaluate(
        "() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]; }"
    )
    one, other = (luminance([int(it) for it in re.findall(r"\d+", text)[:3]]) for text in colours)
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def luminance(colour: list[int]) -> float:
    parts = [it / 255 for it in colour]
    red, green, blue = (
        it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class TestCommand:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        home = tmp_path / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        monkeypatch.chdir(tmp_path)
        return home

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    def publish(self, home: Path) -> None:
        from freshline.contract import Contract, Export, contract_materialization

        mart = Export(key="mart/join", policy=MaxLag(10))
        contract = Contract(location="marts", published_as="marts", exports=(mart,))
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.report_runless_asset_event(dg.AssetMaterialization(["mart", "join"]))
            instance.report_runless_asset_event(contract_materialization(contract))

    def test_writes_the_file(self, home: Path) -> None:
        self.publish(home)
        result = self.run("report", "--since", "1h", "--output", "out.html")

        assert (0, "out.html: 1 h, 1 target, 0 breaches.\n") == (result.exit_code, result.output)
        assert "mart/join" in Path("out.html").read_text(encoding="utf-8")

    def test_without_a_contract_says_what_to_do(self) -> None:
        result = self.run("report")

        assert 2 == result.exit_code
        assert "no location has published a contract" in result.output

    @pytest.mark.parametrize(
        ("since", "said"),
        [
            ("tomorrow", "is no time; write 30m, 2h or 3d"),
            ("2026-01-01T10:00", "has no time zone"),
            ("2999-01-01T10:00+00:00", "is still to come"),
            ("0s", "leaves no time to report on"),
        ],
    )
    def test_refuses_a_beginning_that_is_none(self, since: str, said: str) -> None:
        result = self.run("report", "--since", since)

        assert 2 == result.exit_code
        assert said in result.output

    def test_says_where_it_cannot_write(self, home: Path) -> None:
        self.publish(home)
        result = self.run("report", "--output", "nowhere/out.html")

        assert 2 == result.exit_code
        assert "nowhere/out.html cannot be written: No such file or directory." in result.output

    def test_keeps_what_is_older_than_a_minute(self, home: Path) -> None:
        self.publish(home)
        result = self.run("keep")

        assert (0, "nothing has happened that is not kept yet.\n") == (
            result.exit_code,
            result.output,
        )
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert [] == Kept(instance).periods()

    def test_a_workspace_that_was_just_started_has_broken_no_promise(self, tmp_path: Path) -> None:
        folder = tmp_path / "new"
        folder.mkdir()
        with day_of_a_command(folder) as day:
            day.until("12:02:00")
            with day.stopped():
                result = self.run("report", "--since", "1h")
            html = (folder / "freshline-report.html").read_text(encoding="utf-8")

        assert "freshline-report.html: 1 h, 1 target, 0 breaches.\n" == result.output
        assert "mart/mart_gh_join is judged from 12:10:00 UTC on: its policy was new" in html
