"""The exporter: what it shows, what that costs, and what it says while the database is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import httpx
import pytest
from conftest import write_instance
from devstack_fixtures import Launcher, PostgresServer
from freshline.check.runtime import RuntimeFindings, runtime_findings
from freshline.cli.instance import open_instance
from freshline.contract import Export
from freshline.errors import CommandError, InstanceError
from freshline.history.tally import Work
from freshline.lookout import Lookout
from freshline.metrics import Exporter, MetricsServer
from freshline.metrics.families import families_of, families_without_outlook
from freshline.metrics.page import write_page
from freshline.model import Phase, TargetStatus
from freshline.policy import MaxLag
from freshline.sensor.outlook import Outlook
from outlooks import NOW, blame, contract, outlook_of, publish, report, target
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NAMES = Path(__file__).with_name("metrics.txt")
STOPPED = contract("core", Export(key="core/x", policy=MaxLag(5)))
BROKEN = contract("marts", Export(key="mart/late", deps=("core/gone",), policy=MaxLag(5)))

FULL = outlook_of(
    target("core/x", location="core"),
    target("mart/late", TargetStatus.LATE, blame("core/x", "core", Phase.FAILING)),
    target("mart/new", TargetStatus.BLOCKED, deadline=None),
    contracts=[STOPPED, BROKEN],
    seen={"core": NOW - 400.0, "marts": NOW - 20.0},
    problems={"old": "it cannot be read"},
    work={"core": Work(3, {"succeeded": 2, "failed": 1}, 12.5)},
)


def page_of(outlook: Outlook = FULL) -> str:
    """Return the page for an outlook, without what the process itself takes."""
    findings = runtime_findings(outlook.contracts)
    page = write_page(families_of(outlook, findings, NOW + 5.0), OPENMETRICS)
    lines = page.text.decode().splitlines()
    return "\n".join(line for line in lines if "process_" not in line)


def figures(page: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the values on a page, by name and labels. A parser of Prometheus' own reads them."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(page + "\n"):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def figure(name: str, labels: Mapping[str, str], outlook: Outlook = FULL) -> float | None:
    return figures(page_of(outlook)).get(name, {}).get(tuple(sorted(labels.items())))


class TestNames:
    def test_names_labels_and_units_are_those_of_the_snapshot(self) -> None:
        """They are an interface: the changelog names each change of the file."""
        text = page_of()
        described = [line for line in text.splitlines() if line.startswith(("# TYPE", "# UNIT"))]
        used = sorted(
            f"{sample.name}{{{','.join(sorted(sample.labels))}}}"
            for family in text_string_to_metric_families(text + "\n")
            for sample in family.samples
        )
        found = [*described, *dict.fromkeys(used)]

        assert NAMES.read_text(encoding="utf-8").splitlines() == found

    def test_the_documentation_names_each_of_them(self) -> None:
        docs = Path(__file__).parents[2] / "docs" / "monitoring.md"
        names = {family.name for family in text_string_to_metric_families(page_of() + "\n")}
        text = docs.read_text(encoding="utf-8")

        assert set() == {name for name in names if f"`{name}" not in text}


class TestFigures:
    LATE: Mapping[str, str] = {"target": "mart/late", "location": "marts"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("freshline_data_time_seconds", NOW - 200.0),
            ("freshline_deadline_seconds", NOW - 30.0),
            ("freshline_maximum_lag_seconds", 300.0),
            ("freshline_shortest_lag_seconds", 120.0),
        ],
    )
    def test_a_target_has_times_and_no_ages(self, name: str, value: float) -> None:
        assert value == figure(name, self.LATE)

    def test_what_is_not_known_is_not_there(self) -> None:
        new = {"target": "mart/new", "location": "marts"}

        assert figure("freshline_data_time_seconds", new) is None
        assert figure("freshline_deadline_seconds", new) is None
        assert 300.0 == figure("freshline_maximum_lag_seconds", new)

    def test_a_status_is_1_and_the_others_are_0(self) -> None:
        found = {
            status.value: figure("freshline_target_status", {**self.LATE, "status": status.value})
            for status in TargetStatus
        }

        assert {"fresh": 0, "late": 1, "infeasible": 0, "blocked": 0, "paused": 0} == found

    def test_what_holds_a_target_up_is_an_asset_with_its_own_location(self) -> None:
        labels = {"target": "mart/late", "location": "core", "asset": "core/x", "phase": "failing"}

        assert 1.0 == figure("freshline_held_up_by", labels)

    def test_a_location_has_the_time_and_the_age_of_its_last_tick(self) -> None:
        core = {"location": "core"}

        assert NOW - 400.0 == figure("freshline_location_last_tick_seconds", core)
        assert 405.0 == figure("freshline_location_last_tick_age_seconds", core)
        assert [1.0, 0.0] == [
            figure("freshline_location_silent", {"location": name}) for name in ("core", "marts")
        ]

    def test_counters_stand_at_zero_where_nothing_was_run(self) -> None:
        marts = {"location": "marts"}

        assert 3.0 == figure("freshline_requests_total", {"location": "core"})
        assert 1.0 == figure("freshline_runs_total", {"location": "core", "result": "failed"})
        assert 12.5 == figure("freshline_work_seconds_total", {"location": "core"})
        assert 0.0 == figure("freshline_requests_total", marts)
        assert 0.0 == figure("freshline_runs_total", {**marts, "result": "canceled"})

    def test_findings_are_counted_by_check(self) -> None:
        found = figures(page_of())["freshline_contract_findings"]

        assert {
            ("core", "imports_satisfied"): 0.0,
            ("marts", "imports_satisfied"): 1.0,
            ("marts", "readable"): 0.0,
            ("old", "readable"): 1.0,
        }.items() <= {
            (dict(labels)["location"], dict(labels)["check"]): value
            for labels, value in found.items()
        }.items()

    def test_without_an_outlook_there_is_no_figure(self) -> None:
        page = write_page(families_without_outlook(), OPENMETRICS).text.decode().rstrip("\n")
        names = {name for name in figures(page) if not name.startswith("process_")}

        assert {"freshline_up", "freshline_build_info"} == names
        assert 0.0 == figures(page)["freshline_up"][()]

    def test_a_reader_that_knows_no_openmetrics_gets_the_older_format(self) -> None:
        page = write_page(families_without_outlook(), "text/plain")

        assert page.content_type.startswith("text/plain; version=0.0.4")
        assert b"freshline_up 0.0\n" in page.text
        assert b"# EOF" not in page.text


class Eyes(Lookout):
    """A lookout that counts its looks, and sees what the test wants."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        @contextmanager
        def opened() -> Iterator[dg.DagsterInstance]:
            yield instance

        super().__init__(opened)
        self.looks = 0
        self.error: Exception | None = None
        self.may_look = threading.Event()
        self.may_look.set()

    def look(self, now: float) -> Outlook:
        self.looks += 1
        self.may_look.wait(30)
        if self.error:
            raise self.error
        return super().look(now)


