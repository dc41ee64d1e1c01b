"""The command line: `ingestion check`, `apply`, `destroy`, `import` and `record`.

Exit status: 0 done, or nothing to do; 1 `check` found differences; 2 an error, which is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pydantic
import typer
from rich.console import Console

from ingestion.airbyte.apply import apply as apply_connections
from ingestion.airbyte.apply import destroy as destroy_connections
from ingestion.airbyte.client import AirbyteApi, Kind
from ingestion.airbyte.configuration import secret_values
from ingestion.airbyte.declaration import Connection
from ingestion.airbyte.plan import ObjectPlan, make_plan
from ingestion.airbyte.record import record_messages
from ingestion.airbyte.secrets import Redactor, WarehouseDigests
from ingestion.airbyte.show import lines_of
from ingestion.errors import DeclarationError, IngestionError
from ingestion.settings import AirbyteSettings, environment, warehouse_conninfo

__all__ = ["app"]

app = typer.Typer(
    help="Airbyte as code: what connections.py declares, against what Airbyte has.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def check() -> None:
    """Show what `apply` would change. Changes nothing; exit status 1 if there is something."""
    with _session() as session:
        plan = make_plan(session.api, session.connections, session.env, session.digests)
        for one in plan.objects:
            _print(one)
        if not plan.empty:
            _out().print("Run `ingestion apply` to make it so.")
            raise typer.Exit(1)
        _out().print("Airbyte is as declared.")


@app.command()
def apply() -> None:
    """Make Airbyte as declared. Running it again changes nothing, or finishes what was left."""
    with _session() as session:
        # Make the whole plan first, so that an error in it is raised before anything changes.
        make_plan(session.api, session.connections, session.env, session.digests)
        changed: list[ObjectPlan] = []

        def report(plan: ObjectPlan) -> None:
            changed.append(plan)
            _print(plan)

        apply_connections(session.api, session.connections, session.env, session.digests, report)
        done = f"{len(changed)} changed; " if changed else ""
        _out().print(f"{done}Airbyte is as declared.")


@app.command()
def destroy(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the declared connections, and their sources and destinations that nothing else uses.

    The tables in the warehouse stay. What a connection remembers of how far it has read is lost.
    """
    with _session() as session:
        names = ", ".join(connection.name_in_airbyte for connection in session.connections)
        if not yes:
            question = f"Delete {names} from {session.api.url}, with all sync state?"
            typer.confirm(question, abort=True)

        def report(kind: Kind, name: str, gone: bool) -> None:
            if gone:
                _out().print(f"- {kind} {name}", style="red")
            else:
                _out().print(f"  {kind} {name} stays: another connection uses it")

        destroy_connections(session.api, session.connections, session.digests, report)


@app.command("import")
def import_() -> None:
    """Write what Airbyte has as a `connections.py`, so that `check` then finds no differences.

    The file goes to standard output: ingestion import > connections.py. Secrets are not in it, but
    the names of variables. Standard error has the variables to set, and what was left out, with
    the reason. Airbyte is only read. The columns of the streams are stored as `record` does it, if
    this Airbyte gives them.
    """
    # Imported here, because it loads Dagster, which takes a second.
    from ingestion.airbyte.existing import read_existing, report_lines
    from ingestion.airbyte.python_text import python_text

    redact = Redactor()
    with _errors_printed(redact):
        settings = AirbyteSettings.from_environment(environment())
        with AirbyteApi(settings, redact=redact) as api:
            existing = read_existing(api)
    typer.echo(python_text(existing.connections), nl=False)
    for line in report_lines(existing):
        _err().print(line)


@app.command()
def record(
    connector: Annotated[str, typer.Argument(help="For example source-github.")],
    stream: Annotated[
        list[str] | None, typer.Option("--stream", help="Keep this stream (repeatable).")
    ] = None,
) -> None:
    """Store a connector's specification and streams, read as Airbyte messages from standard input.

    For example: docker run --rm airbyte/source-faker:latest spec | ingestion record source-faker
    """
    with _errors_printed(Redactor()):
        folder = Path(__file__).parent
        for line in record_messages(sys.stdin, connector, stream or [], folder):
            _out().print(line)


@dataclass(frozen=True)
class _Session:
    """What the commands work with."""

    api: AirbyteApi
    connections: tuple[Connection, ...]
    env: Mapping[str, str]
    digests: WarehouseDigests


@contextmanager
def _session() -> Iterator[_Session]:
    redact = Redactor()
    with _errors_printed(redact):
        connections = _declared_connections()
        env = environment()
        for connection in connections:
            for actor in (connection.source, connection.destination):
                redact.hide(*secret_values(actor.configuration, env))
        digests = WarehouseDigests(warehouse_conninfo(env))
        with AirbyteApi(AirbyteSettings.from_environment(env), redact=redact) as api:
            yield _Session(api, connections, env, digests)


def _declared_connections() -> tuple[Connection, ...]:
    """Import `connections.py`; raise `DeclarationError` if a declaration is refused."""
    try:
        from ingestion.connections import CONNECTIONS
    except pydantic.ValidationError as error:
        raise DeclarationError(f"connections.py: {error}") from None
    return CONNECTIONS


@contextmanager
def _errors_printed(redact: Redactor) -> Iterator[None]:
    """Print an error that is written for people, without any secret, and end with status 2."""
    try:
        yield
    except IngestionError as error:
        _err().print(f"error: {redact(str(error))}")
        raise typer.Exit(2) from None


def _print(plan: ObjectPlan) -> None:
    for line in lines_of(plan):
        _out().print(line)


def _out() -> Console:
    return Console(soft_wrap=True, highlight=False, markup=False)


def _err() -> Console:
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
