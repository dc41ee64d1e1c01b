"""dbt in a fork of a run's process, beside the program, in a real Postgres.

`warm_runs.py` makes the same runs with both. What they did must be the same, event for event.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster_dbt.core import dbt_cli_invocation
from freshline.dbt import warm
from freshline.dbt.fork import DbtFork

WARM_RUNS = Path(__file__).with_name("warm_runs.py")
WAIT_SECONDS = 180.0

PROJECT = {
    "dbt_project.yml": """
name: shop
profile: warehouse
models: {shop: {+schema: sales, +materialized: table}}
seeds: {shop: {+schema: sales}}
# The old name of the setting: dbt warns of it.
data-paths: [seeds]
flags: {send_anonymous_usage_stats: false}
""",
    "profiles.yml": """
warehouse:
  target: dev
  outputs:
    dev:
      type: postgres
      host: "{{ env_var('WAREHOUSE_HOST', 'localhost') }}"
      port: "{{ env_var('WAREHOUSE_PORT', '1') | as_number }}"
      user: "{{ env_var('WAREHOUSE_USER', 'me') }}"
      password: "{{ env_var('WAREHOUSE_PASSWORD', '') }}"
      dbname: "{{ env_var('WAREHOUSE_DATABASE', 'shop') }}"
      schema: public
      threads: 1
""",
    "macros/macros.sql": """
{% macro generate_schema_name(name, node) %}{{ name }}{% endmacro %}
{% macro known_macro() %}{{ log("Said by a macro", info=true) }}1{% endmacro %}
""",
    "models/sources.yml": """
sources: [{name: crm, tables: [{name: customers, columns: [{name: id, data_type: bigint}]}]}]
""",
    "models/orders.sql": """
select {{ context[env_var("SHOP_MACRO", "known_macro")]() }} * id as id, 2::bigint as amount
from {{ source("crm", "customers") }}
""",
    "models/big_orders.sql": "select id, amount * 10 as big from {{ ref('orders') }}",
    "models/doubtful.sql": "select null::bigint as id",
    "models/broken.sql": "select 1 / 0 as id",
    "models/after_broken.sql": "select id from {{ ref('broken') }}",
    "models/slow.sql": "select 1 as id from pg_sleep(600)",
    "models/models.yml": """
models:
  - name: orders
    description: What was sold.
    columns:
      - name: id
        description: Of the order.
        data_tests:
          - not_null: {name: id_is_known, description: No order is without.}
          - unique
      - name: amount
        data_tests:
          - accepted_values:
              name: amount_is_usual
              description: Two.
              config: {severity: warn}
              arguments: {values: [3], quote: false}
  - name: doubtful
    columns:
      - name: id
        data_tests: [not_null]
""",
}

COMPARED = (
    "what the process has",
    "tables and tests",
    "a test that fails",
    "a model that fails",
    "no connection",
    "a model that cannot be compiled",
    "all, without Dagster",
    "an unknown option",
    "an unknown profile",
    "a warning that is an error",
    "edit a macro",
    "after a macro's edit",
    "edit",
    "after an edit",
)


@pytest.fixture(scope="module")
def new_shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that makes a prepared dbt project."""

    def make() -> Path:
        folder = tmp_path_factory.mktemp("location") / "shop"
        for name, text in PROJECT.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        subprocess.run([sys.executable, "-m", "freshline.dbt.prepare", str(folder)], check=True)
        return folder

    return make


@contextlib.contextmanager
def warm_runs(
    folder: Path, mode: str, *scenarios: str, database: Any, home: Path | None = None
) -> Iterator[Any]:
    """Start `warm_runs.py`; kill it at the end of the block if it still runs.

    The event log is in `home`, if there is one.
    """
    with subprocess.Popen(
        [sys.executable, str(WARM_RUNS), str(folder), mode, *scenarios],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            **database.environ("WAREHOUSE"),
            "PYTHONHASHSEED": "0",  # Dagster says in the order of a set what it is going to make
            **({"DAGSTER_HOME": str(home)} if home else {}),
        },
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def both(postgres_server: Any, new_shop: Callable[[], Path]) -> dict[str, Any]:
    """What the program did and what the fork did, each in a project and a database of its own."""
    did = {}
    customers = "create schema crm; create table crm.customers as select 1::bigint as id"
    for mode in ("program", "fork"):
        folder = new_shop()
        with (
            postgres_server.new_database() as database,
            warm_runs(folder, mode, *COMPARED, database=database) as process,
        ):
            postgres_server.execute(customers, database=database.name)
            output, errors = process.communicate()
            assert 0 == process.returncode, errors
            same = Volatile(folder, database.name)
            did[mode] = {name: same.without(it) for name, it in json.loads(output).items()}
    return did


