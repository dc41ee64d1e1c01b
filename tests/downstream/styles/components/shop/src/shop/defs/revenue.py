import dagster as dg


@dg.asset(key=["mart", "revenue"], deps=[["raw", "orders"]])
def revenue(): ...
