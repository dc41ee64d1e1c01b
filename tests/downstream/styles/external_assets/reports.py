"""Pictures of other teams' tables: right, misspelled, made outside, and observed."""

import dagster as dg

orders = dg.SourceAsset(["raw", "orders"])
visit = dg.SourceAsset(["raw", "visit"])  # the loader makes raw/visits
exchange_rates = dg.AssetSpec(["bank", "rates"])  # nobody here makes it, and nobody says why
weather = dg.AssetSpec(["met_office", "weather"], metadata={"freshline/outside": True})


@dg.observable_source_asset(key=["sftp", "files"])
def files():
    return dg.DataVersion("1")


@dg.asset(deps=[orders, visit, exchange_rates, weather, files, ["crm", "people"]])
def report(): ...


defs = dg.Definitions(assets=[orders, visit, exchange_rates, weather, files, report])
