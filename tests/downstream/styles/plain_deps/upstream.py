"""Keys of one, two and three parts, as most workspaces have them."""

import dagster as dg


@dg.asset
def orders(): ...


@dg.asset(key_prefix=["crm"])
def customers(): ...


@dg.asset(key=["warehouse", "public", "Returns"])
def returns(): ...


@dg.asset(deps=[orders])
def order_lines(): ...


defs = dg.Definitions(assets=[orders, customers, returns, order_lines])