@pytest.fixture
def eyes(postgres: dg.DagsterInstance) -> Eyes:
    publish(postgres, contract("core", Export(key="core/x", policy=MaxLag(5))))
    report(postgres, "core/x", ago=60)
    return Eyes(postgres)


def names_of(families: list[Metric]) -> set[str]:
    return {family.name for family in families}


def is_up(families: list[Metric]) -> bool:
    return (
        next(family for family in families if family.name == "freshline_up").samples[0].value == 1
    )


class TestExporter:
    def test_shows_what_the_instance_knows(self, eyes: Eyes) -> None:
        families = {it.name: it for it in Exporter(eyes, print).families()}

        (sample,) = families["freshline_data_time_seconds"].samples
        assert {"target": "core/x", "location": "core"} == sample.labels
        assert sample.value == pytest.approx(time.time() - 60, abs=30)
        assert is_up(list(families.values()))

    def test_many_scrapes_at_a_time_are_one_look(self, eyes: Eyes) -> None:
        exporter = Exporter(eyes, print)
        eyes.may_look.clear()
        found: list[bool] = []
        threads = [
            threading.Thread(target=lambda: found.append(is_up(exporter.families())))
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        eyes.may_look.set()
        for thread in threads:
            thread.join()
        exporter.families()

        assert [True] * 20 == found
        assert 1 == eyes.looks

    def test_shows_nothing_while_the_database_is_away_and_looks_anew_when_it_is_back(
        self, eyes: Eyes
    ) -> None:
        said: list[str] = []
        exporter = Exporter(eyes, said.append, fresh=0.0)
        before = exporter.families()
        eyes.error = InstanceError("connection refused")
        away = [exporter.families() for _ in range(2)]
        eyes.error = None
        back = exporter.families()

        assert "freshline_data_time_seconds" in names_of(before)
        assert [{"freshline_up", "freshline_build"}] * 2 == [names_of(it) for it in away]
        assert "freshline_data_time_seconds" in names_of(back)
        assert [
            "freshline_up is 0: connection refused",
            "the instance answers again",
        ] == said

    def test_does_not_wait_for_ever_for_a_database_that_hangs(
        self, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.metrics.exporter._PATIENCE", 0.2)
        exporter = Exporter(eyes, print)
        eyes.may_look.clear()
        families = exporter.families()
        eyes.may_look.set()

        assert not is_up(families)
        assert 1 == eyes.looks

    def test_a_defect_of_its_own_is_no_matter_of_the_database(self, eyes: Eyes) -> None:
        eyes.error = ZeroDivisionError("a defect")

        with pytest.raises(ZeroDivisionError, match="a defect"):
            Exporter(eyes, print).families()

    def test_contracts_are_judged_again_only_when_that_may_matter(
        self, eyes: Eyes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judged: list[Outlook] = []

        def judge(outlook: Outlook) -> dict[str, RuntimeFindings]:
            judged.append(outlook)
            return {}

        monkeypatch.setattr("freshline.metrics.exporter.contract_findings", judge)
        exporter = Exporter(eyes, print, fresh=0.0)
        for _ in range(3):
            exporter.families()

        assert 1 == len(judged)


def test_a_lookout_has_a_new_observer_after_the_storage_has_failed(
    postgres: dg.DagsterInstance,
) -> None:
    opened: list[dg.DagsterInstance] = []

    @contextmanager
    def open_instance() -> Iterator[dg.DagsterInstance]:
        opened.append(postgres)
        yield postgres

    lookout = Lookout(open_instance)
    lookout.look(time.time())
    lookout.look(time.time())
    with pytest.raises(InstanceError, match="gone"), lookout.asking():
        raise OSError("gone\nand more that nobody needs")
    lookout.look(time.time())

    assert 2 == len(opened)


def test_a_real_database_may_go_and_come_back(
    devstack_launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    data = devstack_launcher.new_folder("postgres")
    server = devstack_launcher.serve("postgres", kind=PostgresServer, data=data)
    with server.new_database() as database:
        write_instance(tmp_path, database)
        with open_instance() as instance:
            publish(instance, contract("core", Export(key="core/x", policy=MaxLag(5))))
        exporter = Exporter(Lookout(open_instance), print, fresh=0.0)
        before = exporter.families()
        server.stop()
        away = exporter.families()
        again = devstack_launcher.serve("postgres", data=data, port=server.port)
        # A look that has begun before is still to end.
        answers = (exporter.families() for _ in range(20))
        back = next((it for it in answers if is_up(it)), away)
        again.stop()

    assert [True, False, True] == [is_up(it) for it in (before, away, back)]
    assert "freshline_target_status" in names_of(back)


class TestServer:
    @pytest.fixture
    def server(self, eyes: Eyes) -> Iterator[MetricsServer]:
        with MetricsServer("127.0.0.1", 0, Exporter(eyes, print)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server
            server.shutdown()

    def test_serves_openmetrics_to_prometheus(self, server: MetricsServer) -> None:
        status, kind, text = get(server.url, accept=OPENMETRICS)

        assert (200, "application/openmetrics-text") == (status, kind.partition(";")[0])
        assert "freshline_data_time_seconds" in figures(text.rstrip("\n"))

    def test_the_index_leads_to_the_metrics(self, server: MetricsServer) -> None:
        assert 'href="/metrics"' in get(server.url.removesuffix("metrics"))[2]

    def test_there_is_nothing_else(self, server: MetricsServer) -> None:
        assert 404 == get(f"{server.url}/more")[0]

    def test_a_defect_is_an_error_of_the_server(self, server: MetricsServer, eyes: Eyes) -> None:
        eyes.error = ZeroDivisionError("a defect")

        assert 500 == get(server.url)[0]

    def test_a_port_that_is_taken_is_refused(self, server: MetricsServer) -> None:
        port = server.server_address[1]

        with pytest.raises(CommandError, match=rf"cannot listen on 127.0.0.1 port {port}: "):
            MetricsServer("127.0.0.1", int(port), server.exporter)


def get(url: str, accept: str = "*/*") -> tuple[int, str, str]:
    """Return the status, the type and the text of an answer."""
    answer = httpx.get(url, headers={"Accept": accept}, timeout=30)
    return answer.status_code, answer.headers["Content-Type"], answer.text
