import dagster as dg


@dg.asset(key=["mart", "revenue"])
def revenue(): ...
