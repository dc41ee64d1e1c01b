"""Publishes contracts as materializations of an asset that each location defines.

A location publishes its contract when it has changed, and once a day, because old events may be
deleted. Once a minute it sends a heartbeat: an event that refers to the one with the content. If
each heartbeat held the contract, the log of a large workspace would grow by gigabytes a day.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from freshline.contract.document import Contract
from freshline.errors import ContractError
from freshline.names import (
    CODE_VERSION,
    CONTENT_AT,
    CONTENT_ID,
    CONTRACT,
    CONTRACT_PREFIX,
    DAGSTER_VERSION,
    DIGEST,
    EXPORTS,
    GROUP,
    IMPORTS,
    MEASURED_TICK,
    MODE,
    OBSERVE,
    POLICIES,
    RETIRED,
    TICK_SECONDS,
)

if TYPE_CHECKING:
    from dagster import (
        AssetKey,
        AssetMaterialization,
        AssetSpec,
        DagsterInstance,
        EventLogRecord,
    )

    from freshline.history.events import Happened
    from freshline.policy import MaxLag

__all__ = [
    "ContractReader",
    "PublishedContract",
    "contract_asset_key",
    "contract_materialization",
    "contract_spec",
    "heartbeat",
    "read_contracts",
    "retirement",
    "tells_of_contract",
]


@dataclass(frozen=True, slots=True)
class PublishedContract:
    """A contract as its location last published it."""

    contract: Contract
    published_at: float
    """When the location last published or sent a heartbeat: UTC, epoch seconds."""
    digest: str
    """Contracts with the same content have the same digest."""
    content_id: int = 0
    """The event that holds the content, by its id in the event log."""
    content_at: float = 0.0
    """When that event was written: UTC, epoch seconds."""
    tick: float | None = None
    """The measured seconds between two plans of the location; None: they are as it declares."""


def contract_asset_key(location: str) -> AssetKey:
    """Return the key of the contract asset of `location`."""
    from dagster import AssetKey

    return AssetKey([*CONTRACT_PREFIX, location])


def contract_spec(
    location: str,
    tick_seconds: float,
    policies: Mapping[AssetKey, MaxLag] | None = None,
    *,
    observes: bool = False,
    tables: str = "",
) -> AssetSpec:
    """Return the spec of the contract asset of `location`, which plans every `tick_seconds`.

    `policies` are those of assets that do not carry one themselves. A location that `observes`
    requests nothing. `tables` are for people: Markdown, see `contract.tables`.
    """
    from dagster import AssetSpec

    given = {key.to_user_string(): policy.to_json() for key, policy in (policies or {}).items()}

    return AssetSpec(
        contract_asset_key(location),
        group_name=GROUP,
        description="\n\n".join(
            filter(
                None, [f"What {location} makes and needs, for the other code locations.", tables]
            )
        ),
        metadata={
            TICK_SECONDS: tick_seconds,
            **({MODE: OBSERVE} if observes else {}),
            **({POLICIES: given} if given else {}),
        },
    )


def contract_materialization(contract: Contract, tick: float | None = None) -> AssetMaterialization:
    """Return the event that publishes `contract`.

    `tick` is measured: how many seconds are between two plans, if not as many as it declares.
    """
    from dagster import AssetMaterialization, MetadataValue

    # One string, not nested JSON: to read an event, Dagster visits every nested value.
    text = json.dumps(contract.to_document(), ensure_ascii=False, separators=(",", ":"))
    return AssetMaterialization(
        contract_asset_key(contract.location),
        metadata={
            CONTRACT: MetadataValue.text(text),
            DIGEST: digest(contract),
            EXPORTS: len(contract.exports),
            IMPORTS: len(contract.imports),
            DAGSTER_VERSION: contract.dagster_version,
            **({CODE_VERSION: contract.code_version} if contract.code_version else {}),
            **_measured(tick),
        },
    )


def heartbeat(last: PublishedContract, tick: float | None = None) -> AssetMaterialization:
    """Return the event of a location that is running and whose contract has not changed.

    `tick` is as in `contract_materialization`.
    """
    from dagster import AssetMaterialization, MetadataValue

    return AssetMaterialization(
        contract_asset_key(last.contract.location),
        metadata={
            DIGEST: last.digest,
            CONTENT_ID: last.content_id,
            CONTENT_AT: MetadataValue.timestamp(last.content_at),
            **_measured(tick),
        },
        description="Nothing has changed since the materialization that holds the contract.",
    )


def _measured(tick: float | None) -> dict[str, float]:
    return {} if tick is None else {MEASURED_TICK: tick}


def retirement(location: str) -> AssetMaterialization:
    """Return the event after which `location` counts as gone, until it publishes again."""
    from dagster import AssetMaterialization

    return AssetMaterialization(
        contract_asset_key(location),
        metadata={RETIRED: True},
        description=f"{location} is retired: its assets and policies no longer count.",
    )


def digest(contract: Contract) -> str:
    """Return sixteen hexadecimal digits that change with the content."""
    text = json.dumps(contract.to_document(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class ContractReader:
    """A reader of published contracts that parses each content only once."""

    problems: dict[str, str] = field(default_factory=dict)
    """Why a contract could not be read, by location; set by each `read`."""
    retired: set[str] = field(default_factory=set)
    """The locations that are retired; set by each `read`."""
    _parsed: dict[tuple[str, str], Contract] = field(default_factory=dict, repr=False)
    _known: dict[str, PublishedContract] = field(default_factory=dict, repr=False)

    def read(self, instance: DagsterInstance) -> dict[str, PublishedContract]:
        """Return the last published contract of each location, sorted by location.

        A contract that cannot be read is left out and named in `problems`.
        """
        keys = instance.get_asset_keys(prefix=list(CONTRACT_PREFIX))
        records = instance.get_asset_records(list(keys)) if keys else []
        events = {
            record.asset_entry.asset_key.path[-1]: event
            for record in records
            if (event := record.asset_entry.last_materialization_record)
        }
        self.problems, self.retired = {}, set()
        contracts: dict[str, PublishedContract] = {}
        for location, last in self._with_content(instance, events).items():
            try:
                contracts[location] = self._published(location, last)
            except ContractError as error:
                self.problems[location] = str(error)
        self._parsed = {
            (location, published.digest): published.contract
            for location, published in contracts.items()
        }
        self._known = dict(sorted(contracts.items()))
        return dict(self._known)

    def hear(self, events: Iterable[Happened]) -> dict[str, PublishedContract] | None:
        """Return what `read` would return after `events`, all that have happened since the last.

        None: a location has not only sent a heartbeat, so that the contracts must be read.
        """
        from freshline.history.materialized import metadata_of

        for event in events:
            if event.key is None or event.entry is None or not tells_of_contract(event):
                continue
            location = event.key.path[-1]
            known, metadata = self._known.get(location), metadata_of(event.entry)
            if known is None or CONTENT_ID not in metadata or metadata[DIGEST] != known.digest:
                return None
            self._known[location] = replace(
                known,
                published_at=event.entry.timestamp,
                content_id=metadata[CONTENT_ID],
                content_at=metadata[CONTENT_AT],
                tick=metadata.get(MEASURED_TICK),
            )
        return dict(self._known)

    def _with_content(
        self, instance: DagsterInstance, events: Mapping[str, EventLogRecord]
    ) -> dict[str, _LastEvent]:
        """Return the last event of each location, with the content that a heartbeat refers to."""
        from freshline.history.events import EventLog
        from freshline.history.materialized import metadata_of

        last_events: dict[str, _LastEvent] = {}
        for location, event in events.items():
            metadata = metadata_of(event.event_log_entry)
            if metadata.get(RETIRED):
                self.retired.add(location)
                continue
            last_events[location] = _LastEvent(
                at=event.timestamp,
                digest=metadata.get(DIGEST, ""),
                content_id=metadata.get(CONTENT_ID, event.storage_id),
                content_at=metadata.get(CONTENT_AT, event.timestamp),
                text=metadata.get(CONTRACT),
                tick=metadata.get(MEASURED_TICK),
            )
        missing = {
            last.content_id
            for location, last in last_events.items()
            if last.text is None and (location, last.digest) not in self._parsed
        }
        contents = EventLog(instance).metadata_by_id(missing) if missing else {}
        return {
            location: replace(last, text=contents[last.content_id].get(CONTRACT))
            if last.content_id in contents
            else last
            for location, last in last_events.items()
        }

    def _published(self, location: str, last: _LastEvent) -> PublishedContract:
        contract = self._parsed.get((location, last.digest)) if last.digest else None
        if contract is None:
            contract = Contract.from_json(last.text or "")
        if contract.location != location:
            raise ContractError(f"it says that it is {contract.location}'s, not {location}'s")
        return PublishedContract(
            contract, last.at, last.digest, last.content_id, last.content_at, last.tick
        )


@dataclass(frozen=True, slots=True)
class _LastEvent:
    """The last publication or heartbeat of a location. Times are UTC, epoch seconds."""

    at: float
    digest: str
    content_id: int
    content_at: float
    text: str | None
    """The contract; None: it is in the event `content_id`."""
    tick: float | None
    """The measured seconds between two plans; None: they are as declared."""


def tells_of_contract(event: Happened) -> bool:
    """Return whether `event` is a location's contract, or its heartbeat."""
    return event.key is not None and tuple(event.key.path[:-1]) == CONTRACT_PREFIX


def read_contracts(instance: DagsterInstance) -> Mapping[str, PublishedContract]:
    """Read the last published contract of each location, sorted by location."""
    return ContractReader().read(instance)
