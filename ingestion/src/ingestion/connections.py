"""The connections that this team runs: the one place to declare them.

Both the assets of the location and what `ingestion apply` makes in Airbyte follow from this file.
"""

from __future__ import annotations

from ingestion.airbyte.declaration import (
    Connection,
    Destination,
    Env,
    Nested,
    Secret,
    Source,
    Stream,
    check_connections,
)

warehouse = Destination(
    name="warehouse",
    type="postgres",
    configuration={
        "host": Env("WAREHOUSE_HOST"),
        "port": Env("WAREHOUSE_PORT", type="integer"),
        "database": Env("WAREHOUSE_DATABASE"),
        "schema": "postgres",
        "username": Env("WAREHOUSE_USER"),
        "password": Secret("WAREHOUSE_PASSWORD"),
        "ssl_mode": {"mode": "prefer"},
    },
)


def github(name: str, repository: str | Env) -> Source:
    """Return a source that reads one repository.

    Each repository needs a connection of its own. The primary key of a star is the user alone, so
    a person who starred two repositories of one connection would have only one row.
    """
    return Source(
        name=name,
        type="github",
        configuration={
            "api_url": Env("GITHUB_API_URL", default="https://api.github.com/"),
            "repositories": [repository],
            "credentials": {
                "option_title": "PAT Credentials",
                "personal_access_token": Secret("GITHUB_TOKEN"),
            },
        },
    )


stargazers = Stream(
    name="stargazers",
    sync_mode="incremental_deduped_history",
    cursor="starred_at",
    primary_key=("user_id",),
    fields=("repository", "user_id", "starred_at", "user"),
    description="Who starred the repository, and when: one row a person.",
    nested=(
        Nested(
            name="stargazers_user",
            column="user",
            keep=("repository", "user_id"),
            description="The GitHub account of every stargazer: one row a person.",
        ),
    ),
)

fetch_stargazer = Connection(
    name="fetch_stargazer",
    source=github("github", Env("GITHUB_REPOSITORY")),
    destination=warehouse,
    namespace="postgres",
    streams=(stargazers,),
    sync_every_minutes=30,
    owners=("team:ingestion",),
)

CONNECTIONS = check_connections((fetch_stargazer,))
