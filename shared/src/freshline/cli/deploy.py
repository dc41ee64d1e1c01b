"""``freshline deploy``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from freshline.errors import CommandError, FreshlineError

__all__ = ["deploy_command"]

_SECONDS: Final = 180.0


def deploy_command(
    location: Annotated[str, typer.Argument(help="The code location.")],
    release: Annotated[
        Path, typer.Argument(help="The folder of the release, whose Python runs this command.")
    ],
    seconds: Annotated[
        float, typer.Option(help="How long the release may take to load, each time.", min=1.0)
    ] = _SECONDS,
) -> None:
    """Put a release of a code location in the place of the one that is served on this host.

    It is judged by what all locations have published. Then its code server, and after that its
    workers, take over from those that serve now, and `current` beside the release points at it. If
    anything fails, even if this command is killed, all stays as it was. To roll back, deploy the
    former release.

    Exit status: 0 it is served, 1 it is not.
    """
    try:
        _deploy(location, release.resolve(), seconds)
    except FreshlineError as error:
        typer.echo(f"freshline: {error}", err=True)
        raise typer.Exit(1) from None


def _deploy(location: str, release: Path, seconds: float) -> None:
    from freshline.cli import output
    from freshline.cli.instance import open_instance
    from freshline.deploying.gate import judge
    from freshline.deploying.handover import hand_over, places_of, served_at
    from freshline.errors import HandoverError
    from freshline.serving.releases import entry_of_release
    from freshline.settings import read_settings
    from freshline.workspace.runner import inspect_entries

    _refuse_another_python(location, release)
    places = places_of(location, _run_folder())
    served = [served_at(place) for place in places]
    entry = entry_of_release(served[0].source, location, release)
    _say(f"{location}: loads {release}, to compare it with what is published")
    (inspected,) = inspect_entries([entry], seconds=seconds)
    with open_instance() as instance:
        judgement = judge(instance, inspected, read_settings(release))
    if judgement.findings:
        output.print_findings(judgement.findings, judgement.locations, judgement.left_out)
        raise HandoverError(
            f"{release} does not fit what is published, so {location} is served as before."
        )
    if "server" not in [place.kind for place in places]:
        _say(f"{location}: has no code server here, so its workers alone are replaced")
    hand_over(places, release, seconds, _say)
    output.print_changes(
        judgement.reached,
        "since what was published",
        nothing=f"{location} had published nothing that others could rely on."
        if judgement.is_first
        else "For other locations, nothing has changed.",
    )
    _say(f"{location}: {release} serves in place of {served[0].release}")


def _say(line: str) -> None:
    typer.echo(f"freshline deploy: {line}", err=True)


def _run_folder() -> Path:
    from freshline.serving.control import run_folder

    folder = run_folder()
    if folder is None:
        raise CommandError(
            "FRESHLINE_RUN_DIR is not set; give it the folder that the services of the location "
            "have, as in /run/freshline/LOCATION."
        )
    return folder


def _refuse_another_python(location: str, release: Path) -> None:
    """Raise `CommandError` unless this Python is the release's own: it loads its code."""
    if not release.is_dir():
        raise CommandError(f"{release} is no folder; name that of a release.")
    if not Path(sys.prefix).resolve().is_relative_to(release):
        raise CommandError(
            f"this freshline is of {sys.prefix}, not of the release; run that one's own, as in "
            f"{release}/.venv/bin/freshline deploy {location} {release}."
        )
