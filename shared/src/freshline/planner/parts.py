"""Partitions: which of an asset's a run can make now, and how far its data reaches then.

A partition of a closed window is complete when it has all rows of the window. Until then it is made
as soon as what it reads of its inputs is complete. A partition of an open window is never complete;
it gets newer data with each run, as an asset without partitions does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from freshline.model import Asset, Part, Reads
from freshline.planner.facts import RETRY_CEILING, RETRY_FIRST, Facts, retry_at

__all__ = ["Choice", "choice_of", "data_time_with", "first_hole", "reached_by"]

_AT_ONCE: Final = 8
"""So many runs of one asset are under way at once. A long backlog must not fill the queue."""

_ALL: Final = Reads()


class Choice(NamedTuple):
    """What runs could do now for an asset's partitions."""

    ready: tuple[Part, ...]
    """Those to which a run now would bring something, in order."""
    final: tuple[Part, ...]
    """Those of them that are complete then, unless there was nothing to make of them before."""
    reached: Mapping[str, float]
    """Up to when the data of each ready partition would reach, by name; inf: it is complete."""
    retry_at: float
    """When the first partition may be tried again that has failed, or whose source was behind;
    inf: none waits for that."""


def choice_of(
    key: str, inputs: Sequence[str], facts: Facts, joined: Mapping[str, Collection[str]]
) -> Choice:
    """Return what runs could do now for the partitions of `key`.

    `joined` has, by input, the partitions of the same names that the same run would make first.
    """
    asset, state = facts.graph.assets[key], facts.assets[key].state
    ready: list[Part] = []
    final: list[Part] = []
    reached: dict[str, float] = {}
    again = inf
    room = _AT_ONCE - sum(part.pending is not None for part in state.parts)
    for part in state.parts:
        if len(ready) >= room and not asset.single_run:
            break
        if part.pending or (asset.single_run and room < _AT_ONCE):
            continue
        if not _has_news(part, inputs, facts, joined):
            continue
        reach = _reach(part, asset, inputs, facts, joined)
        if reach is None:
            continue
        complete = _is_complete(part, asset, reach)
        partial = part.window is None or (
            asset.windows is not None and asset.windows.has_open_window
        )
        if not complete and not (partial and reach > reached_by(part, asset)):
            _note_newer(part, asset, inputs, facts)
            continue
        pause = _pause(part, asset, is_root=not inputs)
        if not facts.reached(pause):
            again = min(again, pause)
            continue
        ready.append(part)
        reached[part.name] = inf if complete else reach
        if complete and part.nothing_new is None:
            final.append(part)
    if asset.single_run:
        ready = _range(ready, state.parts)
    return Choice(tuple(ready), tuple(final), reached, again)


def data_time_with(key: str, facts: Facts, reached: Mapping[str, float]) -> float | None:
    """Return the data time of the asset `key` with the runs that are under way and `reached`.

    `reached` says by name up to when the data of partitions will reach.
    """
    asset, state = facts.graph.assets[key], facts.assets[key].state
    if asset.windows is None:
        times = [_expected(part, asset, reached) for part in state.parts]
        oldest = min(times, default=-inf)
        return oldest if oldest > -inf else None
    if asset.windows.has_open_window:
        facts.changes_now()
    found = asset.windows.reach(facts.now)
    for part in state.parts:
        expected = _expected(part, asset, reached)
        if not _is_complete(part, asset, expected):
            found = min(found, expected)
    return found


def first_hole(key: str, facts: Facts) -> Part | None:
    """Return the partition of `key` that holds its data time back; None: it has none."""
    asset, parts = facts.graph.assets[key], facts.assets[key].state.parts
    return min(parts, key=lambda part: (reached_by(part, asset), part.name), default=None)


def _note_newer(part: Part, asset: Asset, inputs: Sequence[str], facts: Facts) -> None:
    """Note when a run may bring a partition newer data only because time has passed."""
    facts.changes_at(reached_by(part, asset))
    windows = [facts.graph.assets[name].windows for name in inputs]
    if any(it and it.has_open_window for it in windows):
        facts.changes_now()


def _expected(part: Part, asset: Asset, reached: Mapping[str, float]) -> float:
    """Return up to when the data of a partition will reach."""
    if part.name in reached:
        return reached[part.name]
    pending = part.pending
    if pending is None:
        return reached_by(part, asset)
    if pending.data_time is not None:
        return pending.data_time
    return pending.requested_at if pending.started_at is None else pending.started_at


