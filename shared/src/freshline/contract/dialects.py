"""Which SQL dialect is meant by a kind of an asset, or by the type of a dbt adapter?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = ["dialect_of"]

_OTHER_NAMES: Final[Mapping[str, str]] = {
    "azuresql": "tsql",
    "cockroachdb": "postgres",
    "googlebigquery": "bigquery",
    "greenplum": "postgres",
    "mariadb": "mysql",
    "motherduck": "duckdb",
    "mssql": "tsql",
    "postgresql": "postgres",
    "pyspark": "spark",
    "sqlserver": "tsql",
    "synapse": "tsql",
    "timescaledb": "postgres",
}


def dialect_of(name: str) -> str | None:
    """Return sqlglot's name of the dialect; None: `name` is not that of a SQL engine."""
    known = _OTHER_NAMES.get(name.lower(), name.lower())
    return known if known in _dialects() else None


@lru_cache(maxsize=1)
def _dialects() -> frozenset[str]:
    # Imported here because it takes half a second, and most gates never compare two type names.
    from sqlglot.dialects.dialect import Dialects

    return frozenset(dialect.value for dialect in Dialects if dialect.value)
