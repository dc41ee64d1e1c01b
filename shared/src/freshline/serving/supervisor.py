"""Keeps one process of each location going, and puts a new one in its place beside the old one.

A new process is started beside the one that serves. When it is ready, it takes over, and the old
one is told to leave: it ends what it has begun. A process that ends by itself is started again,
after pauses that grow. What differs between workers and code servers, a `Program` says.

A release takes the place of another on request (`control`). It stays if the client says so at the
end. If it does not serve, or the client is gone before that, the former one has its place again.
"""

from __future__ import annotations

import math
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from freshline.errors import FreshlineError, ReleaseError
from freshline.serving.control import Client, Control, Kind, control_path, run_folder
from freshline.serving.notify import notify
from freshline.serving.releases import entry_of_release, source_to_json
from freshline.words import span
from freshline.workspace.entry import Entry
from freshline.workspace.source import WorkspaceSource

__all__ = ["Process", "Program", "supervise"]

_LOOK_EVERY: Final = 1.0
_LOOK_OFTEN: Final = 0.2
"""Seconds between two looks while a process is about to serve."""
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds until a process that has ended is started again, after one failure, two, ..."""
_SETTLED_AFTER: Final = 60.0
"""Seconds after which a process that has ended had not failed to start."""
_READY_SECONDS: Final = 180.0
"""How long a release may take to load, unless the request says otherwise; as in Dagster."""


class Process(Protocol):
    """A process that was started. SIGTERM tells it to leave."""

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The process itself."""

    def is_ready(self) -> bool:
        """Return whether it serves by now."""

    def take_over(self) -> None:
        """Have it be asked from now on, and nobody else."""

    def has_ended(self) -> bool:
        """Return whether it has ended."""

    def outdated(self) -> str | None:
        """Return why another one has to take its place; None: it need not."""


