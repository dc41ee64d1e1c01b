"""`with_freshline` on definitions of many styles, and its checks run by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from event_logs import plain
from freshline.contract import Contract, contract_asset_key
from freshline.errors import DefinitionsError, MetadataError, PolicyError
from freshline.location import with_freshline
from freshline.model import Durations, Moments
from freshline.policy import max_lag, policy_of
from freshline.sensor import build_freshness_sensor

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")


@dg.asset(metadata=max_lag(5))
def mart() -> None: ...


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def minutes(definitions: dg.Definitions, key: str) -> float | None:
    """Return how far behind an asset may be, as its spec says."""
    policy = policy_of(specs(definitions)[key])
    return policy and policy.minutes


def checked(definitions: dg.Definitions) -> list[dg.AssetKey]:
    """Return the assets that have the check of a policy."""
    checks = definitions.get_repository_def().asset_checks_defs_by_key
    return sorted(key.asset_key for key in checks if key.name == "maximum_lag")


class TestWithFreshline:
    def test_a_location_gets_a_contract_a_sensor_and_checks(self) -> None:
        definitions = with_freshline(dg.Definitions(assets=[mart, plain("other")]), location="here")
        repository = definitions.get_repository_def()
        sensor = repository.get_sensor_def("update_sensor")

        assert {"mart", "other", "freshline/contract/here"} == set(specs(definitions))
        assert {
            ("mart", "maximum_lag"),
            ("freshline/contract/here", "imports_satisfied"),
            ("freshline/contract/here", "policies_feasible"),
        } == {
            (key.asset_key.to_user_string(), key.name)
            for key in repository.asset_checks_defs_by_key
        }
        assert dg.DefaultSensorStatus.RUNNING == sensor.default_status
        assert 5 == Contract.from_definitions(repository, "here").tick_seconds

    def test_the_contract_asset_shows_what_the_location_makes_promises_and_needs(self) -> None:
        @dg.asset(deps=["root", "outside"], owners=["team:shop", "a@example.com"])
        def first() -> None: ...

        @dg.asset(deps=["first"], metadata=max_lag(5), owners=["team:shop"])
        def second() -> None: ...

        feed = dg.AssetSpec("root", metadata=max_lag(2))
        definitions = with_freshline(dg.Definitions(assets=[first, second, feed]), location="here")
        contract = Contract.from_definitions(definitions.get_repository_def(), "here")

        assert (
            "What here makes and needs, for the other code locations.\n\n"
            "**It makes:**\n\n"
            "| asset | promise | owners | made from |\n"
            "| --- | --- | --- | --- |\n"
            "| `second` | at most 5 minutes behind | shop | `first` |\n"
            "| `first` |  | shop, a@example.com | `outside`, `root` |\n\n"
            "**It needs (the check imports_satisfied says who makes it):**\n\n"
            "| asset | read by |\n"
            "| --- | --- |\n"
            "| `outside` | `first` |\n"
            "| `root` | `first` |\n\n"
            "**It watches, but does not make:**\n\n"
            "| asset | promise |\n"
            "| --- | --- |\n"
            "| `root` | at most 2 minutes behind |"
        ) == specs(definitions)["freshline/contract/here"].description
        assert ["first", "second"] == [export.key for export in contract.exports]

    def test_a_long_table_of_the_contract_asset_counts_its_last_rows(self) -> None:
        assets = [plain(f"asset_{number}") for number in range(53)]
        definitions = with_freshline(dg.Definitions(assets=assets), location="here")

        described = specs(definitions)["freshline/contract/here"].description or ""
        assert 50 == described.count("\n| `asset_")
        assert described.endswith("\n\nand 3 more")

    def test_a_location_may_choose_the_sensors_name_and_tick(self) -> None:
        definitions = with_freshline(
            dg.Definitions(assets=[mart]), location="here", sensor_name="mine", tick_seconds=30
        )
        repository = definitions.get_repository_def()

        assert repository.has_sensor_def("mine")
        assert 30 == Contract.from_definitions(repository, "here").tick_seconds

    @pytest.mark.parametrize(("tick", "rounded"), [(5, 5), (7, 5), (30, 30)])
    def test_the_sensors_interval_is_shorter_than_its_tick(self, tick: int, rounded: int) -> None:
        """Dagster's daemon looks at sensors every 5 s, a few milliseconds more or less."""
        sensor = build_freshness_sensor(location="here", tick_seconds=tick)
        interval = sensor.minimum_interval_seconds

        assert interval is not None
        assert rounded - 5 < interval < rounded - 0.5

    def test_ticks_below_5_seconds_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"tick_seconds=2 of location 'here' .* Use 5 or more"):
            with_freshline(dg.Definitions(assets=[mart]), location="here", tick_seconds=2)

    def test_the_check_is_the_only_verdict_on_a_target(self) -> None:
        definitions = with_freshline(dg.Definitions(assets=[mart]), location="here")

        # Dagster's own policies know when an asset was made, not how old its data is.
        assert specs(definitions)["mart"].freshness_policy is None
        assert [mart.key] == checked(definitions)

    def test_an_assets_own_freshness_policy_stays(self) -> None:
        hourly = dg.FreshnessPolicy.time_window(timedelta(hours=1))

        @dg.asset(metadata=max_lag(5), freshness_policy=hourly)
        def own() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[own]), location="here")

        assert hourly == specs(definitions)["own"].freshness_policy

    @pytest.mark.parametrize(
        "partitions",
        [
            DAYS,
            dg.MultiPartitionsDefinition(
                {"day": DAYS, "area": dg.StaticPartitionsDefinition(["a"])}
            ),
        ],
    )
    def test_a_partitioned_target_gets_a_check(self, partitions: Any) -> None:
        @dg.asset(partitions_def=partitions, metadata=max_lag(1600))
        def daily() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[daily]), location="here")

        assert [daily.key] == checked(definitions)
        assert 1600 == minutes(definitions, "daily")

    @pytest.mark.parametrize(
        ("partitions", "mapping", "message"),
        [
            (
                dg.MultiPartitionsDefinition({"day": DAYS, "hour": HOURS}),
                None,
                r"asset daily \(daily.py\) carries a maximum lag, which cannot be kept: its part",
            ),
            (
                DAYS,
                dg.TimeWindowPartitionMapping(start_offset=1),
                "which partitions of raw it reads cannot be followed: TimeWindowPartitionMapping",
            ),
        ],
    )
    def test_a_target_whose_partitions_cannot_be_followed_is_refused(
        self, partitions: Any, mapping: Any, message: str
    ) -> None:
        @dg.asset(
            partitions_def=partitions,
            deps=[dg.AssetDep("raw", partition_mapping=mapping)],
            metadata={**max_lag(5), "freshline/file": "daily.py"},
        )
        def daily() -> None: ...

        with pytest.raises(PolicyError, match=message):
            with_freshline(dg.Definitions(assets=[daily]), location="here")

    def test_a_view_with_a_policy_gets_a_check(self) -> None:
        @dg.asset(metadata={**max_lag(5), "freshline/view": True})
        def shown() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[shown]), location="here")

        assert [shown.key] == checked(definitions)

    def test_a_policy_of_zero_minutes_is_refused(self) -> None:
        @dg.asset(metadata={"freshline/max_lag": {"minutes": 0}})
        def never() -> None: ...

        with pytest.raises(PolicyError, match="asset never"):
            with_freshline(dg.Definitions(assets=[never]), location="here")

    def test_definitions_that_freshline_cannot_be_added_to_are_refused(self) -> None:
        def refuse(definitions: Any, message: str) -> None:
            with pytest.raises(DefinitionsError, match=message):
                with_freshline(definitions, location="here")

        @dg.sensor(name="update_sensor", target=[mart])
        def own_sensor() -> None: ...

        @dg.asset_check(asset=mart, name="maximum_lag")
        def own_check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        @dg.multi_asset(
            specs=[dg.AssetSpec("models", metadata=max_lag(5))],
            check_specs=[dg.AssetCheckSpec("maximum_lag", asset="models")],
        )
        def with_own_check() -> Iterator[Any]:
            yield from ()

        @dg.repository
        def everything() -> list[Any]:
            return [mart]

        twice = with_freshline(dg.Definitions(assets=[mart]), location="other")
        refuse(twice, "location 'here' has freshline already, as 'other'")
        refuse(dg.Definitions(sensors=[own_sensor]), "sensor or schedule 'update_sensor' already")
        refuse(
            dg.Definitions(assets=[mart], asset_checks=[own_check]),
            "asset mart has a check 'maximum_lag' already",
        )
        refuse(dg.Definitions(assets=[with_own_check]), "asset models has a check 'maximum_lag'")
        refuse(everything, "takes dg.Definitions, not a RepositoryDefinition")

    def test_a_check_of_that_name_is_accepted_on_an_asset_without_a_policy(self) -> None:
        @dg.asset_check(asset="other", name="maximum_lag")
        def own_check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        with_freshline(
            dg.Definitions(assets=[plain("other")], asset_checks=[own_check]), location="here"
        ).get_repository_def()

    def test_definitions_of_a_defs_folder_are_accepted_inside_their_function(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "dg_shop" / "defs"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").touch()
        (folder / "__init__.py").touch()
        (folder / "orders.py").write_text(
            "import dagster as dg\nfrom freshline import max_lag\n"
            "@dg.asset(metadata=max_lag(5))\ndef orders(): ...\n"
        )
        (tmp_path / "pyproject.toml").write_text(
            '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "dg_shop"\n'
        )
        monkeypatch.syspath_prepend(str(tmp_path))

        @dg.definitions
        def defs() -> dg.Definitions:
            return with_freshline(
                dg.load_from_defs_folder(path_within_project=tmp_path), location="shop"
            )

        assert 5 == minutes(defs(), "orders")

    def test_a_policy_in_an_older_notation_is_kept(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the field is deprecated

            @dg.asset(legacy_freshness_policy=dg.LegacyFreshnessPolicy(maximum_lag_minutes=5))
            def old() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[old]), location="here")
        repository = definitions.get_repository_def()

        assert {"minutes": 5} == specs(definitions)["old"].metadata["freshline/max_lag"]
        assert ("old", "maximum_lag") in {
            (key.asset_key.to_user_string(), key.name)
            for key in repository.asset_checks_defs_by_key
        }
        assert () == Contract.from_definitions(repository, "here").unkept

    def test_an_older_policy_that_cannot_be_kept_does_not_stop_the_location(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the field is deprecated

            @dg.asset(
                partitions_def=dg.TimeWindowPartitionsDefinition(
                    start="2026-01-01",
                    fmt="%Y-%m-%d",
                    cron_schedule="0 0 * * *",
                    exclusions=["0 0 * * 0"],
                ),
                legacy_freshness_policy=dg.LegacyFreshnessPolicy(maximum_lag_minutes=5),
            )
            def old() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[old]), location="here")

        contract = Contract.from_definitions(definitions, "here")
        assert [] == checked(definitions)
        assert ["partitioned"] == [unkept.reason for unkept in contract.unkept]

    @pytest.mark.filterwarnings("ignore:.*SourceAsset")
    @pytest.mark.parametrize("declared", [dg.AssetSpec, dg.SourceAsset])
    def test_the_policy_of_what_others_make_gets_a_check(self, declared: Any) -> None:
        feed = declared(dg.AssetKey("feed"), metadata=max_lag(5))

        definitions = with_freshline(dg.Definitions(assets=[feed, mart]), location="here")

        assert [dg.AssetKey("feed"), mart.key] == checked(definitions)

    @pytest.mark.filterwarnings("ignore:.*observable_source_asset. is currently in beta")
    @pytest.mark.filterwarnings("ignore:Property `OpDefinition.version` is deprecated")
    def test_the_policy_of_an_observable_asset_gets_a_check(self) -> None:
        @dg.observable_source_asset(metadata=max_lag(5))
        def feed() -> dg.DataVersion:
            return dg.DataVersion("1")

        @dg.multi_observable_source_asset(specs=[dg.AssetSpec("other", metadata=max_lag(5))])
        def others() -> Any:
            yield dg.ObserveResult()

        definitions = with_freshline(dg.Definitions(assets=[feed, others]), location="here")

        assert [dg.AssetKey("feed"), dg.AssetKey("other")] == checked(definitions)
        assert {"feed", "other"} == {
            export.key for export in Contract.from_definitions(definitions, "here").exports
        }

    def test_other_definitions_are_kept(self) -> None:
        @dg.asset_check(asset=mart)
        def has_rows() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        job = dg.define_asset_job("nightly", [mart])
        definitions = with_freshline(
            dg.Definitions(
                assets=[mart],
                asset_checks=[has_rows],
                jobs=[job],
                schedules=[dg.ScheduleDefinition(job=job, cron_schedule="0 3 * * *")],
                resources={"warehouse": dg.ResourceDefinition.hardcoded_resource("it")},
                executor=dg.in_process_executor,
            ),
            location="here",
        )
        repository = definitions.get_repository_def()

        assert repository.has_job("nightly")
        assert repository.has_schedule_def("nightly_schedule")
        assert "warehouse" in (definitions.resources or {})
        assert dg.in_process_executor is definitions.executor

    def test_merged_definitions_are_accepted(self) -> None:
        merged = dg.Definitions.merge(
            dg.Definitions(assets=[mart]), dg.Definitions(assets=[plain("other")])
        )

        assert 5 == minutes(with_freshline(merged, location="here"), "mart")

    def test_a_location_without_assets_is_accepted(self, memory: dg.DagsterInstance) -> None:
        result = _tick(memory, with_freshline(dg.Definitions(), location="idle"))

        assert "no policy needs anything here" in (result.skip_message or "")

    # Dagster deprecates `SourceAsset`, but locations may still have one.
    @pytest.mark.filterwarnings("ignore:.*SourceAsset")
    def test_external_assets_of_both_kinds_are_accepted(self) -> None:
        definitions = with_freshline(
            dg.Definitions(assets=[mart, dg.SourceAsset("old_style"), dg.AssetSpec("new_style")]),
            location="here",
        )

        assert 5 == minutes(definitions, "mart")
        assert {"old_style", "new_style"} <= set(specs(definitions))

    def test_partitioned_assets_beside_a_target_are_not_requested(
        self, memory: dg.DagsterInstance
    ) -> None:
        days = dg.DailyPartitionsDefinition("2026-01-01")
        hours = dg.HourlyPartitionsDefinition("2026-01-01-00:00")

        @dg.asset(partitions_def=days)
        def daily() -> None: ...

        @dg.asset(partitions_def=hours)
        def hourly() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[mart, daily, hourly]), location="here")
        result = _tick(memory, definitions)

        assert [[mart.key]] == [request.asset_selection for request in result.run_requests or ()]

    def test_models_of_one_subsettable_step_are_accepted(self) -> None:
        @dg.multi_asset(
            specs=[
                dg.AssetSpec("staging", skippable=True),
                dg.AssetSpec("target", deps=["staging"], metadata=max_lag(2), skippable=True),
            ],
            check_specs=[dg.AssetCheckSpec("unique", asset="target")],
            can_subset=True,
        )
        def models() -> Iterator[Any]:
            yield from ()

        definitions = with_freshline(dg.Definitions(assets=[models]), location="here")

        assert 2 == minutes(definitions, "target")
        assert minutes(definitions, "staging") is None


