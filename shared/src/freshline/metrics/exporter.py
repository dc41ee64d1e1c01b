"""Looks at the instance when somebody asks, at most once for all who ask at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from threading import Condition, Thread
from typing import Final, NamedTuple

from prometheus_client.core import Metric

from freshline.check.runtime import RuntimeFindings
from freshline.errors import InstanceError
from freshline.lookout import Lookout
from freshline.metrics.families import families_of, families_without_outlook
from freshline.model import DEFAULT_TICK
from freshline.sensor.contract_checks import basis_of_findings, contract_findings
from freshline.sensor.outlook import Outlook

__all__ = ["Exporter"]

_PATIENCE: Final = 8.0
"""Seconds that a scrape waits for the database. Prometheus gives up after ten."""


class _Sight(NamedTuple):
    """What came of a look at the instance."""

    outlook: Outlook | None
    """None: the database has not answered."""
    findings: dict[str, RuntimeFindings]
    failure: Exception | None = None
    """An error that has nothing to do with the database."""


class Exporter:
    """Answers scrapes with what `lookout` sees. `say` gets a line when the database goes or comes.

    A scrape that comes while another one's look is under way waits for that. So a scrape costs one
    look, and a hundred readers cost no more than one does. What was seen is the answer to everybody
    for `fresh` seconds; by default for a tick, since locations plan no more often.
    """

    def __init__(
        self, lookout: Lookout, say: Callable[[str], None], *, fresh: float = DEFAULT_TICK
    ) -> None:
        self._lookout = lookout
        self._say = say
        self._fresh = fresh
        self._changed = Condition()
        self._looking = False
        self._looks = 0
        self._looked_at = -inf
        """When the last look ended, by the monotonic clock."""
        self._sight = _Sight(None, {})
        self._away = False
        self._findings: tuple[str, dict[str, RuntimeFindings]] = "", {}
        """The findings, and what they depend on."""

    def families(self) -> list[Metric]:
        """Return the families that are true now.

        If the database does not answer within some seconds, they say that and nothing else. Raises
        whatever else goes wrong in the look.
        """
        sight = self._look()
        if sight.failure is not None:
            raise sight.failure
        if sight.outlook is None:
            return list(families_without_outlook())
        return list(families_of(sight.outlook, sight.findings, time.time()))

    def _look(self) -> _Sight:
        """Return what was just seen, else what the next look sees."""
        with self._changed:
            if time.monotonic() - self._looked_at < self._fresh:
                return self._sight
            if not self._looking:
                self._looking = True
                # A database can keep a connection waiting for ever; a scrape must not.
                Thread(target=self._keep, daemon=True).start()
            before = self._looks
            if self._changed.wait_for(lambda: self._looks != before, _PATIENCE):
                return self._sight
        self._note_away(f"the instance does not answer within {_PATIENCE:.0f} s")
        return _Sight(None, {})

    def _keep(self) -> None:
        """Look once, and keep what was seen."""
        try:
            outlook = self._lookout.look(time.time())
            sight = _Sight(outlook, self._findings_of(outlook))
            self._note_back()
        except InstanceError as error:
            sight = _Sight(None, {})
            self._note_away(str(error))
        except Exception as error:  # noqa: BLE001  # who asks gets it: it must not end a thread
            sight = _Sight(None, {}, error)
        with self._changed:
            self._sight, self._looking, self._looks = sight, False, self._looks + 1
            self._looked_at = time.monotonic()
            self._changed.notify_all()

    def _findings_of(self, outlook: Outlook) -> dict[str, RuntimeFindings]:
        """Return what is wrong with the contracts, worked out only if that may have changed."""
        basis = basis_of_findings(outlook)
        if self._findings[0] != basis:
            self._findings = basis, contract_findings(outlook)
        return self._findings[1]

    def _note_away(self, why: str) -> None:
        if not self._away:
            self._away = True
            self._say(f"freshline_up is 0: {why}")

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            self._say("the instance answers again")
