import dagster as dg


@dg.multi_asset(specs=[dg.AssetSpec(["raw", "orders"]), dg.AssetSpec(["raw", "customers"])])
def load(): ...


defs = dg.Definitions(assets=[load])
