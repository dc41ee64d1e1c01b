"""Assets that no contract explains and that exist all the same: somebody else makes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dagster import DagsterInstance

from freshline.contract.graph import OUTSIDE_LOCATION
from freshline.history.events import EventLog
from freshline.model import Asset

__all__ = ["Elsewhere"]


class Elsewhere:
    """Looks for such assets in the event log, and remembers those that it has found."""

    def __init__(self) -> None:
        self._found: dict[str, Asset] = {}

    def find(
        self,
        instance: DagsterInstance,
        unexplained: Collection[str],
        outside: Collection[str],
        publishing: Collection[str],
    ) -> list[Asset]:
        """Return those of the keys that have a version, as assets that are never requested.

        `unexplained` are keys that some location depends on and no contract explains. Of those, one
        that one of the `publishing` locations has made is not returned: the location's contract
        would explain it if it still made it. `outside` are keys that are declared to be made
        outside the workspace: whoever has reported or observed anything of them, it counts.
        """
        wanted = {*unexplained, *outside}
        unknown = wanted - self._found.keys()
        if unknown:
            self._look_for(instance, unknown, publishing, outside)
        return [
            self._found[key]
            for key in sorted(wanted & self._found.keys())
            if key in outside or self._found[key].location not in publishing
        ]

    def _look_for(
        self,
        instance: DagsterInstance,
        keys: Iterable[str],
        publishing: Collection[str],
        outside: Collection[str],
    ) -> None:
        log = EventLog(instance)
        for key, (version, _) in log.latest_versions(keys, observable=set(keys)).items():
            if version is None:
                continue
            # Who observes it does not make it.
            made_by_run = version.run_id and not version.observed
            location = log.location_of_run(version.run_id) if made_by_run else None
            if key in outside:
                self._found[key] = _asset(key, None)
            elif location not in publishing:
                self._found[key] = _asset(key, location)


def _asset(key: str, location: str | None) -> Asset:
    maker = f"{location}, which makes it, is" if location else "what makes it is"
    return Asset(
        key,
        location or OUTSIDE_LOCATION,
        never_requested=f"{maker} not under freshline",
        elsewhere=True,
    )
