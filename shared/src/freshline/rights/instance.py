"""The SQL that gives each location what its code server and its runs need in Dagster's database.

They write the history: events, what is in them about assets and checks, the state of their runs.
They make no table, and have nothing of what only the host works with: sensors and schedules that
are on, their ticks and cursors, heartbeats of daemons, backfills. Migrations are the host's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from freshline.rights.names import instance_role, refuse_bad_roles
from freshline.rights.script import PASSWORDS, Facts, script
from freshline.status.rows import ROW_PREFIX

__all__ = ["TABLES", "instance_sql"]

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    # Events, and what Dagster derives from them when it stores one.
    "event_logs": ("select", "insert"),
    "asset_keys": ("select", "insert", "update"),
    "asset_event_tags": ("select", "insert"),
    "asset_check_executions": ("select", "insert", "update"),
    # A run may add a partition or take one away.
    "dynamic_partitions": ("select", "insert", "delete"),
    # A run's own state. The host creates and deletes runs.
    "runs": ("select", "update"),
    "run_tags": ("select", "insert", "update"),
    "snapshots": ("select",),
    # With `granularity: op`, a step takes a place in its pool and gives it back. It also makes the
    # pool if nobody has, with the default limit.
    "concurrency_limits": ("select", "insert", "update"),
    "concurrency_slots": ("select", "insert", "update", "delete"),
    "pending_steps": ("select", "insert", "update", "delete"),
    # Which of Dagster's own migrations are done.
    "secondary_indexes": ("select",),
    # The state of components, which a location reads, and how its targets stand, which it writes: a
    # policy in the SQL lets it write nothing else, such as the cursors of daemons.
    "kvs": ("select", "insert", "update"),
}
"""Dagster's tables, and what a location does with them.

The source is what Postgres logged (`log_statement`) of code servers and runs of Dagster 1.13 on
their own roles: sensors, failure sensors, runs with checks, retries, pools and dynamic partitions;
and the statements of `dagster._core.storage.event_log.sql_event_log` and `runs.sql_run_storage`
that these reach. `tests/test_rights.py` has a real tick and real runs under these rights.
"""


def instance_sql(locations: Collection[str]) -> str:
    """Return the SQL, to be run in Dagster's database by its owner or by a superuser.

    Raises `RoleError` if a location has a name that a role cannot have.
    """
    refuse_bad_roles(locations)
    return script(
        [
            "What each location may do in Dagster's database, by `freshline roles`.",
            "Run it when the host has made its tables, and again when it has migrated them, as a",
            "superuser, or as the database's owner with the right to create roles.",
            PASSWORDS,
            "Everybody else loses the right to connect that a new database gives them.",
        ],
        [
            Facts(
                "The role of each code location.",
                "team",
                ("role",),
                [(instance_role(location),) for location in sorted(set(locations))],
            ),
            Facts(
                "What the keys begin with that a location writes in the table kvs.",
                "own",
                ("prefix",),
                [(ROW_PREFIX,)],
            ),
            Facts(
                "What each role does with which of Dagster's tables.",
                "need",
                ("name", "verb"),
                [(name, verb) for name, verbs in TABLES.items() for verb in verbs],
            ),
        ],
        *("tables.sql", "team.sql", "instance.sql"),
    )
