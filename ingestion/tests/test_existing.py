"""What `ingestion import` writes of an Airbyte that is in use, and that it has no differences."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
from ingestion.airbyte.existing import Existing, read_existing, report_lines
from ingestion.airbyte.plan import make_plan
from ingestion.airbyte.python_text import python_text
from ingestion.cli import app
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("recorded")

STARS = {
    "name": "stargazers",
    "syncMode": "incremental_deduped_history",
    "cursorField": ["starred_at"],
    "primaryKey": [["user_id"]],
}


class ByHand:
    """Makes things in an Airbyte, as people do in its UI."""

    def __init__(self, api: Any) -> None:
        self.api = api

    def source(self, name: str, **configuration: Any) -> str:
        token = {"personal_access_token": "github-secret-1"}
        fields = {"repositories": ["acme/rocket"], "credentials": token, **configuration}
        return self._actor("source", name, {"sourceType": "github", **fields})

    def destination(self, name: str, **configuration: Any) -> str:
        fields = {"host": "db", "port": 5432, "database": "lake", "schema": "raw", "username": "me"}
        fields |= {"password": "warehouse-secret-1", **configuration}
        return self._actor("destination", name, {"destinationType": "postgres", **fields})

    def _actor(self, kind: str, name: str, configuration: dict[str, Any]) -> str:
        body = {"name": name, "workspaceId": self.api.workspace_id, "configuration": configuration}
        return str(self.api.create(kind, body)[f"{kind}Id"])

    def connection(self, source: str, destination: str, *streams: Any, **fields: Any) -> str:
        body = {"sourceId": source, "destinationId": destination, **fields}
        body["configurations"] = {"streams": [*streams] or [STARS]}
        return str(self.api.create("connection", body)["connectionId"])


@pytest.fixture
def by_hand(airbyte) -> ByHand:
    return ByHand(airbyte)


def loaded(text: str) -> tuple[Any, ...]:
    """Return the connections of a written file."""
    scope: dict[str, Any] = {}
    exec(compile(text, "connections.py", "exec"), scope)  # noqa: S102  (that is the test)
    connections: tuple[Any, ...] = scope["CONNECTIONS"]
    return connections


def imported(api: Any, digests: Any) -> Existing:
    """Import, and check that the written file has what was read, and no differences."""
    existing = read_existing(api)
    connections = loaded(python_text(existing.connections))
    env = dict.fromkeys(existing.variables, "a-secret")

    assert existing.connections == connections
    plan = make_plan(api, connections, env, digests)
    assert [] == [one for one in plan.objects if not one.empty]
    return existing


WRITTEN = """\
lake = Destination(
    name="Lake",
    type="postgres",
    configuration={
        "host": "db",
        "port": 5432,
        "schema": "raw",
        "database": "lake",
        "password": Secret("DESTINATION_LAKE_PASSWORD", adopted=True),
        "username": "me",
    },
)

github = Source(
    name="GitHub",
    type="github",
    configuration={
        "credentials": {
            "personal_access_token": Secret(
                "SOURCE_GITHUB_CREDENTIALS_PERSONAL_ACCESS_TOKEN",
                adopted=True,
            ),
        },
        "repositories": ["acme/rocket"],
    },
)

github_lake = Connection(
    name="github_lake",
    airbyte_name="GitHub → Lake",
    source=github,
    destination=lake,
    namespace="raw",
    namespace_definition="destination",
    prefix="gh_",
    streams=(
        Stream(
            name="stargazers",
            sync_mode="incremental_deduped_history",
            cursor="starred_at",
            primary_key=("user_id",),
        ),
    ),
    schedule=Cron("0 0 12 * * ? UTC"),
)

