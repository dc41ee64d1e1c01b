"""The Dagster instance that commands read: the one that `dagster dev` would use here."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from freshline.errors import InstanceError
from freshline.words import first_line

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from freshline.model import Durations, Graph, Snapshot

__all__ = ["instance_folder", "measured_durations", "open_instance", "read_instance"]

_STORAGE: Final = ("storage", "run_storage", "event_log_storage", "instance_class")
"""The settings of dagster.yaml that say where runs and events are kept."""


def instance_folder() -> Path:
    """Return the folder of the instance: `DAGSTER_HOME`, else the current one.

    Raises `InstanceError` if there is none, or none that outlives `dagster dev`.
    """
    home = os.environ.get("DAGSTER_HOME")
    folder = Path(home) if home else Path.cwd()
    if home and not folder.is_dir():
        raise InstanceError(f"DAGSTER_HOME is {home}, which is no folder.")
    if not home and not (folder / "dagster.yaml").exists():
        raise InstanceError(
            "there is no dagster.yaml here; set DAGSTER_HOME to the instance's folder."
        )
    if not home and _is_temporary(folder):
        raise InstanceError(
            "dagster.yaml names no storage, so `dagster dev` keeps it in a temporary folder; set "
            "DAGSTER_HOME to a folder, here and where Dagster is started."
        )
    return folder


@contextmanager
def open_instance() -> Iterator[DagsterInstance]:
    """Open the instance of `instance_folder`. Raises `InstanceError`.

    An instance that does not exist yet is not made.
    """
    from dagster import DagsterInstance

    from freshline.connections import kept_connections

    folder = instance_folder()
    try:
        instance = DagsterInstance.from_config(str(folder))
        instance.get_asset_keys(limit=1)
    except Exception as error:
        # A storage may raise any error of its libraries. One line is clearer than a traceback.
        message = f"the instance of {folder} does not answer: {first_line(error)}"
        raise InstanceError(message) from error
    with instance, kept_connections(instance):
        yield instance


def _is_temporary(folder: Path) -> bool:
    """Return whether Dagster, without `DAGSTER_HOME`, keeps nothing in `folder` for others."""
    try:
        settings = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8")) or {}
    except yaml.YAMLError:
        return False  # Dagster, which reads it next, says what is wrong
    # With DAGSTER_HOME it makes the folder, which may be this one.
    return not any(name in settings for name in _STORAGE) and not (folder / "history").is_dir()


def read_instance(graph: Graph) -> Snapshot:
    """Read what the instance says about `graph` now. Raises `InstanceError`."""
    from freshline.history import History

    with open_instance() as instance:
        return History(instance).read(graph, time.time())


def measured_durations(graph: Graph) -> Mapping[str, Durations]:
    """Read the durations of each asset's recent runs, by key. Raises `InstanceError`."""
    return {key: state.durations for key, state in read_instance(graph).assets.items()}
