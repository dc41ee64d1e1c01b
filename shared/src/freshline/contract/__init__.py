"""Contracts: what a code location publishes about itself, for every other location to read.

`document` is the contract as a value and as a file, `publication` how it travels through the
shared instance, `graph` the one lineage that all contracts together describe.
"""

from freshline.contract.document import (
    SCHEMA_VERSION,
    Column,
    Contract,
    Export,
    Import,
    UsedColumn,
    json_schema,
)
from freshline.contract.graph import graph_of
from freshline.contract.publication import (
    ContractReader,
    PublishedContract,
    contract_asset_key,
    contract_materialization,
    contract_spec,
    heartbeat,
    read_contracts,
    retirement,
)

__all__ = [
    "SCHEMA_VERSION",
    "Column",
    "Contract",
    "ContractReader",
    "Export",
    "Import",
    "PublishedContract",
    "UsedColumn",
    "contract_asset_key",
    "contract_materialization",
    "contract_spec",
    "graph_of",
    "heartbeat",
    "json_schema",
    "read_contracts",
    "retirement",
]
