"""Checks on views run with the tables below, or whenever what the view reads has changed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from event_logs import plain, run
from freshline.history import History
from freshline.model import Asset, AssetPlan, Graph, Plan
from freshline.planner import requested_groups
from freshline.policy import MaxLag
from freshline.sensor.foreign_checks import ForeignChecks
from freshline.sensor.requests import Requester
from freshline.sensor.views import CheckedViews, PlacesOfChecks, read_by

POLICY = MaxLag(60)


def asset(key: str, *deps: str, location: str = "marts", **options: Any) -> Asset:
    return Asset(key, location, deps, **options)


def view(key: str, *deps: str, **options: Any) -> Asset:
    return asset(key, *deps, view=True, **options)


def graph(*assets: Asset, **options: Any) -> Graph:
    return Graph({it.key: it for it in assets}, **options)


def check_on(key: str, **options: Any) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key, name="check", **options)
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    return check


class Manifest:
    """A dbt manifest, as dagster-dbt keeps it in the metadata of an asset."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.manifest = {"nodes": nodes}


class Marts:
    """The location `marts`: it makes its assets in `graph`, and has checks on some."""

    def __init__(
        self, instance: dg.DagsterInstance, graph: Graph, *checked: str, **metadata: Any
    ) -> None:
        self.instance = instance
        self.graph = graph
        self.assets = {
            key: dg.asset(name=key, deps=list(it.deps), metadata=metadata)(lambda: None)
            for key, it in graph.assets.items()
            if it.location == "marts"
        }
        self.definitions = dg.Definitions(
            assets=list(self.assets.values()), asset_checks=[check_on(key) for key in checked]
        )
        repository = self.definitions.get_repository_def()
        self.requester = Requester(repository)
        self.foreign = ForeignChecks(repository, self.requester.checks)
        self.views = CheckedViews(repository, "marts", self.requester.checks)
        self.seen: dict[str, str] = {}

    @property
    def places(self) -> PlacesOfChecks:
        return self.views.places(self.graph)

    def make(self, *keys: str) -> None:
        """Make assets, without their checks."""
        made = run(self.instance, *self.assets.values(), selection=list(keys))
        assert made.success

    def checks_apart(self) -> list[list[str]]:
        """Return the checks that each request without assets has, and run them."""
        snapshot = History(self.instance).read(self.graph, time.time())
        requests = self.foreign.requests(
            self.instance, self.graph, snapshot, self.places.apart, self.seen
        )
        return [self._run(request) for request in requests]

    def checks_with(self, *keys: str) -> list[list[str]]:
        """Return the checks that go with each request for assets that are due, and run them."""
        due = {key: AssetPlan(key, True, 0.0, None, None, None, "due") for key in keys}
        plan = Plan("plan", 0.0, due, {})
        groups = requested_groups(plan, self.graph, "marts")
        snapshot = History(self.instance).read(self.graph, time.time())
        requests = self.requester.requests(
            groups, plan, self.graph, snapshot, self.instance, self.places.tables
        )
        return [self._run(request) for request in requests]

    def _run(self, request: dg.RunRequest) -> list[str]:
        checks = set(request.asset_check_keys or ())
        job = self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(request.asset_selection or ()), asset_check_selection=checks
        )
        result = job.execute_in_process(instance=self.instance)
        done = {it.asset_check_key for it in result.get_asset_check_evaluations()}

        assert checks == done
        return sorted(key.to_user_string() for key in checks)


def report(instance: dg.DagsterInstance, key: str, data_version: str | None = None) -> None:
    tags = {"dagster/data_version": data_version} if data_version else None
    instance.report_runless_asset_event(dg.AssetMaterialization(key, tags=tags))


class TestPlaces:
    def places(self, graph: Graph, *checked: str, **metadata: Any) -> PlacesOfChecks:
        with dg.DagsterInstance.ephemeral() as instance:
            return Marts(instance, graph, *checked, **metadata).places

    def test_the_nearest_tables_below_bring_them_along_through_other_views(self) -> None:
        found = self.places(
            graph(
                asset("raw", location="sources"),
                view("staged", "raw"),
                view("cleaned", "staged"),
                asset("mart", "cleaned", policy=POLICY),
                asset("other", "staged", policy=POLICY),
                asset("below", "mart", policy=POLICY),
            ),
            "staged",
            "cleaned",
        )

        assert {"staged": {"mart", "other"}, "cleaned": {"mart"}} == found.tables
        assert set() == found.apart

    @pytest.mark.parametrize(
        "below",
        [
            [],
            [asset("mart", "staged", location="finance", policy=POLICY)],
            [asset("mart", "staged", policy=POLICY, never_requested="it cannot be")],
            [view("target", "staged", policy=POLICY), asset("mart", "staged")],
        ],
        ids=["nothing", "other location", "never requested", "not needed"],
    )
    def test_without_such_a_table_they_have_runs_of_their_own(self, below: list[Asset]) -> None:
        staged = view("staged", "raw", policy=POLICY)

        assert PlacesOfChecks({}, frozenset(["staged"])) == self.places(
            graph(asset("raw", location="sources"), staged, *below), "staged"
        )

    @pytest.mark.parametrize(
        "written",
        [
            {"freshline/check_view": True},
            {
                "dagster_dbt/unique_id": "model.shop.staged",
                "dagster_dbt/manifest": Manifest(
                    {"model.shop.staged": {"config": {"meta": {"freshline": {"check_view": True}}}}}
                ),
            },
        ],
        ids=["metadata", "dbt meta"],
    )
    @pytest.mark.filterwarnings("ignore:Support for arbitrary metadata")  # as of dagster-dbt
    def test_the_author_can_want_a_run_of_their_own(self, written: dict[str, Any]) -> None:
        found = self.places(
            graph(view("staged", "raw"), asset("mart", "staged", policy=POLICY)),
            "staged",
            **written,
        )

        assert PlacesOfChecks({}, frozenset(["staged"])) == found

    def test_where_no_policy_needs_the_view_they_do_not_run(self) -> None:
        found = self.places(graph(view("staged", "raw"), asset("mart", "staged")), "staged")

        assert PlacesOfChecks({}, frozenset()) == found

    def test_a_view_shows_what_it_reads_through_views_of_any_location(self) -> None:
        lineage = graph(
            asset("raw", location="sources"),
            view("staged", "raw", "feed", location="sources"),
            view("shown", "staged", "shown"),
        )

        assert {"raw", "feed"} == read_by(lineage, "shown")
        assert {"raw"} == read_by(lineage, "raw")


