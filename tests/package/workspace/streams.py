"""A translator of dagster-airbyte that gives a stream freshline's key and columns."""

import json

import dagster as dg
from dagster_airbyte import DagsterAirbyteTranslator
from dagster_airbyte.translator import AirbyteConnectionTableProps
from freshline import stream_columns, stream_key


class Streams(DagsterAirbyteTranslator):
    def get_asset_spec(self, props: AirbyteConnectionTableProps) -> dg.AssetSpec:
        key = stream_key(props.schema or "", props.stream_name, prefix=props.stream_prefix or "")
        columns = dg.TableSchema(columns=list(stream_columns(props.json_schema)))
        spec: dg.AssetSpec = super().get_asset_spec(props)
        return spec.replace_attributes(key=key).merge_attributes(
            metadata={"dagster/column_schema": columns}
        )


STARS = AirbyteConnectionTableProps(
    table_name="github_stars",
    stream_prefix="github_",
    stream_name="stars",
    json_schema={"properties": {"starred_at": {"type": "string", "format": "date-time"}}},
    connection_id="1",
    connection_name="fetch_stars",
    destination_type="postgres",
    database="warehouse",
    schema="postgres",
)

if __name__ == "__main__":
    stars = Streams().get_asset_spec(STARS)
    columns = stars.metadata["dagster/column_schema"].columns
    found = {"key": stars.key.to_user_string(), "last_column": columns[-1].name}
    print(json.dumps(found))
