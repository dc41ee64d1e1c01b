"""A location beside others that have not adopted freshline, and assets that cannot be requested."""

# No `from __future__ import annotations`: Dagster reads the annotations of `config`.

import json
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from event_logs import plain
from freshline import with_freshline
from freshline.check import Rule, Severity, Workspace, findings
from freshline.check.finding import Location
from freshline.contract import Contract
from freshline.contract.pauses import pause_event, read_pauses, resumption
from freshline.errors import ModeError
from freshline.model import Pause
from freshline.policy import max_lag
from test_sensor import check_results, mart, root
from ticking import Workspace as Ticking


class Since(dg.Config):
    since: str
    """No default: a run without config is refused."""


def in_need_of_config(key: str, **metadata: Any) -> dg.AssetsDefinition:
    @dg.asset(key=key.split("/"), metadata=metadata)
    def made(context: dg.AssetExecutionContext, config: Since) -> None:
        context.add_output_metadata({"since": config.since})

    return made


def target(name: str, dep: str, minutes: float = 5) -> dg.AssetsDefinition:
    key, deps = name.split("/"), [dep.split("/")]
    return dg.asset(key=key, deps=deps, metadata=max_lag(minutes))(lambda: None)


def message(result: dg.SensorResult) -> str:
    assert result.skip_reason
    return str(result.skip_reason.skip_message)


@pytest.fixture
def ticking(memory: dg.DagsterInstance) -> Ticking:
    return Ticking(memory)


