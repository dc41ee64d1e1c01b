"""A location's contract in the Open Data Contract Standard (ODCS) 3.1.

docs/standards.md says which field comes from where. Everything is derived: two exports of the same
contract are the same.
"""

from __future__ import annotations

import re
from typing import Any, Final

from freshline.contract.document import Column, Contract, Export
from freshline.contract.publication import digest
from freshline.policy import MaxLag
from freshline.standards.logical_types import logical_type

__all__ = ["contract_version", "data_contract", "object_name", "team_of"]

_API_VERSION: Final = "v3.1.0"
_TEAM: Final = "team:"
"""What the name of an owner begins with that is no person."""


def data_contract(contract: Contract) -> dict[str, Any]:
    """Return the contract as plain values: one object of the schema for each asset."""
    return {
        "apiVersion": _API_VERSION,
        "kind": "DataContract",
        "id": contract.location,
        "name": contract.location,
        "version": contract_version(contract),
        "status": "active",
        "description": {
            "purpose": f"What the code location {contract.location} makes, for other locations.",
        },
        "team": team_of(contract),
        "schema": [_object(export) for export in contract.exports],
        "slaProperties": [
            _freshness(export, export.policy) for export in contract.exports if export.policy
        ],
    }


def contract_version(contract: Contract) -> str:
    """Return the version of the contract: another content has another one."""
    return digest(contract)


def object_name(key: str) -> str:
    """Return the name of an asset in the standard: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", key)


def team_of(contract: Contract) -> dict[str, Any]:
    """Return who is responsible: the team's name, and people who own an asset."""
    owners = sorted({owner for export in contract.exports for owner in export.owners})
    teams = [owner.removeprefix(_TEAM) for owner in owners if owner.startswith(_TEAM)]
    people = [owner for owner in owners if not owner.startswith(_TEAM)]
    members = [{"username": person, "role": "owner"} for person in people]
    return {
        "name": ", ".join(teams) or contract.location,
        **({"members": members} if members else {}),
    }


def _object(export: Export) -> dict[str, Any]:
    name = object_name(export.key)
    custom = {
        "dagsterAssetKey": export.key,
        "owners": list(export.owners),
        "columnsEnforced": export.columns_enforced,
    }
    if export.policy and export.policy.timezone:
        # The schedule of a service level has no place for it.
        custom["freshnessTimezone"] = export.policy.timezone
    return {
        "id": name,
        "name": name,
        "physicalName": export.key.replace("/", "."),
        "logicalType": "object",
        "physicalType": "view" if export.view else "table",
        **({"description": export.description} if export.description else {}),
        **({"tags": list(export.kinds)} if export.kinds else {}),
        **(
            {"properties": [_property(column, export) for column in export.columns]}
            if export.columns
            else {}
        ),
        "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
    }


def _property(column: Column, export: Export) -> dict[str, Any]:
    logical = logical_type(column.type, export.kinds)
    return {
        "name": column.name,
        **({"logicalType": logical} if logical else {}),
        **({"physicalType": column.type} if column.type else {}),
        "required": not column.nullable,
        **({"description": column.description} if column.description else {}),
    }


def _freshness(export: Export, policy: MaxLag) -> dict[str, Any]:
    """Return the policy of an asset as a service level.

    Its element is the whole object: which column shows how old the data is, nobody says.
    """
    name = object_name(export.key)
    minutes = policy.to_json()["minutes"]
    level = {
        "id": f"freshness_{name}",
        "property": "freshness",
        "value": minutes,
        "unit": "minutes",
        "element": name,
        "driver": "operational",
        "description": f"The data is {policy}: every source row of that time is in it.",
    }
    if policy.cron:
        level |= {"scheduler": "cron", "schedule": policy.cron}
    return level
