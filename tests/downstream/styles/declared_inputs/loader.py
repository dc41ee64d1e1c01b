"""Assets as the integrations make them: their inputs are named by what they replicate."""

import dagster as dg

accounts = dg.AssetSpec(
    ["target", "accounts"],
    deps=[dg.AssetKey(["public", "accounts"])],
    kinds={"sling"},
    metadata={"dagster_sling/sling_replication_config": {"source": "CRM"}},
)
stars = dg.AssetSpec("dlt_github_stars", deps=["github_stars"], kinds={"dlt", "duckdb"})
orders = dg.AssetSpec(["raw", "orders_v2"], kinds={"fivetran"})


@dg.multi_asset(specs=[accounts, stars, orders])
def load(): ...


@dg.asset(deps=[["github_star"]])
def written_by_hand(): ...


defs = dg.Definitions(assets=[load, written_by_hand])
