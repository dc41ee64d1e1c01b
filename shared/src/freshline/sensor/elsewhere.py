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
        self, instance: DagsterInstance, keys: Iterable[str], publishing: Collection[str]
    ) -> list[Asset]:
        """Return those of `keys` that have a materialization, as assets that are never requested.

        An asset that one of the `publishing` locations made is not among them: the location's
        contract would explain it if it still made it.
        """
        wanted = set(keys)
        unknown = wanted - self._found.keys()
        if unknown:
            log = EventLog(instance)
            for key, (made, _) in log.latest_materializations(unknown).items():
                location = log.location_of_run(made.run_id) if made and made.run_id else None
                if made and location not in publishing:
                    self._found[key] = _asset(key, location)
        return [
            asset
            for key in sorted(wanted & self._found.keys())
            if (asset := self._found[key]).location not in publishing
        ]


def _asset(key: str, location: str | None) -> Asset:
    maker = f"{location}, which makes it, is" if location else "what makes it is"
    return Asset(
        key,
        location or OUTSIDE_LOCATION,
        never_requested=f"{maker} not under freshline",
        elsewhere=True,
    )
