"""Syncs of the fake connector: the rows that land, failures, what is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import psutil
import pytest
from devstack.airbyte.columns import column_name
from helpers import until
from helpers_airbyte import Airbyte

ODD = {"name": "odd", "syncMode": "full_refresh_append"}
DEDUP = {"name": "events", "syncMode": "incremental_deduped_history"}


class Wiring:
    """A connection from a fake source into a fresh database."""

    def __init__(self, airbyte: Airbyte, dsn: str, *streams: Any, **source: Any) -> None:
        self.airbyte = airbyte
        self.source = airbyte.new_source(**source)
        self.destination = airbyte.new_destination(dsn)
        self.connection = airbyte.new_connection(self.source, self.destination, *streams)

    def configure(self, **changes: Any) -> None:
        self.airbyte.ask("PATCH", f"sources/{self.source}", json={"configuration": changes})

    def sync(self) -> dict[str, Any]:
        return self.airbyte.sync(self.connection)


class TestModes:
    def test_rows_land_in_typed_columns(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """Airbyte's own columns first, then the stream's, typed."""
        job = Wiring(airbyte, database.dsn, DEDUP, rows=4).sync()
        columns = warehouse.execute(
            "select column_name, data_type, is_nullable from information_schema.columns"
            " where table_schema = 'public' and table_name = 'events' order by ordinal_position"
        ).fetchall()
        rows = warehouse.execute("select id, updated_at, name, payload from events order by id")

        assert "succeeded" == job["status"]
        assert [
            ("_airbyte_raw_id", "text", "NO"),
            ("_airbyte_extracted_at", "timestamp with time zone", "NO"),
            ("_airbyte_meta", "jsonb", "NO"),
            ("_airbyte_generation_id", "bigint", "NO"),
            ("id", "bigint", "YES"),
            ("updated_at", "timestamp with time zone", "YES"),
            ("name", "text", "YES"),
            ("payload", "jsonb", "YES"),
        ] == columns
        second = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
        assert [
            (0, second, "event 0", {"number": 0}),
            (1, second, "event 1", {"number": 1}),
            (2, second, "event 2", {"number": 2}),
            (3, second + dt.timedelta(seconds=1), "event 3", {"number": 3}),
        ] == rows.fetchall()
        extracted, meta, generation = warehouse.execute(
            "select _airbyte_extracted_at, _airbyte_meta, _airbyte_generation_id from events"
        ).fetchone()
        assert dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC) == extracted
        assert {"sync_id": job["jobId"], "changes": []} == meta
        assert 0 == generation

    def test_incremental_dedup_reads_the_boundary_second_again(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=100)
        first = wiring.sync()
        wiring.configure(rows=130)
        second = wiring.sync()

        assert 100 == first["rowsSynced"]
        # Row 99 alone has the boundary's second; 30 rows are new.
        assert 31 == second["rowsSynced"]
        assert [(130, 130)] == warehouse.execute(
            "select count(*), count(distinct id) from events"
        ).fetchall()

    def test_dedup_keeps_one_row_of_a_key_within_one_sync(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """Of several rows with one key in one sync, one lands."""
        stream = {
            "name": "odd",
            "syncMode": "full_refresh_overwrite_deduped",
            "primaryKey": [["id"]],
        }
        odd = json.dumps([{"id": 1}, {"id": 2}, {"id": 1}])
        Wiring(airbyte, database.dsn, stream, rows=0, odd=odd).sync()
        count = "select id, count(*) from odd group by id order by id"

        assert [(1, 1), (2, 1)] == warehouse.execute(count).fetchall()

    def test_incremental_append_adds_new_rows_alone(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        stream = {"name": "log", "syncMode": "incremental_append"}
        wiring = Wiring(airbyte, database.dsn, stream, rows=120)
        wiring.sync()
        wiring.configure(rows=125)
        wiring.sync()

        expected = sorted(f"line {number}" for number in range(125))
        assert expected == [
            line for (line,) in warehouse.execute("select line from log order by line")
        ]

    def test_full_refresh_append_adds_all_rows_again(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        stream = {"name": "log", "syncMode": "full_refresh_append"}
        wiring = Wiring(airbyte, database.dsn, stream, rows=10)
        wiring.sync()
        wiring.sync()

        assert [(20, 10)] == warehouse.execute(
            "select count(*), count(distinct line) from log"
        ).fetchall()

    def test_overwrite_replaces_rows_and_keeps_views(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """The table stays the same relation: views over it go on working."""
        wiring = Wiring(
            airbyte, database.dsn, {"name": "log", "syncMode": "full_refresh_overwrite"}, rows=10
        )
        wiring.sync()
        warehouse.execute("create view lines as select line from log")
        wiring.configure(rows=3)
        job = wiring.sync()

        assert [("line 0",), ("line 1",), ("line 2",)] == warehouse.execute(
            "select line from lines order by line"
        ).fetchall()
        assert [(job["jobId"],)] == warehouse.execute(
            "select distinct _airbyte_generation_id from log"
        ).fetchall()

    def test_empty_source_makes_an_empty_table(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        job = Wiring(airbyte, database.dsn, DEDUP, rows=0).sync()

        assert ("succeeded", 0) == (job["status"], job["rowsSynced"])
        assert [] == warehouse.execute("select * from events").fetchall()


class TestNames:
    def test_namespace_and_prefix_name_the_table(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        source, destination = airbyte.new_source(rows=1), airbyte.new_destination(database.dsn)
        connection = airbyte.new_connection(
            source,
            destination,
            DEDUP,
            namespaceDefinition="custom_format",
            namespaceFormat="Raw ${SOURCE_NAMESPACE}",
            prefix="My ",
        )
        airbyte.sync(connection)

        assert [(1,)] == warehouse.execute('select count(*) from "Raw "."My events"').fetchall()

    def test_selected_fields_alone_land(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        fields = [{"fieldPath": ["id"]}, {"fieldPath": ["updated_at"]}]
        Wiring(airbyte, database.dsn, {**DEDUP, "selectedFields": fields}, rows=1).sync()
        names = warehouse.execute(
            "select column_name from information_schema.columns where table_name = 'events'"
            " and not starts_with(column_name, '_airbyte') order by 1"
        ).fetchall()

        assert [("id",), ("updated_at",)] == names


class TestOddValues:
    def test_odd_values_are_changed_to_fit_and_the_row_records_each_change(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """No value makes the sync fail."""
        odd = [
            {
                "id": "seven",
                "Select": "nul \0, half \ud800",
                'quo"te': 10**40,
                "at": "not a time",
                "user": {"deep": "\0", "n": 10**40},
                "_airbyte_meta": True,
                "x" * 70: "long",
                "undeclared": 1,
            }
        ]
        job = Wiring(airbyte, database.dsn, ODD, rows=0, odd=json.dumps(odd)).sync()
        long = column_name("x" * 70)
        own = column_name("_airbyte_meta")
        row = warehouse.execute(
            f'select id, "Select", "quo""te", at, "user", "{own}", "{long}" from odd'
        ).fetchone()
        (meta,) = warehouse.execute("select _airbyte_meta from odd").fetchone()

        assert "succeeded" == job["status"]
        assert (
            None,
            "nul , half ?",
            10**40,
            None,
            {"deep": "", "n": 10**40},
            True,
            "long",
        ) == row
        assert [
            ("id", "NULLED"),
            ("Select", "TRUNCATED"),
            ("at", "NULLED"),
            ("user", "TRUNCATED"),
        ] == [(one["field"], one["change"]) for one in meta["changes"]]

    def test_column_keeps_its_type_when_the_field_gets_another(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """A column keeps the type with which it was made."""
        warehouse.execute(
            "create table odd (id text, _airbyte_raw_id text, _airbyte_extracted_at timestamptz,"
            " _airbyte_meta jsonb, _airbyte_generation_id bigint)"
        )
        odd = json.dumps([{"id": 7}])
        job = Wiring(airbyte, database.dsn, ODD, rows=0, odd=odd).sync()

        assert "succeeded" == job["status"]
        assert [("7",)] == warehouse.execute("select id from odd").fetchall()


class TestState:
    def test_failed_sync_keeps_rows_up_to_its_checkpoint(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """The first 100 rows stand; the 50 read after the checkpoint do not."""
        stream = {"name": "log", "syncMode": "incremental_append"}
        wiring = Wiring(airbyte, database.dsn, stream, rows=200, page=100, fail_after=150)
        wiring.sync()
        lines = "select count(*), count(distinct line) from log"
        state = "select state from airbyte_internal.state where stream = 'log'"
        failed = warehouse.execute(lines).fetchone()
        (text,) = warehouse.execute(state).fetchone()
        wiring.configure(fail_after=-1)
        wiring.sync()

        assert (100, 100) == failed
        assert {"next": 100} == json.loads(text)["stream"]["stream_state"]
        assert [(200, 200)] == warehouse.execute(lines).fetchall()

    @pytest.mark.parametrize("table", ["log", "airbyte_internal.state"])
    def test_rows_and_state_are_written_together_or_not_at_all(
        self, airbyte: Airbyte, database: Any, warehouse: Any, table: str
    ) -> None:
        """When either cannot be written, neither is."""
        wiring = Wiring(
            airbyte, database.dsn, {"name": "log", "syncMode": "incremental_append"}, rows=100
        )
        wiring.sync()
        warehouse.execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin raise 'refused'; end $$"
        )
        warehouse.execute(
            f"create trigger refuse before insert or update on {table}"
            " for each row execute function refuse()"
        )
        wiring.configure(rows=200)
        refused = wiring.sync()
        rows = warehouse.execute("select count(*) from log").fetchone()
        (text,) = warehouse.execute("select state from airbyte_internal.state").fetchone()
        warehouse.execute(f"drop trigger refuse on {table}")
        wiring.sync()

        assert "failed" == refused["status"]
        assert "refused" in airbyte.failure(refused["jobId"])["externalMessage"]
        assert (100,) == rows
        assert {"next": 100} == json.loads(text)["stream"]["stream_state"]
        assert [(200, 200)] == warehouse.execute(
            "select count(*), count(distinct line) from log"
        ).fetchall()

    def test_stream_whose_table_was_dropped_is_read_again(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=30)
        wiring.sync()
        warehouse.execute("drop table events")
        wiring.sync()

        assert [(30,)] == warehouse.execute("select count(*) from events").fetchall()

    def test_superseded_worker_commits_nothing(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """A crashed server can leave such a worker behind: another job has taken its lease."""
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=300, page=10, pause=0.05)
        job = airbyte.start(wiring.connection)
        until(lambda: airbyte.ask("GET", f"jobs/{job}")["rowsSynced"])
        warehouse.execute("update airbyte_internal.lease set job_id = job_id + 1000")
        ended = airbyte.ended(job)

        assert "failed" == ended["status"]
        assert (
            "Another sync of this connection has taken over."
            == airbyte.failure(job)["externalMessage"]
        )
        assert ended["rowsSynced"] < 300


class TestFailures:
    @pytest.mark.parametrize(
        ("ending", "message"),
        [
            ("trace", "The token lacks the scope read:stars."),
            ("exit", "The connector ended with status 1 and gave no reason."),
            ("damaged", "The connector wrote a damaged message."),
            ("incomplete", "The stream events was not read to its end."),
            ("killed", "The connector was killed by signal 9."),
        ],
    )
    def test_failed_job_says_why(
        self, airbyte: Airbyte, database: Any, ending: str, message: str
    ) -> None:
        job = Wiring(airbyte, database.dsn, DEDUP, rows=10, fail_after=5, ending=ending).sync()

        assert "failed" == job["status"]
        assert message == airbyte.failure(job["jobId"])["externalMessage"]

    def test_failure_has_the_connectors_origin_and_type(
        self, airbyte: Airbyte, database: Any
    ) -> None:
        job = Wiring(airbyte, database.dsn, DEDUP, rows=10, fail_after=5).sync()
        reason = airbyte.failure(job["jobId"])

        assert ("source", "config_error", "403 from /stars") == (
            reason["failureOrigin"],
            reason["failureType"],
            reason["internalMessage"],
        )

    def test_failure_without_a_reason_shows_the_end_of_stderr(
        self, airbyte: Airbyte, database: Any
    ) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=10, fail_after=5, ending="exit")
        reason = airbyte.failure(wiring.sync()["jobId"])

        assert "Traceback: something broke\n" == reason["internalMessage"]

    def test_killed_worker_fails_its_job_and_the_next_sync_completes(
        self, airbyte: Airbyte, server: Any, database: Any, warehouse: Any
    ) -> None:
        """Rows that it has committed stay."""
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=300, page=10, pause=0.05)
        job = airbyte.start(wiring.connection)
        until(lambda: airbyte.ask("GET", f"jobs/{job}")["rowsSynced"])
        (worker,) = [
            process
            for process in psutil.Process(server.pid).children()
            if "devstack.airbyte.worker" in process.cmdline()
        ]
        worker.kill()
        ended = airbyte.ended(job)
        wiring.configure(pause=0)
        again = wiring.sync()

        assert "failed" == ended["status"]
        assert "The worker was killed by signal 9." == airbyte.failure(job)["externalMessage"]
        assert "succeeded" == again["status"]
        assert [(300,)] == warehouse.execute("select count(*) from events").fetchall()

    def test_unreachable_destination_fails_the_job(self, airbyte: Airbyte, database: Any) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=10)
        airbyte.ask(
            "PATCH", f"destinations/{wiring.destination}", json={"configuration": {"port": 1}}
        )
        job = wiring.sync()

        assert "failed" == job["status"]
        assert "destination" == airbyte.failure(job["jobId"])["failureOrigin"]

    def test_wrong_password_is_not_shown(self, airbyte: Airbyte, database: Any) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=10)
        change = {"configuration": {"password": "a-rotated-secret"}}
        airbyte.ask("PATCH", f"destinations/{wiring.destination}", json=change)
        job = wiring.sync()

        assert "failed" == job["status"]
        assert "a-rotated-secret" not in json.dumps(airbyte.failure(job["jobId"]))


class TestOneAtATime:
    def test_second_sync_of_a_connection_is_refused(self, airbyte: Airbyte, database: Any) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=1000, page=10, pause=0.2)
        job = airbyte.start(wiring.connection)
        body = {"connectionId": wiring.connection, "jobType": "sync"}
        answer = airbyte.post("jobs", json=body)
        airbyte.ask("DELETE", f"jobs/{job}")

        assert 409 == answer.status_code
        assert "state-conflict" == answer.json()["title"]

    def test_cancelled_job_stays_cancelled_and_its_processes_end(
        self, airbyte: Airbyte, database: Any, warehouse: Any
    ) -> None:
        """A cancelled job stays cancelled, its connector is gone, and the next sync completes."""
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=300, page=10, pause=0.2)
        job = airbyte.start(wiring.connection)
        until(lambda: airbyte.ask("GET", f"jobs/{job}")["rowsSynced"])
        cancelled = airbyte.ask("DELETE", f"jobs/{job}")
        until(
            lambda: (
                not warehouse.execute(
                    "select from pg_stat_activity where application_name = %s",
                    (f"airbyte sync {job}",),
                ).fetchall()
            )
        )
        wiring.configure(pause=0)
        again = wiring.sync()

        assert "cancelled" == cancelled["status"]
        assert "cancelled" == airbyte.ask("GET", f"jobs/{job}")["status"]
        assert "succeeded" == again["status"]
        assert [(300,)] == warehouse.execute("select count(*) from events").fetchall()

    def test_cancelling_a_job_that_has_ended_changes_nothing(
        self, airbyte: Airbyte, database: Any
    ) -> None:
        job = Wiring(airbyte, database.dsn, DEDUP, rows=1).sync()

        assert "succeeded" == airbyte.ask("DELETE", f"jobs/{job['jobId']}")["status"]

    def test_sync_of_an_inactive_connection_is_refused(
        self, airbyte: Airbyte, database: Any
    ) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=1)
        airbyte.ask("PATCH", f"connections/{wiring.connection}", json={"status": "inactive"})
        body = {"connectionId": wiring.connection, "jobType": "sync"}

        assert 409 == airbyte.post("jobs", json=body).status_code

    def test_deleting_a_connection_cancels_its_job(self, airbyte: Airbyte, database: Any) -> None:
        wiring = Wiring(airbyte, database.dsn, DEDUP, rows=1000, page=10, pause=0.2)
        job = airbyte.start(wiring.connection)
        deleted = airbyte.delete(f"connections/{wiring.connection}")

        assert (204, b"") == (deleted.status_code, deleted.content)
        assert "cancelled" == airbyte.ask("GET", f"jobs/{job}")["status"]
        assert 404 == airbyte.get(f"connections/{wiring.connection}").status_code