def reached_by(part: Part, asset: Asset) -> float:
    """Return up to when the data of a partition of `asset` reaches now; -inf: not known."""
    known = -inf if part.data_time is None else part.data_time
    if part.window is None or asset.windows is None:
        return known
    return max(asset.windows.data_of(part.window).start, known)


def _is_complete(part: Part, asset: Asset, reach: float) -> bool:
    if part.window is None or asset.windows is None:
        return False
    return reach >= asset.windows.data_of(part.window).end


def _pause(part: Part, asset: Asset, *, is_root: bool) -> float:
    """Return from when on a partition may be made that has failed, or whose source was behind.

    A source was behind that stated data of before the window's end when that had passed. It is
    taken to need as long as it was behind, within the pauses after failures.
    """
    pause = retry_at(part.failures, part.failed_at)
    made_at, window = part.made_at, part.window
    if not is_root or window is None or made_at is None or made_at < window.end:
        return pause
    behind = window.end - reached_by(part, asset)
    return max(pause, made_at + min(RETRY_CEILING, max(RETRY_FIRST, behind)))


def _key(part: Part) -> str:
    """Return the key of a partition in the dimension without time."""
    return part.key if part.window else part.name


def _range(ready: list[Part], parts: tuple[Part, ...]) -> list[Part]:
    """Return the first partitions of `ready` that follow each other, for one run."""
    found = ready[:1]
    for part in ready[1:]:
        if part.key != found[-1].key or not _follows(part, found[-1], parts):
            break
        found.append(part)
    return found


def _follows(part: Part, before: Part, parts: tuple[Part, ...]) -> bool:
    """Return whether a partition is the next after `before`; `parts` are those without windows."""
    if part.window and before.window:
        return part.window.start == before.window.end
    return parts.index(part) == parts.index(before) + 1


# --- what a partition gets of its inputs --------------------------------------------------------


def _has_news(
    part: Part, inputs: Sequence[str], facts: Facts, joined: Mapping[str, Collection[str]]
) -> bool:
    """Return whether anything was made upstream since a partition was, or was found to be empty.

    Without that a run would bring the same, also where that is not known to be complete.
    """
    versions = [facts.assets[name].state.version for name in inputs]
    if not inputs or any(part.name in parts for parts in joined.values()):
        return True
    asked = part.nothing_new.at if part.nothing_new else -inf
    return any(version and version.id > part.version and version.at > asked for version in versions)


def _reach(
    part: Part,
    asset: Asset,
    inputs: Sequence[str],
    facts: Facts,
    joined: Mapping[str, Collection[str]],
) -> float | None:
    """Return up to when the data of a partition would reach that is made now.

    It is inf if all that it reads is complete; None: it cannot be made, or nothing would be new.
    """
    reach = inf
    for name in inputs:
        if part.name in joined.get(name, ()):
            continue  # as complete as the window is
        found = _reach_of_input(part, asset, name, facts)
        if found is None:
            return None
        reach = min(reach, found)
    if reach == inf and (part.window is None or part.window.end > facts.now):
        return facts.now
    return reach


def _reach_of_input(part: Part, asset: Asset, name: str, facts: Facts) -> float | None:
    source, state = facts.graph.assets[name], facts.assets[name].state
    reads = asset.reads.get(name, _ALL)
    if state.version is None:
        return None
    if reads.last:
        return state.last_data_time
    parts: Iterable[Part] = state.parts
    if reads.same_key and source.keys:
        parts = [other for other in parts if _key(part) == _key(other)]
    if source.windows and asset.windows and reads.windows is not None and part.window:
        wanted = asset.windows.shifted(part.window, *reads.windows)
        reach = inf
        if wanted.end > source.windows.last(facts.now).end:
            reach = source.windows.reach(facts.now)
        for other in parts:
            if other.window and other.window.start < wanted.end and wanted.start < other.window.end:
                reach = min(reach, reached_by(other, source))
        # It may have to reach further than the rows that the partition brings: another input, which
        # the partition reads earlier partitions of, brings no later ones.
        own_end = asset.windows.data_of(part.window).end
        return reach - max(0.0, source.windows.data_of(wanted).end - own_end)
    if reads.same_key and source.keys and not source.windows:
        return next((reached_by(other, source) for other in parts), None)
    if state.version.data_time is None:
        # Of an age that nobody knows: it is read once.
        return inf if part.version == 0 else None
    return facts.assets[name].data_time
