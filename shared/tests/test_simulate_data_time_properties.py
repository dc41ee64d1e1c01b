"""What holds for every workspace with time windows, views, quiet sources and failures.

Data times are compared with rows: see `data_time_worlds`.
"""

from __future__ import annotations

from functools import lru_cache

from data_time_worlds import HOUR, overstated, random_scenario, rows_of
from freshline.simulate import World, simulate
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

UNTIL = 8 * HOUR
SEEDS = st.integers(min_value=0, max_value=11)
"""Few seeds, so that the properties share the simulated worlds."""

COMMON = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@lru_cache(maxsize=16)
def world_of(seed: int) -> World:
    return simulate(random_scenario(seed), UNTIL)


@COMMON
@given(SEEDS)
@example(23)
@example(36)
def test_no_data_time_is_later_than_a_row_that_is_missing(seed: int) -> None:
    assert [] == overstated(world_of(seed), rows_of(random_scenario(seed), UNTIL))


@COMMON
@given(SEEDS)
def test_no_partition_is_requested_before_its_window_has_closed(seed: int) -> None:
    world = world_of(seed)
    for run in world.runs:
        for windows in {asset.windows for key in run.keys if (asset := world.graph.assets[key])}:
            for part in run.parts if windows else ():
                window = windows.window(part)
                begins_or_closes = window.start if windows.end_offset > 0 else window.end

                assert begins_or_closes <= run.requested_at


@COMMON
@given(SEEDS)
def test_nothing_is_requested_that_changes_nothing(seed: int) -> None:
    world = world_of(seed)
    for run in world.runs:
        for key, newer in run.improved.items():
            # What an input in the same run will bring is not known when both are requested.
            if not set(world.graph.assets[key].deps) & set(run.keys):
                assert newer, (run.requested_at, key, run.parts)


@COMMON
@given(SEEDS)
def test_no_partition_is_made_twice_at_once(seed: int) -> None:
    assert [] == world_of(seed).overlaps
