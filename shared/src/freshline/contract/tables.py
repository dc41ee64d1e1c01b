"""Tables of what a location makes, needs and promises: what people read on its contract asset.

Dagster's UI shows the description of an asset above all metadata, of which the newest
materialization's come first: those are signs of life, for programs. So the tables are in the
description. They follow from the definitions alone, and cost no event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from freshline.names import CONTRACT_PREFIX, IMPORTS_CHECK

if TYPE_CHECKING:
    from dagster import AssetKey, AssetSpec

    from freshline.policy import MaxLag

__all__ = ["MOST_ROWS", "contract_tables", "owner_names"]

MOST_ROWS: Final = 50
"""Of a longer table, people see so many rows."""


def contract_tables(
    specs: Iterable[AssetSpec], made: Collection[AssetKey], policies: Mapping[AssetKey, MaxLag]
) -> str:
    """Return Markdown tables of what a location makes, promises and needs; "" if that is nothing.

    `specs` are those of its assets, and `made` are the keys of those that it makes or observes.
    `policies` are all that are kept, also those that the assets do not carry themselves.
    """
    known = {spec.key: spec for spec in specs if tuple(spec.key.path[:2]) != CONTRACT_PREFIX}
    # Promises first: of a long table, only the beginning is shown.
    own = sorted((key for key in made if key in known), key=lambda key: (key not in policies, key))
    read_by: defaultdict[AssetKey, list[AssetKey]] = defaultdict(list)
    for key in own:
        for dep in known[key].deps:
            if dep.asset_key not in made:
                read_by[dep.asset_key].append(key)
    tables = (
        _table(
            "makes",
            ["asset", "promise", "owners", "made from"],
            [
                [
                    _name(key),
                    str(policies.get(key, "")),
                    owner_names(known[key].owners),
                    _names(dep.asset_key for dep in known[key].deps),
                ]
                for key in own
            ],
        ),
        _table(
            f"needs (the check {IMPORTS_CHECK} says who makes it)",
            ["asset", "read by"],
            [[_name(key), _names(read_by[key])] for key in sorted(read_by)],
        ),
        _table(
            "watches, but does not make",
            ["asset", "promise"],
            [[_name(key), str(policies[key])] for key in sorted(policies.keys() - set(own))],
        ),
    )
    return "\n\n".join(filter(None, tables))


def owner_names(owners: Iterable[str]) -> str:
    """Return owners as people call them: a team without Dagster's `team:` before its name."""
    return ", ".join(owner.removeprefix("team:") for owner in owners)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    more = len(rows) - MOST_ROWS
    lines = [columns, ["---"] * len(columns), *rows[:MOST_ROWS]]
    table = "\n".join(
        f"| {' | '.join(cell.replace('|', '&#124;') for cell in it)} |" for it in lines
    )
    return f"**It {title}:**\n\n{table}" + (f"\n\nand {more} more" if more > 0 else "")


def _names(keys: Iterable[AssetKey]) -> str:
    return ", ".join(map(_name, sorted(keys)))


def _name(key: AssetKey) -> str:
    return f"`{key.to_user_string()}`"
