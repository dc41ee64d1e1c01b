"""A Postgres of a benchmark's own, which keeps nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "devstack" / "testing"))

__all__ = ["own_postgres"]


@contextmanager
def own_postgres() -> Iterator[Any]:
    """Yield a `PostgresServer` of devstack, which runs as long as the context is open."""
    from devstack_fixtures import Launcher, PostgresServer

    launcher = Launcher()
    try:
        yield launcher.serve(
            "postgres",
            kind=PostgresServer,
            data=launcher.new_folder("postgres"),
            throwaway=True,
        )
    finally:
        launcher.close()
