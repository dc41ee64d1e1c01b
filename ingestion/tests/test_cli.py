"""The command line: its output and its exit statuses."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ingestion.airbyte.declaration import Stream
from ingestion.airbyte.record import record_messages
from ingestion.cli import app
from ingestion.connections import fetch_stargazer
from ingestion.errors import DeclarationError
from typer.testing import CliRunner

import ingestion


@pytest.fixture
def run(airbyte, embedded, env, database, monkeypatch, tmp_path):
    """Runs a command for `fetch_stargazer` alone, on an empty Airbyte and a real warehouse."""
    settings = {
        **env,
        **database.environ("WAREHOUSE"),
        "AIRBYTE_URL": embedded.url,
        "AIRBYTE_CLIENT_ID": embedded.client_id,
        "AIRBYTE_CLIENT_SECRET": embedded.client_secret,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AIRBYTE_WORKSPACE_ID", raising=False)
    monkeypatch.chdir(tmp_path)  # away from any .env
    monkeypatch.setattr("ingestion.connections.CONNECTIONS", (fetch_stargazer,))
    monkeypatch.setattr("ingestion.airbyte.client.time.sleep", lambda _: None)

    def command(*arguments: str, answer: str | None = None):
        return CliRunner().invoke(app, list(arguments), input=answer)

    return command


CREATION = """\
+ source github
    + type: "github"
    + configuration
        + api_url: "http://127.0.0.1:9"
        + repositories: ["acme/rocket"]
        + credentials
            + option_title: "PAT Credentials"
            + personal_access_token: (secret)
"""

UPDATE = """\
~ source github
    ~ configuration
        ~ credentials
            ~ personal_access_token: (secret, rotated since it was last applied)
        - num_workers: 9
        ~ repositories: ["acme/other"] -> ["acme/rocket"]
~ connection fetch_stargazer
    ~ prefix: "gh_" -> ""
    ~ streams
        ~ stargazers
            ~ sync_mode: "incremental_append" -> "incremental_deduped_history"
