"""A location as a data product, in the Open Data Product Standard (ODPS) 1.0.

What it needs of others are its input ports, what it makes is its output port. Both name contracts
of the Open Data Contract Standard: see `odcs`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from freshline.contract.document import Contract, Import
from freshline.standards.odcs import contract_version, object_name, team_of

__all__ = ["data_product"]

_API_VERSION: Final = "v1.0.0"

_OUTSIDE: Final = "outside"
"""In place of the contract of what no location makes, and of its version."""


def data_product(contract: Contract, others: Iterable[Contract]) -> dict[str, Any]:
    """Return the location as plain values. `others` are all contracts of the workspace."""
    makers = {
        export.key: other
        for other in others
        for export in other.exports
        if other.location != contract.location and not export.observed
    }
    made_by_others = {
        it.location: it for needed in contract.imports if (it := makers.get(needed.key)) is not None
    }
    return {
        "apiVersion": _API_VERSION,
        "kind": "DataProduct",
        "id": contract.location,
        "name": contract.location,
        "version": contract_version(contract),
        "status": "active",
        "description": {"purpose": f"The assets of the code location {contract.location}."},
        "inputPorts": [_input(needed, makers) for needed in contract.imports],
        "outputPorts": [
            {
                "name": contract.location,
                "description": f"What {contract.location} makes.",
                "type": "tables",
                "version": contract_version(contract),
                "contractId": contract.location,
                "inputContracts": [
                    {"id": name, "version": contract_version(other)}
                    for name, other in sorted(made_by_others.items())
                ],
            }
        ],
        "team": team_of(contract),
    }


def _input(needed: Import, makers: Mapping[str, Contract]) -> dict[str, Any]:
    maker = makers.get(needed.key)
    custom: dict[str, Any] = {
        "dagsterAssetKey": needed.key,
        "object": object_name(needed.key),
        "usedBy": list(needed.used_by),
    }
    if needed.columns:
        custom["columns"] = [column.name for column in needed.columns]
    return {
        "name": needed.key,
        "version": contract_version(maker) if maker else _OUTSIDE,
        "contractId": maker.location if maker else _OUTSIDE,
        "customProperties": [{"property": name, "value": value} for name, value in custom.items()],
    }
