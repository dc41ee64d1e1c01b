"""`freshline roles`: who needs what, and that Postgres grants it and refuses all else.

Every forbidden thing is tried, on a real server, by the role that must not do it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from conftest import ROOT
from freshline.cli import app
from freshline.contract import Contract, Export, Import
from freshline.errors import RoleError
from freshline.keys import THREE_PARTS
from freshline.rights import Read, Readable, instance_sql, needs_of, warehouse_sql
from freshline.rights.instance import TABLES
from freshline.rights.names import instance_role, literal
from psycopg import sql
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

DENIED = psycopg.errors.InsufficientPrivilege


def contract(location: str, *, makes: Sequence[str] = (), reads: Sequence[str] = ()) -> Contract:
    return Contract(
        location=location,
        exports=tuple(Export(key=key, kinds=("postgres",)) for key in makes),
        imports=tuple(Import(key=key) for key in reads),
    )


class TestNeeds:
    def test_the_maker_of_a_table_writes_into_its_schema(self) -> None:
        needs = needs_of([contract("land", makes=["raw/stars"]), contract("core")])

        assert (["core", "land"], {"raw": ["land"]}) == (needs.locations, needs.writers)
        assert ({}, {}, []) == (needs.tables, needs.reads, needs.uncovered)

    def test_each_table_of_a_schema_with_two_writers_has_an_owner(self) -> None:
        needs = needs_of(
            [contract("core", makes=["mart/a"]), contract("marts", makes=["mart/b", "own/c"])]
        )

        assert {"mart": ["core", "marts"], "own": ["marts"]} == needs.writers
        assert {("mart", "a"): "core", ("mart", "b"): "marts"} == needs.tables

    def test_an_import_is_a_read_of_its_makers_schema(self) -> None:
        land = contract("land", makes=["raw/stars", "raw/users", "hr/salaries"])

        needs = needs_of([land, contract("core", reads=["raw/stars"])])

        assert {Read("core", "land", "raw"): Readable(["raw/stars"], ["raw/users"])} == needs.reads

    def test_an_import_that_nobody_makes_is_to_be_granted_by_hand(self) -> None:
        (sentence,) = needs_of([contract("core", reads=["crm/customers"])]).uncovered

        assert sentence.startswith("`core` reads `crm/customers`: no location makes it, ")
        assert sentence.endswith("Grant it by hand: SELECT on the table, USAGE on its schema.")

    def test_a_key_without_a_schema_is_named_with_its_readers(self) -> None:
        needs = needs_of([contract("land", makes=["stars"]), contract("core", reads=["stars"])])

        assert {} == needs.writers
        made, read = needs.uncovered
        assert made.startswith("`stars` of `land` is a table, and its key does not say in which s")
        assert made.endswith("in the settings: [tool.freshline.schemas], land = [...].")
        assert read.startswith("`core` reads `stars`: `land` makes it, and its key does not say in")

    def test_three_parts_are_a_table_only_where_that_is_the_convention(self) -> None:
        land = contract("land", makes=["prod/raw/stars"])

        assert {"raw": ["land"]} == needs_of([land], convention=THREE_PARTS).writers
        assert {} == needs_of([land]).writers

    def test_what_is_in_another_engine_or_made_elsewhere_needs_nothing(self) -> None:
        exports = (
            Export(key="lake/stars", kinds=("snowflake",)),
            Export(key="raw/seen", kinds=("postgres",), observed=True),
        )
        needs = needs_of(
            [Contract(location="land", exports=exports), contract("core", reads=["lake/stars"])]
        )

        assert ({}, {}, []) == (needs.writers, needs.reads, needs.uncovered)

    def test_further_schemas_come_from_the_settings(self) -> None:
        needs = needs_of([contract("land")], schemas={"land": ["airbyte_internal"]})

        assert {"airbyte_internal": ["land"]} == needs.writers

    @pytest.mark.parametrize(
        ("contracts", "schemas", "message"),
        [
            ([contract("pg_land")], {}, "location `pg_land`: .* begins with `pg_`.*Rename the loc"),
            ([contract("l" * 60)], {}, r"has 68 bytes, and Postgres keeps 63 of a name\. Rename"),
            ([contract("public")], {}, "location `public`: Postgres allows no role of this name"),
            (
                [contract("core"), contract("core_dagster")],
                {},
                "location `core_dagster`: .* the role that `core` has in Dagster's database",
            ),
            (
                [contract("core", makes=["public/a"])],
                {},
                "`core` has assets in the schema `public",
            ),
            (
                [contract("core", makes=["s" * 64 + "/a"])],
                {},
                "the schema `s+` of `core` has 64 b",
            ),
            (
                [contract("a", makes=["mart/x"]), contract("b", makes=["mart/x"])],
                {},
                "`mart/x` is made by `a` and by `b`, and a table has one owner",
            ),
            ([contract("core")], {"cor": ["x"]}, "names `cor`, which is no location .* are core"),
        ],
    )
    def test_names_that_postgres_cannot_have_are_refused(
        self, contracts: list[Contract], schemas: dict[str, list[str]], message: str
    ) -> None:
        with pytest.raises(RoleError, match=message):
            needs_of(contracts, schemas=schemas)


PASSWORD = "x"


class Roles:
    """The roles of some tests on the shared server: names that have to be quoted."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.ending = f" \"'\\$freshline$ $$-é{secrets.token_hex(3)}"

    def named(self, name: str) -> str:
        return f"{name}{self.ending}"

    def connect(self, database: str, role: str | None = None) -> psycopg.Connection[Any]:
        """Connect as `role`, or as the superuser; each statement commits by itself."""
        return psycopg.connect(
            host=self.server.host,
            port=self.server.port,
            user=role or self.server.user,
            password=PASSWORD if role else self.server.password,
            dbname=database,
            autocommit=True,
        )

    def let_in(self, connection: psycopg.Connection[Any], *names: str) -> None:
        """Give roles a password."""
        for name in names:
            connection.execute(f"alter role {quoted(name)} password '{PASSWORD}'".encode())

    def drop(self) -> None:
        with self.connect("postgres") as connection:
            names = connection.execute(
                "select quote_ident(rolname) from pg_roles where position(%s in rolname) > 0",
                [self.ending],
            ).fetchall()
            for (name,) in names:
                connection.execute(f"drop role {name}".encode())


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


