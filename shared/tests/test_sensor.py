"""What a location's sensor requests and reports, tick by tick."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import pytest
from event_logs import broken, plain
from freshline.contract import (
    Contract,
    contract_asset_key,
    contract_materialization,
    read_contracts,
)
from freshline.model import HEARTBEAT
from freshline.names import PLANNED_TAG
from freshline.policy import max_lag
from freshline.sensor.cursor import Cursor
from freshline.sensor.outlook import Observer
from ticking import Workspace

MORNING = 1_800_000_000.0


@pytest.fixture
def workspace(memory: dg.DagsterInstance) -> Workspace:
    return Workspace(memory)


def root() -> dg.AssetsDefinition:
    return plain("root")


def mart(minutes: float = 5) -> dg.AssetsDefinition:
    @dg.asset(name="mart", deps=["root"], metadata=max_lag(minutes))
    def made() -> None: ...

    return made


def check_results(result: dg.SensorResult) -> list[tuple[str, bool]]:
    return [
        (event.check_name, event.passed)
        for event in result.asset_events
        if isinstance(event, dg.AssetCheckEvaluation)
    ]


def check_on(asset: str, name: str = "check", **options: Any) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, **options)
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return check


def checks_of(workspace: Workspace, location: str) -> set[str]:
    """Tick, run what is requested, and return the checks that have a run without their asset."""
    result = workspace.tick(location)
    workspace.run(location, result)
    return {
        key.to_user_string()
        for request in result.run_requests or ()
        for key in request.asset_check_keys or ()
        if key.asset_key not in (request.asset_selection or ())
    }


def evaluation(workspace: Workspace, asset: str, name: str) -> dg.AssetCheckEvaluation | None:
    """Return the last result of a check."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    storage: Any = workspace.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([key]).get(key)
    return record and record.evaluation


def has_current_verdict(workspace: Workspace, asset: str) -> bool:
    """Return whether the last result of `maximum_lag` came after the newest version.

    If it did not, Dagster's UI says that the check was not evaluated.
    """
    key = dg.AssetCheckKey(dg.AssetKey(asset), "maximum_lag")
    storage: Any = workspace.instance.event_log_storage
    record = storage.get_latest_asset_check_execution_by_key([key])[key]
    made = workspace.instance.get_latest_materialization_event(key.asset_key)
    assert made is not None
    return bool(record.event.timestamp > made.timestamp)


def report(workspace: Workspace, asset: str, **options: Any) -> None:
    """Make a version of an asset, outside every run."""
    workspace.instance.report_runless_asset_event(dg.AssetMaterialization(asset, **options))


def publications(result: dg.SensorResult) -> list[str]:
    """Return "contract" or "heartbeat" for each publication of a tick."""
    made = [event for event in result.asset_events if isinstance(event, dg.AssetMaterialization)]
    return ["contract" if "freshline/contract" in one.metadata else "heartbeat" for one in made]


