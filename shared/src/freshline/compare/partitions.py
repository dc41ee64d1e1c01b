"""What differs between two versions of an asset's partitions, and what of it can break a reader."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from freshline.contract.document import Export, Partitions, TimeWindows

__all__ = ["partition_changes"]


def partition_changes(before: Export, after: Export) -> Iterator[tuple[str, bool]]:
    """Yield each change in a few words, and whether a reader may rely on what was before."""
    if after.partitioned != before.partitioned:
        yield "partitioned now" if after.partitioned else "no longer partitioned", True
        return
    old, new = before.partitions, after.partitions
    if old is None or new is None or old == new:
        return  # an older freshline does not say which partitions there are
    if (old.windows is None) != (new.windows is None):
        yield f"partitions: {_words(old)} -> {_words(new)}", True
        return
    if old.windows and new.windows:
        yield from _windows_changes(old.windows, new.windows)
    if old.dynamic != new.dynamic or bool(old.keys) != bool(new.keys):
        yield f"partitions: {_words(old)} -> {_words(new)}", True
        return
    gone, added = sorted(set(old.keys) - set(new.keys)), sorted(set(new.keys) - set(old.keys))
    if gone:
        yield f"partitions removed: {', '.join(gone)}", True
    if added:
        yield f"partitions added: {', '.join(added)}", False


def _windows_changes(old: TimeWindows, new: TimeWindows) -> Iterator[tuple[str, bool]]:
    if (old.cron, old.timezone) != (new.cron, new.timezone):
        yield f"time windows: {_cron(old)} -> {_cron(new)}", True
        return
    if old.fmt != new.fmt:
        yield f"partition keys: {old.fmt} -> {new.fmt}", True
    if old.start != new.start:
        yield f"first partition: {_day(old.start)} -> {_day(new.start)}", new.start > old.start
    if old.end != new.end:
        ends_earlier = new.end is not None and (old.end is None or new.end < old.end)
        yield f"partitions end: {_day(old.end)} -> {_day(new.end)}", ends_earlier
    if old.end_offset != new.end_offset:
        fewer = new.end_offset < old.end_offset
        yield f"partitions beyond the last window: {old.end_offset} -> {new.end_offset}", fewer


def _words(partitions: Partitions) -> str:
    parts = [_cron(partitions.windows)] if partitions.windows else []
    if partitions.keys:
        parts.append(f"{len(partitions.keys)} keys")
    if partitions.dynamic:
        parts.append(f"the keys of {partitions.dynamic}")
    return " x ".join(parts) or "of another kind"


def _cron(windows: TimeWindows) -> str:
    return f"{windows.cron} ({windows.timezone})"


def _day(time: float | None) -> str:
    return (
        "never" if time is None else datetime.fromtimestamp(time, UTC).isoformat(timespec="minutes")
    )
