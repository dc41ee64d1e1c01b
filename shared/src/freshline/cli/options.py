"""Options that several commands have."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from freshline.errors import CommandError
from freshline.workspace.source import Server, WorkspaceSource, find_workspace

__all__ = ["JsonOption", "SecondsOption", "workspace_options"]

SecondsOption = Annotated[
    float, typer.Option(help="How long each location may take to load.", min=1.0)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def workspace_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` Dagster's options that say which code locations there are.

    The command has a parameter `workspace`, which gets the `WorkspaceSource` that they name.
    """
    own = inspect.signature(command, eval_str=True)
    options = inspect.signature(_source, eval_str=True).parameters
    parameters = [it for it in own.parameters.values() if it.name != "workspace"]

    @wraps(command)
    def with_options(**values: Any) -> None:
        named = {name: values.pop(name) for name in options}
        command(workspace=_source(**named), **values)

    # Typer reads the options of a command from its signature.
    with_options.__dict__["__signature__"] = own.replace(
        parameters=[*parameters, *options.values()]
    )
    with_options.__annotations__ = {
        it.name: it.annotation for it in (*parameters, *options.values())
    }
    return with_options


def _source(
    workspace: Annotated[
        list[Path] | None,
        typer.Option(
            "-w",
            "--workspace",
            help="workspace.yaml, dg.toml or pyproject.toml; may be repeated. By default what "
            "Dagster would load here.",
        ),
    ] = None,
    python_file: Annotated[
        list[Path] | None,
        typer.Option(
            "-f",
            "--python-file",
            envvar="DAGSTER_PYTHON_FILE",
            help="A file that is a code location; may be repeated.",
        ),
    ] = None,
    module_name: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--module-name",
            envvar="DAGSTER_MODULE_NAME",
            help="A module that is a code location; may be repeated.",
        ),
    ] = None,
    package_name: Annotated[
        list[str] | None,
        typer.Option(
            envvar="DAGSTER_PACKAGE_NAME",
            help="A package that is a code location; may be repeated.",
        ),
    ] = None,
    autoload_defs_module_name: Annotated[
        str | None,
        typer.Option(
            envvar="DAGSTER_autoload_defs_module_name",
            help="A module that is searched for definitions, with all modules in it.",
        ),
    ] = None,
    working_directory: Annotated[
        Path | None,
        typer.Option(
            "-d",
            "--working-directory",
            envvar="DAGSTER_WORKING_DIRECTORY",
            help="The folder in which -f, -m and the like are looked for.",
        ),
    ] = None,
    attribute: Annotated[
        str | None,
        typer.Option(
            "-a",
            "--attribute",
            envvar="DAGSTER_ATTRIBUTE",
            help="The attribute of -f, -m or --package-name that has the definitions.",
        ),
    ] = None,
    server: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LOCATION=HOST:PORT",
            help="Ask this code server, not the grpc_server of the file; may be repeated.",
        ),
    ] = None,
    use_active_venv: Annotated[
        bool,
        typer.Option("--use-active-venv", help="Load dg projects by the Python that runs this."),
    ] = False,
) -> WorkspaceSource:
    """Return what the options name. Raises `CommandError` and `WorkspaceError`."""
    named = {
        "-w": ("", workspace),
        "-f": ("python_file", python_file),
        "-m": ("python_module", module_name),
        "--package-name": ("python_package", package_name),
        "--autoload-defs-module-name": (
            "autoload_defs_module",
            [autoload_defs_module_name] if autoload_defs_module_name else None,
        ),
    }
    given = {option: (kind, values) for option, (kind, values) in named.items() if values}
    if len(given) > 1:
        raise CommandError(
            f"{' and '.join(given)} are given together; give one of them. Those of Python are also "
            "read from Dagster's variables: DAGSTER_MODULE_NAME, DAGSTER_PYTHON_FILE and the like."
        )
    code = [(kind, str(value)) for kind, values in given.values() for value in values or () if kind]
    if (working_directory or attribute) and not code:
        raise CommandError(
            "-d and -a (or DAGSTER_WORKING_DIRECTORY and DAGSTER_ATTRIBUTE) need -m, -f or "
            "--package-name; a workspace file has fields for both."
        )
    if attribute and len(code) > 1:
        raise CommandError("-a names an attribute of one -m, -f or --package-name, not of several.")
    return WorkspaceSource(
        files=() if code else tuple(workspace or [_default()]),
        code=tuple(code),
        attribute=attribute,
        working_directory=working_directory,
        servers=dict(map(_server, server or ())),
        use_active_venv=use_active_venv,
    )


def _default() -> Path:
    """Return the file that Dagster would load here, and say which others it would not."""
    found = find_workspace()
    if found.also:
        others = ", ".join(map(str, found.also))
        typer.echo(
            f"freshline: reads {found.file}, as Dagster does here, not {others}; choose with -w.",
            err=True,
        )
    if found.inside:
        typer.echo(
            f"freshline: reads {found.file} alone, one project of the workspace {found.inside}; "
            f"for all projects give -w {found.inside}.",
            err=True,
        )
    return found.file


def _server(text: str) -> tuple[str, Server]:
    """Return the location and server in ``LOCATION=HOST:PORT``. Raises `CommandError`."""
    location, _, address = text.rpartition("=")
    host, _, port = address.rpartition(":")
    if not location or not host or not port.isdigit():
        raise CommandError(
            f"--server {text}: write LOCATION=HOST:PORT, as in ingest=localhost:4000."
        )
    return location, Server(host.strip("[]"), int(port))