class TestRefusedRuns:
    """What Dagster refuses must not stop what it does not refuse."""

    @pytest.mark.parametrize("kind", ["op", "graph", "resource", "multi-asset"])
    def test_an_asset_in_need_of_config_is_blocked_by_name(
        self, ticking: Ticking, kind: str
    ) -> None:
        ticking.load("elt", *_in_need(kind), plain("fine"), resources=_resources(kind))
        ticking.load("marts", target("on_needy", "needy"), target("on_fine", "fine"))
        ticking.tick("marts")

        assert ["fine"] == ticking.requested("elt")
        assert ["on_fine"] == ticking.requested("marts")
        contract = Contract.from_definitions(ticking.locations["elt"], "elt")
        why = contract.by_key["needy"].unlaunchable
        assert why
        assert why.startswith("Missing required config entry")
        assert "since" in why
        assert f"needy is never requested: Dagster refuses its run: {why}" in message(
            ticking.tick("marts")
        )

    def test_the_gate_finds_it_where_a_policy_needs_it(self) -> None:
        elt = dg.Definitions(
            assets=[in_need_of_config("elt/needy"), in_need_of_config("elt/unused")]
        )
        marts = dg.Definitions(assets=[target("mart/on_needy", "elt/needy")])
        contracts = [
            Contract.from_definitions(elt, "elt"),
            Contract.from_definitions(marts, "marts"),
        ]

        found = findings(Workspace([Location(it.location, it) for it in contracts]))

        assert [(Rule.UNLAUNCHABLE, "elt", "elt/needy")] == [
            (it.rule, it.location, it.key) for it in found
        ]
        assert (
            "`elt/needy` of `elt` cannot be requested, and `mart/on_needy` needs it"
            in found[0].message
        )
        assert ("elt", "marts") == found[0].concerns

    def test_config_that_the_asset_brings_along_is_used(self, ticking: Ticking) -> None:
        config = {"freshline/config": {"since": "2026-01-01"}}
        ticking.load("all", in_need_of_config("needy", **config), target("on_needy", "needy"))

        result = ticking.tick("all")
        ticking.run("all", result)

        (request,) = result.run_requests or ()
        assert {"ops": {"needy": {"config": {"since": "2026-01-01"}}}} == request.run_config
        event = ticking.instance.get_latest_materialization_event(dg.AssetKey("needy"))
        assert event
        assert event.asset_materialization
        assert "2026-01-01" == event.asset_materialization.metadata["since"].value

    def test_wrong_config_is_blocked_with_dagsters_reason(self, ticking: Ticking) -> None:
        wrong = {"freshline/config": {"until": "2026-01-01"}}
        ticking.load(
            "all", in_need_of_config("needy", **wrong), target("on_needy", "needy"), root(), mart()
        )

        assert ["mart", "root"] == sorted(ticking.requested("all"))
        assert "Received unexpected config entry" in message(ticking.tick("all"))

    def test_an_asset_runs_without_a_check_that_is_refused(self, ticking: Ticking) -> None:
        @dg.asset_check(asset="root")
        def needy_check(config: Since) -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=bool(config.since))

        @dg.asset_check(asset="root")
        def other_check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        ticking.load("all", root(), mart(), asset_checks=[needy_check, other_check])
        result = ticking.tick("all")
        ticking.run("all", result)

        (request,) = result.run_requests or ()
        names = [key.name for key in request.asset_check_keys or ()]
        assert (["mart", "root"], ["other_check"]) == (
            sorted(key.to_user_string() for key in request.asset_selection or ()),
            names,
        )
        assert "root:needy_check does not run: Missing required config" in message(
            ticking.tick("all")
        )

    def test_what_is_refused_only_at_the_tick_is_published(
        self, ticking: Ticking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Config is looked at when a location loads; Dagster has other reasons to refuse a run."""
        monkeypatch.setattr("freshline.contract.describe.unlaunchable_assets", lambda _: {})
        ticking.load("elt", in_need_of_config("needy"), plain("fine"))
        ticking.load("marts", target("on_needy", "needy"), target("on_fine", "fine"))
        ticking.tick("elt")
        ticking.tick("marts")

        assert ["fine"] == ticking.requested("elt")
        published = ticking.tick("elt").asset_events
        assert any("needy" in str(event) and "unlaunchable" in str(event) for event in published)
        assert "Dagster refuses its run" in message(ticking.tick("elt"))


def _in_need(kind: str) -> list[Any]:
    if kind == "op":
        return [in_need_of_config("needy")]
    if kind == "graph":

        @dg.op
        def read(config: Since) -> str:
            return config.since

        @dg.graph_asset(name="needy")
        def needy() -> Any:
            return read()

        return [needy]
    if kind == "resource":

        @dg.asset(required_resource_keys={"api"})
        def needy(context: dg.AssetExecutionContext) -> None: ...

        return [needy]

    @dg.multi_asset(specs=[dg.AssetSpec("needy"), dg.AssetSpec("twin")], name="both")
    def both(config: Since):  # type: ignore[no-untyped-def]
        yield dg.MaterializeResult(asset_key=config.since)

    return [both]


def _resources(kind: str) -> dict[str, Any]:
    if kind != "resource":
        return {}

    @dg.resource(config_schema={"since": str})
    def api(_: Any) -> str:
        return "api"

    return {"api": api}


class TestHalfAWorkspace:
    def load_marts(self, ticking: Ticking, *more: Any) -> None:
        ticking.load("marts", target("mart", "orders", minutes=30), *more)

    def test_what_another_location_makes_is_used_and_never_requested(
        self, ticking: Ticking
    ) -> None:
        self.load_marts(ticking)
        before = ticking.requested("marts")
        dg.materialize([plain("orders")], instance=ticking.instance)
        first, second = ticking.requested("marts"), ticking.requested("marts")
        dg.materialize([plain("orders")], instance=ticking.instance)

        assert ([], ["mart"], [], ["mart"]) == (before, first, second, ticking.requested("marts"))
        quiet = ticking.tick("marts")
        assert "mart: fresh" in message(quiet)
        assert "orders is never requested: what makes it is not under freshline" in message(quiet)

    def test_the_data_time_is_that_of_what_the_other_location_read(self, ticking: Ticking) -> None:
        self.load_marts(ticking)
        raw, orders = plain("raw"), plain("orders", "raw")
        dg.materialize([raw], instance=ticking.instance)
        read_at = time.time()
        dg.materialize([orders], instance=ticking.instance, selection=[orders])
        ticking.requested("marts")

        before = time.time()
        lag = _targets(ticking, "marts")["mart"].lag
        assert lag is not None
        assert lag >= before - read_at

    def test_what_a_location_under_freshline_made_before_is_not_taken_for_an_input(
        self, ticking: Ticking
    ) -> None:
        ticking.load("elt", plain("orders"))
        self.load_marts(ticking)
        ticking.tick("elt")
        ticking.tick("marts")
        assert ["orders"] == ticking.requested("elt")
        ticking.load("elt", plain("orders_v2"))
        for _ in range(2):
            ticking.tick("elt")

        blame = _targets(ticking, "marts")["mart"].blame
        assert blame
        assert "mart depends on orders, which elt no longer makes" in blame.message

    def test_an_external_definition_is_never_called_dangling(
        self, ticking: Ticking, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.load_marts(ticking, dg.AssetSpec("orders"))
        ticking.tick("marts")
        later = time.time() + 900
        monkeypatch.setattr("freshline.sensor.time.time", lambda: later)

        quiet = message(ticking.tick("marts"))

        assert "dangling" not in quiet
        assert "orders is never requested: marts declares it as made by somebody else" in quiet
        ticking.instance.report_runless_asset_event(dg.AssetMaterialization("orders"))
        assert ["mart"] == ticking.requested("marts")

    def test_the_gate_notes_who_has_to_start_it(self) -> None:
        elt = Contract.from_document({"location": "elt", "exports": [{"key": "elt/orders"}]})
        marts = Contract.from_definitions(
            dg.Definitions(assets=[target("mart/m", "elt/orders")]), "marts"
        )

        found = findings(Workspace([Location(it.location, it) for it in (elt, marts)]))

        assert [(Rule.NOT_REQUESTED, Severity.NOTE, "marts")] == [
            (it.rule, it.severity, it.location) for it in found
        ]
        assert (
            "`elt/orders` is never requested, and `mart/m` needs it: elt, which makes it, is not "
            "under freshline." == found[0].message
        )
        assert "outside" not in found[0].fix

    def test_the_gate_says_how_not_to_wait_for_what_nobody_reports(self) -> None:
        definitions = dg.Definitions(
            assets=[dg.AssetSpec("crm"), target("mart", "crm")],
        )
        found = findings(
            Workspace([Location("marts", Contract.from_definitions(definitions, "marts"))])
        )

        (note,) = [it for it in found if it.rule is Rule.NOT_REQUESTED]
        assert "declare it with `freshline/outside`" in note.fix


class TestWatchedPolicies:
    def reported(self, ticking: Ticking, location: str) -> dict[str, bool | None]:
        """Return the targets whose check a tick of `location` records, and whether they pass."""
        return {
            event.asset_key.to_user_string(): event.passed
            for event in ticking.tick(location).asset_events
            if isinstance(event, dg.AssetCheckEvaluation) and event.check_name == "maximum_lag"
        }

    def test_one_on_what_nobody_makes_is_reported_and_requests_nothing(
        self, ticking: Ticking
    ) -> None:
        ticking.load("marts", dg.AssetSpec("feed", metadata=max_lag(5)))
        ticking.load("other", plain("other"))
        ticking.tick("other")
        ticking.instance.report_runless_asset_event(dg.AssetMaterialization("feed"))

        assert {"feed": True} == self.reported(ticking, "marts")
        assert {} == self.reported(ticking, "other")
        assert [] == ticking.requested("marts")

    @pytest.mark.parametrize("reader", ["areader", "zreader"])
    def test_one_on_a_shared_spec_is_reported_by_its_maker(
        self, ticking: Ticking, reader: str
    ) -> None:
        orders = dg.AssetSpec("orders", metadata=max_lag(5))
        made = dg.multi_asset(specs=[orders], name="load")(lambda: None)
        ticking.load(reader, orders)
        ticking.load("loader", made)
        for location in ticking.locations:
            ticking.tick(location)
        ticking.instance.report_runless_asset_event(dg.AssetMaterialization("orders"))

        assert {} == self.reported(ticking, reader)
        assert {"orders": True} == self.reported(ticking, "loader")


class TestObserve:
    def load(self, ticking: Ticking, mode: Any) -> None:
        definitions = with_freshline(
            dg.Definitions(assets=[root(), mart()]), location="all", mode=mode
        )
        ticking._definitions["all"] = definitions
        ticking.locations["all"] = definitions.get_repository_def()

    def test_says_what_it_would_request_and_requests_nothing(self, ticking: Ticking) -> None:
        self.load(ticking, "observe")
        ticking.load("sources", plain("unrelated"))
        result = ticking.tick("all")

        assert [] == result.run_requests
        assert message(result).startswith("observes only; it would request:\nroot: there is no")
        assert ("maximum_lag", False) in check_results(result)

    def test_shows_how_its_targets_stand(self, ticking: Ticking) -> None:
        self.load(ticking, "observe")
        ticking.tick("all")
        dg.materialize([root(), mart()], instance=ticking.instance)
        result = ticking.tick("all")

        assert ("maximum_lag", True) in check_results(result)
        assert "observes only; next: root in " in message(result)

    def test_others_do_not_count_on_it(self, ticking: Ticking) -> None:
        self.load(ticking, "observe")
        ticking.load("marts", target("downstream", "root"))
        ticking.tick("all")

        assert [] == ticking.requested("marts")
        assert "root is never requested: all, which makes it, only observes" in message(
            ticking.tick("marts")
        )

    def test_requests_again_when_the_mode_is_gone(self, ticking: Ticking) -> None:
        self.load(ticking, "observe")
        ticking.tick("all")
        self.load(ticking, "request")

        assert ["mart", "root"] == sorted(ticking.requested("all"))

    def test_refuses_another_mode(self) -> None:
        with pytest.raises(ModeError, match="mode='watch' of location 'all' is not known"):
            with_freshline(dg.Definitions(), location="all", mode="watch")  # type: ignore[arg-type]

    def test_the_gate_judges_its_policies_and_notes_the_mode(self) -> None:
        seconds = {"freshline/expected_seconds": 600}
        slow = dg.asset(name="slow", metadata=seconds)(lambda: None)
        definitions = with_freshline(
            dg.Definitions(assets=[slow, target("mart", "slow")]), location="all", mode="observe"
        )
        contract = Contract.from_document(
            {**json.loads(Contract.from_definitions(definitions, "all").to_json())}
        )

        found = findings(Workspace([Location("all", contract)]))

        assert {Rule.POLICY, Rule.NOT_REQUESTED} <= {it.rule for it in found}
        assert contract.observes


class TestPause:
    def pause(self, ticking: Ticking, name: str, seconds: float) -> None:
        pause = Pause(time.time() + seconds, "the warehouse moves")
        ticking.instance.report_runless_asset_event(pause_event(name, pause))

    def test_a_paused_location_requests_nothing_and_says_why(self, ticking: Ticking) -> None:
        ticking.load("all", root(), mart())
        self.pause(ticking, "all", 600)
        result = ticking.tick("all")

        assert [] == result.run_requests
        assert "mart: paused" in message(result)
        assert "the warehouse moves" in message(result)
        assert ("maximum_lag", False) in check_results(result)

    def test_a_pause_of_a_target_outlives_a_restart(self, ticking: Ticking) -> None:
        ticking.load("all", root(), mart())
        self.pause(ticking, "mart", 600)
        ticking.tick("all")
        ticking.load("all", root(), mart())

        assert [] == ticking.requested("all")

    def test_it_ends_by_itself(self, ticking: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
        ticking.load("all", root(), mart())
        self.pause(ticking, "mart", 600)
        assert [] == ticking.requested("all")
        later = time.time() + 601
        monkeypatch.setattr("freshline.sensor.time.time", lambda: later)

        assert ["mart", "root"] == sorted(ticking.requested("all"))

    def test_it_can_be_ended_before(self, ticking: Ticking) -> None:
        ticking.load("all", root(), mart())
        self.pause(ticking, "marts/of/three", 600)
        self.pause(ticking, "mart", 600)
        ticking.instance.report_runless_asset_event(resumption("mart"))

        assert ["marts/of/three"] == list(read_pauses(ticking.instance, time.time()))
        assert ["mart", "root"] == sorted(ticking.requested("all"))


class TestAtMostEvery:
    def test_the_gate_says_that_it_makes_a_policy_infeasible(self) -> None:
        limited = dg.asset(key=["raw", "orders"], metadata={"freshline/at_most_every": 30})
        elt = dg.Definitions(assets=[limited(lambda: None)])
        marts = dg.Definitions(assets=[target("mart/orders", "raw/orders", minutes=10)])
        contracts = [
            Contract.from_definitions(elt, "elt"),
            Contract.from_definitions(marts, "marts"),
        ]

        (found,) = findings(Workspace([Location(it.location, it) for it in contracts]))

        assert 30 == contracts[0].by_key["raw/orders"].at_most_every
        assert Rule.POLICY is found.rule
        assert found.message.endswith(" `raw/orders` of `elt` is made at most every 30 min.")


class TestRenamedLocation:
    @pytest.mark.parametrize(("old", "new"), [("aaa", "zzz"), ("zzz", "aaa")])
    def test_the_new_name_wins_once_the_old_one_is_silent(
        self, ticking: Ticking, monkeypatch: pytest.MonkeyPatch, old: str, new: str
    ) -> None:
        ticking.load("sources", root())
        ticking.load(old, mart())
        for location in ("sources", old, "sources", old):
            ticking.requested(location)
        del ticking.locations[old]
        ticking.load(new, mart())
        later = time.time() + 400
        monkeypatch.setattr("freshline.sensor.time.time", lambda: later)
        result = ticking.tick(new)
        requested = ticking.requested("sources") + ticking.requested(new)

        assert f"freshline retire {old}" in (message(result) if result.skip_reason else "") or (
            requested
        )
        assert "mart" in requested or "root" in requested
        assert ("imports_satisfied", False) not in check_results(ticking.tick(new))


def _targets(ticking: Ticking, location: str) -> Any:
    from freshline.sensor.outlook import Observer

    own = Contract.from_definitions(ticking.locations[location], location, tick_seconds=5)
    return Observer().look(ticking.instance, time.time(), own).plan.targets


def test_the_command_pauses_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from freshline.cli import app
    from freshline.contract import contract_materialization
    from typer.testing import CliRunner

    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    contract = Contract.from_definitions(dg.Definitions(assets=[root(), mart()]), "all")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.report_runless_asset_event(contract_materialization(contract))

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, " ".join(result.output.split())

    status, output = run("pause", "mart", "--until", "2h", "--reason", "the warehouse moves")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (pause,) = read_pauses(instance, time.time()).values()

    assert 0 == status
    assert "mart is paused until" in output
    assert "freshline resume mart" in output
    assert "the warehouse moves" == pause.reason
    assert 7_100 < pause.until - time.time() <= 7_200
    assert 0 == run("resume", "mart")[0]
    assert (2, "freshline: mart is not paused; paused is nothing.") == run("resume", "mart")
    assert (2, True) == _refusal(run("pause", "marts", "--until", "2h", "--reason", "x"), "mart?")
    assert (2, True) == _refusal(run("pause", "mart", "--until", "soon", "--reason", "x"), "30m")
    assert (2, True) == _refusal(
        run("pause", "mart", "--until", "2020-01-01T00:00+00:00", "--reason", "x"), "is over"
    )
    assert (2, True) == _refusal(
        run("pause", "mart", "--until", "2099-01-01T00:00", "--reason", "x"), "no time zone"
    )
    assert (2, True) == _refusal(run("pause", "mart", "--until", "2h", "--reason", " "), "empty")


def _refusal(outcome: tuple[int, str], words: str) -> tuple[int, bool]:
    status, output = outcome
    return status, words in output
