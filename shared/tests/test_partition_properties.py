"""The data time of partitioned assets never says more than the rows do.

The oracle looks at rows alone. A version of a partition holds the rows of its window that its
input held when its step began to read; a row that exists and is not there is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import dagster as dg
from freshline.model import Asset, Reads
from freshline.windows import Window, Windows
from hypothesis import given, settings
from hypothesis import strategies as st
from partition_logs import HOUR, MIDNIGHT, Log, asset, hourly

MINUTE = 60.0
HOURS = 6
ROWS = [MIDNIGHT + (20 * number + 10) * MINUTE for number in range(3 * HOURS)]
"""When each row of the source came: never at the end of a window."""

THREE_HOURS = Windows("0 */3 * * *", MIDNIGHT, fmt="%Y-%m-%d-%H:%M")
MARTS = {
    "the same window": (hourly(), (0, 0)),
    "the open window too": (hourly(end_offset=1), (0, 0)),
    "longer windows": (THREE_HOURS, (0, 0)),
    "the window before": (hourly(shift=-1), (-1, -1)),
    "two windows": (hourly(), (-1, 0)),
}


@dataclass(frozen=True)
class Step:
    """Something that makes a partition of an asset, or the asset if it has none."""

    key: str
    hour: int
    begins: float
    ends: float


@dataclass
class Oracle:
    """Which rows each asset holds."""

    log: Log
    rows: dict[str, dict[Window | None, frozenset[float]]] = field(default_factory=dict)

    def held(self, key: str) -> frozenset[float]:
        return frozenset().union(*self.rows.get(key, {}).values())

    def read(self, asset: Asset, window: Window | None, at: float) -> frozenset[float]:
        """Return the rows that a step reads that begins at `at`."""
        rows = {row for row in ROWS if row <= at}
        for dep in asset.deps:
            rows &= self.held(dep)
        if window is not None and asset.windows is not None:
            data = asset.windows.data_of(window)
            rows = {row for row in rows if data.start <= row < data.end}
        return frozenset(rows)

    def first_missing(self, key: str, now: float) -> float | None:
        missing = {row for row in ROWS if row <= now} - self.held(key)
        return min(missing, default=None)


def regular(hour: int) -> list[Step]:
    """Return what is made when all goes well, once the window of an hour has closed."""
    closed = MIDNIGHT + (hour + 1) * HOUR
    order = [("root", hour), ("mart", hour // 3 * 3), ("mart", hour), ("total", 0)]
    return [
        Step(key, of, closed + 3 * number * MINUTE, closed + (3 * number + 2) * MINUTE)
        for number, (key, of) in enumerate(order)
    ]


def steps() -> st.SearchStrategy[list[Step]]:
    """Return regular steps with holes, and others in any order: late and repeated ones."""
    other = st.builds(
        lambda key, hour, begins, lasts: Step(
            key, hour, MIDNIGHT + begins * MINUTE, MIDNIGHT + (begins + lasts) * MINUTE
        ),
        st.sampled_from(["root", "root", "mart", "mart", "total"]),
        st.integers(0, HOURS),
        st.integers(0, 60 * (HOURS + 2)),
        st.integers(1, 90),
    )
    expected = [step for hour in range(HOURS) for step in regular(hour)]
    made = st.sets(st.sampled_from(expected), min_size=len(expected) - 4)
    return st.builds(
        lambda made, others: [*sorted(made, key=_begins), *others],
        made,
        st.lists(other, max_size=8),
    )


def _begins(step: Step) -> float:
    return step.begins


@settings(max_examples=20, deadline=None, derandomize=True)
@given(mart=st.sampled_from(sorted(MARTS)), open_root=st.booleans(), steps=steps())
def test_no_row_is_missing_that_the_data_time_promises(
    mart: str, open_root: bool, steps: list[Step]
) -> None:
    windows, offsets = MARTS[mart]
    with dg.DagsterInstance.ephemeral() as instance:
        log = Log(
            instance,
            asset("root", windows=hourly(end_offset=int(open_root))),
            asset("mart", "root", windows=windows, reads={"root": Reads(windows=offsets)}),
            asset("total", "mart"),
        )
        oracle = Oracle(log)
        for now in _play(log, oracle, steps):
            snapshot = log.history.read(log.graph, now)
            for key in log.graph.assets:
                version = snapshot.state(key).version
                missing = oracle.first_missing(key, now)
                if version and version.data_time is not None and missing is not None:
                    assert version.data_time < missing, key
        for key in log.graph.assets:
            log.state(key, MIDNIGHT + (HOURS + 4) * HOUR)


def _play(log: Log, oracle: Oracle, steps: list[Step]) -> object:
    """Write what the steps make, each when it ends; yield these times."""
    moments = sorted(
        [(step.begins, 0, number) for number, step in enumerate(steps)]
        + [(step.ends, 1, number) for number, step in enumerate(steps)]
    )
    reading: dict[int, tuple[dict[str, int | None], Window | None, frozenset[float]]] = {}
    for now, ends, number in moments:
        step = steps[number]
        made = log.graph.assets[step.key]
        if not ends:
            window = None
            if made.windows is not None:
                start = MIDNIGHT + step.hour * HOUR
                existing = made.windows.existing(start, now)
                if not existing:
                    continue  # Dagster refuses a partition that does not exist yet
                window = existing[0]
            pointers = {dep: log.newest(dep) for dep in made.deps}
            reading[number] = pointers, window, oracle.read(made, window, now)
        elif number in reading:
            pointers, window, rows = reading[number]
            name = made.windows.key(window) if made.windows and window else None
            log.made(
                step.key,
                name,
                now,
                data_time=None if made.deps else step.begins,
                read=pointers,
            )
            oracle.rows.setdefault(step.key, {})[window] = rows
            yield now
