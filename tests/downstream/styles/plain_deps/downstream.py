"""Dependencies as keys, as text, as arguments; some misspelled, some on nothing at all."""

import dagster as dg


@dg.asset(deps=[dg.AssetKey("orders"), dg.AssetKey(["crm", "customers"])])
def revenue(): ...


@dg.asset(deps=["order_lines", dg.AssetDep(["warehouse", "public", "Returns"])])
def margin(): ...


@dg.asset
def by_argument(revenue):
    return revenue


people = dg.AssetSpec(["crm", "customers"])  # Dagster wants one for what is loaded as a value


@dg.asset(ins={"people": dg.AssetIn(key=["crm", "customers"])})
def by_input(people):
    return people


@dg.asset(deps=[dg.AssetKey(["crm", "customer"])])
def misspelled(): ...


@dg.asset(deps=["a_table_that_nobody_makes"])
def dangling(): ...


defs = dg.Definitions(assets=[revenue, margin, by_argument, people, by_input, misspelled, dangling])
