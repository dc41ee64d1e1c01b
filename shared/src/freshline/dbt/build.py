"""Builds a dbt project: with a manifest made at set-up, and one dbt process for each run.

The process is the program ``dbt``, or a fork that looks like it: see `freshline.dbt.warm`.

The asset function is one line, ``yield from build_dbt(context, dbt)``. Needs dagster-dbt and dbt,
which freshline itself does not require.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject
from dagster_dbt.core.dbt_event_iterator import DbtEventIterator
from dagster_dbt.dbt_manifest import validate_manifest
from packaging.version import Version

from freshline.dbt.injected import injected_as_sources
from freshline.dbt.prepare import changed
from freshline.errors import ManifestMissingError
from freshline.stamp import stamp_lag

__all__ = ["FreshlineDbtResource", "build_dbt", "dbt_manifest", "projects_of_resources"]

_KEPT_RUNS: Final = 20
_PARSED: Final = "partial_parse.msgpack"
_projects: Final[dict[Path, Path | None]] = {}
"""The projects of the resources that this process has made, with the folder of the profiles, if a
resource names one."""


def dbt_manifest(project: DbtProject) -> Path | dict[str, Any]:
    """Return the file of the manifest that `freshline.dbt.prepare` made. This never runs dbt.

    If dbt-loom or dbt Mesh has put models of other projects into it, its content is returned, with
    those models as sources. Logs a warning if the project has changed since. Raises
    `ManifestMissingError`.
    """
    command = f"{sys.executable} -m freshline.dbt.prepare {project.project_dir}"
    if not project.manifest_path.exists():
        raise ManifestMissingError(
            f"The dbt project {project.name} has not been prepared: there is no "
            f"{project.manifest_path}. Make it with\n"
            f"    {command}"
        )
    if changed(project.project_dir):
        dg.get_dagster_logger().warning(
            f"The dbt project {project.name} has changed since it was prepared, and is loaded as "
            f"it was. Prepare it, then reload the location:\n    {command}"
        )
    return _without_injected(project.manifest_path.resolve())


@cache  # as dagster-dbt keeps what it has read: one manifest for all that is made of a project
def _without_injected(path: Path) -> Path | dict[str, Any]:
    manifest = validate_manifest(path)
    changed_manifest = injected_as_sources(manifest)
    return path if changed_manifest is manifest else dict(changed_manifest)


class FreshlineDbtResource(DbtCliResource):
    """The dbt that is installed in this Python environment, even if PATH has another one."""

    def __init__(self, project_dir: DbtProject | Path | str, **fields: Any) -> None:
        fields.setdefault("dbt_executable", _own_dbt())
        super().__init__(project_dir, **fields)
        profiles = self.profiles_dir
        _projects[Path(self.project_dir)] = Path(profiles) if profiles else None

    # Overrides a private property of dagster-dbt that runs `dbt --version`: that takes 3 s of CPU
    # for each run and asks the package index for newer releases.
    @cached_property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))


def projects_of_resources() -> dict[Path, Path | None]:
    """Return the folders of the dbt projects that this process has a `FreshlineDbtResource` for.

    With each, the folder of its profiles; None if dbt looks for them itself.
    """
    return dict(_projects)


def build_dbt(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Build and test what the run selects, and yield Dagster's events of it.

    Materializations carry row counts, columns, column lineage, and freshline's data time and lag.
    The files that dbt writes (a megabyte a run) are deleted, except those of the last failures.
    """
    runs = Path(dbt.project_dir, "target", "runs")
    # A run can build several times: two projects, or two parts of one, and at the same time.
    target = runs / f"{context.run.run_id}-{context.op_execution_context.op_handle}"
    _delete_old(runs)
    invocation = dbt.cli(["build"], context=context, target_path=target)
    yield from stamp_lag(context, _described_events(invocation))
    _keep_parsed(target)
    shutil.rmtree(target, ignore_errors=True)


def _described_events(invocation: DbtCliInvocation) -> Iterator[Any]:
    """Yield the events of a dbt invocation, with row counts, columns and column lineage.

    They are fetched for one model at a time, from DuckDB when dbt has ended. For a whole stream,
    dagster-dbt keeps a processor busy until dbt has finished, does not pass interruptions on to
    dbt, and fetches columns of tests too.
    """
    has_manifest = False
    events: Iterator[Any] = invocation.stream()
    if type(invocation.adapter).__name__ == "DuckDBAdapter":
        # One process at a time can open a DuckDB file: while dbt runs, either would fail.
        events = _once_complete(events)
    for event in events:
        if not isinstance(event, dg.Output):
            yield event
            continue
        if not has_manifest:
            # The location's manifest was parsed at set-up, maybe for another database or schema.
            # This one names the relations that were just built.
            invocation.manifest = injected_as_sources(invocation.get_artifact("manifest.json"))
            has_manifest = True
        model = DbtEventIterator(iter([event]), invocation)
        yield from model.fetch_row_counts().fetch_column_metadata()


def _once_complete(events: Iterator[Any]) -> Iterator[Any]:
    """Yield events when no more will come, also those before an error; then raise the error."""
    complete: list[Any] = []
    try:
        complete.extend(events)
    finally:
        yield from complete


def _keep_parsed(target: Path) -> None:
    """Keep the parsed project for the next run, which saves it two seconds.

    dbt does not use what set-up parsed when the address of the warehouse has changed. In an image
    the project is read-only, and the file a link to where dbt can write.
    """
    with suppress(OSError):  # a deployed project may be read-only
        (target / _PARSED).replace((target.parents[1] / _PARSED).resolve())


def _delete_old(runs: Path) -> None:
    """Delete the folders of old runs, except the newest ones. Successful runs leave no folder."""
    with suppress(OSError):  # another run may delete them at the same time
        newest = sorted(runs.glob("*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in newest[_KEPT_RUNS:]:
            shutil.rmtree(folder, ignore_errors=True)


def _own_dbt() -> str:
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.exists() else "dbt"
