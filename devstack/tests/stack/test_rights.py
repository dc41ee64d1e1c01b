"""The roles of the code locations, which `devstack up` makes in the warehouse."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from checkout import Checkout

DENIED = psycopg.errors.InsufficientPrivilege


def write_location(root: Path, name: str, *, makes: str, reads: tuple[str, ...] = ()) -> None:
    """Write the committed contract of a location that makes one table."""
    document = {
        "schema_version": 1,
        "location": name,
        "exports": [{"key": makes, "kinds": ["postgres"]}],
        "imports": [{"key": key} for key in reads],
    }
    (root / "contracts").mkdir(exist_ok=True)
    (root / "contracts" / f"{name}.json").write_text(json.dumps(document))


@pytest.fixture
def workspace(checkout: Checkout) -> Checkout:
    """A checkout with two locations: `core` reads what `land` makes."""
    entries = "".join(
        f"  - grpc_server: {{location_name: {name}, host: 127.0.0.1, port: 1}}\n"
        for name in ("land", "core")
    )
    (checkout.root / "workspace.yaml").write_text(f"load_from:\n{entries}")
    write_location(checkout.root, "land", makes="raw/stars")
    write_location(checkout.root, "core", makes="mart/people", reads=("raw/stars",))
    return checkout


def run(checkout: Checkout, location: str, statement: str, database: str = "warehouse") -> object:
    values = checkout.settings()
    with psycopg.connect(
        host=values["WAREHOUSE_HOST"],
        port=values["WAREHOUSE_PORT"],
        user=values[f"WAREHOUSE_USER_{location}"],
        password=values[f"WAREHOUSE_PASSWORD_{location}"],
        dbname=database,
    ) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


class TestUp:
    """`devstack up` in a checkout with a workspace."""

    def test_locations_have_the_rights_of_their_contracts(self, workspace: Checkout) -> None:
        output = workspace.run("up")

        run(workspace, "land", "create table raw.stars as select 7 as id")
        assert run(workspace, "core", "select id from raw.stars") == 7
        with pytest.raises(DENIED, match="must be owner of table stars"):
            run(workspace, "core", "drop table raw.stars")
        assert workspace.query("select id from raw.stars") == 7  # people may read all
        secrets = [value for name, value in workspace.settings().items() if "PASSWORD" in name]
        assert [one for one in secrets if one in output + workspace.logs()] == []

    @pytest.mark.parametrize("database", ["dagster", "postgres"])
    def test_locations_cannot_enter_another_database(
        self, workspace: Checkout, database: str
    ) -> None:
        workspace.run("up")

        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            run(workspace, "core", "select 1", database)

    def test_a_stack_from_before_the_roles_goes_on_with_its_data(self, workspace: Checkout) -> None:
        aside = workspace.root / "workspace.yaml"
        aside.rename(workspace.root / "aside")
        workspace.run("up")
        workspace.query("create schema raw")
        workspace.query("create table raw.stars as select 7 as id")
        workspace.query("create schema mart")
        workspace.query("create table mart.people as select 8 as id")
        (workspace.root / "aside").rename(aside)

        workspace.run("up")

        assert run(workspace, "core", "select id from raw.stars") == 7
        run(workspace, "core", "drop table mart.people")
        with pytest.raises(DENIED):
            workspace.query("drop table raw.stars")

    def test_a_contract_that_cannot_be_used_is_named_and_the_rights_stay(
        self, workspace: Checkout
    ) -> None:
        workspace.run("up")
        (workspace.root / "contracts" / "core.json").unlink()

        output = workspace.run("up")

        assert "freshline: core: it has no committed contract" in output
        assert "the rights in the warehouse stay as they are until that is put right" in output
        assert run(workspace, "core", "select 1") == 1

    def test_what_is_to_be_granted_by_hand_is_named(self, workspace: Checkout) -> None:
        write_location(workspace.root, "core", makes="mart/people", reads=("crm/customers",))

        output = workspace.run("up")

        assert "`core` reads `crm/customers`: no location makes it" in output
        assert run(workspace, "core", "select 1") == 1

    def test_a_role_that_no_right_binds_stops_it_with_the_reason(self, workspace: Checkout) -> None:
        workspace.run("up")
        password = (workspace.root / ".local" / "postgres" / "password").read_text().strip()
        with psycopg.connect(
            host="127.0.0.1",
            port=workspace.ports["postgres"],
            user="postgres",
            password=password,
            dbname="postgres",
        ) as superuser:
            superuser.execute("alter role core superuser")

        output = workspace.run("up", code=1)

        assert "the role core is a superuser, so that no right of a team would bind it" in output
