"""Runs of a location in forks of a process that has loaded it, as a warm worker makes them.

    python warm_runs.py PROJECT program|fork SCENARIO...

prints a JSON object with what each scenario of `SCENARIOS` did, in their order. With "fork", the
process has called `load_dbt`. The environment says where the warehouse is.
"""

import contextlib
import gc
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.synchronize import SemLock
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster_dbt import DbtProject, dbt_assets
from freshline import (
    FreshlineDbtResource,
    FreshlineDbtTranslator,
    build_dbt,
    data_time_metadata,
    dbt_manifest,
)

PROJECT = DbtProject(Path(sys.argv[1]))
DBT = FreshlineDbtResource(PROJECT)
SYNCED = dg.AssetMaterialization(
    ["crm", "customers"], metadata=data_time_metadata(datetime(2026, 1, 1, tzinfo=UTC))
)


@dbt_assets(
    manifest=dbt_manifest(PROJECT),
    project=PROJECT,
    name="shop",
    dagster_dbt_translator=FreshlineDbtTranslator(),
)
def models(context: dg.AssetExecutionContext, dbt: FreshlineDbtResource):  # types of outputs
    yield from build_dbt(context, dbt)


def run(*names: str, **environment: str) -> Callable[[], dict[str, Any]]:
    """Return a function that makes a run of assets, and returns its events as data."""

    def made() -> dict[str, Any]:
        os.environ.update(environment)
        kept = "DAGSTER_HOME" in os.environ  # for others to look at
        with dg.DagsterInstance.get() if kept else dg.DagsterInstance.ephemeral() as instance:
            instance.report_runless_asset_event(SYNCED)
            # Raised by a run that is cancelled.
            with contextlib.suppress(DagsterExecutionInterruptedError):
                dg.materialize(
                    [models],
                    selection=[dg.AssetKey(["sales", name]) for name in names],
                    resources={"dbt": DBT},
                    instance=instance,
                    raise_on_error=False,
                )
            (stored,) = instance.get_runs()
            logged = [entry.dagster_event for entry in instance.all_logs(stored.run_id)]
            return {
                "status": stored.status.value,
                "events": [
                    {
                        "kind": event.event_type_value,
                        "asset": event.asset_key and event.asset_key.to_user_string(),
                        "message": event.message,
                        "data": describe(event.event_specific_data),
                    }
                    for event in logged
                    if event is not None and event.step_key is not None
                ],
            }

    return made


def invoke(*args: str, **environment: str) -> Callable[[], dict[str, Any]]:
    """Return a function that invokes dbt, and returns its exit code, its lines and its files."""

    def made() -> dict[str, Any]:
        os.environ.update(environment)
        target = Path(PROJECT.project_dir) / "target" / f"invoked-{os.getpid()}"
        invocation = DBT.cli(list(args), raise_on_error=False, target_path=target)
        # This is what dagster-dbt itself reads.
        lines = list(invocation._stdout or invocation._stream_stdout())
        code = invocation.process.wait()
        artifacts = {
            name: json.loads((target / name).read_text())
            for name in ("run_results.json", "manifest.json")
            if (target / name).exists()
        }
        files = sorted(
            path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()
        )
        error = invocation.get_error()
        return {
            "code": code,
            "lines": lines,
            "files": files,
            "artifacts": artifacts,
            "error": error and str(error),
        }

    return made


def edit(name: str, text: str) -> Callable[[], dict[str, Any]]:
    """Return a function that writes a file of the project."""

    def made() -> dict[str, Any]:
        (Path(PROJECT.project_dir) / name).write_text(text)
        return {}

    return made


def has() -> dict[str, Any]:
    """Return what a fork of this process must not inherit, of what dbt makes."""
    from dbt.adapters.factory import FACTORY

    return {
        "folder": str(Path.cwd()),
        "threads": [thread.name for thread in threading.enumerate()],
        "locks": sum(isinstance(it, SemLock) for it in gc.get_objects()),
        "adapters": list(FACTORY.adapters),
        "files": [
            target
            for target in open_files()
            if target.startswith((str(PROJECT.project_dir), "socket"))
        ],
    }


def make_adapter() -> dict[str, Any]:
    """Make an adapter as dagster-dbt makes one in each run; return how many macros were parsed."""
    from dbt_common.clients import jinja

    before = jinja.parse.cache_info().misses
    assert DBT._initialize_dbt_core_adapter(()) is not None
    return {"parsed": jinja.parse.cache_info().misses - before}


def open_files() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the folder itself
            found.append(str(path.readlink()))
    return found


EDITED = """
select 7 as id, 8::bigint as amount, 9 as added from {{ source("crm", "customers") }}
"""

EDITED_MACROS = """
{% macro generate_schema_name(name, node) %}{{ name }}{% endmacro %}
{% macro known_macro() %}3{% endmacro %}
"""

SCENARIOS: dict[str, Callable[[], dict[str, Any]]] = {
    "tables and tests": run("orders", "big_orders"),
    "a test that fails": run("doubtful"),
    "a model that fails": run("broken", "after_broken"),
    "no connection": run("orders", WAREHOUSE_PORT="1"),
    "a model that cannot be compiled": run("orders", SHOP_MACRO="no_such_macro"),
    "all, without Dagster": invoke("build", "--exclude", "slow"),
    "an unknown option": invoke("build", "--no-such-option"),
    "what the process has": has,
    "an unknown profile": invoke("build", "--profile", "nobodys"),
    "a warning that is an error": invoke("--warn-error", "build", "--select", "nothing"),
    "edit": edit("models/orders.sql", EDITED),
    "after an edit": run("orders"),
    "an adapter": make_adapter,
    "edit a macro": edit("macros/macros.sql", EDITED_MACROS),
    "an adapter after it": make_adapter,
    "after a macro's edit": invoke("build", "--select", "orders"),
    "slow": run("slow"),
}


def describe(data: Any) -> Any:
    """Return what an event says, as JSON: the words that Dagster serializes it with."""
    return None if data is None else json.loads(dg.serialize_value(data))


def main() -> None:
    mode, names = sys.argv[2], sys.argv[3:]
    if mode == "fork":
        from freshline.dbt.warm import load_dbt

        if not load_dbt():
            raise SystemExit("dbt cannot run in a fork here")
    # As a location may have them. In a fork of this process dbt must not write there.
    logging.basicConfig(stream=sys.stderr)
    answers = os.dup(1)
    os.dup2(2, 1)
    found = {name: in_fork(SCENARIOS[name]) for name in names}
    os.write(answers, json.dumps(found).encode())


def in_fork(made: Callable[[], dict[str, Any]]) -> Any:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with os.fdopen(writing, "w") as told:
                json.dump(made(), told)
            status = 0
        except BaseException:  # noqa: BLE001  (it must not reach the frames of the parent)
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit("a run failed; its message is above")
    return json.loads(text)


if __name__ == "__main__":
    main()
