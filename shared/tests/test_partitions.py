"""Partitions against real event logs: which are complete, and up to when nothing is missing."""

from __future__ import annotations

from itertools import pairwise

import dagster as dg
import pytest
from freshline.history import History
from freshline.model import PartitionKeys, Reads
from partition_logs import HOUR, MIDNIGHT, Log, asset, daily, hourly

SAME = Reads(windows=(0, 0))


def day(number: int) -> str:
    return f"2026-01-{10 + number:02}"


def hour(number: int) -> str:
    return f"2026-01-{10 + number // 24:02}-{number % 24:02}:00"


def at(hours: float) -> float:
    return MIDNIGHT + hours * HOUR


class TestWindows:
    def test_the_data_time_is_the_end_of_the_last_window_when_all_are_complete(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        log.made("root", day(0), at(24.2), data_time=at(24.1))

        assert 24 == log.data_time("root", at(24.3))
        assert 24 == log.data_time("root", at(47))
        assert [] == log.parts("root", at(47))
        assert [day(1)] == log.parts("root", at(48))

    def test_nothing_after_a_hole_counts_until_it_is_filled(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        for number in (0, 2, 3):
            log.made("root", day(number), at(100 + number), data_time=at(100))

        assert 24 == log.data_time("root", at(110))
        assert [day(1)] == log.parts("root", at(110))

        log.made("root", day(1), at(111), data_time=at(111))

        assert 96 == log.data_time("root", at(112))
        assert [] == log.parts("root", at(112))

    def test_a_backfill_of_a_complete_partition_moves_nothing(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        for number in (0, 1):
            log.made("root", day(number), at(50), data_time=at(49))
        before = log.state("root", at(60))
        newest = log.made("root", day(0), at(70), data_time=at(70))
        after = log.state("root", at(71))

        assert before.version is not None
        assert after.version is not None
        assert before.version.data_time == after.version.data_time
        assert (newest, at(70)) == (after.version.id, after.version.at)

    def test_a_partition_made_before_its_window_closed_is_not_complete(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        version = log.made("root", day(0), at(25), data_time=at(23))
        part = log.state("root", at(26)).parts[0]

        assert (day(0), (at(0), at(24)), at(23), version) == (
            part.name,
            part.window,
            part.data_time,
            part.version,
        )
        assert 23 == log.data_time("root", at(26))

    def test_the_newest_version_counts_even_if_an_earlier_one_had_more(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        log.made("root", day(0), at(25), data_time=at(24.5))

        assert 24 == log.data_time("root", at(25))

        log.made("root", day(0), at(26), data_time=at(20))

        assert 20 == log.data_time("root", at(27))

    def test_an_open_partition_moves_the_data_time_each_time_it_is_made(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily(end_offset=1)))
        for hours in (1, 2, 3):
            log.made("root", day(0), at(hours), data_time=at(hours))

            assert hours == log.data_time("root", at(hours + 0.5))
            assert [day(0)] == log.parts("root", at(hours + 0.5))

    def test_partitions_from_before_the_promise_count_as_holes_alone(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily(), promised_from=at(72)))
        log.made("root", day(1), at(50), data_time=at(49))
        log.made("root", day(3), at(97), data_time=at(96))
        state = log.state("root", at(98))

        assert 2 == state.holes_before_promise
        assert 96 == log.data_time("root", at(98))

        log.made("root", day(0), at(99), data_time=at(99))

        assert 1 == log.state("root", at(99)).holes_before_promise

    def test_an_asset_without_any_version_has_no_data_time(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        state = log.state("root", at(50))

        assert state.version is None
        assert [day(0), day(1)] == [part.name for part in state.parts]

    @pytest.mark.parametrize("name", [None, "yesterday", "2025-12-31", "2026-02-01"])
    def test_what_is_no_partition_counts_for_nothing(
        self, memory: dg.DagsterInstance, name: str | None
    ) -> None:
        log = Log(memory, asset("root", windows=daily()))
        log.made("root", name, at(30), data_time=at(30))

        assert log.state("root", at(31)).version is None

    def test_a_version_counts_that_was_there_before_its_window_was_known(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily(end_offset=1)))
        log.state("root", at(23.9))
        log.made("root", day(1), at(24.1), data_time=at(24.1))
        log.state("root", at(23.95))
        log.made("root", day(0), at(24.2), data_time=at(24.2))

        assert 24.1 == pytest.approx(log.data_time("root", at(24.3)))


class TestDerived:
    def test_complete_windows_do_not_age_what_is_made_from_them(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(
            memory,
            asset("root", windows=daily()),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
        )
        log.made("root", day(0), at(25), data_time=at(24))
        log.made("mart", day(0), at(50))

        assert 24 == log.data_time("mart", at(40))

    def test_what_was_read_is_what_was_there_then(self, memory: dg.DagsterInstance) -> None:
        log = Log(
            memory,
            asset("root", windows=daily()),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
        )
        log.made("root", day(0), at(25), data_time=at(20))
        read = log.newest("root")
        log.made("root", day(0), at(26), data_time=at(26))
        log.made("mart", day(0), at(27), read={"root": read})

        assert 24 == log.data_time("root", at(28))
        assert 20 == log.data_time("mart", at(28))

        log.made("mart", day(0), at(29))

        assert 24 == log.data_time("mart", at(29))

    def test_a_new_version_of_another_partition_says_nothing_about_this_one(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(
            memory,
            asset("root", windows=daily()),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
        )
        log.made("root", day(1), at(49), data_time=at(49))
        log.made("mart", day(0), at(50))

        assert 0 == log.data_time("mart", at(51))
        assert [day(0), day(1)] == log.parts("mart", at(51))

    def test_a_day_reads_all_its_hours(self, memory: dg.DagsterInstance) -> None:
        log = Log(
            memory,
            asset("root", windows=hourly()),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
        )
        for number in range(24):
            if number != 5:
                log.made("root", hour(number), at(25), data_time=at(25))
        log.made("mart", day(0), at(26))

        assert 5 == log.data_time("mart", at(27))

        log.made("root", hour(5), at(27), data_time=at(27))
        log.made("mart", day(0), at(28))

        assert 24 == log.data_time("mart", at(29))

    def test_an_hour_reads_as_much_of_the_day_as_there_is(self, memory: dg.DagsterInstance) -> None:
        log = Log(
            memory,
            asset("root", windows=daily(end_offset=1)),
            asset("mart", "root", windows=hourly(), reads={"root": SAME}),
        )
        log.made("root", day(0), at(2.5), data_time=at(2.5))
        for number in range(3):
            log.made("mart", hour(number), at(3))

        assert [hour(2)] == log.parts("mart", at(3))
        assert 2.5 == log.data_time("mart", at(3))

    def test_nothing_is_missing_after_the_last_window_that_an_input_will_ever_have(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(
            memory,
            asset("root", windows=hourly(end=at(5.5))),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
        )
        for number in range(5):
            log.made("root", hour(number), at(6), data_time=at(6))
        log.made("mart", day(0), at(25))

        assert 5 == log.data_time("root", at(30))
        assert 24 == log.data_time("mart", at(30))

    def test_offsets_move_what_is_read(self, memory: dg.DagsterInstance) -> None:
        log = Log(
            memory,
            asset("root", windows=daily()),
            asset("lagged", "root", windows=daily(shift=-1), reads={"root": Reads((-1, -1))}),
            asset("week", "root", windows=daily(), reads={"root": Reads((-2, 0))}),
        )
        for number in (0, 2, 3):
            log.made("root", day(number), at(100), data_time=at(100))
        for number in range(4):
            log.made("lagged", day(number), at(101))
            log.made("week", day(number), at(101))

        # lagged: the partition of day 2 reads day 1, which is missing.
        assert [day(2)] == log.parts("lagged", at(102))
        assert 24 == log.data_time("lagged", at(102))
        # week: days 1, 2 and 3 read day 1 too.
        assert [day(1), day(2), day(3)] == log.parts("week", at(102))

    def test_without_partitions_it_has_what_all_partitions_had(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(
            memory,
            asset("root", windows=daily()),
            asset("mart", "root"),
            asset("newest", "root", reads={"root": Reads(last=True)}),
        )
        log.made("root", day(0), at(25), data_time=at(25))
        log.made("root", day(2), at(73), data_time=at(73))
        log.made("mart", None, at(74))
        log.made("newest", None, at(74))
        log.made("root", day(1), at(75), data_time=at(75))

        assert 72 == log.data_time("root", at(76))
        assert 24 == log.data_time("mart", at(76))
        assert 72 == log.data_time("newest", at(76))
        assert at(72) == log.state("root", at(76)).last_data_time

    def test_a_partition_ages_with_an_input_without_partitions(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(
            memory,
            asset("root", windows=daily()),
            asset("rates"),
            asset("mart", "root", "rates", windows=daily(), reads={"root": SAME}),
        )
        log.made("root", day(0), at(25), data_time=at(25))
        log.made("rates", None, at(22), data_time=at(21))
        log.made("mart", day(0), at(26))

        assert 21 == log.data_time("mart", at(26))

        log.made("rates", None, at(27), data_time=at(27))
        log.made("mart", day(0), at(28))

        assert 24 == log.data_time("mart", at(28))

    def test_a_partition_that_reads_all_of_an_input_has_what_that_has(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=hourly()), asset("mart", "root", windows=daily()))
        for number in range(24):
            log.made("root", hour(number), at(24.1), data_time=at(24))
        log.made("mart", day(0), at(24.2))

        assert 24 == log.data_time("mart", at(24.3))

    def test_the_data_time_is_unknown_when_nothing_was_read(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()), asset("mart", "root"))
        log.made("mart", None, at(25))
        log.made("root", day(0), at(26), data_time=at(26))

        assert log.data_time("mart", at(27)) is None

    def test_a_chain_may_be_longer_than_pythons_stack(self, memory: dg.DagsterInstance) -> None:
        keys = [f"asset_{number:03}" for number in range(200, 0, -1)]
        chain = [asset(keys[0], windows=daily())]
        for before, key in pairwise(keys):
            chain.append(asset(key, before, windows=daily(), reads={before: Reads((0, 0))}))
        log = Log(memory, *reversed(chain))
        for key in keys:
            log.made(key, day(0), at(25))

        state = log.history.read(log.graph, at(26)).state(keys[-1])

        assert state.version
        assert at(24) == state.version.data_time


class TestKeys:
    def test_the_oldest_key_counts(self, memory: dg.DagsterInstance) -> None:
        shops = PartitionKeys(("a", "b"))
        log = Log(
            memory,
            asset("root", keys=shops),
            asset("same", "root", keys=shops, reads={"root": Reads(same_key=True)}),
            asset("mart", "root"),
        )
        log.made("root", "a", at(1), data_time=at(1))
        log.made("mart", None, at(1))

        assert log.data_time("root", at(2)) is None
        assert log.data_time("mart", at(2)) is None

        log.made("root", "b", at(3), data_time=at(3))
        log.made("same", "b", at(4))
        log.made("same", "a", at(4))
        log.made("mart", None, at(4))
        state = log.state("same", at(5))

        assert 1 == log.data_time("root", at(5))
        assert 1 == log.data_time("mart", at(5))
        assert [("a", at(1)), ("b", at(3))] == [(it.key, it.data_time) for it in state.parts]
        assert "unknown" not in [part.name for part in state.parts]

    def test_dynamic_keys_come_and_go(self, memory: dg.DagsterInstance) -> None:
        log = Log(memory, asset("root", keys=PartitionKeys(dynamic="shops")), asset("mart", "root"))
        memory.add_dynamic_partitions("shops", ["a"])
        log.made("root", "a", at(1), data_time=at(1))
        log.made("mart", None, at(2))

        assert 1 == log.data_time("mart", at(2))

        memory.add_dynamic_partitions("shops", ["b"])

        assert log.data_time("root", at(3)) is None
        assert log.data_time("mart", at(3)) is None
        assert ["a", "b"] == log.parts("root", at(3))

        log.made("root", "b", at(4), data_time=at(4))

        assert 1 == log.data_time("root", at(5))

        memory.delete_dynamic_partition("shops", "a")

        assert 4 == log.data_time("root", at(6))
        assert ["b"] == log.parts("root", at(6))

    @pytest.mark.parametrize("first", [True, False])
    def test_each_key_has_windows_of_its_own(self, memory: dg.DagsterInstance, first: bool) -> None:
        shops = PartitionKeys(("a", "b"), first=first)

        def name(shop: str, number: int) -> str:
            return f"{shop}|{day(number)}" if first else f"{day(number)}|{shop}"

        same = Reads(windows=(0, 0), same_key=True)
        log = Log(
            memory,
            asset("root", windows=daily(), keys=shops),
            asset("same", "root", windows=daily(), keys=shops, reads={"root": same}),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
        )
        for shop, number in (("a", 0), ("a", 1), ("b", 1)):
            log.made("root", name(shop, number), at(50), data_time=at(50))
        for shop, number in (("a", 0), ("a", 1), ("b", 0), ("b", 1)):
            log.made("same", name(shop, number), at(51))
        for number in (0, 1):
            log.made("mart", day(number), at(51))
        part = log.state("root", at(52)).parts[0]

        assert 0 == log.data_time("root", at(52))
        assert (name("b", 0), "b", (at(0), at(24))) == (part.name, part.key, part.window)
        assert [name("b", 0)] == log.parts("same", at(52))
        assert [day(0)] == log.parts("mart", at(52))


class TestWiped:
    def test_wiped_partitions_are_missing(self, instance: dg.DagsterInstance) -> None:
        log = Log(instance, asset("root", windows=daily()), asset("mart", "root"))
        for number in (0, 1, 2):
            log.made("root", day(number), at(80), data_time=at(80))
        log.made("mart", None, at(81))

        assert 72 == log.data_time("root", at(82))

        log.wiped("root", day(1), at=at(83))

        assert 24 == log.data_time("root", at(84))
        assert [day(1)] == log.parts("root", at(84))

        log.made("root", day(1), at(85), data_time=at(85))

        assert 72 == log.data_time("root", at(86))

    def test_a_wiped_asset_has_no_partitions(self, instance: dg.DagsterInstance) -> None:
        log = Log(instance, asset("root", windows=daily()))
        log.made("root", day(0), at(25), data_time=at(25))
        log.state("root", at(26))
        instance.wipe_assets([dg.AssetKey("root")])

        assert log.state("root", at(27)).version is None
        assert [day(0)] == log.parts("root", at(27))


class TestReading:
    def test_old_versions_are_found_when_a_reader_comes_later(
        self, instance: dg.DagsterInstance
    ) -> None:
        log = Log(
            instance,
            asset("root", windows=hourly()),
            asset("mart", "root", windows=daily(), reads={"root": SAME}),
            asset("all", "root"),
        )
        for number in range(24):
            log.made("root", hour(number), at(24), data_time=at(5.5))
        log.made("mart", day(0), at(25))
        log.made("all", None, at(25))
        for number in range(24):
            log.made("root", hour(number), at(26), data_time=at(26))

        assert 24 == log.data_time("root", at(24.5))
        assert 5.5 == log.data_time("mart", at(24.5))
        assert 5.5 == log.data_time("all", at(24.5))

    def test_nothing_is_asked_again_when_nothing_has_changed(
        self, memory: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = Log(memory, asset("root", windows=hourly()), asset("mart", "root"))
        for number in range(20):
            log.made("root", hour(number), at(30), data_time=at(30))
        log.made("mart", None, at(31))
        history = History(memory)
        before = history.read(log.graph, at(32))
        asked: list[str] = []
        for name in ("newest_of_partitions", "versions_of_partitions", "materializations_by_id"):
            monkeypatch.setattr(
                f"freshline.history.events.EventLog.{name}",
                lambda *_, name=name, **__: asked.append(name) or {},
            )
        after = history.read(log.graph, at(32) + 1)

        assert before == after
        assert [] == asked

    def test_partitions_are_looked_up_anew_when_the_graph_changes(
        self, memory: dg.DagsterInstance
    ) -> None:
        log = Log(memory, asset("root", windows=daily()), asset("mart", "root"))
        log.made("root", day(1), at(49), data_time=at(49))
        log.made("mart", None, at(50))

        assert 0 == log.data_time("mart", at(51))

        promised = asset("root", windows=daily(), promised_from=at(24) + 1)
        log.graph = Log(memory, promised, asset("mart", "root")).graph

        assert 48 == log.data_time("root", at(51))
        assert 48 == log.data_time("mart", at(51))


def test_a_version_counts_when_committed_after_one_with_a_higher_id(
    postgres: dg.DagsterInstance,
) -> None:
    """Postgres assigns ids before it commits, so the lower of two may become visible last."""
    log = Log(postgres, asset("root", windows=daily()))
    log.made("root", day(0), at(23), data_time=at(23))
    log.made("root", day(1), at(50), data_time=at(50))
    log.history.read(log.graph, at(50))
    late = log.made("root", day(0), at(51), data_time=at(51))
    _hide(postgres, late)
    log.made("root", day(1), at(52), data_time=at(52))

    assert 23 == log.data_time("root", at(52))

    _show(postgres, late)

    assert 48 == log.data_time("root", at(52) + 5)


def _hide(instance: dg.DagsterInstance, event: int) -> None:
    _execute(instance, f"update event_logs set dagster_event_type = 'HIDDEN' where id = {event}")


def _show(instance: dg.DagsterInstance, event: int) -> None:
    kind = "ASSET_MATERIALIZATION"
    _execute(instance, f"update event_logs set dagster_event_type = '{kind}' where id = {event}")


def _execute(instance: dg.DagsterInstance, statement: str) -> None:
    import sqlalchemy

    with instance.event_log_storage.index_connection() as connection:
        connection.execute(sqlalchemy.text(statement))
        connection.commit()
