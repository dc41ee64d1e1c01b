"""How contracts travel: as materializations of an asset that each location itself defines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from freshline.contract.document import Contract, ContractError
from freshline.describe import CONTRACT_PREFIX, TICK_SECONDS

if TYPE_CHECKING:
    from dagster import AssetKey, AssetMaterialization, AssetRecord, AssetSpec, DagsterInstance

__all__ = [
    "ContractReader",
    "PublishedContract",
    "contract_asset_key",
    "contract_materialization",
    "contract_spec",
    "read_contracts",
    "retirement",
]

CONTRACT: Final = "freshline/contract"
DIGEST: Final = "freshline/digest"
RETIRED: Final = "freshline/retired"


@dataclass(frozen=True, slots=True)
class PublishedContract:
    """A contract as last heard of."""

    contract: Contract
    published_at: float
    """UTC, in epoch seconds."""
    digest: str
    """The same content has the same digest."""


def contract_asset_key(location: str) -> AssetKey:
    """The asset under which `location` publishes its contract."""
    from dagster import AssetKey

    return AssetKey([*CONTRACT_PREFIX, location])


def contract_spec(location: str, tick_seconds: float) -> AssetSpec:
    """The asset to define in `location`, which plans every `tick_seconds`."""
    from dagster import AssetSpec

    return AssetSpec(
        contract_asset_key(location),
        group_name="freshline",
        description=f"What {location} makes and needs, for the other code locations.",
        metadata={TICK_SECONDS: tick_seconds},
    )


def contract_materialization(contract: Contract) -> AssetMaterialization:
    """The event that publishes `contract`."""
    from dagster import AssetMaterialization, MetadataValue

    # One string, not nested JSON: reading an event back walks every nested value.
    text = json.dumps(contract.to_document(), ensure_ascii=False, separators=(",", ":"))
    return AssetMaterialization(
        contract_asset_key(contract.location),
        metadata={
            CONTRACT: MetadataValue.text(text),
            DIGEST: digest(contract),
            "freshline/exports": len(contract.exports),
            "freshline/imports": len(contract.imports),
            "freshline/dagster_version": contract.dagster_version,
            **({"freshline/code_version": contract.code_version} if contract.code_version else {}),
        },
    )


def retirement(location: str) -> AssetMaterialization:
    """The event after which `location` counts as gone, until it publishes again."""
    from dagster import AssetMaterialization

    return AssetMaterialization(
        contract_asset_key(location),
        metadata={RETIRED: True},
        description=f"{location} is retired: its assets and policies no longer count.",
    )


def digest(contract: Contract) -> str:
    """Sixteen hexadecimal digits that change with the content."""
    text = json.dumps(contract.to_document(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class ContractReader:
    """Reads what has been published, parsing each content once."""

    instance: DagsterInstance
    problems: dict[str, str] = field(default_factory=dict)
    """Of the last read: locations whose contract could not be read, and why."""
    retired: set[str] = field(default_factory=set)
    """Of the last read: locations that are retired."""
    _parsed: dict[tuple[str, str], Contract] = field(default_factory=dict, repr=False)

    def read(self) -> dict[str, PublishedContract]:
        """The contracts by location, by name. A bad one is left out and named in `problems`."""
        keys = self.instance.get_asset_keys(prefix=list(CONTRACT_PREFIX))
        records = self.instance.get_asset_records(list(keys)) if keys else []
        self.problems, self.retired = {}, set()
        contracts: dict[str, PublishedContract] = {}
        for record in records:
            location = record.asset_entry.asset_key.path[-1]
            try:
                published = self._published(location, record)
            except ContractError as error:
                self.problems[location] = str(error)
            else:
                if published:
                    contracts[location] = published
        self._parsed = {
            (location, published.digest): published.contract
            for location, published in contracts.items()
        }
        return dict(sorted(contracts.items()))

    def _published(self, location: str, record: AssetRecord) -> PublishedContract | None:
        event = record.asset_entry.last_materialization
        materialization = event.asset_materialization if event else None
        if event is None or materialization is None:
            return None
        metadata = {name: value.value for name, value in materialization.metadata.items()}
        if metadata.get(RETIRED):
            self.retired.add(location)
            return None
        text, content = str(metadata.get(CONTRACT, "")), str(metadata.get(DIGEST, ""))
        contract = self._parsed.get((location, content)) if content else None
        if contract is None:
            contract = Contract.from_json(text)
        if contract.location != location:
            raise ContractError(f"it says that it is {contract.location}'s, not {location}'s")
        return PublishedContract(contract, event.timestamp, content)


def read_contracts(instance: DagsterInstance) -> Mapping[str, PublishedContract]:
    """What every location has last published, by location."""
    return ContractReader(instance).read()
