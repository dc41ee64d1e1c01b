"""Partitions that read earlier partitions of one input than of another, or older data than named.

Such a partition is complete only with all that it reads, and brings the rows of the earliest.
"""

from __future__ import annotations

import dagster as dg
import pytest
from freshline.contract import Contract, Export
from freshline.contract.document import Partitions, PartitionsRead, TimeWindows
from freshline.contract.graph import graph_of
from freshline.model import Reads
from freshline.policy import MaxLag
from freshline.simulate import Duration, Scenario, simulate
from partition_logs import HOUR, MIDNIGHT, Log, asset, hourly

HOURLY, THREE_HOURS = "0 * * * *", "0 */3 * * *"


def export(key: str, cron: str = HOURLY, **reads: tuple[int, int]) -> Export:
    windows = TimeWindows(cron=cron, start=0.0, fmt="%Y-%m-%d-%H:%M")
    return Export(
        key=key,
        deps=tuple(sorted(reads)),
        partitioned=True,
        partitions=Partitions(windows=windows),
        reads={dep: PartitionsRead(windows=offsets) for dep, offsets in reads.items()},
    )


def contract(location: str, *exports: Export) -> Contract:
    return Contract(location=location, published_as=location, tick_seconds=30, exports=exports)


def shift(key: str, *exports: Export) -> int:
    windows = graph_of([contract("here", *exports)]).assets[key].windows
    assert windows is not None
    return windows.shift


class TestGraph:
    @pytest.mark.parametrize(("offsets", "expected"), [((0, 0), -1), ((-1, -1), -2), ((0, 1), 0)])
    def test_what_reads_older_data_is_as_much_older(
        self, offsets: tuple[int, int], expected: int
    ) -> None:
        exports = export("raw"), export("before", raw=(-1, -1)), export("mart", before=offsets)

        assert expected == shift("mart", *exports)

    def test_an_input_with_other_windows_counts_in_windows_of_the_reader(self) -> None:
        shorter = export("raw"), export("before", THREE_HOURS, raw=(-1, -1))
        longer = export("raw"), export("before", raw=(-1, -1))

        assert -4 == shift("mart", *shorter, export("mart", before=(0, 0)))
        assert -1 == shift("mart", *longer, export("mart", THREE_HOURS, before=(0, 0)))

    def test_assets_that_read_each_other_keep_their_own(self) -> None:
        exports = export("one", other=(-1, -1)), export("other", one=(-1, -1))

        assert -1 == shift("one", *exports)


class TestHistory:
    def test_a_partition_is_complete_only_with_the_latest_that_it_reads(self) -> None:
        hours = hourly()
        names = [hours.key(window) for window in hours.existing(MIDNIGHT, MIDNIGHT + 3 * HOUR)]
        reads = {"same": Reads((0, 0)), "before": Reads((-1, -1))}
        with dg.DagsterInstance.ephemeral() as instance:
            log = Log(
                instance,
                asset("same", windows=hours),
                asset("before", windows=hours),
                asset("mart", "same", "before", windows=hourly(shift=-1), reads=reads),
            )
            closed = MIDNIGHT + 2 * HOUR
            for key, name in (("same", 0), ("before", 0), ("before", 1), ("mart", 0), ("mart", 1)):
                log.made(key, names[name], closed, data_time=None if key == "mart" else closed)
            without = log.state("mart", closed)
            log.made("same", names[1], closed + 60, data_time=closed)
            log.made("mart", names[1], closed + 120)
            complete = log.state("mart", closed + 180)

        assert [names[1]] == [part.name for part in without.parts]
        assert [] == [part.name for part in complete.parts]


class TestPlan:
    def test_a_partition_waits_for_the_latest_that_it_reads(self) -> None:
        mart = export("mart", same=(0, 0), before=(-1, -1))
        contracts = (
            contract("one", export("same"), export("before")),
            contract("two", mart.model_copy(update={"policy": MaxLag(180)})),
        )
        durations = {"same": Duration(600.0), "before": Duration(20.0), "mart": Duration(20.0)}
        world = simulate(Scenario(graph_of(contracts), durations), 4 * HOUR)
        made = {(key, run.parts): run for run in world.runs for key in run.keys}

        marts = [run for run in world.runs if "mart" in run.keys]
        assert 3 == len(marts)
        for run in marts:
            assert made["same", run.parts].ended["same"] <= run.started["mart"]