class World:
    """Three locations and their tables: `land` fills `raw` and `hr`, two others share `mart`."""

    def __init__(self, roles: Roles, database: str) -> None:
        self.roles, self.database = roles, database
        self.land, self.core, self.marts = map(roles.named, ("land", "core", "marts"))
        self.raw = roles.named("raw")

    def contracts(self, *, marts_read_stars: bool = False) -> list[Contract]:
        stars = f"{self.raw}/stars"
        more = [stars] if marts_read_stars else []
        return [
            contract(self.land, makes=[stars, "hr/salaries"]),
            contract(self.core, makes=["mart/people"], reads=[stars]),
            contract(self.marts, makes=["mart/joined"], reads=["mart/people", *more]),
        ]

    def apply(self, contracts: Sequence[Contract] = ()) -> None:
        self.as_superuser(warehouse_sql(needs_of(contracts or self.contracts())))

    def as_superuser(self, statements: str) -> list[tuple[Any, ...]]:
        return self._run(None, statements)

    def run(self, role: str, statements: str) -> list[tuple[Any, ...]]:
        """Run statements as a role; `{raw}` is the schema whose name has to be quoted."""
        return self._run(role, statements.replace("{raw}", quoted(self.raw)))

    def _run(self, role: str | None, statements: str) -> list[tuple[Any, ...]]:
        with self.roles.connect(self.database, role) as connection:
            cursor = connection.execute(statements.encode())
            return cursor.fetchall() if cursor.description else []

    def rights(self) -> list[list[tuple[Any, ...]]]:
        """Return all that decides who may do what, and the transaction that last changed it."""
        return [
            self.as_superuser(f"select {columns} from {table} order by 1, 2")
            for table, columns in {
                "pg_database": "datname, datdba, datacl::text",
                "pg_namespace where nspname !~ '^pg_'": "nspname, nspowner, nspacl::text",
                "pg_class": "oid, relowner, relacl::text, xmin::text",
                "pg_default_acl": "defaclrole, defaclnamespace, defaclacl::text",
                "pg_proc": "oid, proowner, xmin::text",
                "pg_type": "oid, typowner, xmin::text",
                "pg_authid": "rolname, rolcanlogin, xmin::text",
                "pg_auth_members": "roleid, member",
            }.items()
        ]


