"""How does each target stand: is its promise broken, by what, and who has to know?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from freshline.contract import Contract
from freshline.model import BROKEN, Blame, Phase, TargetPlan, TargetStatus
from freshline.sensor.grace import in_grace
from freshline.sensor.outlook import Outlook

__all__ = ["NOBODY", "Cause", "Standing", "standings_of"]

NOBODY: Final = ""
"""The owner of what has none."""

_TOLD: Final = BROKEN | {TargetStatus.INFEASIBLE}
"""Owners are told of these. Somebody has to decide about a policy that cannot be held."""

_OF_LOCATIONS: Final = (Phase.SILENT, Phase.PAUSED)
"""The phases that all assets of a location are in together."""


class Cause(NamedTuple):
    """What breaks a promise."""

    key: str
    """Two targets with the same key are held up by the same thing."""
    location: str
    asset: str
    phase: Phase | None
    """That of the asset; None: the policy itself cannot be held."""
    owners: tuple[str, ...]
    """Who can do something about it, besides the target's owners."""

    @property
    def moves(self) -> bool:
        """Whether it is on its way, so that nobody has to do anything about it."""
        return self.phase is not None and self.phase.moves


class Standing(NamedTuple):
    """How a target stands."""

    target: str
    location: str
    status: TargetStatus
    reason: str
    """A sentence for people."""
    owners: tuple[str, ...]
    cause: Cause | None
    """What breaks its promise; None: nothing does."""
    since: float
    """When the promise was broken, as far as known, else the time of the outlook: UTC, epoch
    seconds."""


def standings_of(outlook: Outlook) -> dict[str, Standing]:
    """Return how every target stands, by key."""
    contracts = {contract.location: contract for contract in outlook.contracts}
    return {
        target.key: _standing(target, contracts, outlook)
        for target in outlook.plan.targets.values()
    }


def _standing(target: TargetPlan, contracts: Mapping[str, Contract], outlook: Outlook) -> Standing:
    broken = target.status in _TOLD and not in_grace(target, outlook)
    overdue = target.deadline is not None and target.deadline < outlook.now
    return Standing(
        target=target.key,
        location=target.location,
        status=target.status,
        reason=target.reason,
        owners=_owners_of(target.key, contracts.get(target.location)),
        cause=_cause(target, contracts) if broken else None,
        since=target.deadline if overdue and target.deadline else outlook.now,
    )


def _cause(target: TargetPlan, contracts: Mapping[str, Contract]) -> Cause:
    blame = target.blame
    if blame is None or target.status is TargetStatus.INFEASIBLE:
        return Cause(f"policy {target.key}", target.location, target.key, None, ())
    contract = contracts.get(blame.location)
    if blame.phase in _OF_LOCATIONS:
        exports = contract.exports if contract else ()
        owners = {owner for export in exports for owner in export.owners}
        return _cause_of(blame, f"location {blame.location}", tuple(sorted(owners)) or (NOBODY,))
    return _cause_of(blame, f"asset {blame.asset}", _owners_of(blame.asset, contract))


def _cause_of(blame: Blame, key: str, owners: tuple[str, ...]) -> Cause:
    return Cause(key, blame.location, blame.asset, blame.phase, owners)


def _owners_of(key: str, contract: Contract | None) -> tuple[str, ...]:
    """Return the owners that the contract of its location gives an asset."""
    return (contract.owners_of(key) if contract else ()) or (NOBODY,)
