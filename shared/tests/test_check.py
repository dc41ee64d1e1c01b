"""The rules of the gate, on contracts with a defect and on contracts without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from freshline.check import (
    Finding,
    Location,
    Rule,
    Severity,
    Workspace,
    findings,
    runtime_findings,
)
from freshline.check.committed import differences
from freshline.check.explain import EXPLANATIONS, explained
from freshline.check.policies import infeasible, spoken
from freshline.contract import Column, Contract, Export, Import, UnkeptPolicy, UsedColumn
from freshline.contract.document import Partitions, PartitionsRead, TimeWindows, WatchedPolicy
from freshline.keys import Convention
from freshline.model import Durations, Moments
from freshline.policy import MaxLag

STARS = (
    Column(name="user_id", type="bigint"),
    Column(name="user_login", type="text"),
    Column(name="starred_at", type="timestamptz"),
)


DAILY = Partitions(windows=TimeWindows(cron="0 0 * * *", start=1767225600.0))
HOURLY = Partitions(windows=TimeWindows(cron="0 * * * *", start=1767225600.0, fmt="%Y-%m-%dT%H"))


def under_freshline(location: str, **fields: Any) -> Contract:
    return Contract(location=location, published_as=location, **fields)


def ingestion(**changes: Any) -> Contract:
    raw = Export(key="raw/stars", columns=(Column(name="user_id", type="bigint"),))
    return under_freshline("ingestion", exports=(raw,)).model_copy(update=changes)


def core(*exports: Export, **changes: Any) -> Contract:
    stars = Export(key="mart/stars", deps=("raw/stars",), columns=STARS, file="models/stars.sql")
    need = Import(key="raw/stars", used_by=("mart/stars",))
    return under_freshline("core", exports=exports or (stars,), imports=(need,)).model_copy(
        update=changes
    )


def marts(need: Import | None = None, policy: MaxLag | None = None, **changes: Any) -> Contract:
    need = need or Import(key="mart/stars", used_by=("mart/join",))
    join = Export(key="mart/join", deps=(need.key,), policy=policy)
    return under_freshline("marts", exports=(join,), imports=(need,)).model_copy(update=changes)


def needs(*columns: UsedColumn, key: str = "mart/stars", declared: bool = False) -> Import:
    return Import(key=key, used_by=("mart/join",), columns=columns, declared=declared)


def found(
    *contracts: Contract | Location, convention: Convention | None = None, **kwargs: Any
) -> list[Finding]:
    locations = [it if isinstance(it, Location) else Location(it.location, it) for it in contracts]
    return findings(Workspace(locations, convention=convention), **kwargs)


def only(results: list[Finding]) -> Finding:
    (finding,) = results
    return finding


def test_a_workspace_that_fits_together_has_no_findings() -> None:
    need = needs(
        UsedColumn(name="user_login", type="varchar", used_by=("mart/join",)),
        UsedColumn(name="starred_at", type="timestamp with time zone"),
    )

    assert [] == found(ingestion(), core(), marts(need, MaxLag(10)))


@pytest.mark.parametrize("rule", Rule)
def test_each_rule_is_explained(rule: Rule) -> None:
    assert all(EXPLANATIONS[rule])
    assert f'rule = "{rule.value}"' in explained(rule)


class TestUnknownImport:
    def test_names_the_location_that_exports_a_similar_key(self) -> None:
        finding = only(found(ingestion(), core(), marts(needs(key="mart/star"))))

        assert Rule.UNKNOWN_IMPORT is finding.rule
        assert Severity.ERROR is finding.severity
        assert (
            "`marts` needs `mart/star` for `mart/join`; `core` exports `mart/stars`."
            == finding.message
        )
        assert (
            "Did you mean `mart/stars`? If `core` renamed it, depend on the new name."
            == finding.fix
        )

    def test_says_that_no_key_is_similar(self) -> None:
        finding = only(found(ingestion(), core(), marts(needs(key="crm/people"))))

        assert (
            "`marts` needs `crm/people` for `mart/join`; no location makes anything like it."
            == finding.message
        )

    def test_the_same_table_in_another_layer_is_suggested(self) -> None:
        finding = only(found(ingestion(), core(), marts(needs(key="warehouse_of_ours/stars"))))

        assert "`core` exports `mart/stars`." in finding.message

    def test_own_keys_are_not_suggested(self) -> None:
        own = marts(needs(key="mart/stars")).model_copy(
            update={"exports": (Export(key="mart/starred"), Export(key="ml/stars"))}
        )

        finding = only(found(own))

        assert (
            "`marts` needs `mart/stars` for `mart/join`; no location makes anything like it."
            == finding.message
        )
        assert "Did you mean" not in finding.fix

    def test_own_keys_are_not_suggested_when_another_location_dropped_the_key(self) -> None:
        gone = Location("core", core(Export(key="other/table")), committed=core())
        own = marts().model_copy(update={"exports": (Export(key="mart/starred"),)})
        results = found(gone, own)

        (finding,) = [it for it in results if it.key == "mart/stars" and it.location == "marts"]
        assert "Ask the team of `core` to keep it, or stop depending on it." == finding.fix

    def test_a_misspelled_own_key_is_suggested(self) -> None:
        own = marts(needs(key="mart/joins"))

        assert (
            "`marts` needs `mart/joins` for `mart/join`; `marts` exports `mart/join`."
            == only(found(ingestion(), own)).message
        )

    def test_an_asset_declared_as_outside_is_no_finding(self) -> None:
        outside = marts(needs(key="crm/people"), outside=("crm/people",))

        assert [] == found(ingestion(), core(), outside)

    def test_an_asset_declared_as_outside_that_a_location_makes_is_a_note(self) -> None:
        finding = only(found(ingestion(), core(), marts(outside=("mart/stars",))))

        assert Severity.NOTE is finding.severity
        assert "declares `mart/stars` as made outside the workspace, but `core`" in finding.message

    def test_an_external_definition_that_nobody_makes_is_a_note(self) -> None:
        finding = only(found(ingestion(), core(), marts(needs(key="crm/people", declared=True))))

        assert Severity.NOTE is finding.severity
        assert "freshline/outside" in finding.fix

    def test_an_external_definition_in_another_location_is_a_note(self) -> None:
        catalog = Contract(location="catalog", declares=("crm/people",))

        finding = only(found(ingestion(), core(), marts(needs(key="crm/people")), catalog))

        assert Severity.NOTE is finding.severity
        assert "`catalog` declares it as external, and no location makes it." in finding.message

    def test_an_asset_that_another_location_declares_as_outside_is_no_finding(self) -> None:
        catalog = Contract(location="catalog", outside=("crm/people",))

        assert [] == found(ingestion(), core(), marts(needs(key="crm/people")), catalog)

    @pytest.mark.parametrize("key", ["mart/star", "mart/Stars", "mart/starz"])
    def test_a_misspelled_external_definition_is_an_error(self, key: str) -> None:
        finding = only(found(ingestion(), core(), marts(needs(key=key, declared=True))))

        assert Severity.ERROR is finding.severity
        assert "`core` exports `mart/stars`." in finding.message

    def test_an_external_definition_of_a_dropped_asset_is_an_error(self) -> None:
        gone = Location(
            "core",
            core(Export(key="mart/stargazers", deps=("raw/stars",), columns=STARS)),
            committed=core(),
        )
        results = found(ingestion(), gone, marts(needs(declared=True)))

        (finding,) = [it for it in results if it.rule is Rule.UNKNOWN_IMPORT]
        assert Severity.ERROR is finding.severity
        assert (
            "`marts` needs `mart/stars` for `mart/join`; `core` made it, as its committed "
            "contract says, and no longer does." == finding.message
        )

    def test_an_unknown_import_is_a_note_while_a_location_does_not_load(self) -> None:
        results = found(ingestion(), marts(), Location("core", error="it does not load"))

        assert [
            (Rule.DOES_NOT_LOAD, Severity.ERROR),
            (Rule.UNKNOWN_IMPORT, Severity.NOTE),
        ] == [(finding.rule, finding.severity) for finding in results]
        assert "no location is known to make it, and `core` could not be asked" in (
            results[1].message
        )

    def test_a_name_that_a_location_nearly_has_is_an_error_though_another_does_not_load(
        self,
    ) -> None:
        stars = core(Export(key="mart/star", deps=("raw/stars",), columns=STARS))
        results = found(ingestion(), stars, marts(), Location("web", error="it does not load"))

        (finding,) = [it for it in results if it.rule is Rule.UNKNOWN_IMPORT]
        assert Severity.ERROR is finding.severity
        assert finding.fix.startswith("Did you mean `mart/star`?")

    def test_a_location_that_does_not_load_is_judged_by_its_committed_contract(self) -> None:
        core_down = Location("core", core(), error="it does not load", traceback=("KeyError: 1",))

        finding = only(found(ingestion(), core_down, marts()))

        assert Rule.DOES_NOT_LOAD is finding.rule
        assert "It is judged by its committed contract." in finding.message
        assert ("KeyError: 1",) == finding.details


def source(key: str = "raw/stars", **changes: Any) -> Import:
    """Return an import that a dbt source declares."""
    name = tuple(key.split("/"))
    needed = Import(
        key=key,
        used_by=("mart/join",),
        declared_by="dbt",
        declared_as=name,
        declared_in="models/sources.yml",
    )
    return needed.model_copy(update=changes)


def loader(*keys: str, columns: tuple[Column, ...] | None = None, **changes: Any) -> Contract:
    exports = tuple(Export(key=key, columns=columns) for key in keys)
    return Contract(location="loader", exports=exports).model_copy(update=changes)


class TestDeclaredInputs:
    def test_a_dbt_source_that_nobody_makes_is_a_note_with_the_lines_to_write(self) -> None:
        finding = only(found(loader("raw/people"), marts(source("crm/people"))))

        assert Severity.NOTE is finding.severity
        assert (
            "`marts` needs `crm/people` for `mart/join`; it declares it as the dbt source "
            "`crm.people`, and no location makes it." == finding.message
        )
        assert (
            """\