@contextmanager
def world_on(server: Any) -> Iterator[World]:
    """Make the world by `freshline roles`, and let each location make its table."""
    roles = Roles(server)
    try:
        with server.new_database() as database:
            world = World(roles, database.name)
            world.apply()
            with roles.connect(database.name) as connection:
                roles.let_in(connection, world.land, world.core, world.marts)
            world.run(
                world.land,
                "create table {raw}.stars (id int); create table hr.salaries (id int)",
            )
            world.run(world.core, "create table mart.people as select * from {raw}.stars")
            world.run(world.marts, "create table mart.joined as select * from mart.people")
            yield world
    finally:
        roles.drop()


@pytest.fixture(scope="module")
def settled(postgres_server: Any) -> Iterator[World]:
    """The world for tests that change nothing in it."""
    with world_on(postgres_server) as world:
        yield world


@pytest.fixture
def world(postgres_server: Any) -> Iterator[World]:
    with world_on(postgres_server) as world:
        yield world


class TestWarehouse:
    @pytest.mark.parametrize(
        ("who", "statement", "says"),
        [
            ("core", "drop table mart.joined", "must be owner of table joined"),
            ("marts", "drop table mart.people", "must be owner of table people"),
            ("marts", "alter table mart.people rename to mine", "must be owner of table people"),
            ("core", "drop schema mart cascade", "must be owner of schema mart"),
            ("core", "insert into mart.joined values (1)", "permission denied for table joined"),
            ("marts", "delete from mart.people", "permission denied for table people"),
            ("core", "truncate {raw}.stars", "permission denied for table stars"),
            ("core", "drop table {raw}.stars", "must be owner of table stars"),
            ("core", "create table {raw}.mine (id int)", "permission denied for schema"),
            ("marts", "select * from {raw}.stars", "permission denied for schema"),
            ("marts", "select * from hr.salaries", "permission denied for schema hr"),
            ("core", "select * from mart.joined", "permission denied for table joined"),
            ("core", "create table public.mine (id int)", "permission denied for schema public"),
            ("core", "create role mine", "permission denied to create role"),
            ("core", "alter schema mart owner to {me}", "must be owner of schema mart"),
            ("core", "set role {other}", "permission denied to set role"),
        ],
    )
    def test_what_is_anothers_is_refused(
        self, settled: World, who: str, statement: str, says: str
    ) -> None:
        role = getattr(settled, who)
        statement = statement.replace("{me}", quoted(role))

        with pytest.raises(DENIED, match=says):
            settled.run(role, statement.replace("{other}", quoted(settled.marts)))

    def test_another_database_is_closed(self, settled: World, postgres_server: Any) -> None:
        with postgres_server.new_database() as other:
            sibling = contract(settled.roles.named("sibling"))
            World(settled.roles, other.name).apply([sibling])

            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                settled.roles.connect(other.name, settled.core)

    def test_a_new_role_has_no_password(self, settled: World, postgres_server: Any) -> None:
        fresh = settled.roles.named("fresh")
        with postgres_server.new_database() as other:
            World(settled.roles, other.name).apply([contract(fresh)])

            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                settled.roles.connect(other.name, fresh)

    def test_a_replaced_table_is_readable_at_once(self, world: World) -> None:
        world.run(
            world.land,
            "begin; create table {raw}.stars__dbt_tmp as select 7 as id; "
            "alter table {raw}.stars rename to stars__dbt_backup; "
            "alter table {raw}.stars__dbt_tmp rename to stars; "
            "drop table {raw}.stars__dbt_backup cascade; commit",
        )

        assert [(7,)] == world.run(world.core, "select id from {raw}.stars")

    def test_a_view_of_the_owner_is_readable_and_the_table_below_it_stays_closed(
        self, world: World
    ) -> None:
        world.run(world.land, "create view {raw}.names as select id from hr.salaries")

        assert [] == world.run(world.core, "select * from {raw}.names")

    def test_a_team_makes_schemas_of_its_own(self, world: World) -> None:
        world.run(world.core, "create schema dev_core")
        world.run(world.core, "create temporary table mine (id int)")

        with pytest.raises(DENIED, match="permission denied for schema dev_core"):
            world.run(world.marts, "create table dev_core.mine (id int)")

    def test_functions_of_a_team_are_not_called(self, world: World) -> None:
        """Postgres looks first into the schema with the name of who asks."""
        ((superuser,),) = world.as_superuser("select current_user")
        world.run(
            world.land,
            f"create schema {quoted(superuser)}; "
            f"create function {quoted(superuser)}.pg_advisory_xact_lock(int) returns void "
            "language plpgsql as $$ begin raise exception 'called'; end $$",
        )

        world.apply()

    def test_the_second_time_changes_nothing(self, world: World) -> None:
        world.apply()
        before = world.rights()

        world.apply()

        assert before == world.rights()

    def test_a_read_that_begins_is_given_and_one_that_ends_is_taken_back(
        self, world: World
    ) -> None:
        world.apply(world.contracts(marts_read_stars=True))
        world.run(world.land, "create table {raw}.later (id int)")
        assert [] == world.run(world.marts, "select * from {raw}.stars, {raw}.later")

        world.apply()

        with pytest.raises(DENIED, match="permission denied for schema"):
            world.run(world.marts, "select * from {raw}.stars")
        world.run(world.land, "create table {raw}.latest (id int)")
        assert [(world.core, True), (world.marts, False)] == world.as_superuser(
            "select rolname, has_table_privilege(oid, relid, 'select') from pg_roles, "
            "(select oid as relid from pg_class where relname = 'latest') "
            f"where rolname in ({', '.join(map(literal, (world.core, world.marts)))}) order by 1"
        )

    def test_a_team_that_no_longer_writes_into_a_schema_cannot(self, world: World) -> None:
        contracts = world.contracts()
        contracts[1] = contract(world.core, makes=["core/people"])

        world.apply(contracts)

        with pytest.raises(DENIED, match="permission denied for schema mart"):
            world.run(world.core, "create table mart.mine (id int)")

    def test_a_retired_team_leaves_its_tables_and_no_role(self, world: World) -> None:
        """With the statements of docs/adding.md."""
        page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
        commands = ("reassign owned by {} to current_user", "drop owned by {}", "drop role {}")
        for command in commands:
            assert command.format("analytics_growth") in page
            world.as_superuser(command.format(quoted(world.core)))

        assert [] == world.run(world.marts, "select * from mart.people")

    def test_rights_of_people_stay(self, world: World) -> None:
        person = world.roles.named("ada")
        world.as_superuser(f"create role {quoted(person)} login password '{PASSWORD}'")
        world.as_superuser(f"grant connect on database {world.database} to {quoted(person)}")
        world.as_superuser(f"grant usage on schema mart to {quoted(person)}")
        world.as_superuser(f"grant select on mart.joined to {quoted(person)}")

        world.apply()

        assert [] == world.run(person, "select * from mart.joined")

    @pytest.mark.parametrize(
        ("statements", "why"),
        [
            ("alter role {core} superuser", "is a superuser"),
            ("alter role {core} createrole", "can give itself roles"),
            ("alter database {database} owner to {core}", "owns the database"),
            ("grant {marts} to {core}", "is a member of"),
            ("create role {new}; grant {marts} to {new}; grant {new} to {core}", "is a member of"),
            ("create role {new} createrole; grant {new} to {core}", "is a member of"),
            ("create role {new} superuser; grant {new} to {core}", "is a member of"),
        ],
    )
    def test_a_role_that_no_right_binds_is_refused(
        self, world: World, statements: str, why: str
    ) -> None:
        core, marts, new = map(quoted, (world.core, world.marts, world.roles.named("between")))
        names = {"core": core, "marts": marts, "new": new, "database": world.database}
        world.as_superuser(statements.format(**names))
        try:
            with pytest.raises(psycopg.errors.RaiseException, match=f"the role core.* {why}"):
                world.apply()
        finally:
            world.as_superuser(f"alter role {core} nosuperuser nocreaterole")
            world.as_superuser(f"alter database {world.database} owner to postgres")


