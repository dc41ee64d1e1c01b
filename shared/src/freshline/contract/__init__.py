"""What does a code location make and need, and how do other locations read it?

`describe` reads it from Dagster definitions, with `describe_dbt` for what dbt adds and
`describe_partitions` for partitions; `written` says which policies in it are kept, `reads` finds
the columns that dbt models use and `outputs` those that they make, `document` is the contract as a
value and as a file, `tables` is what people see of it, `publication` sends it through the shared
instance, `graph` joins all contracts to one lineage.
"""

from freshline.contract.document import (
    SCHEMA_VERSION,
    Column,
    Contract,
    Export,
    Import,
    UnkeptPolicy,
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
    "UnkeptPolicy",
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
