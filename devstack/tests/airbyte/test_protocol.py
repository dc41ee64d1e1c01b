"""Reading a connector's output: what it writes besides its records, and how it can end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from devstack.airbyte.protocol import ConnectorError, Reading


def reading(script: str, **more: Any) -> Reading:
    """Return a read of a connector that is a few lines of Python."""
    return Reading(
        command=[sys.executable, "-c", script],
        configuration={"token": "hunter2"},
        catalog={"streams": []},
        state=[],
        environment={},
        **more,
    )


class TestMessages:
    def test_records_and_states_come_in_order(self) -> None:
        lines = [
            '{"type": "RECORD", "record": {"n": 1}}',
            "Downloading...",
            "[1, 2]",
            '{"type": "CONTROL"}',
            '{"type": "STATE", "state": {"n": 2}}',
        ]
        script = f"for line in {lines!r}: print(line)"

        assert [("RECORD", {"n": 1}, 39), ("STATE", {"n": 2}, 37)] == list(
            reading(script).messages()
        )

    def test_configuration_file_is_for_its_owner_alone_and_is_deleted(self) -> None:
        """The connector itself reports its folder's mode, the file's path and the file's text."""
        script = (
            "import json, os, stat, sys; path = sys.argv[3];"
            "mode = stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode);"
            "text = open(path).read();"
            "print(json.dumps({'type': 'RECORD', 'record': [mode, path, text]}))"
        )
        ((_, (mode, path, text), _),) = reading(script).messages()

        assert (0o700, '{"token": "hunter2"}') == (mode, text)
        with pytest.raises(FileNotFoundError):
            Path(path).read_text()

    def test_connector_has_the_given_environment_alone(self) -> None:
        script = "import json, os; print(json.dumps({'type': 'RECORD', 'record': [*os.environ]}))"
        ((_, names, _),) = reading(script).messages()

        assert {"LC_CTYPE"} >= set(names)


class TestEndings:
    def test_silent_connector_is_killed_and_the_read_fails(self) -> None:
        script = "import time; print('{}', flush=True); time.sleep(60)"
        with pytest.raises(ConnectorError, match="said nothing for 1 s"):
            list(reading(script, heartbeat_seconds=1).messages())

    def test_missing_program_fails_the_read(self) -> None:
        broken = reading("")
        broken.command = ["/nowhere/source-nothing"]
        with pytest.raises(ConnectorError, match="ended with status 1"):
            list(broken.messages())

    def test_connector_is_killed_when_nobody_reads_its_messages(self) -> None:
        script = (
            "import json, os, time;"
            "print(json.dumps({'type': 'RECORD', 'record': os.getpid()}), flush=True);"
            "time.sleep(60)"
        )
        messages = reading(script).messages()
        _, pid, _ = next(messages)
        messages.close()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