class TestChecksByHand:
    def test_maximum_lag_shows_the_state_of_a_target(self, memory: dg.DagsterInstance) -> None:
        definitions = with_freshline(dg.Definitions(assets=[mart]), location="here")
        _publish(memory, definitions)
        dg.materialize([mart], instance=memory)
        result = _run_check(memory, definitions, dg.AssetCheckKey(mart.key, "maximum_lag"))

        assert result.passed
        assert "fresh" == result.metadata["freshline/status"].value
        assert 300.0 == result.metadata["freshline/maximum_lag_seconds"].value

    def test_maximum_lag_fails_before_the_contract_is_published(
        self, memory: dg.DagsterInstance
    ) -> None:
        definitions = with_freshline(dg.Definitions(assets=[mart]), location="here")
        result = _run_check(memory, definitions, dg.AssetCheckKey(mart.key, "maximum_lag"))

        assert not result.passed
        assert "is the sensor on?" in (result.description or "")

    def test_imports_satisfied_names_what_is_missing(self, memory: dg.DagsterInstance) -> None:
        definitions = with_freshline(
            dg.Definitions(assets=[plain("report", "nowhere")]), location="here"
        )
        _publish(memory, definitions)
        result = _run_check(
            memory,
            definitions,
            dg.AssetCheckKey(contract_asset_key("here"), "imports_satisfied"),
        )

        assert not result.passed
        assert "nowhere" in (result.description or "")

    def test_policies_feasible_prefers_measured_to_declared_durations(
        self, memory: dg.DagsterInstance
    ) -> None:
        @dg.asset(metadata={**max_lag(5), "freshline/expected_seconds": 3_600})
        def feared() -> None: ...

        definitions = with_freshline(dg.Definitions(assets=[feared]), location="here")
        _publish(memory, definitions)
        key = dg.AssetCheckKey(contract_asset_key("here"), "policies_feasible")
        declared = _run_check(memory, definitions, key)
        dg.materialize([feared], instance=memory)
        measured = _run_check(memory, definitions, key)

        assert not declared.passed
        assert "5 min asked, the path takes" in (declared.description or "")
        assert measured.passed

    def test_policies_feasible_fails_when_runs_take_too_long(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow = Durations(execution=Moments(100, 3_600.0, 0.0))
        monkeypatch.setattr("freshline.history.durations.Stopwatch.durations", lambda *_: slow)
        definitions = with_freshline(dg.Definitions(assets=[mart]), location="here")
        _publish(memory, definitions)
        dg.materialize([mart], instance=memory)
        result = _run_check(
            memory, definitions, dg.AssetCheckKey(contract_asset_key("here"), "policies_feasible")
        )

        assert not result.passed
        assert "5 min asked, the path takes 2 h" in (result.description or "")


def _tick(instance: dg.DagsterInstance, definitions: dg.Definitions) -> Any:
    repository = definitions.get_repository_def()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, sensor_name="update_sensor"
    ) as context:
        return repository.get_sensor_def("update_sensor").evaluate_tick(context)


