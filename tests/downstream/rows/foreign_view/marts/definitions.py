import dagster as dg


@dg.asset(
    key=["mart", "months"],
    deps=[["mart", "stargazers"]],
    owners=["team:marts"],
    kinds={"dbt", "postgres", "view"},
    metadata={
        "freshline/uses": {
            "mart/stargazers": [
                {"name": "user_login", "type": "character varying"},
                {"name": "starred_at", "type": "timestamptz"},
            ]
        },
    },
)
def months(): ...


defs = dg.Definitions(assets=[months])
