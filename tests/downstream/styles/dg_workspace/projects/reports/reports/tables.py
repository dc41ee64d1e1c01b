import dagster as dg


@dg.asset(deps=[["mart", "revenue"], ["mart", "revenues"]])
def report(): ...


defs = dg.Definitions(assets=[report])
