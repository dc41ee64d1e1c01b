import dagster as dg

hours = dg.HourlyPartitionsDefinition("2026-01-01-00:00")


@dg.asset(
    key=["events", "hourly"],
    partitions_def=hours,
    deps=[
        dg.AssetDep(
            ["events", "hourly"],
            partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1),
        )
    ],
)
def hourly(): ...


@dg.asset(
    key=["events", "latest"],
    partitions_def=dg.DynamicPartitionsDefinition(name="regions"),
    metadata={"freshline/max_lag": {"minutes": 5}},
)
def latest(): ...


defs = dg.Definitions(assets=[hourly, latest])
