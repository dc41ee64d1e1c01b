"""What `with_freshline` adds to the definitions of a code location."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Collection
from typing import Final, Literal

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetKey,
    AssetSpec,
    Definitions,
    asset_check,
)

from freshline.contract import contract_spec
from freshline.errors import ModeError
from freshline.names import LAG_CHECK, OBSERVE
from freshline.native import native_policy
from freshline.policy import MaxLag, policy_of
from freshline.sensor import build_freshness_sensor
from freshline.sensor.contract_checks import contract_checks
from freshline.sensor.lag_check import check_result
from freshline.sensor.outlook import Observer

__all__ = ["with_freshline"]

MODES: Final = ("request", OBSERVE)


def with_freshline(
    definitions: Definitions,
    *,
    location: str,
    sensor_name: str = "update_sensor",
    tick_seconds: int = 5,
    mode: Literal["request", "observe"] = "request",
) -> Definitions:
    """Return `definitions` with the contract of `location`, its sensor and a check for each policy.

    The sensor plans every `tick_seconds`. In the mode "observe" it requests nothing: it shows how
    the targets stand, and what it would request. Raises `ModeError` for any other mode,
    `PolicyError` for a policy that cannot be kept or is on a partitioned asset, and `TickError` for
    `tick_seconds` below 5.
    """
    if mode not in MODES:
        raise ModeError(
            f"mode={mode!r} of location {location!r} is not known; write "
            f"{' or '.join(map(repr, MODES))}."
        )
    observes = mode == OBSERVE
    observers = (location,) if observes else ()
    policies = {
        spec.key: policy
        for spec in definitions.resolve_all_asset_specs()
        if (policy := policy_of(spec)) is not None
    }
    return Definitions.merge(
        _with_native_policies(definitions, policies),
        Definitions(
            assets=[contract_spec(location, tick_seconds, observes=observes)],
            asset_checks=[
                *contract_checks(location),
                *(_maximum_lag_check(key, observers) for key in sorted(policies)),
            ],
            sensors=[
                build_freshness_sensor(
                    sensor_name, location=location, tick_seconds=tick_seconds, observes=observes
                )
            ],
        ),
    )


def _with_native_policies(
    definitions: Definitions, policies: dict[AssetKey, MaxLag]
) -> Definitions:
    """Return `definitions` with those of Dagster's own freshness policies that say the same.

    An asset that has one of its own keeps it.
    """

    def with_native_policy(spec: AssetSpec) -> AssetSpec:
        policy = policies.get(spec.key)
        if policy is None or spec.freshness_policy is not None:
            return spec
        native = native_policy(policy)
        return spec if native is None else spec.replace_attributes(freshness_policy=native)

    if not policies:
        return definitions
    # The public `map_resolved_asset_specs` does the same, but warns that it is a preview and
    # refuses locations that have a `SourceAsset`.
    return definitions.permissive_map_resolved_asset_specs(with_native_policy, None)


def _maximum_lag_check(target: AssetKey, observers: Collection[str]) -> AssetChecksDefinition:
    """Return the asset check of a target. The sensor records its results.

    A run of the check itself reads the instance and plans once.
    """

    @asset_check(
        asset=target,
        name=LAG_CHECK,
        description="The data is never further behind than the policy allows.",
    )
    def maximum_lag(context: AssetCheckExecutionContext) -> AssetCheckResult:
        plan = Observer().look(context.instance, time.time(), observers=observers).plan
        state = plan.targets.get(target.to_user_string())
        if state is None:
            return AssetCheckResult(
                passed=False,
                description="No published contract has this policy yet; is the sensor on?",
            )
        return check_result(state)

    return maximum_lag
