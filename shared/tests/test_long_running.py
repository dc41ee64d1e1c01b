"""`freshline metrics` and `freshline notify` as processes: how they start, work and end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from freshline.contract import Export
from freshline.notify.memory import Memory
from freshline.policy import MaxLag
from outlooks import contract, publish, report
from webhook import running_webhook

FRESHLINE = Path(sys.executable).with_name("freshline")
WAIT_SECONDS = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An instance on SQLite with a target that is late."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        export = Export(key="mart/x", owners=("team:marts",), policy=MaxLag(5))
        publish(instance, contract("marts", export))
        report(instance, "mart/x", ago=600.0)
    return tmp_path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands with `freshline`, in the folder of the instance; end them after the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [FRESHLINE, *arguments],
            cwd=home,
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stderr=subprocess.PIPE,
            text=True,
            # As a script's `&` does, which leaves a process deaf to Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_exporter_serves_until_it_is_asked_to_end(
    start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = start("metrics", "--port", "0")
    line = first_line(process)
    answer = httpx.get(line.split()[-1], timeout=WAIT_SECONDS)
    process.send_signal(number)

    assert line.startswith("freshline metrics: listens on http://127.0.0.1:")
    assert 'freshline_target_status{location="marts",status="late",target="mart/x"} 1.0' in (
        answer.text
    )
    assert 0 == process.wait(WAIT_SECONDS)


def test_the_notifier_tells_and_gives_its_post_up_at_the_end(
    start: Callable[..., subprocess.Popen[str]], home: Path
) -> None:
    with running_webhook() as webhook:
        (home / "notify.toml").write_text(f'others = ["json://{webhook.host}/"]')
        process = start("notify")
        await_that(lambda: webhook.received)
        process.send_signal(signal.SIGTERM)
        status = process.wait(WAIT_SECONDS)

    assert 0 == status
    assert "mart/x: its promise is broken" in webhook.received[0][1]["title"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert Memory().hold(instance)


def await_that(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
