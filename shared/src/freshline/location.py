"""What `with_freshline` adds to the definitions of a code location."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, TypeAlias, get_args

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
from freshline.contract.describe import unfollowed_partitions
from freshline.contract.tables import contract_tables
from freshline.declared import written_policies
from freshline.errors import DefinitionsError, ModeError, PolicyError
from freshline.metadata import check_metadata
from freshline.names import CONTRACT_PREFIX, FILE, LAG_CHECK, MAX_LAG, OBSERVE
from freshline.policy import MaxLag, max_lag_metadata, partitioned_message, policy_of
from freshline.sensor import build_freshness_sensor
from freshline.sensor.contract_checks import contract_checks
from freshline.sensor.lag_check import check_result
from freshline.sensor.outlook import Observer

__all__ = [
    "Mode",
    "additions",
    "check_definitions",
    "unfollowed_partitions_of",
    "with_freshline",
]

Mode: TypeAlias = Literal["request", "observe"]
"""What a location's sensor does with what is due."""


def with_freshline(
    definitions: Definitions,
    *,
    location: str,
    sensor_name: str = "update_sensor",
    tick_seconds: int = 5,
    mode: Mode = "request",
) -> Definitions:
    """Return `definitions` with the contract of `location`, its sensor and a check for each policy.

    The sensor plans every `tick_seconds`. In the mode "observe" it requests nothing: it shows how
    the targets stand, and what it would request. Raises `PolicyError` for a policy that cannot be
    kept, for one because freshline cannot follow the partitions that the asset has or reads,
    `TickError` for `tick_seconds` below 5, `ModeError` for another mode, and `DefinitionsError` for
    definitions that have freshline already, or a sensor or check of the same name.
    """
    if not isinstance(definitions, Definitions):
        raise DefinitionsError(
            f"with_freshline(location={location!r}) takes dg.Definitions, not a "
            f"{type(definitions).__name__}. Put what it has into dg.Definitions(...); a function "
            "under @dg.definitions calls with_freshline on what it returns."
        )
    policies = check_definitions(definitions, location=location, sensor_name=sensor_name)
    return Definitions.merge(
        _with_policies(definitions, policies),
        additions(
            policies,
            definitions=definitions,
            location=location,
            sensor_name=sensor_name,
            tick_seconds=tick_seconds,
            mode=mode,
        ),
    )


def additions(
    policies: Mapping[AssetKey, MaxLag],
    *,
    definitions: Definitions,
    location: str,
    sensor_name: str,
    tick_seconds: int,
    mode: Mode,
    given: Mapping[AssetKey, MaxLag] | None = None,
) -> Definitions:
    """Return what a location with these `definitions` gets: contract, sensor, and checks.

    A check is on each asset of `policies`. `given` are those of them that the assets themselves do
    not carry. Raises `ModeError`.
    """
    if mode not in get_args(Mode):
        modes = " or ".join(map(repr, get_args(Mode)))
        raise ModeError(f"mode={mode!r} of location {location!r} is not known; write {modes}.")
    observes = mode == OBSERVE
    graph = definitions.resolve_asset_graph()
    tables = contract_tables(
        definitions.resolve_all_asset_specs(),
        graph.materializable_asset_keys | graph.observable_asset_keys,
        policies,
    )
    return Definitions(
        assets=[contract_spec(location, tick_seconds, given, observes=observes, tables=tables)],
        asset_checks=[
            *contract_checks(location),
            *(_maximum_lag_check(key, [location] if observes else []) for key in sorted(policies)),
        ],
        sensors=[
            build_freshness_sensor(
                sensor_name, location=location, tick_seconds=tick_seconds, observes=observes
            )
        ],
    )


def check_definitions(
    definitions: Definitions, *, location: str, sensor_name: str
) -> dict[AssetKey, MaxLag]:
    """Return the policies that the assets carry, also those that somebody else makes.

    Raises `DefinitionsError` if the definitions have something that `additions` adds,
    `PolicyError` for a policy that cannot be kept, and `MetadataError`.
    """
    specs = definitions.resolve_all_asset_specs()
    for spec in specs:
        check_metadata(spec)
        if tuple(spec.key.path[: len(CONTRACT_PREFIX)]) == CONTRACT_PREFIX:
            raise DefinitionsError(
                f"location {location!r} has freshline already, as {spec.key.path[-1]!r}. Add it "
                "once, to all definitions of the location together."
            )
    for instigator in (*(definitions.sensors or ()), *(definitions.schedules or ())):
        if instigator.name == sensor_name:
            raise DefinitionsError(
                f"location {location!r} has a sensor or schedule {sensor_name!r} already. Give "
                "freshline's another name with sensor_name=..., or rename the other."
            )
    policies = _policies(definitions, specs)
    for part in (*(definitions.assets or ()), *(definitions.asset_checks or ())):
        for check in getattr(part, "check_keys", ()):
            if check.name == LAG_CHECK and check.asset_key in policies:
                raise DefinitionsError(
                    f"asset {check.asset_key.to_user_string()} has a check {LAG_CHECK!r} already. "
                    "freshline adds one of that name for its policy; rename the other."
                )
    return policies


def _policies(definitions: Definitions, specs: Iterable[AssetSpec]) -> dict[AssetKey, MaxLag]:
    unfollowed = unfollowed_partitions_of(definitions)
    policies: dict[AssetKey, MaxLag] = {}
    for spec in specs:
        policy = policy_of(spec)
        if policy is None:
            continue
        why = unfollowed.get(spec.key)
        if why is None:
            policies[spec.key] = policy
        elif written_policies(spec)[0].own:
            key = spec.key.to_user_string()
            raise PolicyError(partitioned_message(key, spec.metadata.get(FILE), why))
    return policies


def unfollowed_partitions_of(definitions: Definitions) -> dict[AssetKey, str]:
    """Return why freshline cannot follow the partitions of some assets that a location runs."""
    graph = definitions.resolve_asset_graph()
    made, observed = graph.materializable_asset_keys, graph.observable_asset_keys
    found = unfollowed_partitions(definitions.resolve_all_asset_specs(), made, observed)
    return {key: why for key, why in found.items() if key in made or key in observed}


def _with_policies(definitions: Definitions, policies: dict[AssetKey, MaxLag]) -> Definitions:
    """Return `definitions` with each policy in freshline's place for it, whatever its notation.

    No asset gets a freshness policy of Dagster's. That knows when an asset was made, not how old
    its data is: it would pass on data that is too old, and fail where nothing has changed.
    """
    if not policies:
        return definitions
    made = definitions.resolve_asset_graph().materializable_asset_keys

    def with_policy(spec: AssetSpec) -> AssetSpec:
        policy = policies.get(spec.key)
        if policy is None or spec.key not in made or MAX_LAG in spec.metadata:
            return spec
        return spec.merge_attributes(metadata=max_lag_metadata(policy))

    # The public `map_resolved_asset_specs` does the same, but warns that it is a preview and
    # refuses locations that have a `SourceAsset`.
    return definitions.permissive_map_resolved_asset_specs(with_policy, None)


def _maximum_lag_check(target: AssetKey, observers: Collection[str]) -> AssetChecksDefinition:
    """Return the asset check of a target. The sensor records its results.

    A run of the check itself reads the instance and plans once, as if `observers` did not only
    observe.
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
        return check_result(state, plan.now)

    return maximum_lag
