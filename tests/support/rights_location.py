"""A code location whose tick and runs do all that a location does with Dagster's database.

It gets its role there from the environment, as every location does.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.
from collections.abc import Iterator

import dagster as dg
from freshline import max_lag, with_freshline

KEY = dg.AssetKey(["rights", "table"])
OTHER = dg.AssetKey(["rights", "reported"])
partitions = dg.DynamicPartitionsDefinition(name="tenants")


@dg.asset(
    key=KEY,
    metadata=max_lag(minutes=60),
    pool="warehouse",
    check_specs=[dg.AssetCheckSpec("has_rows", asset=KEY)],
)
def table(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """Fail once, then succeed, in a pool and with a check."""
    if context.retry_number == 0:
        raise dg.RetryRequested(max_retries=1, seconds_to_wait=0.1)
    passed = dg.AssetCheckResult(check_name="has_rows", asset_key=KEY, passed=True)
    yield dg.MaterializeResult(asset_key=KEY, metadata={"rows": 1}, check_results=[passed])


@dg.asset(key=["rights", "tenant"], partitions_def=partitions)
def tenant(context: dg.AssetExecutionContext) -> None:
    """Write all that a run may write of itself and of assets."""
    instance = context.instance
    instance.add_dynamic_partitions("tenants", ["new", "gone"])
    instance.delete_dynamic_partition("tenants", "gone")
    for value in ("1", "2"):
        instance.add_run_tags(context.run_id, {"mine": value})
    instance.report_runless_asset_event(dg.AssetMaterialization(OTHER))
    instance.report_runless_asset_event(dg.AssetObservation(OTHER))
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=OTHER, check_name="plausible", passed=True)
    )


@dg.op
def fail() -> None:
    raise RuntimeError("on purpose")


@dg.job
def failing() -> None:
    fail()


@dg.op
def first() -> int:
    return 1


@dg.op(pool="later")
def second(number: int) -> None:
    """Need a pool that the host has not made: it knows those of a run's first steps."""


@dg.job
def pooled() -> None:
    second(first())


@dg.sensor(job=pooled, default_status=dg.DefaultSensorStatus.RUNNING)
def pools(context: dg.SensorEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key="once")


@dg.sensor(target=[tenant], default_status=dg.DefaultSensorStatus.RUNNING)
def tenants(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key="once", partition_key="first")],
        dynamic_partitions_requests=[partitions.build_add_request(["first"])],
    )


@dg.sensor(job=failing, default_status=dg.DefaultSensorStatus.RUNNING)
def failures(context: dg.SensorEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(run_key="once")


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING)
def heard(context: dg.RunFailureSensorContext) -> None:
    context.instance.report_runless_asset_event(
        dg.AssetMaterialization(["rights", "heard"], metadata={"run": context.dagster_run.run_id})
    )


defs = with_freshline(
    dg.Definitions(
        assets=[table, tenant],
        jobs=[failing, pooled],
        sensors=[pools, tenants, failures, heard],
        executor=dg.in_process_executor,
    ),
    location="rights",
)
