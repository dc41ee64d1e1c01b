import dagster as dg

keys = ["raw/a", "raw/b", "graph/one", "graph/left", "graph/right", "multi/heads", "multi/tails"]


@dg.asset(deps=[dg.AssetKey(key.split("/")) for key in keys])
def all_of_them(): ...


defs = dg.Definitions(assets=[all_of_them])
