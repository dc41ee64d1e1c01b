import dagster as dg

from shop.keys import ORDERS


@dg.asset(key=ORDERS, deps=[["stock", "items"]])
def orders(): ...


defs = dg.Definitions(assets=[orders])
