"""What each rule of the gate finds, why it matters and how to mend it, for ``check --explain``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from freshline.check.finding import Rule

__all__ = ["EXPLANATIONS", "Explanation", "explained"]


class Explanation(NamedTuple):
    """The explanation of a rule, in sentences."""

    finds: str
    why: str
    mend: str
    example: str
    """What the gate prints, or the definition that it prints it for."""


EXPLANATIONS: Final[Mapping[Rule, Explanation]] = {
    Rule.DOES_NOT_LOAD: Explanation(
        "A location whose code, or whose committed contract, cannot be read.",
        "What it makes and needs is not known then, so nothing that it breaks can be found. A "
        "deploy of it would fail as well.",
        "Read the end of the traceback, and load the location by itself: `dagster definitions "
        "validate`. With --committed, write its contract: `freshline contract write LOCATION`.",
        "`core` cannot be asked: it does not load. ... KeyError: 'WAREHOUSE_HOST'",
    ),
    Rule.UNKNOWN_IMPORT: Explanation(
        "A dependency on an asset that no location makes. It is a note if somebody declares the "
        "asset: an external definition, a dbt source, an input of Sling, dlt, Fivetran or Airbyte.",
        "Dagster makes a stub of it without a word. If it is a name that was misspelled or "
        "changed, what is downstream waits for an asset that nobody makes, and is never fresh.",
        "Depend on the name that the asset has. If it is made outside the workspace, say so: "
        '`dg.AssetSpec(KEY, metadata={"freshline/outside": True})`, or in a dbt source '
        "`config: {meta: {freshline: {outside: true}}}`.",
        "`marts` needs `mart/star` for `mart/join`; `core` exports `mart/stars`.",
    ),
    Rule.MISSING_COLUMN: Explanation(
        "A column that a location reads of another one's asset, which has no such column. Only "
        "where the columns of both are known: declared, or from the SQL of dbt models.",
        "The reader's next run fails, or, worse, goes on with nulls.",
        "The producer brings the column back, or the readers stop using it first: see `freshline "
        "impact KEY.COLUMN`. A rename takes three steps: add, move the readers, remove.",
        "column `login` of `mart/stars` does not exist in `core`, which makes the table.",
    ),
    Rule.COLUMN_TYPE: Explanation(
        "A column whose type in the producer is not the type that a reader uses it as.",
        "Comparisons and joins change their meaning, or fail in the middle of a run.",
        "The producer keeps the type, or the reader declares the new one once it can read it.",
        "column `starred_at` of `mart/stars` is `text` in `core`; `mart/join` of `marts` uses it "
        "as `timestamptz`.",
    ),
    Rule.MADE_TWICE: Explanation(
        "A key that two locations make.",
        "Each of them overwrites the other's table, and Dagster shows one history for both.",
        "One of them makes it; the other depends on it, or gives its own another key.",
        "`mart/stars` is made by `core` (assets.py) and by `legacy` (tables.py).",
    ),
    Rule.CYCLE: Explanation(
        "Assets of several locations that wait for each other in a circle.",
        "Dagster finds a cycle inside a location only. Across locations, each waits for the "
        "other, and the data is never as new as any of them promises.",
        "Take one of the dependencies out, or split the asset that is on both ways.",
        "`mart/join` (marts) -> `mart/stars` (core) -> `raw/stars` (ingestion) -> `mart/join`.",
    ),
    Rule.POLICY: Explanation(
        "A maximum lag that cannot be held: shorter than what the path to the asset takes, which "
        "is longer than a time window of partitions on it; or on partitions that freshline cannot "
        "follow. Also one on the definition of an asset whose maker does not promise as much.",
        "The asset would be late all day, and nobody would look at its alarms any more.",
        "Ask for more time, make the path shorter, or take the policy off. Give the gate better "
        "figures with --measured, --durations or metadata `freshline/expected_seconds`.",
        "`mart/join`: 2 min asked, the path takes 2 min 37 s: 2 min 6 s of it in `ingestion`, ...",
    ),
    Rule.UNLAUNCHABLE: Explanation(
        "An asset that some policy needs, and whose run Dagster refuses as it is: config without a "
        "default, for one.",
        "freshline cannot request it, so what is made from it is as old as its last run by hand.",
        'Give the config a default, or bring it along: `metadata={"freshline/config": {"since": '
        '"2026-01-01"}}` on the asset.',
        "`elt/orders` of `elt` cannot be requested, and `mart/orders` needs it: Dagster says "
        '"Missing required config entry ..."',
    ),
    Rule.NOT_REQUESTED: Explanation(
        "An asset that some policy needs and that freshline never requests: somebody else makes "
        "it, its location only observes, or its partitions cannot be followed. Always a note.",
        "Its versions count, whoever makes them; but the policy holds only if they come often.",
        "Put its location under freshline, or have its schedule run as often as the policy needs.",
        "`elt/orders` is never requested, and `mart/orders` needs it: elt, which makes it, is not "
        "under freshline.",
    ),
    Rule.FOREIGN_VIEW: Explanation(
        "A view of dbt's on a table or view that another location's dbt rebuilds, in Postgres or "
        "Redshift, as the kinds of both say.",
        "dbt builds a new table beside the old one, exchanges their names and drops the old one "
        "with `cascade`. The view is on the old one, so it goes too, until its own next run.",
        "Make it a table (`materialized: table`), or let the maker of the table have the view.",
        "`mart/names` of `marts` is a view on `mart/people`, which `core` rebuilds: ...",
    ),
    Rule.STALE_CONTRACT: Explanation(
        "A committed contract that differs from the code, or that is missing.",
        "Reviews and other teams' tests read the file, and would judge what is not so any more.",
        "`freshline contract write LOCATION`, and commit the file with its cause.",
        "marts/contract.json no longer matches the code of `marts`: 1 difference.",
    ),
    Rule.NEWER_SCHEMA: Explanation(
        "A contract that a newer freshline wrote. This is a note.",
        "What the newer schema adds is not checked here.",
        "Upgrade freshline where the gate runs.",
        "the contract of `core` has schema 2, this freshline knows 1.",
    ),
    Rule.KEY_CONVENTION: Explanation(
        "A key that is not by the convention that the workspace's settings ask for (without the "
        "setting, keys are not checked); a location that has one name in the workspace and "
        "another in its code.",
        "Who reads an asset makes its key from the table's name. A key by another rule is a "
        "second name, which somebody will get wrong.",
        "Rename the asset; or set `convention` to the one that the workspace has: see Keys in "
        "docs/contracts.md.",
        "`Marts/MonthTotals` of `marts` has the layer 'Marts', which is not made of lower-case "
        "letters, digits and underscores; name it 'marts'.",
    ),
}


def explained(rule: Rule) -> str:
    """Return the explanation of a rule as lines of text, with how to switch the rule off."""
    text = EXPLANATIONS[rule]
    off = (
        ["This rule is never off. To leave its findings out for one location:"]
        if rule is Rule.DOES_NOT_LOAD
        else [
            "In pyproject.toml of the workspace:",
            "  [tool.freshline.rules]",
            f'  {rule.value} = "note"  # or, with a reason: {{level = "off", reason = "..."}}',
            "For single assets:",
        ]
    )
    return "\n".join(
        [
            rule.value,
            "",
            f"Finds: {text.finds}",
            f"Why: {text.why}",
            f"To mend it: {text.mend}",
            f"Example: {text.example}",
            "",
            *off,
            "  [[tool.freshline.exceptions]]",
            f'  rule = "{rule.value}"',
            '  key = "*"  # a pattern of asset keys, such as "raw/*"',
            '  location = "..."  # may be left out: every location',
            '  reason = "..."',
        ]
    )