OLD = """
create schema {raw}; create schema hr; create schema mart; create schema elsewhere;
create table {raw}.stars (id serial, at timestamptz);
create view {raw}.names as select id from {raw}.stars;
create materialized view {raw}.counts as select count(*) from {raw}.stars;
create type {raw}.mood as enum ('ok'); create domain {raw}.positive as int check (value > 0);
create function {raw}.one() returns int language sql as 'select 1';
create sequence {raw}.numbers;
create table {raw}.parts (id int) partition by range (id);
create table {raw}.parts_1 partition of {raw}.parts for values from (1) to (2);
create table mart.people (id int); create table mart.joined (id int);
create table mart.joined__dbt_backup (id int); create table mart.unknown (id int);
create table elsewhere.kept (id int);
"""


class TestDatabaseThatExists:
    @pytest.mark.parametrize("by_superuser", [True, False])
    def test_ownership_moves_from_the_single_old_user(
        self, postgres_server: Any, by_superuser: bool
    ) -> None:
        roles = Roles(postgres_server)
        old = roles.named("old")
        try:
            with postgres_server.new_database() as database:
                world = World(roles, database.name)
                world.as_superuser(
                    f"create role {quoted(old)} login createrole password '{PASSWORD}'; "
                    f"alter database {database.name} owner to {quoted(old)}"
                )
                world.run(old, OLD)
                statements = warehouse_sql(needs_of(world.contracts()))
                for _ in range(2):
                    if by_superuser:
                        world.as_superuser(statements)
                    else:
                        world.run(old, statements)
                self.check(world, old)
        finally:
            roles.drop()

    def check(self, world: World, old: str) -> None:
        """Check that every object has the owner that the contracts give it."""
        with world.roles.connect(world.database) as connection:
            world.roles.let_in(connection, world.land, world.core)
        owners = dict(
            world.run(
                old,
                "select c.relname, pg_get_userbyid(relowner) from pg_class c join pg_namespace n "
                "on n.oid = relnamespace where relkind in ('r', 'p', 'v', 'm', 'S') "
                "and nspname not like 'pg%' and nspname <> 'information_schema'",
            )
        )
        assert {
            **dict.fromkeys(
                ("stars", "stars_id_seq", "names", "counts", "numbers", "parts", "parts_1"),
                world.land,
            ),
            "people": world.core,
            "joined": world.marts,
            "joined__dbt_backup": world.marts,
            "unknown": old,
            "kept": old,
        } == owners
        world.run(world.land, "alter type {raw}.mood add value 'sad'")
        world.run(world.land, "drop function {raw}.one(); drop domain {raw}.positive")
        world.run(world.land, "insert into {raw}.stars default values")
        assert [(1,)] == world.run(world.core, "select id from {raw}.names")
        with pytest.raises(DENIED):
            world.run(world.core, "drop table mart.unknown")

    def test_what_no_contract_knows_in_a_shared_schema_is_named(self, world: World) -> None:
        world.as_superuser("create table mart.unknown (id int)")
        seen: list[str | None] = []

        with world.roles.connect(world.database) as connection:
            connection.add_notice_handler(lambda notice: seen.append(notice.message_primary))
            connection.execute(warehouse_sql(needs_of(world.contracts())).encode())

        assert ["mart.unknown is in no contract, and stays with postgres"] == seen


