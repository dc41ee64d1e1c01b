"""A picture of another team's table that says which columns it has."""

import dagster as dg

orders = dg.AssetSpec(
    ["raw", "orders"],
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("id", "int4"),
                dg.TableColumn("at", "timestamptz"),
                dg.TableColumn("amount", "numeric"),
            ]
        )
    },
)


@dg.asset(deps=[orders])
def report(): ...


defs = dg.Definitions(assets=[orders, report])
