import dagster as dg


@dg.asset(key=["raw", "stars"])
def our_own_stars(): ...


defs = dg.Definitions(assets=[our_own_stars])