class TestWithTheTable:
    def test_the_checks_of_a_view_run_with_the_table_and_without_the_view(
        self, memory: dg.DagsterInstance
    ) -> None:
        lineage = graph(view("staged"), asset("mart", "staged", policy=POLICY))
        marts = Marts(memory, lineage, "staged", "mart")
        marts.make("staged")

        assert [["mart:check", "staged:check"]] == marts.checks_with("mart")
        assert [] == marts.checks_apart()

    def test_they_run_with_the_view_when_it_is_made(self, memory: dg.DagsterInstance) -> None:
        lineage = graph(view("staged"), asset("mart", "staged", policy=POLICY))

        assert [["staged:check"]] == Marts(memory, lineage, "staged").checks_with("staged")


class TestApart:
    LINEAGE = graph(
        asset("raw", location="sources"),
        view("staged", "raw"),
        view("shown", "staged", policy=POLICY),
    )

    def test_they_run_once_for_each_change_of_what_the_view_reads(
        self, memory: dg.DagsterInstance
    ) -> None:
        marts = Marts(memory, self.LINEAGE, "staged", "shown")
        before = marts.checks_apart()
        report(memory, "raw")
        not_made = marts.checks_apart()
        marts.make("staged", "shown")
        first = [marts.checks_apart() for _ in range(2)]
        report(memory, "raw")
        again = [marts.checks_apart() for _ in range(2)]

        assert ([], []) == (before, not_made)
        assert [[["shown:check", "staged:check"]], []] == first
        assert [[["shown:check", "staged:check"]], []] == again

    def test_they_do_not_run_again_after_the_run_that_made_the_view(
        self, memory: dg.DagsterInstance
    ) -> None:
        marts = Marts(memory, self.LINEAGE, "shown")
        report(memory, "raw")
        marts.make("staged")
        with_view = marts.checks_with("shown")
        then = marts.checks_apart()
        report(memory, "raw")

        assert ([["shown:check"]], []) == (with_view, then)
        assert [["shown:check"]] == marts.checks_apart()

    def test_the_same_data_is_no_change(self, memory: dg.DagsterInstance) -> None:
        marts = Marts(memory, self.LINEAGE, "shown")
        marts.make("staged", "shown")
        requested = []
        for data_version in ("a", "a", "b", "b", "a"):
            report(memory, "raw", data_version)
            requested.append(len(marts.checks_apart()))

        assert [1, 0, 1, 0, 1] == requested

    def test_an_input_that_is_made_outside_and_never_reported_is_not_waited_for(
        self, memory: dg.DagsterInstance
    ) -> None:
        lineage = replace(
            graph(asset("raw", location="sources"), view("shown", "raw", "feed", policy=POLICY)),
            outside=frozenset(["feed"]),
        )
        marts = Marts(memory, lineage, "shown")
        marts.make("shown")
        report(memory, "raw")

        assert [[["shown:check"]], []] == [marts.checks_apart() for _ in range(2)]
        report(memory, "feed")
        assert [["shown:check"]] == marts.checks_apart()

    def test_a_check_on_another_locations_view_follows_what_that_view_reads(
        self, memory: dg.DagsterInstance
    ) -> None:
        lineage = graph(
            asset("raw", location="sources"),
            view("shown", "raw", location="sources"),
            asset("mart"),
        )
        marts = Marts(memory, lineage, "shown")
        report(memory, "raw")

        assert [[["shown:check"]], []] == [marts.checks_apart() for _ in range(2)]

    def test_one_reads_a_partition_as_a_change(self, memory: dg.DagsterInstance) -> None:
        marts = Marts(memory, self.LINEAGE, "shown")
        marts.make("staged", "shown")
        requested = []
        for day in ("2026-01-01", "2026-01-02"):
            memory.report_runless_asset_event(dg.AssetMaterialization("raw", partition=day))
            requested.append(marts.checks_apart())

        assert [[["shown:check"]]] * 2 == requested


def test_a_request_says_what_has_changed(memory: dg.DagsterInstance) -> None:
    marts = Marts(memory, TestApart.LINEAGE, "shown")
    marts.make("staged", "shown")
    run(memory, plain("raw"))
    snapshot = History(memory).read(marts.graph, time.time())
    (request,) = marts.foreign.requests(
        memory, marts.graph, snapshot, marts.places.apart, marts.seen
    )

    assert "for its checks: new data in what shown shows" == request.tags["freshline"]
