import dagster as dg


@dg.asset(deps=[["mart", "revenue"], ["raw", "customers"], ["raw", "order"]])
def report(): ...
