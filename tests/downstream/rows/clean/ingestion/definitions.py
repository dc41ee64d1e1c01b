import dagster as dg


@dg.asset(
    key=["raw", "stars"],
    owners=["team:ingestion"],
    kinds={"postgres"},
    metadata={
        "freshline/expected_seconds": 60,
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("user_id", "int8"),
                dg.TableColumn("login", "varchar"),
                dg.TableColumn("starred_at", "timestamp with time zone"),
            ]
        ),
    },
)
def stars(): ...


defs = dg.Definitions(assets=[stars])
