"""Policies that are written somewhere and that nobody keeps.

Whoever wrote one believes that the data is kept fresh. It is a finding where freshline would be
expected to keep it, and a note where it did nothing before and does nothing now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from freshline.check.finding import Finding, Location, Rule, Severity, Workspace, shown
from freshline.contract import UnkeptPolicy
from freshline.policy import MaxLag
from freshline.words import quoted

__all__ = ["check_written"]

# Why a dbt resource carries a policy in vain, with what to do.
_NOT_BUILT: Final = {
    "source": (
        "is a dbt source, which is not built here and can promise nothing.",
        "Put the policy on a model that reads it.",
    ),
    "ephemeral": (
        "is an ephemeral model, which is not built and can promise nothing.",
        "Put the policy on a model that reads it.",
    ),
    "maybe inherited": (
        "is an ephemeral model, which is not built: the policy is kept for other models only.",
        "If the policy was meant for it, put it on a model that reads it.",
    ),
    "disabled": (
        "is disabled, so its policy is not kept.",
        "Take the policy off, or enable the model.",
    ),
    "not selected": (
        "is not made by this location, so its policy is not kept.",
        "Select it in the location's dbt assets, or take the policy off.",
    ),
}
_NOTES: Final = {"maybe inherited", "disabled", "not selected"}


def check_written(workspace: Workspace) -> Iterator[Finding]:
    """Find policies that are written in a location and that nobody keeps."""
    for location in workspace.locations:
        contract = location.contract
        if contract is None:
            continue
        if contract.published_as is None:
            yield from _without_freshline(location)
        for unkept in contract.unkept:
            finding = _finding(workspace, location, unkept)
            if finding:
                yield finding
        for watched in contract.watched:
            if workspace.export(watched.key):
                finding = _unwatched(workspace, location, watched.key, watched.policy)
                if finding:
                    yield finding
        yield from _older_notations(location)
        yield from _native(location)


def _without_freshline(location: Location) -> Iterator[Finding]:
    """Find policies in freshline's own notation where no sensor keeps them."""
    for export in location.contract.exports if location.contract else ():
        if export.policy and not export.unfollowed:
            yield Finding(
                Rule.POLICY,
                location.name,
                f"`{export.key}` carries a maximum lag, and nobody keeps it: `{location.name}` "
                "does not use freshline.",
                f"Write `with_freshline(..., location={location.name!r})` around its definitions, "
                "or take the policy off.",
                key=export.key,
                file=location.file_of(export),
            )


def _finding(workspace: Workspace, location: Location, unkept: UnkeptPolicy) -> Finding | None:
    """Return the finding for one policy; None: it is none, or is reported with others."""
    key = unkept.key
    severity = Severity.ERROR
    if unkept.reason == "wrong":
        message, fix = unkept.problem or "", ""
    elif unkept.reason == "partitioned":
        why = unkept.problem or "it is partitioned"
        message = f"`{key}` carries a policy ({unkept.notation}), which is not kept: {why}."
        fix = (
            "Take the policy off, or put it on an asset that reads this one and has no "
            "partitions, or others."
        )
    elif unkept.reason == "external":
        return _unwatched(workspace, location, key, unkept.policy)
    elif unkept.reason in _NOT_BUILT:
        if unkept.reason == "not selected" and key in workspace.makers:
            return None
        why, fix = _NOT_BUILT[unkept.reason]
        message = f"`{key}` carries a policy ({unkept.notation}) and {why}"
        severity = Severity.NOTE if unkept.reason in _NOTES else Severity.ERROR
    else:
        return None
    if location.folder and unkept.file:
        file: str | None = shown(location.folder / unkept.file)
    else:
        file = location.file_of(None)
    return Finding(Rule.POLICY, location.name, message, fix, key=key, file=file, severity=severity)


def _unwatched(
    workspace: Workspace, location: Location, key: str, policy: MaxLag | None
) -> Finding | None:
    """Return the finding for a policy on the definition of an asset, which nobody watches.

    None: its maker promises as much, as when all locations share one `AssetSpec`.
    """
    made = workspace.export(key)
    severity = Severity.ERROR
    if made:
        maker, export = made
        if policy and export.policy and export.policy.covers(policy):
            return None
        promise = f"promises {export.policy}" if export.policy else "carries none"
        does = "observes" if export.observed else "makes"
        why = f"`{maker.name}`, which {does} it, {promise}"
    else:
        why = "no location makes it"
        if workspace.without_contract:
            why += f" as far as is known ({quoted(workspace.without_contract)} could not be asked)"
            severity = Severity.NOTE
    return Finding(
        Rule.POLICY,
        location.name,
        f"`{location.name}` has a definition of `{key}` with a policy, {policy}, "
        f"which is not kept: {why}.",
        "Put the policy on the asset where it is made, or on one that reads it.",
        key=key,
        file=location.file_of(None),
        severity=severity,
    )


def _older_notations(location: Location) -> Iterator[Finding]:
    """Yield a note about what is written for older versions of Dagster, without freshline."""
    by_notation: dict[str, list[str]] = {}
    for unkept in location.contract.unkept if location.contract else ():
        if unkept.reason == "not adopted":
            by_notation.setdefault(unkept.notation, []).append(unkept.key)
    for notation, keys in by_notation.items():
        yield Finding(
            Rule.POLICY,
            location.name,
            f"{quoted(keys)} of `{location.name}` {_carry(keys)} ({notation}), which nobody keeps: "
            "Dagster no longer does, and the location does not use freshline.",
            "with_freshline around its definitions keeps it as it is.",
            details=tuple(keys),
            file=location.file_of(None),
            severity=Severity.NOTE,
        )


def _native(location: Location) -> Iterator[Finding]:
    """Yield a note about the assets whose freshness Dagster watches and freshline does not keep."""
    unkept = location.contract.unkept if location.contract else ()
    keys = [it.key for it in unkept if it.reason == "native"]
    if keys:
        yield Finding(
            Rule.POLICY,
            location.name,
            f"{quoted(keys)} of `{location.name}` {_carry(keys)} of Dagster (freshness_policy): "
            "Dagster watches it, and freshline does not keep it.",
            "To have it kept, add a maximum lag: metadata=max_lag(minutes=...).",
            details=tuple(keys),
            file=location.file_of(None),
            severity=Severity.NOTE,
        )


def _carry(keys: list[str]) -> str:
    return "carries a policy" if len(keys) == 1 else "carry a policy"
