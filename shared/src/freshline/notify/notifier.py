"""The notifier: looks every few seconds, and tells what is to be told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Event
from typing import Final, NamedTuple

from pydantic import ValidationError

from freshline.errors import CommandError, InstanceError
from freshline.lookout import Lookout
from freshline.model import DEFAULT_TICK
from freshline.notify.delivery import Delivery, Sent
from freshline.notify.incidents import Due, Incidents
from freshline.notify.memory import Memory
from freshline.notify.messages import TEST_MESSAGE, message_of
from freshline.notify.settings import NotifySettings
from freshline.notify.standing import NOBODY, Standing, standings_of
from freshline.words import quoted, span

__all__ = ["Notifier"]

_EVERY: Final = DEFAULT_TICK
"""Seconds between two looks."""

_AT_ONCE: Final = 8
"""So many addresses get a message at a time, one each. Then the post is held again: what a service
takes to answer must not add up to so long that another notifier thinks that this one is gone."""

_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 300.0
"""Seconds until a message is sent again that an address did not take: 10, 20, 40 ... 300."""


class _Failing(NamedTuple):
    """An address that did not take the last message."""

    times: int
    retry_at: float


class Notifier:
    """Tells the owners of what `lookout` sees. `say` gets a line for everything that happens.

    Several may run: one of them tells, and the others stand by. Raises `SettingsError` for an
    address that cannot be used.
    """

    def __init__(
        self, lookout: Lookout, settings: NotifySettings, say: Callable[[str], None]
    ) -> None:
        self._lookout = lookout
        self._settings = settings
        self._say = say
        self._delivery = Delivery(settings.addresses())
        self._memory = Memory()
        self._stands_by = False
        self._incidents: Incidents | None = None
        """None while another one tells."""
        self._kept: str | None = None
        """What the instance keeps of the incidents."""
        self._failing: dict[str, _Failing] = {}
        self._without_address: frozenset[str] = frozenset()
        self._away = False

    def send_test(self) -> list[Sent]:
        """Send a test message to every address. Return what became of each."""
        addresses = self._settings.addresses()
        return self._delivery.send({it.id: TEST_MESSAGE for it in addresses})

    def run(self, stop: Event) -> None:
        """Look and tell until `stop` is set, then `close`. Raises what `step` raises."""
        try:
            while not stop.is_set():
                self.step()
                stop.wait(_EVERY)
        finally:
            self.close()

    def close(self) -> None:
        """Give up the post, so that another notifier can have it at once."""
        try:
            with self._lookout.asking() as instance:
                self._memory.release(instance)
        except InstanceError as error:
            self._say(f"ends without giving up its post, so the next one waits a little: {error}")
        self._lookout.close()

    def step(self) -> None:
        """Look once, and tell what is to be told now. While the database is away, nothing is.

        Raises `CommandError` if what is kept in the instance cannot be read.
        """
        try:
            if self._holds():
                self._tell()
        except InstanceError as error:
            if not self._away:
                self._say(f"nobody is told anything: {error}")
            self._away = True
        else:
            if self._away:
                self._say("the instance answers again")
            self._away = False

    # --- the post -------------------------------------------------------------------------

    def _holds(self) -> bool:
        """Return whether this notifier is the one that tells. If it was not, read what was told."""
        if not self._hold():
            return False
        if self._incidents is None:
            with self._lookout.asking() as instance:
                self._kept = self._memory.content(instance)
            try:
                self._incidents = Incidents.from_json(self._kept)
            except ValidationError:
                raise CommandError(
                    "what the last notifier has told was kept by a newer freshline; run that one."
                ) from None
            self._incidents.forget_addresses(it.id for it in self._settings.addresses())
            self._say("tells the owners of assets")
        return True

    def _hold(self, content: str | None = None) -> bool:
        with self._lookout.asking() as instance:
            held = self._memory.hold(instance, content)
        if not held and not self._stands_by:
            self._say("stands by: another notifier tells")
        self._stands_by = not held
        if not held:
            self._incidents = None
        return held

    # --- telling --------------------------------------------------------------------------

    def _tell(self) -> None:
        incidents = self._incidents
        if incidents is None:
            return
        outlook = self._lookout.look(time.time())
        standings = standings_of(outlook)
        self._note_owners_without_address(standings.values())
        incidents.update(standings, outlook.now)
        due = incidents.due(self._settings.addresses_of, self._settings.repeat_seconds, outlook.now)
        for some in _in_rounds(due):
            if not self._hold():
                return
            self._send(incidents, some)
            self._keep(incidents)
        self._keep(incidents)

    def _send(self, incidents: Incidents, some: Sequence[Due]) -> None:
        """Send some messages, of which each goes to another address."""
        now = time.time()
        ready = [it for it in some if self._may_be_tried(it.address, now)]
        messages = {it.address: message_of(it, now) for it in ready}
        for due, outcome in zip(ready, self._delivery.send(messages), strict=True):
            if outcome.problem is None:
                incidents.note(due, now)
                self._failing.pop(due.address, None)
                self._say(f"told {outcome.address.where}: {messages[due.address].title}")
            else:
                self._note_failure(outcome, now)

    def _keep(self, incidents: Incidents) -> None:
        text = incidents.to_json()
        if text != self._kept and self._hold(text):
            self._kept = text

    def _may_be_tried(self, address: str, now: float) -> bool:
        failing = self._failing.get(address)
        return failing is None or failing.retry_at <= now

    def _note_failure(self, outcome: Sent, now: float) -> None:
        known = self._failing.get(outcome.address.id, _Failing(0, now))
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**known.times)
        self._failing[outcome.address.id] = _Failing(known.times + 1, now + pause)
        self._say(
            f"could not tell {outcome.address.where}: {outcome.problem}; tries again in "
            f"{span(pause)}"
        )

    def _note_owners_without_address(self, standings: Iterable[Standing]) -> None:
        """Say, when it changes, which owners of targets have no address."""
        owners = {owner for it in standings for owner in it.owners if owner != NOBODY}
        without = frozenset(owners - self._settings.owners.keys())
        if without != self._without_address:
            self._without_address = without
            if without:
                told = "goes to others" if self._settings.others else "is told to nobody"
                self._say(
                    f"no address in {self._settings.file} for {quoted(sorted(without))}: what is "
                    f"theirs {told}"
                )


def _in_rounds(due: Sequence[Due]) -> Iterator[list[Due]]:
    """Yield some messages at a time, in order, of which each goes to another address."""
    waiting = list(due)
    while waiting:
        some: dict[str, Due] = {}
        for each in waiting:
            if len(some) < _AT_ONCE:
                some.setdefault(each.address, each)
        yield list(some.values())
        waiting = [each for each in waiting if some.get(each.address) is not each]
