import dagster as dg
from freshline import with_freshline


@dg.asset(
    key=["mart", "months"],
    deps=[["mart", "stargazers"]],
    owners=["team:marts"],
    kinds={"postgres"},
    metadata={
        "freshline/max_lag": {"minutes": 30},
        "freshline/uses": {
            "mart/stargazers": [
                {"name": "user_login", "type": "character varying"},
                {"name": "starred_at", "type": "timestamptz"},
            ]
        },
    },
)
def months(): ...


defs = with_freshline(dg.Definitions(assets=[months]), location="marts")
