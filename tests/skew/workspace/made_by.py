"""What a run of any of the locations says of itself in the event log."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import dagster as dg


def say(context: dg.AssetExecutionContext) -> None:
    """Log which versions make the run, and the arguments of its process."""
    words = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
    found = {
        "dagster": dg.__version__,
        "dbt": _version("dbt-core"),
        "python": platform.python_version(),
        "words": words,
    }
    context.log.info("made by %s", json.dumps(found))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
