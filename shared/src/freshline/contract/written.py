"""Which of the policies that are written in a location are kept, and why not the others?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freshline.contract.describe_partitions import why_unfollowed
from freshline.declared import Written
from freshline.policy import MaxLag, chosen_policy

__all__ = ["judged"]


def judged(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of `freshline.contract.describe` as that of a contract.

    Each export gets the policy that is kept, if there is one. Those on assets that somebody else
    makes go to ``watched``, all others to ``unkept``.
    """
    adopted = document.get("published_as") is not None
    exports: list[dict[str, Any]] = []
    unkept = [_judged_elsewhere(it, adopted=adopted) for it in document.get("unkept", ())]
    for export in document["exports"]:
        plain = {name: value for name, value in export.items() if name != "written_policies"}
        policy, others = _judged_on_asset(export, adopted=adopted)
        exports.append({**plain, "policy": policy})
        unkept.extend(others)
    watched = [
        {"key": it["key"], "policy": it["policy"]}
        for it in unkept
        if adopted and it["reason"] == "external"
    ]
    if adopted:
        unkept = [it for it in unkept if it["reason"] != "external"]
    else:
        # Dagster watches its own policies in every location; here, nobody expects freshline to.
        unkept = [it for it in unkept if it["reason"] != "native"]
    return {**document, "exports": exports, "watched": watched, "unkept": unkept}


def _judged_on_asset(
    export: Mapping[str, Any], *, adopted: bool
) -> tuple[MaxLag | None, list[dict[str, Any]]]:
    """Return the policy that is kept on an asset of the location, and those that are not."""
    key, file = export["key"], export.get("file")
    written = [Written(it["notation"], it["policy"]) for it in export["written_policies"]]
    # Without freshline, an older notation does what it did before: nothing.
    foreign = [] if adopted else [it for it in written if not it.own]
    written = [it for it in written if it not in foreign]
    policy, problems = chosen_policy(written, f"asset {key} ({file})" if file else f"asset {key}")
    unkept = [_unkept(key, it.notation, "wrong", file, problem=problem) for it, problem in problems]
    unkept.extend(_unkept(key, it.notation, "not adopted", file) for it in foreign)
    unfollowed = _unfollowed(export)
    if policy and unfollowed and not written[0].own:
        # In freshline's own notation, it stays on the export, and the gate finds it there.
        notation = written[0].notation
        unkept.append(_unkept(key, notation, "partitioned", file, problem=unfollowed))
        policy = None
    return policy, unkept


def _unfollowed(export: Mapping[str, Any]) -> str | None:
    """Return why the partitions of an asset cannot be followed; None: they can, or it has none."""
    if not export["partitions"] or export["view"]:
        return None
    reads = {key: read.get("unsupported") for key, read in export["reads"].items()}
    return why_unfollowed(export["partitions"].get("unsupported"), reads)


def _judged_elsewhere(found: Mapping[str, Any], *, adopted: bool) -> dict[str, Any]:
    """Return a policy that is on no asset that the location makes."""
    key, notation, reason = found["key"], found["notation"], found["reason"]
    file = found.get("file")
    if reason == "native":
        return _unkept(key, notation, reason, file)
    written = Written(notation, found["policy"])
    if not (adopted or written.own):
        return _unkept(key, notation, "not adopted", file)
    policy, problems = chosen_policy([written], f"asset {key}")
    if reason == "external" and problems:
        return _unkept(key, notation, "wrong", file, problem=problems[0][1])
    return _unkept(key, notation, reason, file, policy=policy)


def _unkept(
    key: str,
    notation: str,
    reason: str,
    file: str | None,
    *,
    problem: str | None = None,
    policy: MaxLag | None = None,
) -> dict[str, Any]:
    return {
        "key": key,
        "notation": notation,
        "reason": reason,
        "file": file,
        "problem": problem,
        "policy": policy,
    }