CONNECTIONS = check_connections((github_lake,))
"""


class TestImport:
    def test_it_writes_what_people_made_by_hand(self, by_hand, digests):
        cron = {"scheduleType": "cron", "cronExpression": "0 0 12 * * ? UTC"}
        source, lake = by_hand.source("GitHub"), by_hand.destination("Lake")
        by_hand.connection(source, lake, name="GitHub → Lake", prefix="gh_", schedule=cron)
        existing = imported(by_hand.api, digests)
        text = python_text(existing.connections)

        assert text.endswith(f"    Stream,\n    check_connections,\n)\n\n{WRITTEN}")
        assert max(map(len, text.splitlines())) <= 100
        assert {
            "DESTINATION_LAKE_PASSWORD": "destination Lake, password",
            "SOURCE_GITHUB_CREDENTIALS_PERSONAL_ACCESS_TOKEN": (
                "source GitHub, credentials.personal_access_token"
            ),
        } == existing.variables
        assert () == existing.left_out

    def test_the_commands_from_start_to_end(
        self, by_hand, embedded, database, monkeypatch, tmp_path
    ):
        source, lake = by_hand.source("GitHub"), by_hand.destination("Lake")
        by_hand.connection(source, lake)
        settings = {
            **database.environ("WAREHOUSE"),
            "AIRBYTE_URL": embedded.url,
            "AIRBYTE_CLIENT_ID": embedded.client_id,
            "AIRBYTE_CLIENT_SECRET": embedded.client_secret,
            "SOURCE_GITHUB_CREDENTIALS_PERSONAL_ACCESS_TOKEN": "github-secret-1",
            "DESTINATION_LAKE_PASSWORD": "warehouse-secret-1",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AIRBYTE_WORKSPACE_ID", raising=False)
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(app, ["import"])
        module = ModuleType("connections")
        module.CONNECTIONS = loaded(done.stdout)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ingestion.connections", module)

        assert 0 == done.exit_code
        assert "secret-1" not in done.output
        assert "    DESTINATION_LAKE_PASSWORD: destination Lake, password\n" in done.stderr
        for command in ("check", "apply", "check"):
            checked = CliRunner().invoke(app, [command])
            assert (0, "Airbyte is as declared.") == (
                checked.exit_code,
                checked.output.splitlines()[-1],
            )

    def test_more_than_a_page_of_connections(self, by_hand, digests):
        source, lake = by_hand.source("GitHub"), by_hand.destination("Lake")
        for number in range(120):
            by_hand.connection(source, lake, name=f"n° {number}", prefix=f"p{number}_")
        existing = imported(by_hand.api, digests)

        assert 120 == len(existing.connections)
        assert 2 == len(existing.variables)

    def test_names_become_identifiers_of_their_own(self, by_hand, digests):
        names = ["GitHub", "github", "2 stars", "class", "meta", "→", "Été", "lake"]
        source, lake = by_hand.source("github"), by_hand.destination("Lake")
        for number, name in enumerate(names):
            by_hand.connection(source, lake, name=name, prefix=f"p{number}_")
        existing = imported(by_hand.api, digests)

        assert {
            "GitHub": "github",
            "github": "github_2",
            "2 stars": "connection_2_stars",
            "class": "connection_class",
            "meta": "connection_meta",
            "→": "connection",
            "Été": "ete",
            "lake": "lake",
        } == {one.name_in_airbyte: one.name for one in existing.connections}

    def test_streams_keep_their_modes_fields_and_order(self, by_hand, digests):
        source, lake = by_hand.source("GitHub"), by_hand.destination("Lake")
        by_hand.connection(
            source,
            lake,
            {"name": "tags", "syncMode": "full_refresh_append"},
            {"name": "branches", "syncMode": "full_refresh_overwrite_deduped"},
            {**STARS, "selectedFields": [{"fieldPath": [n]} for n in ("user_id", "starred_at")]},
            namespaceDefinition="custom_format",
            namespaceFormat="stars",
        )
        (connection,) = imported(by_hand.api, digests).connections

        assert "custom_format" == connection.namespace_definition
        assert [
            ("tags", "full_refresh_append", None, (), ()),
            ("branches", "full_refresh_overwrite_deduped", None, ("repository", "name"), ()),
            (
                "stargazers",
                "incremental_deduped_history",
                "starred_at",
                ("user_id",),
                ("user_id", "starred_at"),
            ),
        ] == [
            (one.name, one.sync_mode, one.cursor, one.primary_key, one.fields)
            for one in connection.streams
        ]

    def test_columns_are_recorded_so_that_the_location_loads(self, by_hand, digests):
        source, lake = by_hand.source("GitHub"), by_hand.destination("Lake")
        by_hand.connection(source, lake, {"name": "tags", "syncMode": "full_refresh_append"})
        existing = imported(by_hand.api, digests)

        assert ("wrote catalogs/source-github.json: tags",) == existing.recorded
        assert "Record these streams" not in "\n".join(report_lines(existing))
        assert () == imported(by_hand.api, digests).recorded


class TestLeftOut:
    """What a declaration cannot hold is named, with the reason; the rest is imported."""

    @pytest.mark.parametrize(
        ("fields", "streams", "reason"),
        [
            ({"status": "inactive"}, [], "it is inactive, and a declared connection is active"),
            (
                {
                    "namespaceDefinition": "custom_format",
                    "namespaceFormat": "${SOURCE_NAMESPACE}_x",
                },
                [],
                "its namespace is the format '${SOURCE_NAMESPACE}_x'",
            ),
            ({"prefix": "p" * 60}, [], "has 70 bytes, and Postgres keeps 63 of a name"),
            ({"prefix": "Wide-"}, [], "'Wide-stargazers'"),
        ],
    )
    def test_a_connection(self, by_hand, digests, fields, streams, reason):
        source, lake = by_hand.source("GitHub"), by_hand.destination("Lake")
        by_hand.connection(source, lake, name="good")
        id_ = by_hand.connection(source, lake, *streams, name="bad", **{"prefix": "b_", **fields})
        existing = imported(by_hand.api, digests)

        assert ["good"] == [one.name for one in existing.connections]
        (line,) = existing.left_out
        assert line.startswith(f"connection 'bad' ({id_}): ")
        assert reason in line

    def test_a_connection_that_loses_rows(self, by_hand, digests):
        source = by_hand.source("Many", repositories=["acme/*"])
        by_hand.connection(source, by_hand.destination("Lake"), name="many")
        existing = imported(by_hand.api, digests)

        assert () == existing.connections
        assert "stream 'stargazers' would lose rows" in existing.left_out[0]

    def test_two_of_one_name_and_what_uses_them(self, by_hand, digests):
        lake = by_hand.destination("Lake")
        by_hand.connection(by_hand.source("twin"), lake, name="a")
        by_hand.connection(by_hand.source("twin"), lake, name="b", prefix="b_")
        source = by_hand.source("single")
        for prefix in ("c_", "d_"):
            by_hand.connection(source, lake, name="same", prefix=prefix)
        by_hand.connection(source, lake, name="good", prefix="good_")
        existing = imported(by_hand.api, digests)

        assert ["good"] == [one.name for one in existing.connections]
        reasons = [line.partition("): ")[2] for line in existing.left_out]
        assert [
            *["Airbyte has 2 sources named 'twin': rename all but one there"] * 2,
            *["Airbyte has 2 connections named 'same': rename all but one there"] * 2,
        ] == reasons

    def test_two_that_write_one_table(self, by_hand, digests):
        lake = by_hand.destination("Lake")
        by_hand.connection(by_hand.source("one"), lake, name="one")
        by_hand.connection(by_hand.source("two"), lake, name="two")
        existing = imported(by_hand.api, digests)

        assert ["one"] == [one.name for one in existing.connections]
        assert "as connection 'one' does" in existing.left_out[0]

    def test_what_no_connection_uses(self, by_hand, digests):
        source, lake = by_hand.source("spare"), by_hand.destination("Spare lake")
        existing = imported(by_hand.api, digests)

        assert (
            f"source 'spare' ({source}): no connection uses it",
            f"destination 'Spare lake' ({lake}): no connection uses it",
        ) == existing.left_out


class TestOtherConnectors:
    """On the fake Airbyte, which takes any connector and gives no schemas."""

    @pytest.fixture
    def shop(self, fake):
        source = fake.add(
            "source",
            name="Shop DB",
            sourceType="postgres",
            configuration={
                "host": "db",
                "password": "**********",
                "tunnel_method": {"tunnel_method": "NO_TUNNEL", "tunnel_user_password": "in clear"},
                "jdbc_url_params": "",
                "schemas": ["sales"],
                "replica": "postgres://me:in-clear@db/shop",
                "keys": [{"private_key": "in clear"}, "**********"],
                "certificate": {"_secret": "coordinate"},
                "ratio": 0.5,
                "verify": True,
            },
        )
        lake = fake.add(
            "destination",
            name="Lake",
            destinationType="postgres",
            configuration={
                "host": "db",
                "port": 5432,
                "database": "lake",
                "schema": "raw",
                "username": "me",
                "password": "warehouse-secret-1",
            },
        )

        def add(*streams: Any, **fields: Any) -> None:
            entries = [{"name": "orders", "namespace": "sales", "syncMode": "full_refresh_append"}]
            fake.add(
                "connection",
                **{
                    "name": "shop",
                    "sourceId": source["sourceId"],
                    "destinationId": lake["destinationId"],
                    "namespaceDefinition": "source",
                    "configurations": {"streams": [*streams] or entries},
                    **fields,
                },
            )

        return add

    def test_a_connector_that_is_not_recorded(self, shop, fake_api, digests):
        shop(schedule={"scheduleType": "basic", "basicTiming": "Every 24 HOURS"})
        existing = imported(fake_api, digests)
        text = python_text(existing.connections)

        assert "in clear" not in text
        assert "in-clear" not in text
        assert [
            "SOURCE_SHOP_DB_PASSWORD",
            "SOURCE_SHOP_DB_TUNNEL_METHOD_TUNNEL_USER_PASSWORD",
            "SOURCE_SHOP_DB_REPLICA",
            "SOURCE_SHOP_DB_KEYS_0_PRIVATE_KEY",
            "SOURCE_SHOP_DB_KEYS_1",
            "SOURCE_SHOP_DB_CERTIFICATE",
            "DESTINATION_LAKE_PASSWORD",
        ] == list(existing.variables)
        assert '    schedule=Basic("Every 24 HOURS"),\n' in text
        assert 'namespace="sales"' in text
        assert [
            "Record these streams, whose columns the assets need (see `ingestion record --help`):",
            "    ingestion record source-postgres --stream orders",
            "Connections: 1. Left out: 0.",
        ] == list(report_lines(existing))[-3:]

    @pytest.mark.parametrize(
        ("stream", "reason"),
        [
            ({"mappers": [{"type": "hashing"}]}, "cannot hold the mappers of stream 'orders'"),
            ({"syncMode": "full_refresh_update"}, "sync_mode is 'full_refresh_update'"),
            ({"selectedFields": [{"fieldPath": ["a", "b"]}]}, "the nested fields that stream"),
            ({"namespace": "Sales"}, "its namespace is 'Sales'"),
        ],
    )
    def test_a_stream_that_a_declaration_cannot_hold(self, shop, fake_api, digests, stream, reason):
        shop({"name": "orders", "namespace": "sales", "syncMode": "full_refresh_append", **stream})
        existing = imported(fake_api, digests)

        assert () == existing.connections
        assert reason in existing.left_out[0]

    def test_a_configuration_that_the_recorded_specification_refuses(
        self, shop, fake, fake_api, digests
    ):
        shop()
        del fake.only("destination")["configuration"]["database"]
        existing = imported(fake_api, digests)

        assert "destination-postgres 'Lake': configuration lacks database" in existing.left_out[0]

    def test_what_the_specification_says_of_secrets_does_not_matter(self, shop, fake_api, recorded):
        shop()
        secret = {"minLength": 99, "pattern": "^sk_", "airbyte_secret": True}
        spec = {"properties": {"password": secret, "host": {"pattern": "^d"}}}
        (recorded / "specs" / "source-postgres.json").write_text(json.dumps(spec))

        assert 1 == len(read_existing(fake_api).connections)

    def test_streams_in_several_namespaces(self, shop, fake_api, digests):
        mode = {"syncMode": "full_refresh_append"}
        shop(*({"name": one, "namespace": one, **mode} for one in ("sales", "stock")))

        assert "several namespaces (sales, stock)" in imported(fake_api, digests).left_out[0]

    def test_no_stream(self, shop, fake_api, digests):
        shop({"name": "orders", "selected": False})

        assert "it syncs no stream" in imported(fake_api, digests).left_out[0]
