"""What a connector says about itself, stored from its messages."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from ingestion.airbyte.record import record_messages
from ingestion.cli import app
from ingestion.errors import DeclarationError
from typer.testing import CliRunner

import ingestion

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