Run = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def as_location(postgres_server: Any, postgres_instance: dg.DagsterInstance) -> Iterator[Run]:
    """A function that runs a statement in Dagster's own database as the role of a location."""
    roles = Roles(postgres_server)
    core = roles.named("core")
    database = make_url(postgres_instance.event_log_storage.postgres_url).database
    statements = instance_sql([core, roles.named("marts")])
    try:
        with roles.connect(database) as connection:
            connection.execute(statements.encode())
            connection.execute(statements.encode())
            roles.let_in(connection, instance_role(core))

        def run(statement: str) -> list[tuple[Any, ...]]:
            with roles.connect(database, instance_role(core)) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []

        yield run
    finally:
        with roles.connect(database) as connection:
            for role in (instance_role(core), instance_role(roles.named("marts"))):
                connection.execute(f"drop owned by {quoted(role)}".encode())
        roles.drop()


HOST_ONLY = (
    "instigators",
    "jobs",
    "job_ticks",
    "daemon_heartbeats",
    "bulk_actions",
    "backfill_tags",
    "asset_daemon_asset_evaluations",
    "instance_info",
    "alembic_version",
)


class TestInstance:
    def test_every_table_of_dagster_is_either_a_locations_or_the_hosts(
        self, as_location: Run
    ) -> None:
        found = as_location("select relname from pg_stat_user_tables where schemaname='public'")

        assert {*TABLES, *HOST_ONLY} == {name for (name,) in found}

    @pytest.mark.parametrize("table", HOST_ONLY)
    @pytest.mark.parametrize("verb", ["select * from {}", "delete from {}"])
    def test_what_only_the_host_needs_is_refused(
        self, as_location: Run, table: str, verb: str
    ) -> None:
        with pytest.raises(DENIED, match=f"permission denied for table {table}"):
            as_location(verb.format(table))

    @pytest.mark.parametrize(
        "statement",
        [
            "create table public.mine (id int)",
            "create temporary table mine (id int)",
            "create schema mine",
            "alter table runs add column mine int",
            "drop table event_logs",
            "truncate event_logs",
            "delete from event_logs",
            "update event_logs set event = ''",
            "insert into runs (run_id) values ('x')",
            "delete from runs",
            "insert into kvs values (1, 'x', 'y')",
            "delete from concurrency_limits",
            "delete from run_tags",
            "delete from asset_keys",
        ],
    )
    def test_ddl_and_the_rewriting_of_history_are_refused(
        self, as_location: Run, statement: str
    ) -> None:
        with pytest.raises(DENIED):
            as_location(statement)

    def test_a_location_keeps_how_its_targets_stand_and_no_cursor_of_a_daemon(
        self, as_location: Run
    ) -> None:
        keep = (
            "insert into kvs (key, value) values ('freshline/status/core', '{}')"
            " on conflict (key) do update set value = excluded.value returning value"
        )

        assert [[("{}",)]] * 2 == [as_location(keep) for _ in range(2)]
        with pytest.raises(DENIED, match="row-level security"):
            as_location("insert into kvs (key, value) values ('EVENT_LOG_CONSUMER_CURSOR', '9')")

    def test_the_owner_of_dagsters_tables_is_refused(self, postgres_server: Any) -> None:
        with self.database_of_dagster(postgres_server) as (roles, connection):
            role = quoted(instance_role(roles.named("core")))
            connection.execute(
                f"create role {role}; alter table event_logs owner to {role}".encode()
            )

            with pytest.raises(psycopg.errors.RaiseException, match="owns Dagster's tables"):
                connection.execute(instance_sql([roles.named("core")]).encode())

    def test_functions_of_others_are_not_called(self, postgres_server: Any) -> None:
        with self.database_of_dagster(postgres_server) as (roles, connection):
            connection.execute(
                b"create function public.pg_advisory_xact_lock(int) returns void "
                b"language plpgsql as $$ begin raise exception 'called'; end $$"
            )

            connection.execute(instance_sql([roles.named("core")]).encode())

    @staticmethod
    @contextmanager
    def database_of_dagster(server: Any) -> Iterator[tuple[Roles, psycopg.Connection[Any]]]:
        """A database that has a table of Dagster's."""
        roles = Roles(server)
        try:
            with server.new_database() as database, roles.connect(database.name) as connection:
                connection.execute(b"create table event_logs (id serial)")
                yield roles, connection
        finally:
            roles.drop()

    def test_a_database_without_dagsters_tables_is_refused(self, postgres_server: Any) -> None:
        roles = Roles(postgres_server)
        with (
            postgres_server.new_database() as database,
            roles.connect(database.name) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="has no tables in the database"),
        ):
            connection.execute(instance_sql([roles.named("core")]).encode())


