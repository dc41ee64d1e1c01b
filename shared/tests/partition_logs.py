"""Partitioned assets, and event logs with the versions of their partitions at chosen times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.events import AssetWipedData, StepMaterializationData
from freshline.history import History
from freshline.model import Asset, AssetState, Graph, PartitionKeys, Reads
from freshline.windows import Windows

__all__ = ["DAY", "HOUR", "MIDNIGHT", "Log", "asset", "daily", "hourly", "lineage"]

HOUR = 3_600.0
DAY = 24 * HOUR
MIDNIGHT = datetime(2026, 1, 10, tzinfo=UTC).timestamp()
"""The tests' first window begins then."""


def daily(**options: float) -> Windows:
    return Windows("0 0 * * *", MIDNIGHT, **options)


def hourly(**options: float) -> Windows:
    return Windows("0 * * * *", MIDNIGHT, fmt="%Y-%m-%d-%H:%M", **options)


def asset(
    key: str,
    *deps: str,
    windows: Windows | None = None,
    keys: PartitionKeys | None = None,
    reads: Mapping[str, Reads] | None = None,
    promised_from: float | None = None,
) -> Asset:
    return Asset(
        key,
        "here",
        deps,
        windows=windows,
        keys=keys,
        reads=reads or {},
        promised_from=promised_from,
    )


def lineage(*assets: Asset) -> Graph:
    return Graph({asset.key: asset for asset in assets}, ticks={"here": 5.0})


class Log:
    """Writes versions at chosen times, and reads states as the history of `graph` does.

    Every state is read twice: by a history that follows the log, and by a new one. Both must say
    the same.
    """

    def __init__(self, instance: dg.DagsterInstance, *assets: Asset) -> None:
        self.instance = instance
        self.graph = lineage(*assets)
        self.history = History(instance)

    def newest(self, key: str) -> int | None:
        """Return what Dagster records for a step that begins now and reads `key`."""
        record = next(iter(self.instance.get_asset_records([dg.AssetKey(key)])), None)
        last = record.asset_entry.last_materialization_record if record else None
        return last.storage_id if last else None

    def made(
        self,
        key: str,
        partition: str | None,
        at: float,
        *,
        data_time: float | None = None,
        read: Mapping[str, int | None] | None = None,
    ) -> int:
        """Write a version. Of an input it has read what was there just now, or `read`."""
        deps = self.graph.assets[key].deps
        consumed = {dep: self.newest(dep) for dep in deps} if read is None else read
        materialization = dg.AssetMaterialization(
            key,
            partition=partition,
            metadata={} if data_time is None else {"freshline/data_time": data_time},
            tags={
                f"dagster/input_event_pointer/{dep}": "NULL" if id_ is None else str(id_)
                for dep, id_ in consumed.items()
            },
        )
        self._store(
            DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(materialization), at
        )
        newest = self.newest(key)
        assert newest is not None
        return newest

    def wiped(self, key: str, *partitions: str, at: float) -> None:
        """Wipe partitions, as Dagster+ does: the open-source storages have no way to."""
        storage = self.instance.event_log_storage
        import sqlalchemy

        with storage.index_connection() as connection:
            connection.execute(
                sqlalchemy.text(
                    "delete from event_logs where asset_key = :key and partition in :names"
                ).bindparams(sqlalchemy.bindparam("names", expanding=True)),
                {"key": f'["{key}"]', "names": list(partitions)},
            )
            connection.commit()
        wiped = AssetWipedData(asset_key=dg.AssetKey(key), partition_keys=list(partitions))
        self._store(DagsterEventType.ASSET_WIPED, wiped, at)

    def _store(self, kind: DagsterEventType, data: object, at: float) -> None:
        event = DagsterEvent(kind.value, "__runless__", event_specific_data=data)
        entry = EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id="",
            timestamp=at,
            job_name="__runless__",
            dagster_event=event,
        )
        self.instance.event_log_storage.store_event(entry)

    def state(self, key: str, now: float) -> AssetState:
        """Return the state of an asset at `now`."""
        followed = self.history.read(self.graph, now).state(key)

        assert History(self.instance).read(self.graph, now).state(key) == followed
        return followed

    def data_time(self, key: str, now: float) -> float | None:
        """Return the data time of an asset at `now`, in hours after the first midnight."""
        version = self.state(key, now).version
        assert version is not None
        return None if version.data_time is None else (version.data_time - MIDNIGHT) / HOUR

    def parts(self, key: str, now: float) -> list[str]:
        """Return the partitions that are not complete at `now`."""
        return [part.name for part in self.state(key, now).parts]