class Clock:
    """Ticks of the location "all", some seconds after each other."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.monkeypatch = monkeypatch
        self.now = MORNING

    def tick(self, *, after: float) -> float | None:
        """Tick `after` seconds; return what the location has published then as its tick."""
        self.now += after
        self.monkeypatch.setattr("time.time", lambda: self.now)
        self.workspace.tick("all")
        return read_contracts(self.workspace.instance)["all"].tick


def ticks_seen(workspace: Workspace) -> Mapping[str, float]:
    """Return the ticks that another location plans with."""
    return Observer().look(workspace.instance, time.time()).snapshot.ticks


def published(result: dg.SensorResult) -> list[str]:
    return [
        event.asset_key.to_user_string()
        for event in result.asset_events
        if isinstance(event, dg.AssetMaterialization)
    ]


class TestAcrossLocations:
    def test_a_policy_requests_another_locations_source_and_then_its_own_asset(
        self, workspace: Workspace
    ) -> None:
        workspace.load("sources", root())
        workspace.load("marts", mart())
        requested = [
            (location, workspace.requested(location))
            for _ in range(3)
            for location in ("sources", "marts")
        ]

        assert [
            ("sources", []),
            ("marts", []),
            ("sources", ["root"]),
            ("marts", ["mart"]),
            ("sources", []),
            ("marts", []),
        ] == requested

    def test_an_asset_is_not_requested_while_its_dependency_is_unknown(
        self, workspace: Workspace
    ) -> None:
        workspace.load("marts", mart())
        result = workspace.tick("marts")

        assert [] == list(result.run_requests or ())
        assert result.skip_reason is not None

    def test_a_request_says_in_its_tags_why_it_exists(self, workspace: Workspace) -> None:
        workspace.load("sources", root())
        workspace.load("marts", mart())
        for location in ("sources", "marts"):
            workspace.tick(location)
        (request,) = workspace.tick("sources").run_requests or ()

        assert "mart" == request.tags["freshline/target"]
        assert request.tags["freshline/plan"]
        planned = datetime.fromisoformat(request.tags[PLANNED_TAG]).timestamp()
        assert time.time() - 60 < planned <= time.time()
        assert "for mart: first version" == request.tags["freshline"]

    def test_the_reason_of_a_request_stays_true_when_it_is_read_later(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root(), mart())
        for _ in range(3):
            workspace.requested("all")
        now = time.time() + 299
        monkeypatch.setattr("time.time", lambda: now)
        (request,) = workspace.tick("all").run_requests or ()

        # As `clock` writes it: with its date if the day of the run is another one.
        due = r"(\d\d:\d\d:\d\d|\w{3} \d+ \w{3}( \d{4})? \d\d:\d\d) UTC"
        assert re.fullmatch(f"for mart, due {due}: latest start", request.tags["freshline"])

    def test_the_reason_is_the_first_tag_that_dagsters_list_of_runs_shows(
        self, workspace: Workspace
    ) -> None:
        workspace.load("all", root(), mart())
        workspace.tick("all")
        (request,) = workspace.tick("all").run_requests or ()

        # It sorts them, and leaves out those whose names begin with dagster/.
        assert "freshline" == min(tag for tag in request.tags if not tag.startswith("dagster/"))

    def test_an_idle_tick_names_the_next_asset_and_when_it_starts(
        self, workspace: Workspace
    ) -> None:
        workspace.load("sources", root())
        workspace.load("marts", mart())
        for location in ("sources", "marts") * 2:
            workspace.requested(location)
        message = workspace.tick("sources").skip_reason

        assert message is not None
        assert "next: root in" in str(message.skip_message)
        assert "for mart" in str(message.skip_message)


class TestNothingTwice:
    def test_a_request_has_the_same_run_key_while_the_state_is_the_same(
        self, workspace: Workspace
    ) -> None:
        workspace.load("all", root(), mart())
        first = workspace.tick("all")
        again = workspace.tick("all")
        workspace.load("all", root(), mart())
        reloaded = workspace.tick("all")

        assert 1 == len({_only_key(result) for result in (first, again, reloaded)})

    def test_an_asset_is_not_requested_while_its_run_is_queued(self, workspace: Workspace) -> None:
        workspace.load("all", root(), mart())
        (request,) = workspace.tick("all").run_requests or ()
        _create(workspace, "all", request)

        assert [] == list(workspace.tick("all").run_requests or ())

    @pytest.mark.parametrize("fate", ["deleted", "failed"])
    def test_a_request_has_another_run_key_when_its_run_failed_or_was_deleted(
        self, workspace: Workspace, fate: str
    ) -> None:
        workspace.load("all", root(), mart())
        (request,) = workspace.tick("all").run_requests or ()
        run = _create(workspace, "all", request)
        workspace.tick("all")
        if fate == "deleted":
            workspace.instance.delete_run(run.run_id)
        else:
            workspace.instance.report_run_failed(run)
        later = _keys_over_an_hour(workspace, "all")

        assert later
        assert request.run_key not in later

    def test_a_request_has_another_run_key_when_its_asset_was_wiped(
        self, workspace: Workspace
    ) -> None:
        workspace.load("all", root(), mart())
        for _ in range(3):
            workspace.requested("all")
        before = set(workspace.run_keys)
        workspace.instance.wipe_assets([dg.AssetKey("root"), dg.AssetKey("mart")])
        (request,) = workspace.tick("all").run_requests or ()

        assert request.run_key not in before

    def test_a_tick_writes_nothing_when_nothing_changed(self, workspace: Workspace) -> None:
        workspace.load("all", root(), mart())
        for _ in range(4):
            workspace.requested("all")
        before = workspace.cursors["all"]
        quiet = workspace.tick("all")

        assert ([], before) == (quiet.asset_events, quiet.cursor)


class TestAwaits:
    def test_the_inputs_of_what_is_to_be_requested_soon_are_kept(
        self, workspace: Workspace
    ) -> None:
        workspace.load("land", root())
        workspace.load("marts", mart())
        workspace.tick("land")
        workspace.tick("marts")
        workspace.tick("land")
        waiting = workspace.tick("marts")

        assert [] == list(waiting.run_requests or ())
        assert ["root"] == Cursor.read(waiting.cursor).awaits

    def test_what_nothing_waits_for_is_not(self, workspace: Workspace) -> None:
        workspace.load("land", root())
        workspace.load("marts", mart())
        for _ in range(4):
            workspace.requested("land")
            workspace.requested("marts")

        assert [] == Cursor.read(workspace.cursors["land"]).awaits
        assert [] == Cursor.read(workspace.cursors["marts"]).awaits


class TestContract:
    def test_a_contract_is_published_when_it_has_changed(self, workspace: Workspace) -> None:
        workspace.load("all", root())
        first, second = workspace.tick("all"), workspace.tick("all")
        workspace.load("all", root())
        reloaded = workspace.tick("all")
        workspace.load("all", root(), mart())
        changed = workspace.tick("all")

        key = contract_asset_key("all").to_user_string()
        assert [[key], [], [], [key]] == [
            published(result) for result in (first, second, reloaded, changed)
        ]

    def test_a_heartbeat_is_published_while_the_contract_is_the_same(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        published_at_ticks = []
        for halves in range(5):
            now = MORNING + halves * HEARTBEAT / 2
            monkeypatch.setattr("time.time", lambda now=now: now)
            published_at_ticks.append(publications(workspace.tick("all")))

        assert [["contract"], [], ["heartbeat"], [], ["heartbeat"]] == published_at_ticks

    def test_a_contract_is_published_again_once_a_day(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        published_at_ticks = []
        for seconds in (0, 60, 86_399, 86_400, 86_460):
            monkeypatch.setattr("time.time", lambda now=MORNING + seconds: now)
            published_at_ticks.append(publications(workspace.tick("all")))

        assert [
            ["contract"],
            ["heartbeat"],
            ["heartbeat"],
            ["contract"],
            ["heartbeat"],
        ] == published_at_ticks

    def test_a_heartbeat_is_not_delayed_when_the_clock_is_behind_the_daemons(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        published_at_ticks = []
        for seconds in (0, HEARTBEAT, 2 * HEARTBEAT):
            monkeypatch.setattr("time.time", lambda now=MORNING + seconds: now)
            result = workspace.evaluate("all")
            monkeypatch.setattr("time.time", lambda now=MORNING + seconds: now + 600)
            workspace.record("all", result)
            published_at_ticks.append(publications(result))

        assert [["contract"], ["heartbeat"], ["heartbeat"]] == published_at_ticks

    def test_ticks_that_are_really_longer_are_published_after_ten_of_them(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        clock = Clock(workspace, monkeypatch)
        said = [clock.tick(after=30) for _ in range(13)]

        assert [None] * 10 + [30.0] * 3 == said
        assert {"all": 30.0} == ticks_seen(workspace)

    def test_every_location_plans_with_the_same_ticks(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        clock = Clock(workspace, monkeypatch)
        for _ in range(11):
            clock.tick(after=30)
        for seconds in (28, 33, 31):
            clock.tick(after=seconds)

            assert {"all": 30.0} == ticks_seen(workspace)

        assert "ticks are 30 s apart, not 5 s" in str(workspace.tick("all").skip_reason)

    @pytest.mark.parametrize("pause", [100, 100_000], ids=["sleep", "night"])
    def test_a_pause_is_no_tick(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, pause: float
    ) -> None:
        workspace.load("all", root())
        clock = Clock(workspace, monkeypatch)
        for seconds in [5] * 10 + [pause] + [5] * 10:
            clock.tick(after=seconds)

            assert {} == ticks_seen(workspace)

    def test_ticks_that_are_as_declared_again_are_published_at_once(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        clock = Clock(workspace, monkeypatch)
        for _ in range(11):
            clock.tick(after=30)
        said = [clock.tick(after=5) for _ in range(10)]

        assert [30.0] * 8 + [None] * 2 == said
        assert {} == ticks_seen(workspace)

    def test_a_location_that_is_reloaded_keeps_its_ticks_until_it_has_measured_them(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root())
        clock = Clock(workspace, monkeypatch)
        for _ in range(11):
            clock.tick(after=30)
        workspace.load("all", root(), plain("another"))
        said = [clock.tick(after=5) for _ in range(11)]

        assert [30.0] * 10 + [None] == said

    @pytest.mark.parametrize("damage", ["not JSON", '{"schema_version": 1, "location": 7}'])
    def test_a_contract_is_named_and_left_out_when_it_cannot_be_read(
        self, workspace: Workspace, damage: str
    ) -> None:
        workspace.load("all", root(), mart())
        workspace.instance.report_runless_asset_event(
            dg.AssetMaterialization(
                contract_asset_key("broken_team"), metadata={"freshline/contract": damage}
            )
        )
        workspace.requested("all")
        workspace.requested("all")
        result = workspace.tick("all")

        assert result.skip_reason is not None
        assert "going on without broken_team" in str(result.skip_reason.skip_message)

    def test_a_contract_counts_when_its_schema_is_newer(self, workspace: Workspace) -> None:
        newer = {
            "schema_version": 99,
            "location": "future",
            "exports": [{"key": "root", "colour": "blue"}],
            "hopes": ["peace"],
        }
        workspace.instance.report_runless_asset_event(
            contract_materialization(Contract.from_document(newer))
        )
        workspace.load("marts", mart())
        workspace.instance.report_runless_asset_event(dg.AssetMaterialization("root"))

        assert ["mart"] == workspace.requested("marts")


class TestLagCheck:
    def test_a_targets_status_is_recorded_when_it_changes(self, workspace: Workspace) -> None:
        workspace.load("all", root(), mart())
        recorded = []
        for _ in range(5):
            result = workspace.tick("all")
            workspace.run("all", result)
            recorded += check_results(result)

        assert [("maximum_lag", False), ("maximum_lag", True)] == recorded

    def test_each_version_of_a_target_gets_a_result_that_dagster_takes_as_its_own(
        self, workspace: Workspace
    ) -> None:
        workspace.load("all", root(), mart())
        workspace.requested("all")
        made = has_current_verdict(workspace, "mart")
        first = check_results(workspace.tick("all"))
        judged = has_current_verdict(workspace, "mart")
        quiet = check_results(workspace.tick("all"))
        job = workspace.job("all").get_subset(
            asset_selection={dg.AssetKey("mart")}, asset_check_selection=set()
        )
        job.execute_in_process(instance=workspace.instance)
        made_again = has_current_verdict(workspace, "mart")
        second = check_results(workspace.tick("all"))

        assert (False, True, False) == (made, judged, made_again)
        assert ([("maximum_lag", True)], [], [("maximum_lag", True)]) == (first, quiet, second)
        assert has_current_verdict(workspace, "mart")

    def test_a_targets_status_is_not_recorded_again_after_a_restart(
        self, workspace: Workspace
    ) -> None:
        workspace.load("all", root(), mart())
        for _ in range(3):
            workspace.requested("all")
        workspace.load("all", root(), mart())

        assert [] == check_results(workspace.tick("all"))

    def test_a_targets_status_is_the_latest_result_of_its_check(self, workspace: Workspace) -> None:
        workspace.load("all", root(), mart())
        workspace.tick("all")
        key = dg.AssetCheckKey(dg.AssetKey("mart"), "maximum_lag")
        storage: Any = workspace.instance.event_log_storage
        record = storage.get_latest_asset_check_execution_by_key([key])[key]
        evaluation = record.event.dagster_event.asset_check_evaluation_data

        assert not evaluation.passed
        assert dg.AssetCheckSeverity.ERROR == evaluation.severity
        assert "late" == evaluation.metadata["freshline/status"].value
        assert "all" == evaluation.metadata["freshline/held_up_location"].value

    def test_a_blocked_target_names_the_failing_source_of_another_location(
        self, workspace: Workspace
    ) -> None:
        workspace.load("sources", broken("root"))
        workspace.load("marts", mart())
        for location in ("sources", "marts", "sources"):
            workspace.requested(location)
        result = workspace.tick("marts")
        (event,) = (it for it in result.asset_events if isinstance(it, dg.AssetCheckEvaluation))

        assert "blocked" == event.metadata["freshline/status"].value
        assert "sources" == event.metadata["freshline/held_up_location"].value
        assert "the source is closed" in str(event.metadata["freshline/held_up_by"].value)

    def test_a_tick_replaces_a_cursor_that_was_set_by_hand(self, workspace: Workspace) -> None:
        workspace.load("all", root(), mart())
        for cursor in ("rubbish", "[]", '{"targets": 3}', '{"__class__": "RunStatusSensorCursor"}'):
            workspace.cursors["all"] = cursor
            workspace.tick("all")

        assert {"mart"} == set(Cursor.read(workspace.cursors["all"]).targets)

    def test_people_can_read_the_cursor(self, workspace: Workspace) -> None:
        workspace.load("all", root(), mart(), asset_checks=[check_on("feed")])
        report(workspace, "feed", tags={"dagster/data_version": "a: 1"})
        for _ in range(3):
            workspace.requested("all")
        cursor = workspace.cursors["all"] or ""
        values = json.loads(cursor)
        kept = values.pop("__class__")

        # Of such a cursor, Dagster's UI shows all other values in one line.
        assert cursor.startswith('{"__class__"')
        assert {
            "about": "What is reported already; without it, all is reported again. "
            "To see it: View Raw."
        } == values
        assert ["checks", "targets"] == list(kept)
        assert {"feed:check": "a: 1"} == kept["checks"]
        assert re.fullmatch(r"fresh, version \d+, good until .* UTC", kept["targets"]["mart"])

    def test_the_cursor_of_an_older_release_is_read(self) -> None:
        kept = {"targets": {"mart": "fresh"}, "contracts": "as before", "awaits": ["root"]}
        cursor = Cursor.read(json.dumps({"about": "what is reported already"} | kept))

        assert Cursor({"mart": "fresh"}, "as before", {}, ["root"]) == cursor
        assert cursor == Cursor.read(cursor.to_text())


class TestChecks:
    def test_a_request_includes_the_checks_of_its_assets_but_not_freshlines(
        self, workspace: Workspace
    ) -> None:
        @dg.asset_check(asset="root")
        def has_rows() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        @dg.asset_check(asset="mart")
        def of_another_asset() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        workspace.load("all", root(), mart(), asset_checks=[has_rows, of_another_asset])
        requests = [
            request
            for _ in range(3)
            for result in [workspace.tick("all")]
            for request in result.run_requests or ()
            if workspace.run("all", result) is None
        ]
        checks = {key.name for request in requests for key in request.asset_check_keys or ()}

        assert {"has_rows", "of_another_asset"} == checks

    def test_a_check_that_comes_with_its_asset_is_requested_with_it(
        self, workspace: Workspace
    ) -> None:
        # As dbt tests do.
        @dg.asset(metadata=max_lag(5), check_specs=[dg.AssetCheckSpec("positive", asset="mart")])
        def mart() -> dg.MaterializeResult:
            passed = dg.AssetCheckResult(passed=True, check_name="positive")
            return dg.MaterializeResult(check_results=[passed])

        workspace.load("all", mart)
        (request,) = workspace.tick("all").run_requests or ()

        assert ["positive"] == [key.name for key in request.asset_check_keys or ()]

    @pytest.mark.parametrize(("made", "count"), [(True, 0), (False, 2)])
    def test_checks_that_run_only_together_are_requested_with_all_their_assets(
        self, workspace: Workspace, made: bool, count: int
    ) -> None:
        @dg.multi_asset_check(
            specs=[dg.AssetCheckSpec("sums", asset=key) for key in ("root", "mart")]
        )
        def compare(): ...

        workspace.load("all", root(), mart(), asset_checks=[compare])
        if made:  # so that the mart is due alone
            workspace.instance.report_runless_asset_event(dg.AssetMaterialization("root"))
        (request,) = workspace.tick("all").run_requests or ()
        checks = set(request.asset_check_keys or ())

        assert count == len(checks)
        # Dagster refuses a part of them.
        workspace.job("all").get_subset(
            asset_selection=set(request.asset_selection or ()), asset_check_selection=checks
        )

    def test_the_contracts_are_checked_once_after_a_change(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.sensor.grace._SETTLING", 0.0)
        workspace.load("marts", mart())
        alone = check_results(workspace.tick("marts"))
        quiet = check_results(workspace.tick("marts"))
        workspace.load("sources", root())
        workspace.tick("sources")
        together = [it for it in check_results(workspace.tick("marts")) if it[0] != "maximum_lag"]

        assert [("imports_satisfied", False), ("policies_feasible", True)] == alone
        assert [] == quiet
        assert [("imports_satisfied", True), ("policies_feasible", True)] == together

    def test_the_check_of_the_imports_shows_who_makes_them_and_whose_they_are(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.sensor.grace._SETTLING", 0.0)

        @dg.asset(owners=["team:landing", "a@example.com"])
        def root() -> None: ...

        workspace.load("sources", root)
        workspace.load("marts", mart(), plain("other", "nowhere"))
        workspace.tick("sources")
        (found,) = (
            event
            for event in workspace.tick("marts").asset_events
            if isinstance(event, dg.AssetCheckEvaluation)
            and event.check_name == "imports_satisfied"
        )
        table: Any = found.metadata["freshline/needs"]

        columns = ("asset", "made by", "owners", "read by")
        assert [
            ("nowhere", "nobody who publishes", "", "other"),
            ("root", "sources", "a@example.com, landing", "mart"),
        ] == [tuple(record.data[name] for name in columns) for record in table.records]

    def test_the_contracts_are_checked_again_once_everything_was_measured(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @dg.asset(name="root", metadata={"freshline/expected_seconds": 3_600})
        def feared() -> None: ...

        monkeypatch.setattr("freshline.sensor.grace._SETTLING", 0.0)
        workspace.load("all", feared, mart())

        def feasible(result: dg.SensorResult) -> list[bool]:
            return [passed for name, passed in check_results(result) if name == "policies_feasible"]

        first = workspace.tick("all")
        estimated = [feasible(first), feasible(workspace.tick("all"))]
        workspace.run("all", first)
        measured = [feasible(workspace.tick("all")) for _ in range(3)]

        assert [[False], []] == estimated
        assert [[True], [], []] == measured


class TestChecksOnOthersAssets:
    """`marts` has checks on `root`, which another location makes, or somebody else."""

    def test_they_are_requested_once_for_each_new_version(self, workspace: Workspace) -> None:
        workspace.load("sources", root())
        workspace.load("marts", mart(), asset_checks=[check_on("root", "rows"), check_on("mart")])
        first = [checks_of(workspace, "marts")]
        for location in ("sources", "sources", "marts"):
            workspace.requested(location)
        evaluated = evaluation(workspace, "root", "rows")
        (version,) = workspace.instance.fetch_materializations(dg.AssetKey("root"), 1).records
        quiet = [checks_of(workspace, "marts") for _ in range(2)]
        report(workspace, "root")
        again = [checks_of(workspace, "marts") for _ in range(2)]

        assert [set()] == first
        assert evaluated is not None
        assert evaluated.target_materialization_data is not None
        assert version.storage_id == evaluated.target_materialization_data.storage_id
        assert [set(), set()] == quiet
        assert [{"root:rows"}, set()] == again

    def test_they_need_no_policy_and_no_contract_of_the_maker(self, workspace: Workspace) -> None:
        workspace.load("marts", asset_checks=[check_on("root")])
        report(workspace, "root")
        (request,) = workspace.tick("marts").run_requests or ()

        assert [] == request.asset_selection
        assert "for its checks: new version of root" == request.tags["freshline"]

    def test_one_on_an_external_asset_of_the_location_is_requested(
        self, workspace: Workspace
    ) -> None:
        workspace.load("marts", dg.AssetSpec("feed"), asset_checks=[check_on("feed")])
        report(workspace, "feed")

        assert {"feed:check"} == checks_of(workspace, "marts")

    @pytest.mark.parametrize("by_hand", [True, False], ids=["reported", "run"])
    def test_a_version_that_was_checked_before_is_not_checked_again(
        self, workspace: Workspace, by_hand: bool
    ) -> None:
        report(workspace, "root")
        if by_hand:
            workspace.instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey("root"), check_name="check", passed=True, metadata={}
                )
            )
        else:
            job = dg.define_asset_job("job", dg.AssetSelection.all_asset_checks())
            before = dg.Definitions(asset_checks=[check_on("root")], jobs=[job])
            before.resolve_job_def("job").execute_in_process(instance=workspace.instance)
        workspace.load("marts", asset_checks=[check_on("root")])
        old = checks_of(workspace, "marts")
        report(workspace, "root")

        assert set() == old
        assert {"root:check"} == checks_of(workspace, "marts")

    def test_they_wait_for_a_run_of_theirs_that_is_queued(self, workspace: Workspace) -> None:
        workspace.load("marts", asset_checks=[check_on("root")])
        report(workspace, "root")
        (request,) = workspace.tick("marts").run_requests or ()
        run = _create(workspace, "marts", request)
        report(workspace, "root")
        while_queued = workspace.tick("marts").run_requests
        workspace.instance.report_run_failed(run)

        assert not while_queued
        assert {"root:check"} == checks_of(workspace, "marts")

    def test_one_that_fails_to_run_is_not_repeated_for_the_same_version(
        self, workspace: Workspace
    ) -> None:
        @dg.asset_check(asset="root")
        def check() -> dg.AssetCheckResult:
            raise RuntimeError("the warehouse is closed")

        workspace.load("marts", asset_checks=[check])
        report(workspace, "root")

        assert [{"root:check"}, set(), set()] == [checks_of(workspace, "marts") for _ in range(3)]

    def test_a_request_has_the_same_run_key_when_the_cursor_is_lost(
        self, workspace: Workspace
    ) -> None:
        workspace.load("marts", asset_checks=[check_on("root")])
        report(workspace, "root")
        first = workspace.tick("marts")
        workspace.cursors.clear()

        assert _only_key(first) == _only_key(workspace.tick("marts"))

    def test_one_that_dagster_refuses_stops_no_other(self, workspace: Workspace) -> None:
        @dg.asset_check(asset="root", config_schema={"floor": int})
        def needs_config() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        workspace.load("marts", asset_checks=[needs_config, check_on("root", "rows")])
        report(workspace, "root")
        requested = checks_of(workspace, "marts")
        idle = workspace.tick("marts").skip_reason

        assert {"root:rows"} == requested
        assert idle is not None
        assert "root:needs_config does not run: " in str(idle.skip_message)
        assert "floor" in str(idle.skip_message)

    def test_those_that_run_only_together_wait_for_all_their_assets(
        self, workspace: Workspace
    ) -> None:
        specs = [dg.AssetCheckSpec("sums", asset=key) for key in ("root", "other", "mart")]

        @dg.multi_asset_check(specs=specs)
        def compare() -> Any:
            for spec in specs:
                yield dg.AssetCheckResult(passed=True, asset_key=spec.asset_key)

        workspace.load("marts", plain("mart"), asset_checks=[compare])
        requested = []
        for key in ("root", "other", "mart", "other"):
            report(workspace, key)
            requested.append(checks_of(workspace, "marts"))
        every = {"root:sums", "other:sums", "mart:sums"}

        assert [set(), set(), every, every] == requested

    def test_a_partition_of_an_asset_is_left_to_its_own_schedule(
        self, workspace: Workspace
    ) -> None:
        workspace.load("marts", asset_checks=[check_on("root")])
        report(workspace, "root", partition="2026-01-01")

        assert set() == checks_of(workspace, "marts")

    def test_one_with_an_automation_condition_is_left_to_dagster(
        self, workspace: Workspace
    ) -> None:
        eager = check_on("root", automation_condition=dg.AutomationCondition.eager())
        workspace.load("marts", asset_checks=[eager])
        report(workspace, "root")

        assert set() == checks_of(workspace, "marts")


class TestDataFromOutside:
    @pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
    @pytest.mark.filterwarnings("ignore:Property `OpDefinition.version`")  # by Dagster itself
    def test_a_source_is_observed_before_what_reads_it_and_then_checked(
        self, workspace: Workspace
    ) -> None:
        @dg.observable_source_asset
        def root() -> dg.DataVersion:
            return dg.DataVersion("1")

        workspace.load("sources", root, asset_checks=[check_on("root")])
        workspace.load("marts", mart())
        for location in ("sources", "marts"):
            workspace.tick(location)
        (request,) = workspace.tick("sources").run_requests or ()
        requested = [workspace.requested(location) for location in ("sources", "marts")]
        checked = [checks_of(workspace, "sources") for _ in range(2)]
        for data_version in ("1", "2"):
            seen = dg.AssetObservation("root", tags={"dagster/data_version": data_version})
            workspace.instance.report_runless_asset_event(seen)
            checked.append(checks_of(workspace, "sources"))

        assert [] == request.asset_check_keys
        assert [["root"], ["mart"]] == requested
        assert [{"root:check"}, set(), set(), {"root:check"}] == checked

    def test_a_feed_with_a_policy_is_reported_by_the_location_that_declares_it(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("freshline.sensor.grace._SETTLING", 0.0)
        workspace.load("marts", dg.AssetSpec("feed", metadata=max_lag(60)))
        results = [workspace.tick("marts") for _ in range(2)]
        report(workspace, "feed")
        results += [workspace.tick("marts") for _ in range(2)]
        lags = [it for result in results for it in check_results(result) if "lag" in it[0]]

        assert [("maximum_lag", False), ("maximum_lag", True)] == lags
        assert not any(result.run_requests for result in results)
        assert evaluation(workspace, "feed", "maximum_lag")


class TestViews:
    def test_a_view_is_made_once_and_its_checks_run_when_what_it_reads_has_changed(
        self, workspace: Workspace
    ) -> None:
        @dg.asset(name="mart", deps=["root"], metadata=max_lag(5) | {"freshline/view": True})
        def shown() -> None: ...

        workspace.load("sources", root())
        workspace.load("marts", shown, asset_checks=[check_on("mart")])
        for location in ("sources", "marts", "sources"):
            workspace.requested(location)
        first = workspace.requested("marts")
        quiet = checks_of(workspace, "marts")
        report(workspace, "root")

        assert (["mart"], set()) == (first, quiet)
        assert {"mart:check"} == checks_of(workspace, "marts")
        assert [] == workspace.requested("marts")


class TestStorageFailure:
    def test_a_tick_raises_the_storages_error_and_the_next_one_requests_everything(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace.load("all", root(), mart())

        def restarting(*_: Any, **__: Any) -> Any:
            raise ConnectionError("the database is restarting")

        with monkeypatch.context() as outage:
            outage.setattr(type(workspace.instance), "get_run_records", restarting)
            with pytest.raises(ConnectionError, match="the database is restarting"):
                workspace.tick("all")

        assert 1 == len(workspace.tick("all").run_requests or ())


def _only_key(result: dg.SensorResult) -> str | None:
    (request,) = result.run_requests or ()
    return request.run_key


def _create(workspace: Workspace, location: str, request: dg.RunRequest) -> dg.DagsterRun:
    """Create the run that the daemon creates for a request."""
    job = workspace._definitions[location].resolve_implicit_global_asset_job_def()
    part = job.get_subset(
        asset_selection=set(request.asset_selection or ()),
        asset_check_selection=set(request.asset_check_keys or ()),
    )
    return workspace.instance.create_run_for_job(
        part, asset_selection=set(request.asset_selection or ()), tags=request.tags
    )


def _keys_over_an_hour(workspace: Workspace, location: str) -> set[str | None]:
    """Return the run keys of an hour's requests: a failed run is not repeated at once."""
    import time

    real, keys = time.time, set[str | None]()
    for minutes in range(0, 60, 5):
        with pytest.MonkeyPatch.context() as later:
            later.setattr(time, "time", lambda: real() + minutes * 60)  # noqa: B023 - used in this round only
            result = workspace.tick(location)
        keys.update(request.run_key for request in result.run_requests or ())
    return keys
