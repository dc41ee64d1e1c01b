import dagster as dg


@dg.asset(
    key=["mart", "months"],
    deps=[["mart", "stargazers"]],
    owners=["team:marts"],
    kinds={"postgres"},
    metadata={
        "freshline/max_lag": {"minutes": 10},
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
