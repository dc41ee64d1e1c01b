"""The data versions of what syncs make: a fake Airbyte, a real warehouse, Dagster's own runs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg
import pytest
from ingestion.airbyte.declaration import Connection
from ingestion.assets import connection_assets
from ingestion.connections import fetch_stargazer
from ingestion.resources import Airbyte, Warehouse

STREAM, VIEW = "stargazers", "stargazers_user"
ROWS = """
create schema postgres;
create table postgres.stargazers (
    repository text, user_id bigint, "user" jsonb, starred_at timestamptz,
    _airbyte_extracted_at timestamptz
);
insert into postgres.stargazers values
    ('acme/rocket', 1, '{"login": "ada"}', '2026-03-01T09:00Z', now()),
    ('acme/rocket', 2, '{"login": "alan"}', '2026-03-01T10:00Z', now());
"""
AGAIN = "update postgres.stargazers set _airbyte_extracted_at = clock_timestamp()"
"""What a sync does to rows that it reads again."""
ADD = """
insert into postgres.stargazers (user_id, _airbyte_extracted_at, starred_at)
values (3, clock_timestamp()"""


class Syncs:
    """Runs syncs of a connection whose table has two rows, and reads what they made."""

    def __init__(self, instance: dg.DagsterInstance, dsn: str) -> None:
        self.instance = instance
        self._dsn = dsn

    def run(self, connection: Connection = fetch_stargazer) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [connection_assets(connection)],
            instance=self.instance,
            resources={"airbyte": Airbyte(), "warehouse": Warehouse()},
            raise_on_error=False,
        )

    def execute(self, sql: str) -> None:
        """Change the warehouse."""
        with psycopg.connect(self._dsn) as connection:
            connection.execute(sql)

    def newest(self, table: str = STREAM) -> dg.AssetMaterialization:
        (record,) = self.instance.fetch_materializations(key(table), limit=1).records
        return record.asset_materialization

    def data_versions(self, table: str = STREAM) -> list[str]:
        """Return the data versions of an asset, the oldest first."""
        records = self.instance.fetch_materializations(key(table), limit=99).records
        made = [record.asset_materialization for record in reversed(records)]
        assert {"true"} == {one.tags["dagster/data_version_is_user_provided"] for one in made}
        return [one.tags["dagster/data_version"] for one in made]

    def is_new(self, table: str = STREAM) -> bool:
        """Return whether the newest version of an asset has a data version of its own."""
        *earlier, newest = self.data_versions(table)
        is_new = newest not in earlier
        assert is_new != self.newest(table).metadata["ingestion/unchanged"].value
        return is_new


def key(table: str) -> dg.AssetKey:
    return dg.AssetKey(["postgres", table])


def changed(**changes: Any) -> Connection:
    """Return the connection with another stream."""
    (stream,) = fetch_stargazer.streams
    return fetch_stargazer.model_copy(update={"streams": (stream.model_copy(update=changes),)})


@pytest.fixture
def syncs(fake, env, database, monkeypatch, tmp_path) -> Iterator[Syncs]:
    settings = {
        **env,
        **database.environ("WAREHOUSE"),
        "AIRBYTE_URL": fake.url,
        "AIRBYTE_CLIENT_ID": fake.client_id,
        "AIRBYTE_CLIENT_SECRET": fake.client_secret,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AIRBYTE_WORKSPACE_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with dg.DagsterInstance.ephemeral() as instance:
        found = Syncs(instance, database.dsn)
        found.execute(ROWS)
        yield found


@pytest.fixture
def quiet(syncs, fake) -> Syncs:
    """A sync has brought rows; later ones bring none."""
    assert syncs.run().success
    fake.rows_synced = 0
    return syncs


class TestUnchanged:
    def test_syncs_without_rows_keep_the_data_version(self, quiet):
        quiet.run()
        quiet.run()

        for table in (STREAM, VIEW):
            assert not quiet.is_new(table)
            assert 3 == len(quiet.data_versions(table))
            assert 1 == len(set(quiet.data_versions(table)))

    def test_the_log_says_so(self, quiet):
        quiet.run()
        run = quiet.run()
        lines = [entry.user_message for entry in quiet.instance.all_logs(run.run_id)]

        same = "is as Airbyte job 2 left it. Rows that came again with the same values: 0."
        assert {f"postgres/{STREAM} {same}", f"postgres/{VIEW} {same}"} <= set(lines)

    def test_a_sync_with_rows_begins_a_new_one_that_the_next_keeps(self, quiet, fake):
        fake.rows_synced = 2
        quiet.run()
        fake.rows_synced = 0
        quiet.run()
        first, second, third = quiet.data_versions()

        assert first != second == third

    def test_an_adopted_sync_without_rows_keeps_it(self, quiet, fake):
        fake.add_job(fake.only("connection")["connectionId"])
        quiet.run()

        assert quiet.newest().metadata["airbyte/adopted"].value
        assert not quiet.is_new()

    def test_rows_that_come_again_with_the_same_values_keep_it(self, quiet, fake):
        """As the newest row does in every sync: another may have the same time."""
        fake.rows_synced = 1
        for _ in range(2):
            quiet.execute(f"{AGAIN} where user_id = 2")
            quiet.run()

            assert not quiet.is_new(STREAM)
            assert not quiet.is_new(VIEW)

    def test_an_empty_table_that_stays_empty_keeps_it(self, syncs, fake):
        syncs.execute("truncate postgres.stargazers")
        fake.rows_synced = 0
        syncs.run()
        syncs.run()

        assert not syncs.is_new()


class TestNew:
    def test_the_first_sync_is_new_even_without_rows(self, syncs, fake):
        fake.rows_synced = 0
        syncs.run()

        assert syncs.is_new(STREAM)
        assert syncs.is_new(VIEW)

    @pytest.mark.parametrize(
        ("rows", "change"),
        [
            (1, f"{AGAIN}, repository = 'acme/moonshot' where user_id = 2"),
            (1, f"{AGAIN} where user_id = 1"),
            (2, AGAIN),
            (1, f"{ADD}, '2026-03-01T11:00Z')"),
            (2, f"{ADD}, '2026-03-01T10:00Z'); {AGAIN} where user_id = 2"),
            (1, f"{AGAIN}, user_id = 3 where user_id = 2"),
            (1, f"{AGAIN} where user_id = 2; delete from postgres.stargazers where user_id = 1"),
        ],
        ids=["other values", "older", "all", "newer", "same time", "other key", "deleted"],
    )
    def test_any_other_rows_are_new(self, quiet, fake, rows, change):
        fake.rows_synced = rows
        quiet.execute(change)
        quiet.run()

        assert quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)

    def test_rows_that_come_again_without_a_cursor_are_new(self, syncs, fake):
        without = changed(cursor=None)
        syncs.run(without)
        fake.rows_synced = 1
        syncs.execute(f"{AGAIN} where user_id = 2")
        syncs.run(without)

        assert syncs.is_new()

    @pytest.mark.parametrize("rows", [2, 0, None])
    def test_rows_that_are_not_accounted_for_are_new(self, quiet, fake, rows):
        fake.rows_synced = rows
        quiet.execute(f"{AGAIN} where user_id = 2")
        quiet.run()

        assert quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)

    def test_an_unknown_number_of_rows_is_new(self, quiet, fake):
        fake.rows_synced = None
        quiet.run()

        assert quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)

    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
    @pytest.mark.parametrize("kind", ["sync", "reset"])
    def test_a_job_in_between_makes_it_new_once(self, quiet, fake, status, kind):
        fake.add_job(fake.only("connection")["connectionId"], status=status, type_=kind)
        run = quiet.run()
        lines = [entry.user_message for entry in quiet.instance.all_logs(run.run_id)]

        assert quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)
        assert (
            "postgres/stargazers has new data: job 1, which made the version before, is not "
            "Airbyte's job right before."
        ) in lines
        quiet.run()
        assert not quiet.is_new(STREAM)
        assert not quiet.is_new(VIEW)

    def test_a_sync_whose_run_failed_makes_the_next_new(self, quiet, monkeypatch):
        """Its job succeeded, but nobody looked at what it left."""

        def content(*_: object) -> None:
            raise dg.Failure("the warehouse is away")

        with monkeypatch.context() as patch:
            patch.setattr(Warehouse, "content", content)
            assert not quiet.run().success
        quiet.run()

        assert quiet.is_new()

    def test_a_stream_that_is_read_in_full_is_new(self, syncs, fake):
        fake.rows_synced = 0
        full = changed(sync_mode="full_refresh_append")
        syncs.run(full)
        syncs.run(full)

        assert syncs.is_new(STREAM)
        assert syncs.is_new(VIEW)

    @pytest.mark.parametrize(
        "change",
        [
            "insert into postgres.stargazers values ('acme/rocket', 2)",
            "delete from postgres.stargazers",
            "update postgres.stargazers set user_id = 5, _airbyte_extracted_at = now()",
            "alter table postgres.stargazers add column note text",
        ],
    )
    def test_another_table_is_new(self, quiet, change):
        quiet.execute(change)
        quiet.run()

        assert quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)

    def test_another_query_makes_the_view_new_alone(self, quiet):
        (nested,) = fetch_stargazer.streams[0].nested
        quiet.run(changed(nested=(nested.model_copy(update={"keep": ("user_id",)}),)))

        assert not quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)

    def test_a_view_that_the_last_run_did_not_come_to_is_new(self, quiet, monkeypatch):
        def ensure_view(*_: object) -> None:
            raise dg.Failure("no view today")

        with monkeypatch.context() as patch:
            patch.setattr(Warehouse, "ensure_view", ensure_view)
            assert not quiet.run().success
        quiet.run()

        assert 3 == len(quiet.data_versions(STREAM))
        assert 2 == len(quiet.data_versions(VIEW))
        assert not quiet.is_new(STREAM)
        assert quiet.is_new(VIEW)

    def test_a_wiped_asset_is_new(self, quiet):
        before = quiet.data_versions()
        quiet.instance.wipe_assets([key(STREAM)])
        quiet.run()

        assert 1 == len(quiet.data_versions())
        assert before != quiet.data_versions()
        assert quiet.is_new()

    def test_it_is_new_after_a_version_that_somebody_reported(self, quiet):
        (first,) = quiet.data_versions()
        quiet.instance.report_runless_asset_event(
            dg.AssetMaterialization(key(STREAM), tags={"dagster/data_version": "theirs"})
        )
        quiet.run()
        made = quiet.newest()

        assert made.tags["dagster/data_version"] not in ("theirs", first)
        assert not made.metadata["ingestion/unchanged"].value

    def test_another_connection_with_the_same_numbers_of_jobs_is_new(self, quiet, fake):
        """An Airbyte that was set up anew counts its jobs from 1 again."""
        connection = fake.only("connection")
        anew = {**connection, "connectionId": str(uuid.uuid4())}
        fake.objects["connection"] = {anew["connectionId"]: anew}
        fake.jobs[1]["connectionId"] = anew["connectionId"]
        quiet.run()

        assert 1 == quiet.newest().metadata["airbyte/previous_job_id"].value
        assert quiet.is_new()