class Program(Protocol):
    """A kind of process."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def kind(self) -> Kind:
        """What the names of its control sockets have."""

    @property
    def serves(self) -> str:
        """What it does when it is ready, as in "takes runs"."""

    @property
    def leave_seconds(self) -> float:
        """How long it may take to end what it has begun; then it is killed."""

    @property
    def ending(self) -> Sequence[tuple[int, float | None]]:
        """The signals that end it with its supervisor, and how long each is waited for."""

    def start(self, entry: Entry) -> Process:
        """Start one that loads `entry`."""


@dataclass
class _Started:
    """A process, and what it was started for. Times are monotonic seconds."""

    process: Process
    entry: Entry
    at: float
    was_ready: bool = False
    told_at: float = 0.0
    """When it was told to leave."""

    def leave(self, now: float) -> None:
        """Tell it to leave."""
        self.told_at = now
        self.process.child.terminate()


@dataclass
class _Change:
    """A release that takes the place of another."""

    client: Client
    former: Entry
    until: float
    """When it has to be ready, in monotonic seconds."""
    served: bool = False
    """Whether it alone serves, and the client knows."""
    undone: bool = False


@dataclass
class _Kept:
    """A location, and its processes."""

    name: str
    wanted: Entry
    """What is to be served."""
    current: _Started | None = None
    """The one that serves."""
    next: _Started | None = None
    """One that was started to take its place."""
    leaving: list[_Started] = field(default_factory=list)
    """Those that end what they have begun."""
    failures: int = 0
    retry_at: float = 0.0
    change: _Change | None = None


def supervise(
    program: Program,
    source: WorkspaceSource,
    entries: Sequence[Entry],
    say: Callable[[str], None],
) -> None:
    """Keep a process of each location going until SIGTERM or SIGINT, then end them all.

    `entries` are the locations, as `source` has them here. `say` is given one line for everything
    that happens. If `FRESHLINE_RUN_DIR` names a folder, there are control sockets in it. Raises
    `ControlError` if another supervisor has them.
    """
    folder = run_folder()
    paths = (
        {it.name: control_path(folder, it.name, program.kind) for it in entries} if folder else {}
    )
    with Control(paths) as control:
        _Supervisor(program, source, entries, control, say).run()


class _Supervisor:
    def __init__(
        self,
        program: Program,
        source: WorkspaceSource,
        entries: Sequence[Entry],
        control: Control,
        say: Callable[[str], None],
    ) -> None:
        self._program = program
        self._source = source
        self._kept = {entry.name: _Kept(entry.name, entry) for entry in entries}
        self._control = control
        self._say = say
        self._announced = False
        self._ending = 0
        """How often it was told to end. Each time after the first, it waits no longer."""

    def run(self) -> None:
        """Keep the processes going until SIGTERM or SIGINT, then end them."""
        # Children inherit what is ignored, as SIGINT is behind the & of a script, but no handlers.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            self._keep_all()
        finally:
            notify("STOPPING=1")
            self._end_all()

    def _keep_all(self) -> None:
        while not self._ending:
            for kept in self._kept.values():
                self._look(kept)
            self._announce()
            loading = any(kept.next for kept in self._kept.values())
            for client, line in self._control.wait(_LOOK_OFTEN if loading else _LOOK_EVERY):
                self._hear(client, line)

    def _end(self, *_: object) -> None:
        self._ending += 1

    def _announce(self) -> None:
        """Tell systemd, once, that all locations are served."""
        if not self._announced and all(kept.current for kept in self._kept.values()):
            self._announced = True
            notify("READY=1")

    # --- one location ---------------------------------------------------------------------

    def _look(self, kept: _Kept) -> None:
        now = time.monotonic()
        self._look_at_leaving(kept, now)
        if kept.next:
            self._look_at_next(kept, kept.next, now)
        if kept.current and kept.current.process.has_ended():
            self._note_end(kept, kept.current, now)
        if kept.change:
            self._look_at_change(kept, kept.change)
        self._start_if_needed(kept, now)

    def _look_at_leaving(self, kept: _Kept, now: float) -> None:
        kept.leaving = [one for one in kept.leaving if not one.process.has_ended()]
        for one in kept.leaving:
            if now - one.told_at > self._program.leave_seconds:
                self._tell(kept, f"the former {self._program.name} does not end, and is killed")
                one.process.child.kill()

    def _look_at_next(self, kept: _Kept, new: _Started, now: float) -> None:
        change = kept.change
        if new.process.has_ended():
            kept.next = None
            self._note_failure(kept, new, now)
            self._fail(kept, f"{_ending(new.process.child)} before it served; its log says why")
        elif new.process.is_ready():
            new.was_ready = True
            new.process.take_over()
            did = f"{self._program.serves}, {span(now - new.at)} after its start"
            self._tell(kept, did)
            if kept.current:
                kept.current.leave(now)
                kept.leaving.append(kept.current)
            kept.current, kept.next, kept.failures = new, None, 0
        elif change and not change.undone and now > change.until:
            self._fail(kept, f"did not load within {span(now - new.at)}")

    def _note_end(self, kept: _Kept, ended: _Started, now: float) -> None:
        kept.current = None
        self._note_failure(kept, ended, now)
        if ended.entry is kept.wanted:
            self._fail(kept, f"{_ending(ended.process.child)} after it had begun to serve")

    def _note_failure(self, kept: _Kept, ended: _Started, now: float) -> None:
        settled = ended.was_ready and now - ended.at > _SETTLED_AFTER
        did = "" if ended.was_ready else "did not load: "
        self._pause(kept, f"{did}{_ending(ended.process.child)}", now, settled=settled)

    def _pause(self, kept: _Kept, what: str, now: float, *, settled: bool = False) -> None:
        """Have the next process wait, for longer each time."""
        kept.failures = 0 if settled else kept.failures + 1
        pause = _PAUSES[min(kept.failures, len(_PAUSES) - 1)]
        kept.retry_at = now + pause
        self._tell(kept, f"its {self._program.name} {what}; next one in {span(pause)}")

    def _start_if_needed(self, kept: _Kept, now: float) -> None:
        if kept.next or now < kept.retry_at:
            return
        current = kept.current
        reason = current.process.outdated() if current else None
        if reason:
            self._tell(kept, f"{reason}; a new {self._program.name} loads it")
        if reason or current is None or current.entry is not kept.wanted:
            try:
                process = self._program.start(kept.wanted)
            except (OSError, ValueError) as error:  # ValueError: its .env is no text
                self._pause(kept, f"cannot be started: {error}", now)
                self._fail(kept, f"cannot be started: {error}")
            else:
                kept.next = _Started(process, kept.wanted, now)

    # --- releases -------------------------------------------------------------------------

    def _hear(self, client: Client, line: Mapping[str, Any] | None) -> None:
        kept = self._kept[client.location]
        if kept.change and kept.change.client is client:
            self._hear_of_change(kept, kept.change, line)
        elif line is None:
            client.close()
        elif not line:
            source = source_to_json(self._source)
            client.say(release=str(kept.wanted.start), source=source)
            client.close()
        else:
            self._begin(kept, client, line)

    def _begin(self, kept: _Kept, client: Client, line: Mapping[str, Any]) -> None:
        """Begin to put a release in the place of what is served, or say why not."""
        try:
            release, seconds = _request(line)
            if kept.change and not kept.change.undone:
                raise ReleaseError(
                    f"another deploy of {kept.name} is under way here; wait for its end."
                )
            entry = entry_of_release(self._source, kept.name, release)
        except (FreshlineError, OSError, ValueError) as error:  # also of files that are not text
            client.say(error=str(error))
            client.close()
            return
        if kept.change:
            kept.change.client.close()
        now = time.monotonic()
        kept.change = _Change(client, former=kept.wanted, until=now + seconds)
        self._want(kept, entry, now)
        self._tell(kept, f"a new {self._program.name} loads {release}")

    def _hear_of_change(self, kept: _Kept, change: _Change, line: Mapping[str, Any] | None) -> None:
        if change.served and not change.undone and line and line.get("keep") is True:
            kept.change = None
            self._tell(kept, f"{kept.wanted.start} stays")
            change.client.say(kept=True)
            change.client.close()
        elif not change.undone:
            self._undo(kept, change, "the deploy was given up")

    def _look_at_change(self, kept: _Kept, change: _Change) -> None:
        current = kept.current
        if kept.next or current is None or current.entry is not kept.wanted:
            return
        if change.undone:
            kept.change = None
            change.client.say(back=str(change.former.start))
            change.client.close()
        elif not change.served:
            change.served = True
            self._tell(kept, f"{kept.wanted.start} serves")
            change.client.say(done=True)

    def _fail(self, kept: _Kept, how: str) -> None:
        """Give up a release that does not serve, if there is one that should."""
        change = kept.change
        if change and not change.undone:
            text = f"the {self._program.name} of {kept.name} in {kept.wanted.start} {how}"
            change.client.say(error=f"{text}.")
            self._undo(kept, change, text)

    def _undo(self, kept: _Kept, change: _Change, why: str) -> None:
        change.undone = True
        self._tell(kept, f"{why}; {change.former.start} has its place again")
        self._want(kept, change.former, time.monotonic())

    def _want(self, kept: _Kept, entry: Entry, now: float) -> None:
        """Have `entry` served from now on, and nothing else loaded."""
        kept.wanted, kept.failures, kept.retry_at = entry, 0, 0.0
        if kept.next:
            kept.next.leave(now)
            kept.leaving.append(kept.next)
            kept.next = None

    def _tell(self, kept: _Kept, text: str) -> None:
        """Say what happens, also to who has asked for it."""
        line = f"{kept.name}: {text}"
        self._say(line)
        if kept.change:
            kept.change.client.say(progress=line)

    # --- the end --------------------------------------------------------------------------

    def _end_all(self) -> None:
        children = [
            one.process.child
            for kept in self._kept.values()
            for one in (kept.current, kept.next, *kept.leaving)
            if one
        ]
        for number, seconds in self._program.ending:
            for child in children:
                if child.poll() is None:
                    child.send_signal(number)
            if self._wait_for(children, seconds):
                return

    def _wait_for(self, children: Sequence[subprocess.Popen[bytes]], seconds: float | None) -> bool:
        """Wait until all `children` have ended, for at most `seconds`. Return whether they have.

        Whoever tells it to end once more does not want to wait.
        """
        told = self._ending
        until = math.inf if seconds is None else time.monotonic() + seconds
        while any(child.poll() is None for child in children):
            if time.monotonic() > until or self._ending > told:
                return False
            time.sleep(_LOOK_OFTEN)
        return True


def _request(line: Mapping[str, Any]) -> tuple[Path, float]:
    """Return the release and the seconds that a client asks for. Raises `ReleaseError`."""
    release, seconds = line.get("release"), line.get("seconds", _READY_SECONDS)
    if not isinstance(release, str) or not Path(release).is_absolute():
        raise ReleaseError(
            f'{dict(line)} is no request; write {{"release": FOLDER}}, with an absolute path.'
        )
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
        raise ReleaseError(f"seconds must be a number greater than 0, not {seconds!r}.")
    return Path(release).resolve(), float(seconds)


def _ending(child: subprocess.Popen[bytes]) -> str:
    status = child.returncode
    return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