class Volatile:
    """What differs between two invocations of the same program, and how to take it out."""

    KEYS = frozenset(
        {
            *("ts", "pid", "invocation_id", "elapsed", "execution_time", "started_at"),
            *("completed_at", "finished_at", "created_at", "generated_at", "thread_id"),
            *("invocation_started_at", "run_started_at", "thread", "thread_name", "timestamp"),
            *("process_user_time", "process_kernel_time", "process_mem_max_rss"),
            *("process_in_blocks", "process_out_blocks", "command_wall_clock_time", "duration_ms"),
        }
    )
    WORDS = (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
        (r"\d\d:\d\d:\d\d(\.\d+)?", "<time>"),
        (r"\d+(\.\d+)? ?(seconds|ms\b|s\b)", "<seconds>"),
        (r"invoked-\d+", "<invoked>"),
        (r"Thread-\d+", "<thread>"),
        (r"0x[0-9a-f]+", "<address>"),
    )

    def __init__(self, folder: Path, database: str) -> None:
        self._names = {str(folder): "<project>", database: "<database>"}

    def without(self, value: Any, key: str = "") -> Any:
        if key in self.KEYS:
            return f"<{key}>"
        if isinstance(value, dict):
            return {self._text(name): self.without(it, name) for name, it in value.items()}
        if isinstance(value, list):
            return [self.without(it) for it in value]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, float):
            return "<number>"  # a time or a duration
        return value

    def _text(self, text: str) -> str:
        for name, placeholder in self._names.items():
            text = text.replace(name, placeholder)
        for pattern, placeholder in self.WORDS:
            text = re.sub(pattern, placeholder, text)
        return text


@pytest.mark.parametrize("scenario", COMPARED)
def test_the_fork_does_what_the_program_does(scenario: str, both: dict[str, Any]) -> None:
    assert both["program"][scenario] == both["fork"][scenario]


def test_a_macro_is_parsed_again_only_if_it_was_edited(
    postgres_server: Any, new_shop: Callable[[], Path]
) -> None:
    scenarios = ("an adapter", "edit a macro", "an adapter after it")
    with (
        postgres_server.new_database() as database,
        warm_runs(new_shop(), "fork", *scenarios, database=database) as process,
    ):
        output, errors = process.communicate()
        assert 0 == process.returncode, errors

    did = json.loads(output)
    assert {"parsed": 0} == did["an adapter"]
    assert {"parsed": 1} == did["an adapter after it"]


def test_each_scenario_is_what_its_name_says(both: dict[str, Any]) -> None:
    did = both["fork"]

    assert {
        "folder": str(Path.cwd()),
        "threads": ["MainThread"],
        "locks": both["program"]["what the process has"]["locks"],
        "adapters": [],
        "files": [],
    } == did["what the process has"]
    assert {
        "tables and tests": "SUCCESS",
        "a test that fails": "FAILURE",
        "a model that fails": "FAILURE",
        "no connection": "FAILURE",
        "a model that cannot be compiled": "FAILURE",
        "after an edit": "SUCCESS",
    } == {name: it["status"] for name, it in did.items() if "status" in it}
    assert {
        "all, without Dagster": 1,
        "after a macro's edit": 0,
        "an unknown option": 2,
        "an unknown profile": 2,
        "a warning that is an error": 2,
    } == {name: it["code"] for name, it in did.items() if "code" in it}
    good = metadata(did["tables and tests"])
    assert {
        "dagster/row_count",
        "dagster/column_schema",
        "dagster/column_lineage",
        "freshline/data_time",
    } <= set(good["sales/big_orders"])
    said = json.dumps(did["all, without Dagster"]["lines"])
    assert "Said by a macro" in said
    assert "`data-paths` config has been renamed" in said
    assert {"manifest.json", "run_results.json"} == set(did["all, without Dagster"]["artifacts"])
    assert "division by zero" in json.dumps(did["a model that fails"]["events"])
    assert "no_such_macro" in json.dumps(did["a model that cannot be compiled"]["events"])
    assert "No such option" in json.dumps(did["an unknown option"]["lines"])
    # The file was edited after the process had loaded dbt and the location.
    assert "added" in json.dumps(metadata(did["after an edit"])["sales/orders"])


