"""The changes that can break a reader, and the assets that they reach."""

from __future__ import annotations

from typing import Any

import pytest
from freshline.compare.changes import Change, changes
from freshline.contract import Column, Contract, Export, Import, UsedColumn
from freshline.contract.document import Partitions, TimeWindows
from freshline.impact import consumers
from freshline.policy import MaxLag

STARS = Export(
    key="mart/stars",
    columns=(Column(name="id", type="bigint", nullable=False), Column(name="login", type="text")),
    columns_enforced=True,
    owners=("team:core",),
    policy=MaxLag(10),
)


def core(**fields: Any) -> Contract:
    return Contract(location="core", exports=(STARS.model_copy(update=fields),))


def changed(**fields: Any) -> list[Change]:
    return changes(core(), core(**fields))


class TestChanges:
    def test_a_contract_has_no_changes_from_itself(self) -> None:
        assert [] == changes(core(), core())

    @pytest.mark.parametrize(
        ("fields", "text", "breaking"),
        [
            ({"columns": STARS.columns[:1]}, "column `login` removed", True),  # type: ignore[index]
            (
                {"columns": (*STARS.columns, Column(name="at", type="date"))},  # type: ignore[misc]
                "column `at` added",
                False,
            ),
            (
                {"columns": (STARS.columns[0], Column(name="logins", type="text"))},  # type: ignore[index]
                "column `login` renamed to `logins`",
                True,
            ),
            (
                {"columns": (STARS.columns[0], Column(name="login", type="bytea"))},  # type: ignore[index]
                "column `login`: text -> bytea",
                True,
            ),
            (
                {"columns": (STARS.columns[0], Column(name="login", type="varchar"))},  # type: ignore[index]
                "column `login`: text -> varchar",
                False,
            ),
            (
                {"columns": (Column(name="id", type="bigint"), STARS.columns[1])},  # type: ignore[index]
                "column `id` may be null now",
                True,
            ),
            (
                {
                    "columns": (
                        STARS.columns[0],  # type: ignore[index]
                        Column(name="login", type="text", nullable=False),
                    )
                },
                "column `login` is never null now",
                False,
            ),
            ({"columns": None}, "its columns are no longer declared", True),
            ({"columns_enforced": False}, "its columns are no longer enforced", True),
            (
                {"policy": MaxLag(20)},
                "maximum lag: at most 10 minutes behind -> at most 20 minutes behind",
                True,
            ),
            ({"policy": None}, "maximum lag: at most 10 minutes behind -> none", True),
            (
                {"policy": MaxLag(5)},
                "maximum lag: at most 10 minutes behind -> at most 5 minutes behind",
                False,
            ),
            (
                {"policy": MaxLag(10, "0 9 * * *")},
                f"maximum lag: {MaxLag(10)} -> {MaxLag(10)} at 0 9 * * * (UTC)",
                True,
            ),
            ({"partitioned": True}, "partitioned now", True),
            ({"view": True}, "a view now", False),
            ({"owners": ("team:new",)}, "owners: team:core -> team:new", False),
            ({"deps": ("raw/x",)}, "dependencies: none -> raw/x", False),
            ({"description": "Better."}, "another description", False),
        ],
    )
    def test_a_change_is_breaking_or_harmless(
        self, fields: dict[str, Any], text: str, breaking: bool
    ) -> None:
        assert [(text, breaking)] == [(it.text, it.breaking) for it in changed(**fields)]

    def test_columns_that_only_the_sql_makes_are_compared(self) -> None:
        before = core(columns=None, made_columns=("id", "order", "who"))

        assert [
            Change(
                "mart/stars",
                "column `order` renamed to `orders` in its SQL",
                breaking=True,
                column="order",
            ),
            Change("mart/stars", "column `who` removed in its SQL", breaking=True, column="who"),
            Change("mart/stars", "column `day` added in its SQL", breaking=False, column="day"),
        ] == changes(before, core(columns=None, made_columns=("day", "id", "orders")))
        assert [
            Change("mart/stars", "its columns are no longer known from its SQL", breaking=False)
        ] == (changes(before, core(columns=None)))

    def test_a_column_that_is_gone_from_yaml_and_sql_is_one_change(self) -> None:
        after = core(made_columns=("id",), columns=(STARS.columns or ())[:1])

        assert ["column `login` removed"] == [
            it.text for it in changes(core(made_columns=("id", "login")), after)
        ]

    def test_a_policy_that_loses_its_cron_is_harmless(self) -> None:
        before = core(policy=MaxLag(10, "0 9 * * *"))

        assert [False] == [change.breaking for change in changes(before, core())]

    def test_a_removed_asset_and_an_added_one_are_two_changes(self) -> None:
        after = Contract(location="core", exports=(Export(key="mart/other"),))

        assert [
            Change("mart/other", "added", breaking=False),
            Change("mart/stars", "removed", breaking=True),
        ] == changes(core(), after)

    def test_an_asset_with_the_same_columns_under_another_name_is_renamed(self) -> None:
        assert [Change("mart/stars", "renamed to `mart/stargazing`", breaking=True)] == changed(
            key="mart/stargazing"
        )


