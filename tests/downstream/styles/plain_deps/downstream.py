"""Dependencies as keys, as text, as arguments; some misspelled, some on nothing at all."""

import dagster as dg


@dg.asset(deps=[dg.AssetKey("orders"), dg.AssetKey(["crm", "customers"])])
def revenue(): ...


@dg.asset(deps=["order_lines", dg.AssetDep(["warehouse", "public", "Returns"])])
def margin(): ...


@dg.asset
def by_argument(revenue, orders):
    return revenue, orders


@dg.asset(ins={"people": dg.AssetIn(key=["crm", "customers"])})
def by_input(people):
    return people


@dg.asset(deps=[dg.AssetKey(["crm", "customer"])])
def misspelled(): ...


@dg.asset(deps=["a_table_that_nobody_makes"])
def dangling(): ...


defs = dg.Definitions(assets=[revenue, margin, by_argument, by_input, misspelled, dangling])
