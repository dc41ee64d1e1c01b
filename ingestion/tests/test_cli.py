"""The command line: its output and its exit statuses."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest
from ingestion.airbyte.declaration import Stream
from ingestion.cli import app
from ingestion.connections import fetch_stargazer
from typer.testing import CliRunner


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

NOTE = """\
! connection fetch_stargazer: stream stargazers (incremental_deduped_history): a row that the \
source removes stays, and a row that comes late, below the newest `starred_at`, is missed: \
full_refresh_overwrite reads all rows each time, or clear the stream in Airbyte now and then
"""

UPDATE = f"""\
~ source github
    ~ configuration
        ~ credentials
            ~ personal_access_token: (secret, rotated since it was last applied)
        - num_workers: 9
        ~ repositories: ["acme/other"] -> ["acme/rocket"]
{NOTE}\
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

        assert (0, f"{NOTE}Airbyte is as declared.\n") == (done.exit_code, done.output)

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
        outputs = [run("check").output, run("apply").output]
        monkeypatch.setenv("GITHUB_TOKEN", "github-secret-2")
        words = json.dumps({"status": 422, "detail": "no good: github-secret-2"}).encode()
        fake.fail("PATCH", "/sources/.*", status=422, body=words)
        refused = run("apply")
        outputs += [run("check").output, refused.output, run("apply").output, run("check").output]

        assert 2 == refused.exit_code
        assert "no good: ********" in refused.output
        for secret in ("github-secret", database.password, fake.client_secret, "token-"):
            assert [] == [output for output in outputs if secret in output]


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

    def test_settings_that_the_environment_lacks_come_from_dotenv(
        self, run, embedded, monkeypatch, tmp_path
    ):
        monkeypatch.delenv("AIRBYTE_URL")
        (tmp_path / ".env").write_text(
            f"AIRBYTE_URL={embedded.url}\nGITHUB_REPOSITORY=acme/ignored\n"
        )
        done = run("check")

        assert 1 == done.exit_code
        assert "acme/rocket" in done.output  # the environment itself wins