class TestPartitions:
    DAYS = TimeWindows(cron="0 0 * * *", start=1_767_225_600.0)

    def changed(self, before: Partitions, after: Partitions) -> list[tuple[str, bool]]:
        found = changes(
            core(partitioned=True, partitions=before), core(partitioned=True, partitions=after)
        )
        return [(change.text, change.breaking) for change in found]

    @pytest.mark.parametrize(
        ("fields", "text", "breaking"),
        [
            ({"cron": "0 * * * *"}, "time windows: 0 0 * * * (UTC) -> 0 * * * * (UTC)", True),
            (
                {"timezone": "Europe/Amsterdam"},
                "time windows: 0 0 * * * (UTC) -> 0 0 * * * (Europe/Amsterdam)",
                True,
            ),
            ({"fmt": "%d.%m.%Y"}, "partition keys: %Y-%m-%d -> %d.%m.%Y", True),
            (
                {"start": 1_769_904_000.0},
                "first partition: 2026-01-01T00:00+00:00 -> 2026-02-01T00:00+00:00",
                True,
            ),
            (
                {"start": 1_764_547_200.0},
                "first partition: 2026-01-01T00:00+00:00 -> 2025-12-01T00:00+00:00",
                False,
            ),
            (
                {"end": 1_769_904_000.0},
                "partitions end: never -> 2026-02-01T00:00+00:00",
                True,
            ),
            ({"end_offset": 1}, "partitions beyond the last window: 0 -> 1", False),
        ],
    )
    def test_other_time_windows_are_a_change(
        self, fields: dict[str, Any], text: str, breaking: bool
    ) -> None:
        after = Partitions(windows=self.DAYS.model_copy(update=fields))

        assert [(text, breaking)] == self.changed(Partitions(windows=self.DAYS), after)

    def test_a_partition_that_is_gone_can_break_a_reader_and_a_new_one_cannot(self) -> None:
        found = self.changed(Partitions(keys=("de", "nl")), Partitions(keys=("fr", "nl")))

        assert [("partitions removed: de", True), ("partitions added: fr", False)] == found

    def test_partitions_of_another_kind_can_break_a_reader(self) -> None:
        found = self.changed(Partitions(windows=self.DAYS), Partitions(dynamic="customers"))

        assert [("partitions: 0 0 * * * (UTC) -> the keys of customers", True)] == found


def reader(location: str, key: str, of: str, *columns: str, **fields: Any) -> Contract:
    used = tuple(UsedColumn(name=name, used_by=(key,)) for name in columns)
    return Contract(
        location=location,
        exports=(Export(key=key, deps=(of,), **fields),),
        imports=(Import(key=of, used_by=(key,), columns=used),),
    )


def test_a_consumer_whose_columns_were_found_in_its_sql_may_read_others() -> None:
    used = UsedColumn(name="login", used_by=("mart/join",), inferred=True)
    need = Import(key="mart/stars", used_by=("mart/join",), columns=(used,))
    join = Export(key="mart/join", deps=("mart/stars",))
    contracts = [core(), Contract(location="marts", exports=(join,), imports=(need,))]

    hows = [
        [consumer.how for consumer in consumers(contracts, "mart/stars", column)]
        for column in ("login", "id")
    ]

    assert [["reads it"], ["may read it"]] == hows


class TestConsumers:
    CONTRACTS = (
        core(),
        reader("marts", "mart/join", "mart/stars", "login", owners=("team:m",), policy=MaxLag(5)),
        reader("ml", "ml/model", "mart/stars", "id"),
        reader("app", "app/cache", "mart/stars"),
        reader("web", "web/page", "mart/join", "login"),
    )

    def test_consumers_of_an_asset_come_nearest_first(self) -> None:
        assert [
            ("app/cache", "app", "depends on it", True),
            ("mart/join", "marts", "depends on it", True),
            ("ml/model", "ml", "depends on it", True),
            ("web/page", "web", "through `mart/join`", False),
        ] == [
            (it.key, it.location, it.how, it.direct)
            for it in consumers(self.CONTRACTS, "mart/stars")
        ]

    def test_consumers_of_a_column_read_it_or_may_read_it(self) -> None:
        assert [
            ("app/cache", "may read it"),
            ("mart/join", "reads it"),
            ("web/page", "through `mart/join`"),
        ] == [(it.key, it.how) for it in consumers(self.CONTRACTS, "mart/stars", "LOGIN")]

    def test_consumers_have_owners_and_policy(self) -> None:
        (page, join) = sorted(
            consumers(self.CONTRACTS, "mart/stars", "login")[1:], key=lambda it: it.direct
        )

        assert (("team:m",), MaxLag(5)) == (join.owners, join.policy)
        assert ((), None) == (page.owners, page.policy)

    def test_a_cycle_is_followed_only_once(self) -> None:
        circle = [reader("a", "l/a", "l/b"), reader("b", "l/b", "l/a")]

        assert ["l/b"] == [it.key for it in consumers(circle, "l/a")]
