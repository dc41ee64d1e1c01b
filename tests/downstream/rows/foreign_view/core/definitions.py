import dagster as dg


@dg.asset(
    key=["mart", "stargazers"],
    deps=[["raw", "stars"]],
    owners=["team:core"],
    kinds={"dbt", "postgres", "table"},
    metadata={
        "freshline/uses": {
            "raw/stars": [
                {"name": "user_id", "type": "bigint"},
                {"name": "login", "type": "text"},
                {"name": "starred_at", "type": "timestamptz"},
            ]
        },
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("user_id", "bigint"),
                dg.TableColumn("user_login", "text"),
                dg.TableColumn("starred_at", "timestamptz"),
            ]
        ),
    },
)
def stargazers(): ...


defs = dg.Definitions(assets=[stargazers])