If that is so on purpose, write in models/sources.yml:
sources:
  - name: crm
    tables:
      - name: people
        config: {meta: {freshline: {outside: true}}}"""
            == finding.fix
        )
        assert "models/sources.yml" == finding.file

    def test_the_file_of_a_dbt_source_is_the_one_in_the_folder_of_the_location(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "sources.yml").touch()

        finding = only(found(Location("marts", marts(source()), folder=tmp_path)))

        assert f"{tmp_path}/models/sources.yml" == finding.file

    def test_an_input_of_an_integration_is_a_note_with_the_definition_to_add(self) -> None:
        needed = source("public/stars", declared_by="sling", declared_as=(), declared_in=None)
        finding = only(found(marts(needed)))

        assert Severity.NOTE is finding.severity
        assert "it declares it as an input of Sling, and no location makes it." in finding.message
        assert finding.fix.endswith(
            'dg.AssetSpec(["public", "stars"], metadata={"freshline/outside": True}).'
        )

    def test_a_source_of_another_location_declares_the_input_too(self) -> None:
        by_hand = Contract(
            location="ml",
            exports=(Export(key="ml/stars", deps=("crm/people",)),),
            imports=(Import(key="crm/people", used_by=("ml/stars",)),),
        )
        results = found(by_hand, marts(source("crm/people")))

        assert [Severity.NOTE, Severity.NOTE] == [finding.severity for finding in results]
        assert "`marts` declares it as the dbt source `crm.people`" in results[1].message

    def test_a_source_that_names_an_asset_is_an_error(self) -> None:
        finding = only(found(marts(source(expected=True))))

        assert Severity.ERROR is finding.severity
        assert "write in models/sources.yml" in finding.fix

    def test_a_source_that_a_location_made_is_an_error(self) -> None:
        gone = Location("loader", loader("raw/other"), committed=loader("raw/stars"))
        results = [it for it in found(gone, marts(source())) if it.key == "raw/stars"]

        assert Severity.ERROR is only(results).severity

    @pytest.mark.parametrize(
        ("made", "expected"),
        [
            ("raw/star", "raw/star"),  # a misspelling
            ("RAW/Stars", "RAW/Stars"),
            ("raw/stars_v2", "raw/stars_v2"),  # a rename
            ("raw/gh_stars", "raw/gh_stars"),
            ("raw/people", None),
            ("mart/stars", None),  # made from it, or by chance
        ],
    )
    def test_a_source_is_an_error_if_an_asset_looks_like_its_new_name(
        self, made: str, expected: str | None
    ) -> None:
        finding = only(found(loader(made), marts(source())))

        assert (Severity.ERROR if expected else Severity.NOTE) is finding.severity
        if expected:
            assert finding.fix.startswith(f"Did you mean `{expected}`? If `loader` renamed it")

    def test_an_asset_that_is_read_or_made_from_the_source_is_not_its_new_name(self) -> None:
        read = marts(source()).model_copy(
            update={
                "exports": (Export(key="mart/join", deps=("raw/stars", "raw/stars_daily")),),
                "imports": (source(), source("raw/stars_daily")),
            }
        )
        derived = Contract(
            location="loader",
            exports=(
                Export(key="raw/stars_daily", deps=("raw/days",)),
                Export(key="raw/days", deps=("raw/stars",)),
            ),
            imports=(source(used_by=("raw/days",)),),
        )

        assert Severity.NOTE is only(found(loader("raw/stars_daily"), read)).severity
        assert [Severity.NOTE, Severity.NOTE] == [
            finding.severity for finding in found(derived, marts(source()))
        ]

    @pytest.mark.parametrize(
        ("made", "columns", "severity"),
        [
            ("raw/gazers", STARS, Severity.ERROR),  # another name, but all columns that are read
            ("raw/stars_v2", STARS[:1], Severity.NOTE),  # much the same name, but other columns
        ],
    )
    def test_columns_tell_a_rename_if_both_sides_declare_them(
        self, made: str, columns: tuple[Column, ...], severity: Severity
    ) -> None:
        used = (UsedColumn(name="user_login"), UsedColumn(name="starred_at"))

        finding = only(found(loader(made, columns=columns), marts(source(columns=used))))

        assert severity is finding.severity

    def test_a_declared_input_is_satisfied_at_run_time(self) -> None:
        assert not runtime_findings([loader("raw/people"), marts(source())])["marts"].imports


class TestColumns:
    def test_a_column_that_does_not_exist_is_an_error(self) -> None:
        used = UsedColumn(name="country", type="text", used_by=("mart/join",))

        finding = only(found(ingestion(), core(), marts(needs(used))))

        assert Rule.MISSING_COLUMN is finding.rule
        assert (
            "column `country` of `mart/stars` does not exist in `core`, which makes the table; "
            "used by `mart/join` of `marts`." == finding.message
        )
        assert "`core` brings the column back, or `mart/join` stops using it first." == finding.fix

    def test_a_column_that_is_gone_is_called_gone(self) -> None:
        now = core(Export(key="mart/stars", deps=("raw/stars",), columns=STARS[:1]))
        used = UsedColumn(name="user_login", used_by=("mart/join",))
        results = found(ingestion(), Location("core", now, committed=core()), marts(needs(used)))

        (finding,) = [it for it in results if it.rule is Rule.MISSING_COLUMN]
        assert "column `user_login` of `mart/stars` is gone in `core`" in finding.message

    def test_the_new_name_of_a_renamed_column_is_suggested(self) -> None:
        used = UsedColumn(name="login", used_by=("mart/join",))

        assert (
            "Did you mean `user_login`?" == only(found(ingestion(), core(), marts(needs(used)))).fix
        )

    def test_a_column_that_only_the_sql_names_is_an_error_if_the_producer_lists_all(self) -> None:
        used = UsedColumn(name="country", used_by=("mart/join",), inferred=True)

        finding = only(found(ingestion(), core(), marts(needs(used))))

        assert (Rule.MISSING_COLUMN, Severity.ERROR) == (finding.rule, finding.severity)
        assert finding.message.endswith("used by `mart/join` of `marts`, as the SQL says.")

    @pytest.mark.parametrize(("enforced", "dropped"), [(True, False), (False, True)])
    def test_a_dbt_model_lists_all_columns_if_enforced_and_drops_those_no_longer_listed(
        self, enforced: bool, dropped: bool
    ) -> None:
        used = UsedColumn(name="Country", used_by=("mart/join",), inferred=True)
        stars = Export(key="mart/stars", columns=STARS, kinds=("dbt",), columns_enforced=enforced)
        before = stars.model_copy(update={"columns": (*STARS, Column(name="country"))})
        maker = Location("core", core(stars), committed=core(before if dropped else stars))

        rules = [it.rule for it in found(ingestion(), maker, marts(needs(used)))]

        assert Rule.MISSING_COLUMN in rules

    def test_a_dbt_model_may_have_columns_that_it_does_not_list(self) -> None:
        used = UsedColumn(name="country", used_by=("mart/join",), inferred=True)
        stars = Export(key="mart/stars", deps=("raw/stars",), columns=STARS, kinds=("dbt",))

        assert [] == found(ingestion(), core(stars), marts(needs(used)))

    @pytest.mark.parametrize("columns", [None, STARS])
    def test_a_column_that_the_sql_of_neither_model_makes_is_an_error(
        self, columns: tuple[Column, ...] | None
    ) -> None:
        used = UsedColumn(name="country", used_by=("mart/join",), inferred=True)
        made = ("countries", "starred_at", "user_login")
        stars = Export(
            key="mart/stars",
            deps=("raw/stars",),
            columns=columns,
            kinds=("dbt",),
            made_columns=made,
        )

        finding = only(found(ingestion(), core(stars), marts(needs(used))))

        assert (Rule.MISSING_COLUMN, Severity.ERROR) == (finding.rule, finding.severity)
        assert finding.message.endswith(
            "used by `mart/join` of `marts`, as the SQL of both says."
        ), finding.message
        assert "Did you mean `countries`?" == finding.fix

    @pytest.mark.parametrize("inferred", [True, False])
    @pytest.mark.parametrize("name", ["country", "COUNTRY", '"Country"', "country.code", "_part"])
    def test_a_column_that_only_the_sql_of_the_producer_has_is_there(
        self, name: str, inferred: bool
    ) -> None:
        used = UsedColumn(name=name, used_by=("mart/join",), inferred=inferred)
        made = ("Country", "starred_at", "user_login")
        stars = Export(
            key="mart/stars", deps=("raw/stars",), columns=STARS, kinds=("dbt",), made_columns=made
        )
        before = stars.model_copy(update={"columns": (*STARS, Column(name=name))})
        maker = Location("core", core(stars), committed=core(before))

        results = found(ingestion(), maker, marts(needs(used)))

        assert Rule.MISSING_COLUMN not in [it.rule for it in results]

    def test_a_column_that_the_yaml_lists_and_the_sql_does_not_make_is_an_error(self) -> None:
        used = UsedColumn(name="user_login", type="text", used_by=("mart/join",))
        stars = Export(
            key="mart/stars",
            deps=("raw/stars",),
            columns=STARS,
            kinds=("dbt",),
            made_columns=("login", "starred_at"),
        )

        finding = only(found(ingestion(), core(stars), marts(needs(used))))

        assert Rule.MISSING_COLUMN is finding.rule
        assert (
            "column `user_login` of `mart/stars` does not exist in `core`, which makes the table; "
            "used by `mart/join` of `marts`, as the SQL of `core` says; the YAML of `core` still "
            "lists it." == finding.message
        )
        assert "Did you mean `login`?" == finding.fix

    def test_a_column_of_another_type_is_an_error(self) -> None:
        used = UsedColumn(name="starred_at", type="text", used_by=("mart/join",))

        finding = only(found(ingestion(), core(), marts(needs(used))))

        assert Rule.COLUMN_TYPE is finding.rule
        assert (
            "column `starred_at` of `mart/stars` is `timestamptz` in `core`, which makes the "
            "table; `mart/join` of `marts` uses it as `text`." == finding.message
        )

    def test_a_type_that_is_not_known_is_a_note(self) -> None:
        used = UsedColumn(name="user_login", type="mood", used_by=("mart/join",))

        finding = only(found(ingestion(), core(), marts(needs(used))))

        assert (Rule.COLUMN_TYPE, Severity.NOTE) == (finding.rule, finding.severity)
        assert (
            "column `user_login` of `mart/stars` is `text` in `core`, and `mart/join` of `marts` "
            "uses it as `mood`. They were not compared: no type `mood` is known."
        ) == finding.message

    def test_the_readers_tell_the_engine_of_an_asset_that_names_none(self) -> None:
        used = UsedColumn(name="user_id", type="number(38,0)", used_by=("mart/join",))
        join = Export(key="mart/join", deps=("mart/stars",), kinds=("dbt", "snowflake"))

        assert [] == found(ingestion(), core(), marts(needs(used), exports=(join,)))

    def test_names_are_compared_without_case(self) -> None:
        used = UsedColumn(name="USER_LOGIN", type="TEXT")

        assert [] == found(ingestion(), core(), marts(needs(used)))

    def test_columns_are_not_checked_when_the_producer_declares_none(self) -> None:
        unknown = core(Export(key="mart/stars", deps=("raw/stars",)))
        used = UsedColumn(name="anything", type="text")

        assert [] == found(ingestion(), unknown, marts(needs(used)))

    def test_a_table_declared_without_columns_has_none(self) -> None:
        empty = core(Export(key="mart/stars", deps=("raw/stars",), columns=()))
        used = UsedColumn(name="user_id")

        assert Rule.MISSING_COLUMN is only(found(ingestion(), empty, marts(needs(used)))).rule


class TestMakers:
    def test_two_makers_of_one_key_are_an_error(self, tmp_path: Path) -> None:
        other = Contract(location="legacy", exports=(Export(key="mart/stars", file="assets.py"),))
        finding = only(
            found(
                ingestion(),
                Location("core", core(), folder=tmp_path / "core"),
                Location("legacy", other, folder=tmp_path / "legacy"),
                marts(),
            )
        )

        assert Rule.MADE_TWICE is finding.rule
        assert (
            f"`mart/stars` is made by `core` ({tmp_path}/core/models/stars.sql) and by `legacy` "
            f"({tmp_path}/legacy/assets.py); an asset has one maker." == finding.message
        )
        assert ("core", "legacy") == finding.concerns


class TestCycles:
    def test_a_cycle_across_locations_is_an_error(self) -> None:
        circle = ingestion(
            exports=(Export(key="raw/stars", deps=("mart/join",)),),
            imports=(Import(key="mart/join", used_by=("raw/stars",)),),
        )

        finding = only(found(circle, core(), marts()))

        assert Rule.CYCLE is finding.rule
        assert (
            "assets wait for each other in a circle: `mart/join` (marts) -> `mart/stars` (core) "
            "-> `raw/stars` (ingestion) -> `mart/join` (marts)." == finding.message
        )
        assert ("core", "ingestion", "marts") == finding.concerns

    def test_two_separate_cycles_are_two_findings(self) -> None:
        def pair(location: str, one: str, two: str) -> Contract:
            return Contract(
                location=location,
                exports=(Export(key=one, deps=(two,)), Export(key=two, deps=(one,))),
            )

        results = found(pair("a", "l/a", "l/b"), pair("b", "l/c", "l/d"))

        assert ["l/a", "l/c"] == [finding.key for finding in results]

    def test_locations_that_use_each_other_are_no_cycle(self) -> None:
        forth = Contract(
            location="a",
            exports=(Export(key="l/one"), Export(key="l/three", deps=("l/two",))),
            imports=(Import(key="l/two", used_by=("l/three",)),),
        )
        back = Contract(
            location="b",
            exports=(Export(key="l/two", deps=("l/one",)),),
            imports=(Import(key="l/one", used_by=("l/two",)),),
        )

        assert [] == found(forth, back)

    def test_a_chain_of_thousands_is_no_cycle(self) -> None:
        chain = tuple(
            Export(key=f"l/t{n}", deps=(f"l/t{n + 1}",) if n < 4_999 else ()) for n in range(5_000)
        )

        assert [] == found(Contract(location="a", exports=chain))


def measured(**seconds: float) -> Mapping[str, Durations]:
    steady = {name: Moments(1_000, value, 0.0) for name, value in seconds.items()}
    return {
        name.replace("__", "/"): Durations(
            wait=Moments(1_000, 0.0, 0.0),
            queue=Moments(1_000, 0.0, 0.0),
            start=Moments(1_000, 0.0, 0.0),
            execution=moments,
        )
        for name, moments in steady.items()
    }


class TestViews:
    def workspace(self, made: tuple[str, ...], view: tuple[str, ...]) -> list[Finding]:
        people = Export(key="mart/people", deps=("raw/stars",), kinds=made)
        names = Export(key="mart/names", deps=("mart/people",), kinds=view, file="names.sql")
        need = Import(key="mart/people", used_by=("mart/names",))
        return found(
            ingestion(),
            core(people),
            under_freshline("marts", exports=(names,), imports=(need,)),
        )

    @pytest.mark.parametrize("made", ["table", "view"])
    def test_a_view_on_what_another_dbt_rebuilds_is_dropped_with_it(self, made: str) -> None:
        finding = only(self.workspace(("dbt", "postgres", made), ("dbt", "postgres", "view")))

        assert (Rule.FOREIGN_VIEW, Severity.ERROR) == (finding.rule, finding.severity)
        assert ("marts", "mart/names") == (finding.location, finding.key)
        assert (
            "`mart/names` of `marts` is a view on `mart/people`, which `core` rebuilds: dbt then "
            "drops the old table, and the view with it."
        ) == finding.message
        assert "Make `mart/names` a table." == finding.fix

    @pytest.mark.parametrize(
        ("made", "view"),
        [
            (("dbt", "postgres", "table"), ("dbt", "postgres", "table")),
            (("dbt", "postgres", "view"), ("dbt", "postgres", "table")),
            (("dbt", "postgres", "incremental"), ("dbt", "postgres", "view")),
            (("dbt", "postgres", "materialized_view"), ("dbt", "postgres", "view")),
            (("airbyte", "postgres"), ("dbt", "postgres", "view")),
            (("dbt", "snowflake", "table"), ("dbt", "snowflake", "view")),
            (("dbt", "postgres", "table"), ("python",)),
        ],
    )
    def test_nothing_is_found_where_the_view_stays(
        self, made: tuple[str, ...], view: tuple[str, ...]
    ) -> None:
        assert [] == self.workspace(made, view)

    def test_a_view_on_a_table_of_its_own_location_is_rebuilt_with_it(self) -> None:
        kinds = ("dbt", "postgres", "table")
        people = Export(key="mart/people", deps=("raw/stars",), kinds=kinds)
        names = Export(key="mart/names", deps=("mart/people",), kinds=(*kinds[:2], "view"))

        assert [] == found(ingestion(), core(people, names))


class TestPolicies:
    DURATIONS = measured(raw__stars=60, mart__stars=15, mart__join=15)

    def test_a_policy_that_cannot_hold_has_the_seconds_of_each_location(self) -> None:
        finding = only(found(ingestion(), core(), marts(policy=MaxLag(2)), measured=self.DURATIONS))

        assert Rule.POLICY is finding.rule
        # Just before it is replaced, the data is as old as the whole path (90 s), the sync
        # before it (60 s, and the 5 s of a tick), and 2 s of margin, which all three share.
        assert (
            "`mart/join`: 2 min asked, the path takes 2 min 37 s, including the wait for the run "
            "before it: 2 min 6 s of it in `ingestion`, 16 s of it in `core`, 16 s of it in "
            "`marts`." == finding.message
        )

    def test_a_policy_that_can_hold_is_no_finding(self) -> None:
        assert [] == found(ingestion(), core(), marts(policy=MaxLag(3)), measured=self.DURATIONS)

    def test_declared_durations_are_used_when_none_were_measured(self) -> None:
        slow = ingestion(exports=(Export(key="raw/stars", expected_seconds=600),))

        assert [] == found(ingestion(), core(), marts(policy=MaxLag(10)))
        assert Rule.POLICY is only(found(slow, core(), marts(policy=MaxLag(10)))).rule

    def test_measured_durations_replace_declared_ones(self) -> None:
        slow = ingestion(exports=(Export(key="raw/stars", expected_seconds=600),))

        assert [] == found(slow, core(), marts(policy=MaxLag(10)), measured=self.DURATIONS)

    def test_given_durations_replace_those_in_contracts(self) -> None:
        contracts = (ingestion(), core(), marts(policy=MaxLag(10)))
        locations = [Location(contract.location, contract) for contract in contracts]

        assert [] == infeasible(Workspace(locations, {"raw/stars": 60}), {})
        slow = Workspace(locations, {"raw/stars": 600})
        assert ["mart/join"] == [miss.key for miss in infeasible(slow, {})]

    def test_twenty_seconds_over_three_locations_can_never_hold(self) -> None:
        finding = only(found(ingestion(), core(), marts(policy=MaxLag(20 / 60))))

        assert "20 s asked, the path takes at the very least " in finding.message

    def test_unknown_durations_are_no_finding(self) -> None:
        assert [] == found(ingestion(), core(), marts(policy=MaxLag(1)))

    def test_a_policy_with_a_cron_does_not_count_the_run_before(self) -> None:
        durations = measured(raw__stars=60, mart__stars=15, mart__join=15)
        cron = MaxLag(2, "0 9 * * *")

        assert [] == found(ingestion(), core(), marts(policy=cron), measured=durations)

    def test_a_policy_on_partitions_that_cannot_be_followed_is_an_error(self) -> None:
        odd = Partitions(unsupported="its partitions are a Maze, which freshline does not know")
        daily = Export(key="raw/daily", partitioned=True, partitions=odd, policy=MaxLag(5))
        finding = only(found(under_freshline("a", exports=(daily,))))

        assert (Rule.POLICY, Severity.ERROR) == (finding.rule, finding.severity)
        assert (
            "asset raw/daily carries a maximum lag, which cannot be kept: its partitions are a "
            "Maze, which freshline does not know. Take the policy off"
        ) in finding.message

    def test_a_policy_on_a_mapping_that_cannot_be_followed_is_an_error(self) -> None:
        reads = {"mart/stars": PartitionsRead(unsupported="Twist is code of its own location")}
        join = Export(
            key="mart/join",
            deps=("mart/stars",),
            partitioned=True,
            partitions=DAILY,
            reads=reads,
            policy=MaxLag(5000),
        )
        finding = only(found(ingestion(), core(), marts(exports=(join,))))

        assert (
            "which cannot be kept: which partitions of mart/stars it reads cannot be followed: "
            "Twist is code of its own location. "
        ) in finding.message

    def test_a_policy_on_partitions_of_an_older_freshline_is_an_error(self) -> None:
        daily = Export(key="raw/daily", partitioned=True, policy=MaxLag(5))
        finding = only(found(under_freshline("a", exports=(daily,))))

        assert "the freshline of its location is too old to say how" in finding.message

    def test_a_policy_that_is_shorter_than_the_windows_is_an_error(self) -> None:
        daily = Export(key="raw/daily", partitioned=True, partitions=DAILY, policy=MaxLag(600))
        finding = only(found(under_freshline("a", exports=(daily,))))

        assert (Rule.POLICY, "raw/daily") == (finding.rule, finding.key)
        assert "10 h asked, the path takes at the very least 1 d" in finding.message
        assert (
            " of it in `a`. `raw/daily` of `a` has partitions of 1 d, each made when it has ended."
        ) in finding.message
        assert "the run before" not in finding.message

    def test_a_policy_that_fits_the_windows_is_no_finding(self) -> None:
        daily = Export(key="raw/daily", partitioned=True, partitions=DAILY, policy=MaxLag(26 * 60))

        assert [] == found(under_freshline("a", exports=(daily,)))

    def test_a_policy_downstream_of_partitions_is_no_finding(self) -> None:
        hourly = Export(key="raw/stars", partitioned=True, partitions=HOURLY)

        assert [] == found(ingestion(exports=(hourly,)), core(), marts(policy=MaxLag(90)))

    def test_a_policy_downstream_of_partitions_that_cannot_be_followed_is_a_note(self) -> None:
        odd = Partitions(unsupported="it has no partition keys")
        daily = Export(key="raw/stars", partitioned=True, partitions=odd)
        finding = only(found(ingestion(exports=(daily,)), core(), marts(policy=MaxLag(10))))

        assert Severity.NOTE is finding.severity
        assert (
            "`raw/stars` is never requested, and `mart/join` needs it: it has no partition keys."
            == finding.message
        )

    def test_a_partitioned_asset_that_dagster_refuses_is_an_error(self) -> None:
        daily = Export(
            key="raw/stars", partitioned=True, partitions=HOURLY, unlaunchable="it lacks config"
        )
        finding = only(found(ingestion(exports=(daily,)), core(), marts(policy=MaxLag(90))))

        assert (Rule.UNLAUNCHABLE, Severity.ERROR) == (finding.rule, finding.severity)

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [(0.2, "1 s"), (20, "20 s"), (190, "3 min 10 s"), (3600, "1 h"), (7530, "2 h 5 min")],
    )
    def test_a_duration_in_a_message_is_at_least_a_second(
        self, seconds: float, expected: str
    ) -> None:
        assert expected == spoken(seconds)


def writes(*unkept: UnkeptPolicy, **changes: Any) -> Contract:
    """Return the contract of `marts` with policies that are not kept."""
    return marts(unkept=unkept, **changes)


class TestObserved:
    FEED = Export(key="raw/stars", observed=True)

    def test_what_another_location_makes_is_not_made_twice(self) -> None:
        watcher = under_freshline("a watcher", exports=(self.FEED,))

        assert [] == found(ingestion(), core(), marts(), watcher)

    def test_what_two_locations_observe_is_not_made_twice(self) -> None:
        watchers = [under_freshline(name, exports=(self.FEED,)) for name in ("a", "b")]

        assert [] == found(*watchers, core(), marts())

    def test_what_nobody_makes_is_there(self) -> None:
        assert [] == found(ingestion(exports=(self.FEED,)), core(), marts())

    def test_what_is_declared_as_outside_may_be_observed(self) -> None:
        reader = core(outside=("raw/stars",))

        assert [] == found(ingestion(exports=(self.FEED,)), reader, marts())

    def test_keys_are_chosen_by_whoever_makes_them(self) -> None:
        odd = Export(key="Odd/Feed.Name", observed=True)

        assert [] == found(ingestion(exports=(odd,)), convention="layer-table")

    def test_columns_are_those_of_the_maker(self) -> None:
        text = Column(name="user_login", type="bigint")
        watcher = under_freshline(
            "a watcher", exports=(Export(key="mart/stars", columns=(text,), observed=True),)
        )
        need = needs(UsedColumn(name="user_login", type="varchar", used_by=("mart/join",)))

        assert [] == found(watcher, ingestion(), core(), marts(need))


class TestWrittenPolicies:
    def test_a_policy_that_cannot_be_read_is_an_error(self) -> None:
        wrong = UnkeptPolicy(
            key="mart/join", notation="meta.x", reason="wrong", problem="it is late", file="j.sql"
        )

        location = Location("marts", writes(wrong), folder=Path("marts").absolute())
        finding = only(found(ingestion(), core(), location))

        assert (Rule.POLICY, "mart/join", "it is late", "marts/j.sql") == (
            finding.rule,
            finding.key,
            finding.message,
            finding.file,
        )
        assert Severity.ERROR is finding.severity

    def test_a_policy_without_freshline_is_an_error(self) -> None:
        plain = marts(policy=MaxLag(60), published_as=None)

        finding = only(found(ingestion(), core(), plain))

        assert (Rule.POLICY, Severity.ERROR) == (finding.rule, finding.severity)
        assert "nobody keeps it: `marts` does not use freshline" in finding.message
        assert "with_freshline(..., location='marts')" in finding.fix

    def test_older_notations_without_freshline_are_one_note(self) -> None:
        old = [
            UnkeptPolicy(key=key, notation="legacy_freshness_policy", reason="not adopted")
            for key in ("mart/a", "mart/b")
        ]

        finding = only(found(ingestion(), core(), writes(*old, published_as=None)))

        assert Severity.NOTE is finding.severity
        assert (
            "`mart/a` and `mart/b` of `marts` carry a policy (legacy_freshness_policy), which "
            "nobody keeps"
        ) in finding.message

    def test_dagsters_own_policies_are_one_note(self) -> None:
        native = UnkeptPolicy(key="mart/join", notation="freshness_policy", reason="native")

        finding = only(found(ingestion(), core(), writes(native)))

        assert Severity.NOTE is finding.severity
        assert "Dagster watches it, and freshline does not keep it" in finding.message

    @pytest.mark.parametrize(
        ("maker", "says"),
        [
            (core(), "`core`, which makes it, carries none."),
            (
                core(Export(key="mart/stars", policy=MaxLag(60)), published_as="core"),
                "`core`, which makes it, promises at most 60 minutes behind.",
            ),
        ],
    )
    def test_a_policy_on_anothers_asset_is_an_error(self, maker: Contract, says: str) -> None:
        shared = UnkeptPolicy(
            key="mart/stars", notation="freshline/max_lag", reason="external", policy=MaxLag(30)
        )

        finding = only(found(ingestion(), maker, writes(shared)))

        assert (Rule.POLICY, Severity.ERROR) == (finding.rule, finding.severity)
        assert says in finding.message

    def test_a_policy_that_the_maker_has_too_is_no_finding(self) -> None:
        maker = core(Export(key="mart/stars", policy=MaxLag(30)), published_as="core")
        shared = UnkeptPolicy(
            key="mart/stars", notation="freshline/max_lag", reason="external", policy=MaxLag(30)
        )

        assert [] == found(ingestion(), maker, writes(shared))

    def test_a_policy_on_what_nobody_makes_is_an_error_without_freshline(self) -> None:
        feed = UnkeptPolicy(
            key="vendor/feed", notation="freshline/max_lag", reason="external", policy=MaxLag(30)
        )

        finding = only(found(ingestion(), core(), writes(feed, published_as=None)))

        assert (Severity.ERROR, "vendor/feed") == (finding.severity, finding.key)
        assert "no location makes it" in finding.message

    def test_a_policy_on_what_nobody_makes_is_watched(self) -> None:
        feed = WatchedPolicy(key="vendor/feed", policy=MaxLag(30))

        assert [] == found(ingestion(), core(), marts(watched=(feed,), declares=("vendor/feed",)))

    def test_what_needs_a_watched_asset_is_still_noted(self) -> None:
        feed = WatchedPolicy(key="mart/stars", policy=MaxLag(30))
        reader = marts(policy=MaxLag(60), watched=(feed,), declares=("mart/stars",))

        found_notes = [it for it in found(reader) if it.rule is Rule.NOT_REQUESTED]

        assert (
            "`mart/stars` is never requested, and `mart/join` needs it: marts declares it as made "
            "by somebody else."
        ) == only(found_notes).message

    @pytest.mark.parametrize(
        ("export", "says"),
        [
            (Export(key="mart/stars"), "`core`, which makes it, carries none."),
            (
                Export(key="mart/stars", policy=MaxLag(60)),
                "`core`, which makes it, promises at most 60 minutes behind.",
            ),
            (Export(key="mart/stars", observed=True), "`core`, which observes it, carries none."),
            (Export(key="mart/stars", policy=MaxLag(30)), None),
            (Export(key="mart/stars", policy=MaxLag(10)), None),
        ],
    )
    def test_a_watched_policy_that_the_maker_does_not_keep_is_an_error(
        self, export: Export, says: str | None
    ) -> None:
        watched = WatchedPolicy(key="mart/stars", policy=MaxLag(30))

        results = found(ingestion(), core(export), marts(watched=(watched,)))

        assert [] == results if says is None else says in only(results).message

    @pytest.mark.parametrize(
        ("reason", "severity"),
        [
            ("source", Severity.ERROR),
            ("ephemeral", Severity.ERROR),
            ("partitioned", Severity.ERROR),
            ("maybe inherited", Severity.NOTE),
            ("disabled", Severity.NOTE),
            ("not selected", Severity.NOTE),
        ],
    )
    def test_a_policy_on_what_is_not_built_says_why(self, reason: str, severity: Severity) -> None:
        unkept = UnkeptPolicy(key="sales/x", notation="meta.x", reason=reason)

        finding = only(found(ingestion(), core(), writes(unkept)))

        assert (severity, "sales/x") == (finding.severity, finding.key)
        assert "(meta.x)" in finding.message

    def test_a_policy_on_a_model_that_another_location_makes_is_no_finding(self) -> None:
        unkept = UnkeptPolicy(key="mart/stars", notation="meta.x", reason="not selected")

        assert [] == found(ingestion(), core(), writes(unkept))


class TestCommitted:
    @pytest.mark.parametrize(
        ("before", "after", "says"),
        [
            ({}, {"partitions": DAILY}, "the file does not say which partitions there are"),
            (
                {"partitions": DAILY},
                {"partitions": DAILY.model_copy(update={"single_run": True})},
                "single run of its partitions",
            ),
            (
                {"reads": {"raw/stars": PartitionsRead(windows=(0, 0))}},
                {"reads": {"raw/stars": PartitionsRead(windows=(-1, 0))}},
                "reads other partitions of its inputs",
            ),
            ({}, {"observed": True}, "observed now"),
            ({"view": True, "code_version": "1"}, {"view": True, "code_version": "2"}, None),
        ],
    )
    def test_what_a_plan_goes_by_is_compared(
        self, before: dict[str, Any], after: dict[str, Any], says: str | None
    ) -> None:
        old, new = (
            core(Export(key="mart/stars", partitioned=True, **fields)) for fields in (before, after)
        )

        assert [f"`mart/stars`: {says}"] * (says is not None) == differences(old, new)

    def test_policies_on_what_others_make_are_compared(self) -> None:
        feed = WatchedPolicy(key="vendor/feed", policy=MaxLag(30))

        assert ["policies on assets that it does not make: others than before"] == differences(
            core(), core(watched=(feed,))
        )

    def test_a_stale_contract_has_the_fields_and_the_command(self, tmp_path: Path) -> None:
        committed = marts(needs(), policy=MaxLag(5))
        now = marts(needs(UsedColumn(name="user_id", type="bigint")), policy=MaxLag(10))
        stale = Location(
            "marts", now, committed=committed, contract_file=tmp_path / "contract.json"
        )

        finding = only(found(ingestion(), core(), stale))

        assert Rule.STALE_CONTRACT is finding.rule
        assert (
            f"{tmp_path}/contract.json no longer matches the code of `marts`: 2 differences."
            == (finding.message)
        )
        assert (
            "`mart/join`: maximum lag: at most 5 minutes behind -> at most 10 minutes behind",
            "import `mart/stars`: column `user_id` (bigint) used now",
        ) == finding.details
        assert "Run `freshline contract write marts` and commit the file." == finding.fix

    def test_a_missing_contract_has_the_file_and_the_command(self, tmp_path: Path) -> None:
        lost = Location(
            "marts", marts(published_as="marts"), contract_file=tmp_path / "contract.json"
        )

        finding = only(found(ingestion(), core(), lost))

        assert (Rule.STALE_CONTRACT, Severity.ERROR) == (finding.rule, finding.severity)
        assert (
            f"`marts` has no committed contract: {tmp_path}/contract.json is missing, by which "
            "reviews and other teams' tests know what it makes." == finding.message
        )
        assert "Run `freshline contract write marts` and commit the file." == finding.fix

    def test_a_location_without_freshline_needs_no_contract(self, tmp_path: Path) -> None:
        contract = marts(published_as=None)
        plain = Location("marts", contract, contract_file=tmp_path / "contract.json")

        assert [] == found(ingestion(), core(), plain)

    def test_a_location_without_a_folder_needs_no_contract(self) -> None:
        """A code server has no folder here."""
        assert [] == found(ingestion(), core(), Location("marts", marts()))

    def test_a_current_contract_is_no_finding(self) -> None:
        assert [] == found(ingestion(), core(), Location("marts", marts(), committed=marts()))

    def test_another_version_of_dagster_is_a_note(self) -> None:
        upgraded = Location(
            "marts",
            marts(dagster_version="1.13.27"),
            committed=marts(dagster_version="1.12.9"),
        )

        finding = only(found(ingestion(), core(), upgraded))

        assert Severity.NOTE is finding.severity
        assert "was written with Dagster 1.12.9; it runs 1.13.27 now." in finding.message


class TestSchema:
    def test_a_newer_schema_is_a_note_with_what_is_checked(self) -> None:
        finding = only(found(ingestion(), core(), marts(schema_version=2)))

        assert Rule.NEWER_SCHEMA is finding.rule
        assert Severity.NOTE is finding.severity
        assert (
            "the contract of `marts` has schema 2, this freshline knows 1: keys, dependencies, "
            "columns and policies as known here are checked, what the newer schema adds is not."
            == finding.message
        )

    def test_known_fields_of_a_newer_schema_are_checked(self) -> None:
        results = found(ingestion(), core(), marts(needs(key="mart/star"), schema_version=2))

        assert [Rule.UNKNOWN_IMPORT, Rule.NEWER_SCHEMA] == [finding.rule for finding in results]


class TestKeys:
    def test_a_key_outside_the_convention_has_the_file_and_a_better_name(
        self, tmp_path: Path
    ) -> None:
        contract = Contract(
            location="marts",
            published_as="marts",
            exports=(Export(key="Mart/OrderItems", file="assets.py"),),
        )
        finding = only(
            found(Location("marts", contract, folder=tmp_path), convention="layer-table")
        )

        assert Rule.KEY_CONVENTION is finding.rule
        assert finding.message.startswith("`Mart/OrderItems` of `marts` has the layer 'Mart'")
        assert f"In {tmp_path}/assets.py, name it `mart/order_items`." == finding.fix

    def test_a_key_of_three_parts_is_an_error(self) -> None:
        contract = Contract(location="a", published_as="a", exports=(Export(key="db/raw/orders"),))

        assert "Name it [layer, table]: the logical schema, then the table." == (
            only(found(contract, convention="layer-table")).fix
        )

    def test_keys_are_not_checked_if_the_workspace_asks_for_no_convention(self) -> None:
        contract = Contract(location="a", published_as="a", exports=(Export(key="OrderItems"),))

        assert [] == found(contract)

    def test_keys_of_a_location_without_freshline_are_not_checked(self) -> None:
        contract = Contract(location="a", exports=(Export(key="OrderItems"),))

        assert [] == found(contract, convention="layer-table")

    @pytest.mark.parametrize(
        ("convention", "right", "wrong"),
        [
            ("dagster-dbt", ["Orders", "RAW/Orders", "a/b/c"], []),
            ("one-part", ["Orders"], ["raw/orders"]),
            ("three-parts", ["DB/RAW/Orders"], ["raw/orders", "orders"]),
            (lambda parts, _: ["lake", parts[-1].lower()], ["lake/orders"], ["lake/Orders"]),
        ],
    )
    def test_keys_are_judged_by_the_convention_that_the_workspace_asks_for(
        self, convention: Convention, right: list[str], wrong: list[str]
    ) -> None:
        exports = tuple(Export(key=key) for key in (*right, *wrong))
        contract = Contract(location="a", published_as="a", exports=exports)

        assert sorted(wrong) == [finding.key for finding in found(contract, convention=convention)]

    def test_a_function_says_what_the_key_should_be_or_what_is_wrong(self) -> None:
        def keys(parts: Sequence[str], _: object) -> Sequence[str]:
            if len(parts) > 2:
                raise ValueError("has a database, which ours have not")
            return ["lake", parts[-1]]

        exports = (Export(key="orders"), Export(key="db/raw/people"))
        contract = Contract(location="a", published_as="a", exports=exports)

        long, short = found(contract, convention=keys)

        assert "`orders` of `a` is lake/orders by the workspace's convention." == short.message
        assert "Name it `lake/orders`." == short.fix
        assert "has a database, which ours have not." in long.message

    def test_a_location_that_publishes_under_another_name_is_an_error(self) -> None:
        contract = Contract(location="marts", published_as="mart")

        assert "it publishes its contract as `mart`" in only(found(contract)).message


class TestAtRunTime:
    def test_a_location_sees_its_own_unknown_imports(self) -> None:
        contracts = [ingestion(), core(), marts(needs(key="mart/star"))]
        errors = runtime_findings(contracts)

        assert [Rule.UNKNOWN_IMPORT] == [finding.rule for finding in errors["marts"].imports]
        assert [] == errors["core"].imports

    def test_notes_do_not_count(self) -> None:
        contracts = [ingestion(), core(), marts(needs(key="crm/people", declared=True))]

        assert [] == runtime_findings(contracts)["marts"].imports

    def test_both_makers_of_a_key_see_the_finding(self) -> None:
        legacy = Contract(location="legacy", exports=(Export(key="mart/stars"),))
        errors = runtime_findings([ingestion(), core(), legacy, marts()])

        assert [[Rule.MADE_TWICE], [Rule.MADE_TWICE], []] == [
            [finding.rule for finding in errors[location].imports]
            for location in ("core", "legacy", "marts")
        ]

    def test_a_location_sees_only_its_own_policies(self) -> None:
        contracts = [ingestion(), core(), marts(policy=MaxLag(2))]
        errors = runtime_findings(contracts, TestPolicies.DURATIONS)

        assert ["mart/join"] == [finding.key for finding in errors["marts"].policies]
        assert [] == errors["core"].policies
