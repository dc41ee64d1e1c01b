"""What must never be: runs that are lost, or that two processes made."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
from engine_teams import ENDED, Status
from freshline.names import DATA_TIME
from site_on_hosts import Site

__all__ = ["Judgement", "judge", "late_seconds", "unfinished"]

Event = dg.DagsterEventType
PARENT = "dagster/parent_run_id"
ASSETS_WITH_POLICIES = ("report", "mart")
GRACE = 2.0
"""Seconds in which a run that was given up sees that it was; see `execution._LOOK_EVERY`."""


@dataclass
class Judgement:
    """What was found wrong, a line each. All lists are empty if all is well."""

    lost: list[str]
    """Runs that failed, and were not tried again. Not `talker`: it fails where a disk is full."""
    twice: list[str]
    """Assets that two processes made at the same time."""
    in_vain: list[str]
    """Runs whose code went on, or that wrote events, after they had been given up."""

    def __bool__(self) -> bool:
        return bool(self.lost or self.twice or self.in_vain)


@dataclass(frozen=True)
class Note:
    """A line that the code of a run has written."""

    at: float
    """Monotonic seconds."""
    run_id: str
    process: str
    asset: str
    word: str


def unfinished(site: Site) -> list[str]:
    """Return the ids of the runs that have not ended."""
    statuses = [status for status in Status if status not in ENDED]
    return [run.run_id for run in site.instance.get_runs(dg.RunsFilter(statuses=statuses))]


def judge(site: Site, since: datetime) -> Judgement:
    """Judge the runs that were created after `since`, also those that policies have asked for."""
    runs = site.instance.get_runs(dg.RunsFilter(created_after=since))
    ids = {run.run_id for run in runs}
    notes = [note for note in read_notes(site) if note.run_id in ids]
    tried_again = {run.tags.get(PARENT) for run in runs}
    return Judgement(
        lost=[
            f"{run.run_id}: {site.messages(run.run_id)[-600:]}"
            for run in runs
            if run.status is Status.FAILURE
            and run.run_id not in tried_again
            and not _fails_by_its_code(run)
        ],
        twice=list(_overlaps(notes, {run.run_id: run.root_run_id or run.run_id for run in runs})),
        in_vain=[*_notes_in_vain(site, runs, notes), *_events_in_vain(site, runs)],
    )


def _fails_by_its_code(run: dg.DagsterRun) -> bool:
    return any(key.path[-1] == "talker" for key in run.asset_selection or ())


def read_notes(site: Site) -> list[Note]:
    """Return all notes in the order in which they were written."""
    trace = site.folder / "trace"
    lines = trace.read_text().splitlines() if trace.exists() else []
    rows = [line.split(" ", 4) for line in lines]
    return [Note(float(at), *rest) for at, *rest in rows]


def _overlaps(notes: Sequence[Note], roots: Mapping[str, str]) -> Iterator[str]:
    """Yield what two processes made at the same time; `roots` has the first try of each run.

    Two runs that a person has asked for may be made at the same time.
    """
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for place, note in enumerate(notes):
        by_policy = note.asset.endswith(ASSETS_WITH_POLICIES)
        what = note.asset if by_policy else f"{note.asset} for run {roots[note.run_id]}"
        who = f"process {note.process} of run {note.run_id}"
        begin, _ = spans.get((what, who), (place, place))
        spans[what, who] = begin, place
    ordered = sorted(spans.items(), key=lambda item: (item[0][0], item[1]))
    for (one, (_, end)), (other, (begin, _)) in itertools.pairwise(ordered):
        if one[0] == other[0] and begin < end:
            seconds = notes[end].at - notes[begin].at
            yield f"{one[0]}: {other[1]} began {seconds:.1f} s before {one[1]} had ended"


def _notes_in_vain(
    site: Site, runs: Sequence[dg.DagsterRun], notes: Sequence[Note]
) -> Iterator[str]:
    last = {note.run_id: note.at for note in notes}
    to_monotonic = time.monotonic() - time.time()
    for run in runs:
        record = site.instance.get_run_record_by_id(run.run_id)
        if run.status is Status.FAILURE and record and record.end_time and run.run_id in last:
            seconds = last[run.run_id] - (record.end_time + to_monotonic)
            if seconds > GRACE:
                yield f"{run.run_id} went on for {seconds:.1f} s after it had been given up"


def _events_in_vain(site: Site, runs: Sequence[dg.DagsterRun]) -> Iterator[str]:
    for run in runs:
        events = site.events(run.run_id)
        endings = [event for event in events if event in (Event.RUN_SUCCESS, Event.RUN_FAILURE)]
        if len(endings) > 1:
            yield f"{run.run_id} ended {len(endings)} times"
        made = events.count(Event.ASSET_MATERIALIZATION)
        if made > len(run.asset_selection or ()):
            yield f"{run.run_id} says {made} times that it has made its assets"
        if endings and Event.ASSET_MATERIALIZATION in events[events.index(endings[0]) :]:
            yield f"{run.run_id} says that it has made its assets, after it had ended"


def late_seconds(site: Site, key: str, minutes: float, since: float) -> float:
    """Return for how long the data of `key` was older than `minutes`, since a time (epoch)."""
    asset = dg.AssetKey(key.split("/"))
    made = [
        (record.timestamp, float(record.asset_materialization.metadata[DATA_TIME].value))
        for record in reversed(site.instance.fetch_materializations(asset, limit=1000).records)
        if record.asset_materialization
    ]
    # What was there at the beginning counts from then on, and the newest one until now.
    ends = [at for at, _ in made[1:]] + [time.time()]
    return sum(
        max(0.0, end - max(since, data_time + minutes * 60))
        for (_, data_time), end in zip(made, ends, strict=True)
        if end > since
    )
