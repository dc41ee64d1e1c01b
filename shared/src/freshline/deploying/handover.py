"""Puts a release in the place of what a location's supervisors serve here: all of them, or none.

Each supervisor is asked in turn, the code server's first. While the conversations are open, each
is ready to have its former release back, also if this process is killed. The symlink ``current``
beside the release is pointed at it when all serve it; then they are told to keep it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from freshline.errors import ControlError, HandoverError
from freshline.serving.control import Conversation, Kind, control_path
from freshline.serving.releases import source_from_json
from freshline.workspace.source import WorkspaceSource

__all__ = ["Place", "Served", "hand_over", "places_of", "served_at"]

_SLACK_SECONDS: Final = 60.0
"""How much longer than a release may load a supervisor may say nothing."""
_CURRENT: Final = "current"
_KINDS: Final[tuple[Kind, ...]] = ("server", "worker")


class Place(NamedTuple):
    """A supervisor of a location on this host."""

    kind: Kind
    path: Path
    """Its control socket."""


class Served(NamedTuple):
    """What a supervisor serves."""

    release: Path
    source: WorkspaceSource


def places_of(location: str, folder: Path) -> list[Place]:
    """Return the supervisors of `location` whose sockets are in `folder`. Raises `ControlError`."""
    places = [Place(kind, control_path(folder, location, kind)) for kind in _KINDS]
    there = [place for place in places if place.path.exists()]
    if not there:
        names = " nor ".join(place.path.name for place in places)
        raise ControlError(
            f"nothing serves {location} here: {folder} has neither {names}. Start its services "
            "first, or set FRESHLINE_RUN_DIR to the folder that they have."
        )
    return there


def served_at(place: Place) -> Served:
    """Ask a supervisor what it serves. Raises `ControlError`."""
    with Conversation(place.path, _SLACK_SECONDS) as conversation:
        conversation.ask({})
        for line in conversation.lines():
            if "release" in line:
                return Served(Path(line["release"]), source_from_json(line["source"]))
            raise ControlError(_unexpected(place, line))
    raise ControlError(f"the supervisor at {place.path} gives no answer; see its log.")


def hand_over(
    places: Sequence[Place], release: Path, seconds: float, say: Callable[[str], None]
) -> None:
    """Have all `places` serve `release`, and point ``current`` beside it at it.

    Each has `seconds` to load it. `say` is given one line for everything that happens. Raises
    `HandoverError` and `ControlError`; all places then have what they had, and so has ``current``.
    Only one that was told to keep the release, just before another place was gone, has it still.
    """
    link = _link_of(release)
    before = link.readlink() if link.is_symlink() else None
    with ExitStack() as stack:
        conversations: list[tuple[Place, Conversation]] = []
        try:
            for place in places:
                conversation = Conversation(place.path, seconds + _SLACK_SECONDS)
                conversations.append((place, stack.enter_context(conversation)))
                conversation.ask({"release": str(release), "seconds": seconds})
                _await(place, conversation, "done", say)
            _point(link, Path(release.name))
            for place, conversation in conversations:
                conversation.ask({"keep": True})
                _await(place, conversation, "kept", say)
        except BaseException:
            if before is not None:
                _point(link, before)
            else:
                link.unlink(missing_ok=True)
            for place, conversation in reversed(conversations):
                _give_back(place, conversation, say)
            raise


def _await(
    place: Place, conversation: Conversation, field: str, say: Callable[[str], None]
) -> None:
    """Read on until a line with `field`. Raises `HandoverError` and `ControlError`."""
    for line in conversation.lines():
        if "progress" in line:
            say(line["progress"])
        elif field in line:
            return
        elif "error" in line:
            raise HandoverError(line["error"])
        else:
            raise ControlError(_unexpected(place, line))
    raise ControlError(f"the supervisor at {place.path} has ended; see its log.")


def _give_back(place: Place, conversation: Conversation, say: Callable[[str], None]) -> None:
    """Have a place serve what it had, and wait until it does."""
    conversation.give_up()
    with suppress(ControlError, HandoverError):  # what went wrong first is what is to be told
        _await(place, conversation, "back", say)


def _unexpected(place: Place, line: Mapping[str, Any]) -> str:
    return f"the supervisor at {place.path} answers {dict(line)}; is it of another version?"


def _link_of(release: Path) -> Path:
    """Return the symlink that names the release that is served. Raises `HandoverError`."""
    link = release.parent / _CURRENT
    if link.exists() and not link.is_symlink():
        raise HandoverError(
            f"{link} is no symlink, so it cannot be pointed at {release.name}; keep each release "
            f"in a folder of its own, and let {_CURRENT} be a symlink to one of them."
        )
    return link


def _point(link: Path, target: Path) -> None:
    """Point the symlink at `target`: at no time is there none. Raises `HandoverError`."""
    new = link.with_name(f".{_CURRENT}-{secrets.token_hex(4)}")
    try:
        new.symlink_to(target)
        new.replace(link)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise HandoverError(f"{link} cannot be pointed at {target}: {error.strerror}.") from None