def _publish(instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
    for event in _tick(instance, definitions).asset_events:
        instance.report_runless_asset_event(event)


def _run_check(
    instance: dg.DagsterInstance, definitions: dg.Definitions, key: dg.AssetCheckKey
) -> dg.AssetCheckEvaluation:
    job = dg.define_asset_job("by_hand", dg.AssetSelection.checks(key))
    repository = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job])).get_repository_def()
    result = repository.get_job("by_hand").execute_in_process(instance=instance)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("freshline/at_most_every", "ten", "a number of minutes above 0, not 'ten'"),
        ("freshline/at_most_every", True, "a number of minutes above 0, not True"),
        ("freshline/expected_seconds", -5, "a number of seconds above 0, not -5"),
        ("freshline/view", "yes", "True or False, not 'yes'"),
        ("freshline/check_view", 1, "True or False, not 1"),
        ("freshline/complete_from", "soon", 'a date or a time in ISO 8601, as in "2026-01-01"'),
        ("freshline/complete_from", 2026, "a date or a time in ISO 8601"),
        ("freshline/config", "since", "the config of the op"),
        ("freshline/uses", {"raw/orders": ["id"]}, "columns by upstream key"),
        ("freshline/uses", "raw/orders", "columns by upstream key"),
    ],
)
def test_metadata_that_cannot_be_used_is_named_when_the_location_loads(
    name: str, value: Any, expected: str
) -> None:
    told = dg.asset(name="told", metadata={name: value})(lambda: None)

    with pytest.raises(MetadataError, match=f"asset told: metadata '{name}' must be {expected}"):
        with_freshline(dg.Definitions(assets=[told]), location="here")