Run `ingestion apply` to make it so.
"""


class TestCheck:
    def test_shows_what_is_missing(self, run, airbyte):
        done = run("check")

        assert 1 == done.exit_code
        assert done.output.startswith(CREATION)
        assert [] == list(airbyte.every("source"))

    def test_reports_that_nothing_differs(self, run):
        run("apply")
        done = run("check")

        assert (0, "Airbyte is as declared.\n") == (done.exit_code, done.output)

    def test_lists_only_what_differs(self, run, workspace, monkeypatch):
        run("apply")
        workspace.edit("source", configuration={"repositories": ["acme/other"], "num_workers": 9})
        streams = workspace.one("connection")["configurations"]["streams"]
        streams[0]["syncMode"] = "incremental_append"
        workspace.edit("connection", prefix="gh_", configurations={"streams": streams})
        monkeypatch.setenv("GITHUB_TOKEN", "github-secret-2")
        done = run("check")

        assert (1, UPDATE) == (done.exit_code, done.output)


class TestApply:
    def test_shows_its_changes_once(self, run):
        first, second = run("apply"), run("apply")

        assert (0, 0) == (first.exit_code, second.exit_code)
        assert first.output.endswith("3 changed; Airbyte is as declared.\n")
        assert "Airbyte is as declared.\n" == second.output

    def test_never_shows_a_secret(self, run, fake, database, monkeypatch):
        monkeypatch.setenv("AIRBYTE_URL", fake.url)
        monkeypatch.setenv("AIRBYTE_CLIENT_ID", fake.client_id)
        monkeypatch.setenv("AIRBYTE_CLIENT_SECRET", fake.client_secret)
        spoken = [run("check").output, run("apply").output]
        monkeypatch.setenv("GITHUB_TOKEN", "github-secret-2")
        words = json.dumps({"status": 422, "detail": "no good: github-secret-2"}).encode()
        fake.fail("PATCH", "/sources/.*", status=422, body=words)
        refused = run("apply")
        spoken += [run("check").output, refused.output, run("apply").output, run("check").output]

        assert 2 == refused.exit_code
        assert "no good: ********" in refused.output
        for secret in ("github-secret", database.password, fake.client_secret, "token-"):
            assert [] == [output for output in spoken if secret in output]


class TestDestroy:
    def test_asks_first(self, run, airbyte):
        run("apply")
        done = run("destroy", answer="n\n")

        assert 1 == done.exit_code
        assert f"Delete fetch_stargazer from {airbyte.url}" in done.output
        assert 1 == len(list(airbyte.every("connection")))

    def test_deletes_everything(self, run, airbyte):
        run("apply")
        done = run("destroy", "--yes")

        assert 0 == done.exit_code
        assert "- connection fetch_stargazer\n- source github\n- destination warehouse\n" == (
            done.output
        )
        for kind in ("source", "destination", "connection"):
            assert [] == list(airbyte.every(kind))


class TestFaults:
    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            ("AIRBYTE_URL", "", "AIRBYTE_URL is not set"),
            ("AIRBYTE_URL", "airbyte.example.com", "must start with http:// or https://"),
            ("AIRBYTE_URL", "http://127.0.0.1:many", "must start with http:// or https://"),
            ("AIRBYTE_URL", "http://[::1", "must start with http:// or https://"),
            ("AIRBYTE_CLIENT_SECRET", "", "set both AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"),
            ("AIRBYTE_CLIENT_SECRET", "wrong-secret", "check AIRBYTE_CLIENT_ID and"),
            ("GITHUB_TOKEN", "", "GITHUB_TOKEN is not set: source-github 'github' needs it"),
            ("WAREHOUSE_PORT", "many", "WAREHOUSE_PORT must be a whole number"),
            ("WAREHOUSE_PASSWORD", "wrong-secret", "cannot reach the warehouse"),
        ],
    )
    def test_errors_are_one_line_and_exit_with_2(self, run, monkeypatch, variable, value, message):
        run("apply")
        monkeypatch.setenv(variable, value)
        done = run("check")

        assert 2 == done.exit_code
        assert message in done.output
        assert 1 == len(done.output.splitlines())
        assert "wrong-secret" not in done.output

    def test_a_refused_declaration_names_its_file(self, run, monkeypatch):
        class Refused(ModuleType):
            @property
            def CONNECTIONS(self):  # noqa: N802  (as connections.py names it)
                return Stream(name="s", sync_mode="incremental_deduped_history")

        monkeypatch.setitem(sys.modules, "ingestion.connections", Refused("connections"))
        done = run("check")

        assert 2 == done.exit_code
        assert done.output.startswith("error: connections.py: 1 validation error for Stream\n")
        assert "append + dedup needs a primary_key" in done.output

    def test_a_bug_keeps_its_traceback(self, run, monkeypatch):
        def fail(*_: object) -> None:
            raise ValueError("a bug")

        monkeypatch.setattr("ingestion.cli.make_plan", fail)
        done = run("check")

        assert "a bug" == str(done.exception)
        assert "" == done.output

    def test_settings_come_from_a_file_when_not_in_the_environment(
        self, run, embedded, monkeypatch, tmp_path
    ):
        monkeypatch.delenv("AIRBYTE_URL")
        (tmp_path / ".env").write_text(
            f"AIRBYTE_URL={embedded.url}\nGITHUB_REPOSITORY=acme/ignored\n"
        )
        done = run("check")

        assert 1 == done.exit_code
        assert "acme/rocket" in done.output  # the environment itself wins


SPEC = {"type": "SPEC", "spec": {"connectionSpecification": {"type": "object"}}}
STREAMS = [{"name": name, "json_schema": {"type": "object"}} for name in ("a", "b", "c")]
CATALOG = {"type": "CATALOG", "catalog": {"streams": STREAMS}}


class TestRecord:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("specs", "catalogs"):
            (tmp_path / name).mkdir()
        return tmp_path

    def record(self, folder, *messages, streams=()):
        lines = ["some library's noise", *(json.dumps(one) for one in messages)]
        return list(record_messages(lines, "source-faker", streams, folder))

    def test_stores_the_specification(self, folder):
        assert ["wrote specs/source-faker.json"] == self.record(folder, SPEC)
        assert {"type": "object"} == json.loads((folder / "specs/source-faker.json").read_text())

    def test_adds_streams_to_those_stored_before(self, folder):
        self.record(folder, CATALOG, streams=["c"])

        assert ["wrote catalogs/source-faker.json: a, c"] == (
            self.record(folder, CATALOG, streams=["a"])
        )

    @pytest.mark.parametrize(
        ("messages", "streams", "message"),
        [
            ([], (), "no SPEC or CATALOG message"),
            ([CATALOG], (), "name the streams to keep with --stream: a, b, c"),
            ([CATALOG], ("d",), "no stream 'd'; it has a, b, c"),
        ],
    )
    def test_refuses_input_that_it_cannot_store(self, folder, messages, streams, message):
        with pytest.raises(DeclarationError, match=message):
            self.record(folder, *messages, streams=streams)

    def test_the_command_reads_standard_input(self, monkeypatch, tmp_path):
        package = tmp_path / "package"
        shutil.copytree(Path(ingestion.__file__).parent, package)
        monkeypatch.setattr("ingestion.cli.__file__", str(package / "cli.py"))
        monkeypatch.setattr("sys.stdin", io.StringIO())
        done = CliRunner().invoke(app, ["record", "source-faker"], input=json.dumps(SPEC))

        assert (0, "wrote specs/source-faker.json\n") == (done.exit_code, done.output)
        assert (package / "specs/source-faker.json").exists()
