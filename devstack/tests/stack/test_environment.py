"""The settings in `.env`."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from devstack.errors import DevstackError
from devstack.stack.environment import DEFAULT_PORTS, GENERATED, Environment
from dotenv import dotenv_values


def prepared(root: Path, real: dict[str, str] | None = None) -> Environment:
    environment = Environment(root, real or {})
    environment.prepare()
    return environment


def write_workspace(root: Path, *locations: str) -> None:
    entries = "".join(f"  - python_module: {{location_name: {name}}}\n" for name in locations)
    (root / "workspace.yaml").write_text(f"load_from:\n{entries}")


def in_file(root: Path) -> dict[str, str | None]:
    return dotenv_values(root / ".env")


class TestPrepare:
    """`Environment.prepare`."""

    def test_makes_every_setting_that_the_workspace_reads(self, tmp_path: Path) -> None:
        prepared(tmp_path)
        values = in_file(tmp_path)
        secrets = [values.pop(name) or "" for name in GENERATED]
        broker = urlsplit(values.pop("FRESHLINE_BROKER_URL") or "")
        secrets.append(broker.password or "")

        assert values == {
            "DAGSTER_PG_HOST": "127.0.0.1",
            "DAGSTER_PG_PORT": "15432",
            "DAGSTER_PG_USER": "dagster",
            "DAGSTER_PG_DATABASE": "dagster",
            "WAREHOUSE_HOST": "127.0.0.1",
            "WAREHOUSE_PORT": "15432",
            "WAREHOUSE_USER": "warehouse",
            "WAREHOUSE_DATABASE": "warehouse",
            "AIRBYTE_URL": "http://127.0.0.1:18000",
            "GITHUB_API_URL": "http://127.0.0.1:18080",
        }
        assert f"redis://:{broker.password}@127.0.0.1:16379/0" == broker.geturl()
        assert min(len(secret) for secret in secrets) >= 32
        assert len(set(secrets)) == len(secrets)

    def test_makes_an_account_for_each_location_of_the_workspace(self, tmp_path: Path) -> None:
        write_workspace(tmp_path, "core", "two-words")
        environment = prepared(tmp_path)
        values = in_file(tmp_path)

        assert values["WAREHOUSE_USER_core"] == "core"
        assert values["WAREHOUSE_USER_two_words"] == "two-words"
        assert environment.passwords() == {
            "core": values["WAREHOUSE_PASSWORD_core"],
            "two-words": values["WAREHOUSE_PASSWORD_two_words"],
        }
        assert len(set(environment.passwords().values())) == 2

    def test_an_account_that_the_user_has_chosen_stays(self, tmp_path: Path) -> None:
        write_workspace(tmp_path, "core")
        prepared(tmp_path)
        path = tmp_path / ".env"
        path.write_text(path.read_text().replace("USER_core=core", "USER_core=mine"))
        environment = prepared(tmp_path)

        assert in_file(tmp_path)["WAREHOUSE_USER_core"] == "mine"
        assert environment.passwords() == {}

    def test_accounts_are_emptied_while_the_warehouse_is_the_users_own(
        self, tmp_path: Path
    ) -> None:
        write_workspace(tmp_path, "core")
        prepared(tmp_path)
        password = in_file(tmp_path)["WAREHOUSE_PASSWORD_core"]
        path = tmp_path / ".env"
        ours = path.read_text()
        path.write_text(ours.replace("WAREHOUSE_HOST=127.0.0.1", "WAREHOUSE_HOST=db.example"))
        environment = prepared(tmp_path)

        assert in_file(tmp_path)["WAREHOUSE_USER_core"] == ""
        assert environment.passwords() == {}

        path.write_text(path.read_text().replace("HOST=db.example", "HOST=127.0.0.1"))
        assert prepared(tmp_path).passwords() == {"core": password}

    def test_a_workspace_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "workspace.yaml").write_text("load_from: [{python_file: x.py}]\n")

        with pytest.raises(DevstackError, match=r"workspace\.yaml cannot be read: .*location_name"):
            prepared(tmp_path)

    def test_owner_alone_may_read_the_file(self, tmp_path: Path) -> None:
        prepared(tmp_path)

        assert oct((tmp_path / ".env").stat().st_mode & 0o777) == "0o600"

    def test_file_that_others_could_read_is_closed_to_them(self, tmp_path: Path) -> None:
        prepared(tmp_path)
        (tmp_path / ".env").chmod(0o644)
        prepared(tmp_path)

        assert oct((tmp_path / ".env").stat().st_mode & 0o777) == "0o600"

    def test_second_time_changes_nothing(self, tmp_path: Path) -> None:
        prepared(tmp_path)
        first = (tmp_path / ".env").read_bytes()
        prepared(tmp_path)

        assert (tmp_path / ".env").read_bytes() == first

    def test_keeps_what_is_there_and_adds_what_is_not(self, tmp_path: Path) -> None:
        mine = "# mine\nexport WAREHOUSE_PASSWORD='p w'\nOTHER=x # why\n\nGITHUB_TOKEN=\n"
        (tmp_path / ".env").write_text(mine)
        prepared(tmp_path)
        text = (tmp_path / ".env").read_text()

        assert text.startswith("# mine\nexport WAREHOUSE_PASSWORD='p w'\nOTHER=x # why\n\n")
        assert in_file(tmp_path)["WAREHOUSE_PASSWORD"] == "p w"
        assert text.count("GITHUB_TOKEN=") == 1
        assert len(in_file(tmp_path)["GITHUB_TOKEN"] or "") >= 32

    def test_secrets_of_the_real_environment_are_not_written_down(self, tmp_path: Path) -> None:
        environment = prepared(tmp_path, {"WAREHOUSE_PASSWORD": "from outside"})

        assert "WAREHOUSE_PASSWORD" not in in_file(tmp_path)
        assert environment.settings()["WAREHOUSE_PASSWORD"] == "from outside"

    def test_real_environment_has_precedence(self, tmp_path: Path) -> None:
        prepared(tmp_path)

        assert Environment(tmp_path, {"WAREHOUSE_USER": "me"}).settings()["WAREHOUSE_USER"] == "me"

    def test_file_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")

        with pytest.raises(DevstackError, match="cannot be read"):
            prepared(tmp_path)


class TestQuietHours:
    """`DEVSTACK_QUIET`."""

    def test_hours_of_the_file_are_returned(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("DEVSTACK_QUIET=22:00-06:00\n")

        assert prepared(tmp_path).quiet_hours() == "22:00-06:00"

    def test_there_are_none_by_default(self, tmp_path: Path) -> None:
        assert prepared(tmp_path, {"DEVSTACK_QUIET": ""}).quiet_hours() is None

    def test_bad_hours_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DevstackError, match=r"DEVSTACK_QUIET .* is 'at night'; it must be"):
            prepared(tmp_path, {"DEVSTACK_QUIET": "at night"}).quiet_hours()

    def test_hours_and_a_file_of_stars_are_refused(self, tmp_path: Path) -> None:
        both = {"DEVSTACK_QUIET": "22:00-06:00", "DEVSTACK_STARS": "my.csv"}

        with pytest.raises(DevstackError, match=r"DEVSTACK_STARS names\. Unset one of them"):
            prepared(tmp_path, both).quiet_hours()


class TestPorts:
    """Ports, and the addresses derived from them."""

    @pytest.mark.parametrize("text", ["x", "0", "65536", "-1", "15432.0", "²"])
    def test_bad_port_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(DevstackError, match="it must be a port, from 1 to 65535"):
            prepared(tmp_path, {"DEVSTACK_GITHUB_PORT": text})

    def test_addresses_follow_a_changed_port(self, tmp_path: Path) -> None:
        prepared(tmp_path)
        with (tmp_path / ".env").open("a") as file:
            file.write("DEVSTACK_POSTGRES_PORT=25432\nDEVSTACK_AIRBYTE_PORT=28000\n")
            file.write("DEVSTACK_BROKER_PORT=26379\n")
        environment = prepared(tmp_path)

        assert in_file(tmp_path)["WAREHOUSE_PORT"] == "25432"
        assert in_file(tmp_path)["DAGSTER_PG_PORT"] == "25432"
        assert in_file(tmp_path)["AIRBYTE_URL"] == "http://127.0.0.1:28000"
        assert (in_file(tmp_path)["FRESHLINE_BROKER_URL"] or "").endswith("@127.0.0.1:26379/0")
        for service in DEFAULT_PORTS:
            assert not environment.is_external(service)

    def test_addresses_stay_derived_when_the_record_of_them_was_deleted(
        self, tmp_path: Path
    ) -> None:
        prepared(tmp_path)
        (tmp_path / ".local" / "derived.json").unlink()

        environment = prepared(tmp_path)

        for service in DEFAULT_PORTS:
            assert not environment.is_external(service)


class TestBroker:
    """`FRESHLINE_BROKER_URL`, an address with a password in it."""

    def test_is_added_to_a_file_from_before_and_nothing_else_changes(self, tmp_path: Path) -> None:
        prepared(tmp_path)
        lines = (tmp_path / ".env").read_text().splitlines(keepends=True)
        before = "".join(line for line in lines if "BROKER" not in line)
        (tmp_path / ".env").write_text(before)
        memory = tmp_path / ".local" / "derived.json"
        remembered = json.loads(memory.read_text())
        del remembered["FRESHLINE_BROKER_URL"]
        memory.write_text(json.dumps(remembered))
        environment = prepared(tmp_path)
        after = (tmp_path / ".env").read_text()

        assert after.startswith(before)
        assert f"FRESHLINE_BROKER_URL=redis://:{environment.broker_password()}@127" in after
        assert not environment.is_external("broker")

    def test_gets_a_new_password_when_the_file_was_deleted(self, tmp_path: Path) -> None:
        first = prepared(tmp_path).broker_password()
        (tmp_path / ".env").unlink()
        second = prepared(tmp_path)

        assert "" not in (first, second.broker_password())
        assert first != second.broker_password()
        assert not second.is_external("broker")

    def test_keeps_a_password_changed_by_hand(self, tmp_path: Path) -> None:
        old = prepared(tmp_path).broker_password()
        path = tmp_path / ".env"
        path.write_text(path.read_text().replace(old, "by%20hand"))
        environment = prepared(tmp_path)

        assert "by hand" == environment.broker_password()
        assert not environment.is_external("broker")

    @pytest.mark.parametrize(
        "address", ["rediss://me:secret@broker.example:6380/1", "redis://:mine@127.0.0.1:6379/0"]
    )
    def test_of_the_users_own_is_kept_and_not_written_elsewhere(
        self, tmp_path: Path, address: str
    ) -> None:
        (tmp_path / ".env").write_text(f"FRESHLINE_BROKER_URL={address}\n")
        environment = prepared(tmp_path)

        assert environment.is_external("broker")
        assert address == in_file(tmp_path)["FRESHLINE_BROKER_URL"]
        assert address not in (tmp_path / ".local" / "derived.json").read_text()

    def test_in_the_real_environment_counts(self, tmp_path: Path) -> None:
        real = {"FRESHLINE_BROKER_URL": "redis://broker.example/0"}

        assert prepared(tmp_path, real).is_external("broker")
        assert "FRESHLINE_BROKER_URL" not in in_file(tmp_path)


class TestServersOfYourOwn:
    """Settings that point elsewhere."""

    def test_address_in_a_new_file_is_kept(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("AIRBYTE_URL=https://airbyte.example\n")
        environment = prepared(tmp_path)

        assert in_file(tmp_path)["AIRBYTE_URL"] == "https://airbyte.example"
        assert environment.is_external("airbyte")
        assert not environment.is_external("github")

    def test_no_client_is_made_for_an_airbyte_of_the_users_own(self, tmp_path: Path) -> None:
        prepared(tmp_path, {"AIRBYTE_URL": "https://airbyte.example.com"})

        made = set(GENERATED) & set(in_file(tmp_path))
        assert {"DAGSTER_PG_PASSWORD", "WAREHOUSE_PASSWORD", "GITHUB_TOKEN"} == made

    def test_address_changed_later_is_kept(self, tmp_path: Path) -> None:
        prepared(tmp_path)
        text = (tmp_path / ".env").read_text()
        (tmp_path / ".env").write_text(
            text.replace("http://127.0.0.1:18080", "https://api.github.com")
        )

        assert prepared(tmp_path).is_external("github")
        assert in_file(tmp_path)["GITHUB_API_URL"] == "https://api.github.com"

    def test_address_in_the_real_environment_counts(self, tmp_path: Path) -> None:
        environment = prepared(tmp_path, {"GITHUB_API_URL": "https://api.github.com"})

        assert environment.is_external("github")

    def test_postgres_runs_when_one_database_is_elsewhere(self, tmp_path: Path) -> None:
        environment = prepared(tmp_path, {"WAREHOUSE_HOST": "db.example"})

        assert environment.is_external_database("WAREHOUSE")
        assert not environment.is_external_database("DAGSTER_PG")
        assert not environment.is_external("postgres")

    def test_postgres_runs_for_the_embedded_airbyte_when_both_databases_are_elsewhere(
        self, tmp_path: Path
    ) -> None:
        real = {"WAREHOUSE_HOST": "db.example", "DAGSTER_PG_HOST": "db.example"}

        assert not prepared(tmp_path, real).is_external("postgres")

    def test_postgres_does_not_run_when_databases_and_airbyte_are_elsewhere(
        self, tmp_path: Path
    ) -> None:
        real = {"WAREHOUSE_HOST": "db.example", "DAGSTER_PG_HOST": "db.example"}
        real["AIRBYTE_URL"] = "https://airbyte.example"

        assert prepared(tmp_path, real).is_external("postgres")