class TestCommand:
    @pytest.fixture(autouse=True)
    def workspace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        entries = "".join(
            f"  - grpc_server: {{location_name: {name}, host: 127.0.0.1, port: 1}}\n"
            for name in ("land", "core")
        )
        (tmp_path / "workspace.yaml").write_text(f"load_from:\n{entries}")
        folder = tmp_path / "contracts"
        folder.mkdir()
        (folder / "land.json").write_text(contract("land", makes=["raw/stars"]).to_json())
        (folder / "core.json").write_text(contract("core", reads=["raw/stars"]).to_json())
        return tmp_path

    def test_the_sql_follows_from_committed_contracts_and_settings(self, workspace: Path) -> None:
        (workspace / "freshline.toml").write_text('[schemas]\nland = ["airbyte_internal"]\n')

        result = CliRunner().invoke(app, ["roles", "warehouse"])

        assert (0, "") == (result.exit_code, result.stderr)
        assert "insert into reading values\n  ('core', 'land', 'raw');" in result.stdout
        assert "('airbyte_internal', 'land')" in result.stdout

    def test_the_sql_for_the_instance_needs_no_contract(self, workspace: Path) -> None:
        (workspace / "contracts" / "land.json").unlink()

        result = CliRunner().invoke(app, ["roles", "instance"])

        assert 0 == result.exit_code
        assert "insert into team values\n  ('core_dagster'),\n  ('land_dagster');" in result.stdout

    def test_what_is_to_be_granted_by_hand_is_status_1(self, workspace: Path) -> None:
        file = workspace / "contracts" / "core.json"
        file.write_text(contract("core", reads=["crm/customers"]).to_json())

        result = CliRunner().invoke(app, ["roles", "warehouse"])

        assert 1 == result.exit_code
        assert "freshline: `core` reads `crm/customers`: no location makes it" in result.stderr
        assert "-- `core` reads `crm/customers`: no location makes it" in result.stdout

    def test_a_location_without_a_contract_is_status_2(self, workspace: Path) -> None:
        (workspace / "contracts" / "core.json").unlink()

        result = CliRunner().invoke(app, ["roles", "warehouse"])

        assert (2, "") == (result.exit_code, result.stdout)
        assert "freshline: core: it has no committed contract" in result.stderr