def metadata(run: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of the materializations of a run, by asset."""
    return {
        event["asset"]: {
            entry["label"]: entry["entry_data"]
            for entry in event["data"]["materialization"]["metadata_entries"]
        }
        for event in run["events"]
        if event["kind"] == "ASSET_MATERIALIZATION"
    }


QUERIES = """
    select pid from pg_stat_activity
    where state = 'active' and query like '%pg_sleep(600)%' and pid <> pg_backend_pid()
"""


class SlowRun:
    """A run whose query takes longer than a test waits for anything."""

    def __init__(self, worker: subprocess.Popen[str], dsn: str) -> None:
        self.worker = worker
        self._dsn = dsn
        wait_until(lambda: self.queries() or worker.poll() is not None)
        assert None is worker.poll(), worker.communicate()[1]
        (self.process,) = (pid for pid in children(worker.pid) if "warm_runs" in command(pid))
        # A run has other children: one writes its output into the compute log.
        (self.dbt,) = (pid for pid in children(self.process) if is_dbt(pid))

    def queries(self) -> list[Any]:
        with psycopg.connect(self._dsn) as connection:
            return connection.execute(QUERIES.encode()).fetchall()


@pytest.fixture(params=["program", "fork"])
def slow_run(
    request: pytest.FixtureRequest,
    postgres_server: Any,
    new_shop: Callable[[], Path],
    tmp_path: Path,
) -> Iterator[SlowRun]:
    with (
        postgres_server.new_database() as database,
        warm_runs(new_shop(), request.param, "slow", database=database, home=tmp_path) as worker,
    ):
        yield SlowRun(worker, database.dsn)


def test_a_cancelled_run_ends_its_query(slow_run: SlowRun, tmp_path: Path) -> None:
    # What a run launcher does.
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (run,) = instance.get_runs()
        instance.report_run_canceling(run)
    os.kill(slow_run.process, signal.SIGINT)
    output, errors = slow_run.worker.communicate(timeout=WAIT_SECONDS)

    assert [] == slow_run.queries()
    assert "dbt process terminated with exit code `2`" in errors
    assert "CANCELED" == json.loads(output)["slow"]["status"], errors
    assert not exists(slow_run.dbt)


@pytest.mark.parametrize("slow_run", ["fork"], indirect=True)
def test_dbt_and_its_query_end_with_a_killed_run(slow_run: SlowRun) -> None:
    os.kill(slow_run.process, signal.SIGKILL)

    wait_until(lambda: not exists(slow_run.dbt))
    assert [] == slow_run.queries()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_fails_with_the_signal_that_dbt_was_killed_with(
    number: signal.Signals, postgres_server: Any, new_shop: Callable[[], Path]
) -> None:
    with (
        postgres_server.new_database() as database,
        warm_runs(new_shop(), "fork", "slow", database=database) as worker,
    ):
        os.kill(SlowRun(worker, database.dsn).dbt, number)
        output, _ = worker.communicate(timeout=WAIT_SECONDS)

    did = json.loads(output)["slow"]
    assert "FAILURE" == did["status"]
    assert f"failed with exit code `-{number.value}`" in json.dumps(did["events"])


def children(pid: int) -> list[int]:
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_dbt(pid: int) -> bool:
    """Return whether a child of a run is the program, or a fork of the run."""
    return any(name in command(pid) for name in ("bin/dbt", "warm_runs"))


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, inspect.getsource(condition)
        time.sleep(0.1)


class TestWhatRunsInAFork:
    def test_the_program_of_this_environment(self) -> None:
        program = warm._own_program()

        assert Path(sys.executable).with_name("dbt") == program

    def test_not_a_dbt_that_another_package_has_installed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        (tmp_path / "dbt").touch()

        assert None is warm._own_program()
        assert not warm.load_dbt()

    def test_not_another_program(self, tmp_path: Path) -> None:
        program = tmp_path / "dbt"
        program.write_text("#!/bin/sh\necho $0 $1 $WORD $PWD\nexit 3\n")
        program.chmod(0o755)
        replaced = warm._Subprocess(tmp_path / "own" / "dbt", [])

        process = replaced.Popen(
            args=[str(program), "build"],
            stdout=replaced.PIPE,
            stderr=replaced.STDOUT,
            env={"WORD": "word"},
            cwd=tmp_path,
        )

        assert f"{program} build word {tmp_path}\n".encode() == process.communicate()[0]
        assert 3 == process.returncode

    def test_nothing_unless_dbt_was_loaded(self) -> None:
        # Nobody has called load_dbt in this process.
        assert subprocess is dbt_cli_invocation.subprocess


class TestWhatDagsterDbtUses:
    """Fails if a new dagster-dbt uses more than `_Subprocess` and `DbtFork` have."""

    TREE = ast.parse(inspect.getsource(dbt_cli_invocation))

    def test_of_the_module(self) -> None:
        used = {
            node.attr
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "subprocess"
        }

        assert {"Popen", "PIPE", "STDOUT"} == used

    def test_as_arguments(self) -> None:
        calls = [
            node
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "subprocess.Popen"
        ]

        assert [["args", "stdout", "stderr", "env", "cwd"]] == [
            [keyword.arg for keyword in call.keywords] for call in calls
        ]
        assert [[]] == [call.args for call in calls]

    def test_of_the_process(self) -> None:
        used = {
            node.attr
            for node in ast.walk(self.TREE)
            if isinstance(node, ast.Attribute)
            and ast.unparse(node.value) in ("process", "self.process")
        }

        assert {"args", "returncode", "send_signal", "stdout", "wait"} == used
        assert used - {"args", "stdout"} <= set(dir(DbtFork))
