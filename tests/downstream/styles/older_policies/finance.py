"""Not under freshline: what is written does what it did before, nothing."""

import warnings

import dagster as dg

warnings.simplefilter("ignore")  # Dagster warns of the older kind


@dg.asset(
    key=["finance", "revenue"],
    deps=[["sales", "kept"]],
    legacy_freshness_policy=dg.LegacyFreshnessPolicy(maximum_lag_minutes=60),
)
def revenue(): ...


defs = dg.Definitions(assets=[revenue])
