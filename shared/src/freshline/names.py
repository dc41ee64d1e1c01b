"""The names that people meet in Dagster because of freshline: keys, metadata, tags, checks.

The names are an interface: dashboards, tests and other versions of freshline rely on them. This
file imports nothing from freshline, because the gate also loads it in Pythons without freshline.
"""

from __future__ import annotations

from typing import Final

# --- the contract asset of a location -------------------------------------------------------

CONTRACT_PREFIX: Final = ("freshline", "contract")
"""The key of a location's contract asset is this, followed by the location's name."""
GROUP: Final = "freshline"
PAUSE_PREFIX: Final = ("freshline", "pause")
"""The key of the asset that says whether a location or target is paused is this and its name."""

# --- metadata of asset specs: what a location tells freshline ---------------------------------

MAX_LAG: Final = "freshline/max_lag"
"""The policy: see `freshline.policy`."""
USES: Final = "freshline/uses"
"""On a consumer: the columns that it reads, by upstream key, as in
``{"postgres/stargazers": [{"name": "user_id", "type": "bigint"}]}``."""
OUTSIDE: Final = "freshline/outside"
"""On an external spec, ``True``: it is made outside the workspace, on purpose. On a consumer: the
list of its dependencies that are."""
COLUMNS_ENFORCED: Final = "freshline/columns_enforced"
"""``True``: the producer refuses to make any other columns."""
EXPECTED_SECONDS: Final = "freshline/expected_seconds"
"""How long making the asset takes, for the gate's estimates."""
AT_MOST_EVERY: Final = "freshline/at_most_every"
"""On a producer: minutes that must pass after a version before a policy may have the next made."""
CONFIG: Final = "freshline/config"
"""The config of the asset's op in the runs that freshline requests, as a mapping."""
STATIC: Final = "freshline/static"
"""``True``: the content does not change with time. The asset is made when it was never made."""
VIEW: Final = "freshline/view"
"""``True``: the asset is as fresh as what it reads at every moment, as a view in a database is. No
run makes it fresher, so none is requested for that. ``False``: it is none, whatever else says."""
COMPLETE_FROM: Final = "freshline/complete_from"
"""On a partitioned asset: a date or a time in ISO 8601. Partitions that end before it may be
missing; nobody promised them."""
CHECK_VIEW: Final = "freshline/check_view"
"""On a view: ``True`` if its checks are to run whenever what it reads has changed, not only with
the next tables that are made from it."""
FILE: Final = "freshline/file"
"""The file that declares the asset, relative to the location's folder."""
POLICIES: Final = "freshline/policies"
"""On the contract asset: policies of assets that do not carry one themselves, by key."""
TICK_SECONDS: Final = "freshline/tick_seconds"
"""On the contract asset: seconds between two plans of the location."""
MODE: Final = "freshline/mode"
"""On the contract asset: `OBSERVE`, if the location requests nothing."""
OBSERVE: Final = "observe"

# --- metadata of materializations -----------------------------------------------------------

DATA_TIME: Final = "freshline/data_time"
"""Every source row that existed then is reflected in the version. UTC."""
LAG_SECONDS: Final = "freshline/lag_seconds"
"""Seconds from the data time to the materialization."""

# --- metadata of the events that publish a contract -------------------------------------------

CONTRACT: Final = "freshline/contract"
DIGEST: Final = "freshline/digest"
CONTENT_ID: Final = "freshline/content_id"
CONTENT_AT: Final = "freshline/content_at"
RETIRED: Final = "freshline/retired"
EXPORTS: Final = "freshline/exports"
IMPORTS: Final = "freshline/imports"
DAGSTER_VERSION: Final = "freshline/dagster_version"
CODE_VERSION: Final = "freshline/code_version"
MEASURED_TICK: Final = "freshline/measured_tick_seconds"
"""Seconds between two plans of the location, measured; missing if they are as it declares."""

# --- metadata of the events that pause a location or a target -----------------------------------

PAUSED_UNTIL: Final = "freshline/paused_until"
"""When the pause ends, UTC; missing in the event that ends a pause."""
PAUSE_REASON: Final = "freshline/pause_reason"

# --- tags of the runs that freshline requests ---------------------------------------------------

REASON_TAG: Final = "freshline"
"""For whom and why, in some ten words; every run that freshline requests has it. Dagster's list of
runs shows tags in the order of their names, each in one line that it cuts off: this one is first,
and leaves room for the words."""
OLD_REASON_TAG: Final = "freshline/reason"
"""The name that freshline 0.1 gave to it."""
TARGET_TAG: Final = "freshline/target"
DEADLINE_TAG: Final = "freshline/deadline"
SLACK_TAG: Final = "freshline/slack_seconds"
PLAN_TAG: Final = "freshline/plan"
PLANNED_TAG: Final = "freshline/planned_at"

# --- asset checks, and their metadata -----------------------------------------------------------

LAG_CHECK: Final = "maximum_lag"
STATUS: Final = "freshline/status"
MAXIMUM_LAG_SECONDS: Final = "freshline/maximum_lag_seconds"
SHORTEST_POSSIBLE_SECONDS: Final = "freshline/shortest_possible_seconds"
DEADLINE: Final = "freshline/deadline"
HELD_UP_BY: Final = "freshline/held_up_by"
HELD_UP_LOCATION: Final = "freshline/held_up_location"
HELD_UP_ASSET: Final = "freshline/held_up_asset"
HELD_UP_PHASE: Final = "freshline/held_up_phase"
HELD_UP_SINCE: Final = "freshline/held_up_since"
NEVER_PROMISED: Final = "freshline/never_promised"
"""How many partitions are missing that are too old to be promised, by asset."""
UNCHANGED_SINCE: Final = "freshline/unchanged_since"
"""Since when nothing has changed upstream, if the target is fresh because of that."""

IMPORTS_CHECK: Final = "imports_satisfied"
POLICIES_CHECK: Final = "policies_feasible"
FINDINGS: Final = "freshline/findings"
FINDINGS_COUNT: Final = "freshline/findings_count"
NEEDS: Final = "freshline/needs"
"""What the location needs of others, and whose that is, as a table."""

# --- names in dbt projects ----------------------------------------------------------------------

DBT_META: Final = "freshline"
"""The key in a dbt resource's ``meta`` under which freshline reads."""
DBT_POLICY: Final = "dagster_freshness_policy"
"""The policy in a dbt model's ``meta``, under the name that Dagster's first policies had."""

# --- Dagster's own names that freshline reads or writes -------------------------------------------

CODE_REFERENCES: Final = "dagster/code_references"
CODE_VERSION_TAG: Final = "dagster/code_version"
COLUMN_SCHEMA: Final = "dagster/column_schema"
DATA_VERSION: Final = "dagster/data_version"
DATA_VERSION_SET: Final = "dagster/data_version_is_user_provided"
INPUT_POINTER: Final = "dagster/input_event_pointer/"
KIND: Final = "dagster/kind/"
LAST_UPDATED: Final = "dagster/last_updated_timestamp"
PARENT_RUN: Final = "dagster/parent_run_id"
PARTITION: Final = "dagster/partition"
PARTITION_RANGE_END: Final = "dagster/asset_partition_range_end"
PARTITION_RANGE_START: Final = "dagster/asset_partition_range_start"
POOL_TAG: Final = "dagster/concurrency_key"
PRIORITY_TAG: Final = "dagster/priority"
RETRY_RUN: Final = "dagster/auto_retry_run_id"
STUB: Final = "dagster/auto_created_stub_asset"
TABLE_NAME: Final = "dagster/table_name"
WILL_RETRY: Final = "dagster/will_retry"
