"""The parts of a chain, and the CPU of processes that have ended."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from chain_parts import CUMULATIVE, JOIN, PARTS, ROOT_ASSET, STARGAZER, Made, Run, parts_of_runs
from processes import BENCH, Family, Life

SYNC = Run(13.0, 14.0, 15.0, 26.0, {ROOT_ASSET: Made(25.0, 0.0)})
CONNECTOR, LOAD = Life(16.0, 22.0, "source-github"), Life(15.8, 23.0, "worker")
VISIBLE = {STARGAZER: 31.0, CUMULATIVE: 30.5, JOIN: 40.0}
CORE = Run(27.0, 27.5, 28.0, 33.0, {STARGAZER: Made(31.5, 1.0)})


class TestPartsOfRuns:
    def test_follow_the_later_of_the_two_that_the_last_run_waits_for_and_add_up(self) -> None:
        early = Run(27.0, 27.5, 28.0, 32.0, {CUMULATIVE: Made(30.9, 0.5)})
        join = Run(34.0, 35.0, 36.0, 41.0, {JOIN: Made(40.2, 2.0)})

        parts, last = parts_of_runs(10.0, [SYNC, CORE, early, join], VISIBLE, CONNECTOR, LOAD)

        assert join is last
        assert 30.0 == sum(parts.values())
        expected = {
            "wait for a tick": 3.0 + 2.0 + 2.5,
            "queue": 1.0 + 0.5 + 1.0,
            "launch, until the run's first step begins": 1.0 + 0.5 + 1.0,
            "until Airbyte starts the connector": 1.0,
            "connector": 6.0,
            "load, after the connector's end": 1.0,
            "until dbt builds its first model": 2.0 + 2.0,
            "dbt's models": 1.0 + 2.0,
            "dbt's tests and end": 0.0,
            "what was made is noted": 2.0 + 0.5,
        }
        assert expected == parts
        assert set(expected) == set(PARTS)

    def test_count_both_models_of_a_last_run_that_makes_both(self) -> None:
        visible = {**VISIBLE, CUMULATIVE: 37.0}
        both = Run(34.0, 35.0, 36.0, 41.0, {CUMULATIVE: Made(37.1, 0.5), JOIN: Made(40.2, 2.0)})

        parts, _ = parts_of_runs(10.0, [SYNC, CORE, both], visible, CONNECTOR, LOAD)

        assert 30.0 == sum(parts.values())
        assert 2.0 + 0.5 == parts["until dbt builds its first model"]
        assert 1.0 + 3.5 == parts["dbt's models"]

    def test_are_not_known_if_no_run_has_made_the_mart(self) -> None:
        with pytest.raises(LookupError, match=JOIN):
            parts_of_runs(10.0, [SYNC, CORE], VISIBLE, CONNECTOR, LOAD)


class TestFamily:
    def test_counts_processes_that_run_and_that_have_ended_but_not_the_meter(self) -> None:
        family = Family(os.getpid(), {}, meter=os.getpid())
        (before,) = [one for one in family.look() if one.kind == BENCH]
        burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"

        with subprocess.Popen(
            [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout
            assert child.stdin
            child.stdout.readline()
            (running,) = [one for one in family.look() if one.pid == child.pid]
            assert running.pss() > 0
            child.stdin.close()
        (after,) = [one for one in family.look() if one.kind == BENCH]

        assert before.kind_of_ended == running.kind
        assert running.cpu >= 0.45
        assert after.cpu_of_ended - before.cpu_of_ended >= running.cpu
        assert 0.0 == before.cpu == after.cpu
