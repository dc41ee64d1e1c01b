import dagster as dg

ORDERS = dg.TableSchema(
    columns=[dg.TableColumn("day", "date"), dg.TableColumn("amount", "numeric")],
)
SPECS = [
    dg.AssetSpec(["raw", "orders"], metadata={"dagster/column_schema": ORDERS}),
    dg.AssetSpec(["raw", "customers"]),
]


@dg.multi_asset(specs=SPECS)
def load(): ...


defs = dg.Definitions(assets=[load])
