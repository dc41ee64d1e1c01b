import dagster as dg


@dg.asset(key=["bad", "policy"], metadata={"freshline/max_lag": {"minutes": "soon"}})
def policy(): ...


defs = dg.Definitions(assets=[policy])
