import dagster as dg
from freshline import max_lag, with_freshline
from interface import ORDERS


@dg.multi_asset(specs=[ORDERS, dg.AssetSpec(["raw", "rates"], metadata=max_lag(minutes=90))])
def load(): ...


defs = with_freshline(dg.Definitions(assets=[load]), location="loader")
