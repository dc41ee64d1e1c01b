"""Take one rule of the planner away at a time, and see whether a story fails.

Each mutation is made in a copy of freshline, and the stories run against that. Exits with
status 1 when a mutation survives. Run it with `.venv/bin/python bench/planner_mutations.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
STORIES = tuple(
    f"shared/tests/test_{name}.py"
    for name in (
        "planner",
        "planner_meetings",
        "planner_moments",
        "planner_partitions",
        "planner_troubles",
        "simulate",
        "planner_capacity",
    )
)


class Mutation(NamedTuple):
    """A rule, and the text in a file of the planner that has to change to take it away."""

    rule: str
    file: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "an input comes early to be in time for a run that another one needs",
        "meetings.py",
        "if ask.advance and not",
        "if False and not",
    ),
    Mutation(
        "an input does not come early at any cost",
        "meetings.py",
        "if _cost(ask, first, asset, part, period) <= ask.spares:",
        "if True:",
    ),
    Mutation(
        "an input that will do for a whole cycle need not come again",
        "meetings.py",
        "if has_cycle and fewer <= 0.0:",
        "if False:",
    ),
    Mutation(
        "an input does not come early for a run that it would miss",
        "meetings.py",
        "not facts.passed(start - asset.stage.at_most + asset.tick)",
        "True",
    ),
    Mutation(
        "an input comes early at any cost if the target would be late otherwise",
        "meetings.py",
        "spares = inf if would_be_busy else own.work * fewer",
        "spares = own.work * fewer",
    ),
    Mutation(
        "an input does not come early if the deadline stays the same",
        "meetings.py",
        "if later <= 0.0 or",
        "if",
    ),
    Mutation(
        "it costs more to come early for a run that nothing waits for",
        "meetings.py",
        "return part * asset.route.work * _DOUBT",
        "return part * asset.route.work",
    ),
    Mutation(
        "it costs the runs of a tighter target too if a shared input comes early",
        "meetings.py",
        "asset.route.work + first.work",
        "asset.route.work",
    ),
    Mutation(
        "once phases have locked, coming early costs only what periods differ",
        "meetings.py",
        "return max(0.0, 1.0 - ask.cycle / period) * asset.route.work if period > 0.0 else inf",
        "return part * asset.route.work",
    ),
    Mutation(
        "an infeasible policy is served at the pace of its slowest run",
        "claims.py",
        "if feasible(route, policy, now):\n        return policy\n    seconds",
        "return policy\n    seconds",
    ),
    Mutation(
        "a root starts at the last tick before its latest start",
        "votes.py",
        "if self._known.is_due(key):\n            return Vote(True, self._why_urgent(urgency))",
        'if self._known.now > urgency.latest_start:\n            return Vote(True, "")',
    ),
    Mutation(
        "an asset upstream of time windows is not made before that can matter",
        "claims.py",
        "return max(latest, self.not_before(data_time)) if self.windows else latest",
        "return latest",
    ),
    Mutation(
        "a closed window is made at once, not when the policy needs it",
        "votes.py",
        "return [part for part in choice.ready if part in choice.final or part in due]",
        "return due",
    ),
    Mutation(
        "a partition waits until what it reads is complete",
        "parts.py",
        "if not complete and not (partial and reach > reached_by(part, asset)):",
        "if False:",
    ),
    Mutation(
        "a partition is not requested while a run makes it",
        "parts.py",
        "if part.pending or (asset.single_run and room < _AT_ONCE):",
        "if False:",
    ),
    Mutation(
        "a failed partition pauses before it is tried again",
        "parts.py",
        "if not facts.reached(pause):",
        "if False:",
    ),
    Mutation(
        "a failed partition does not hold up the others",
        "facts.py",
        "if state.failures and not facts.graph.assets[key].partitioned:",
        "if state.failures:",
    ),
    Mutation(
        "what reads a view reads the inputs of the view",
        "lineage.py",
        "if inside or (dep in graph.assets and graph.assets[dep].view):",
        "if inside:",
    ),
    Mutation(
        "a view whose code has changed is made again",
        "facts.py",
        "return asset.code_version != version.code_version",
        "return False",
    ),
    Mutation(
        "after a run without anything new, the next one is not due at once",
        "facts.py",
        "return self.data_time if self.pending else self.used_up_to",
        "return self.data_time",
    ),
    Mutation(
        "what is observed has a run of its own",
        "decisions.py",
        "decision.alone = alone or node.observed",
        "decision.alone = alone",
    ),
    Mutation(
        "an asset does not run on inputs that are no newer",
        "known.py",
        "return oldest > (own.data_time or 0.0)",
        "return oldest >= (own.data_time or 0.0)",
    ),
    Mutation(
        "a slower target waits for the last sync that is in time",
        "known.py",
        "return arrival if arrival <= in_time else None",
        "return None",
    ),
    Mutation(
        "an asset is not requested while a run makes it",
        "decisions.py",
        "if first.pending:\n            for key",
        "if False:\n            for key",
    ),
    Mutation(
        "a failed asset pauses before it is tried again",
        "decisions.py",
        "and lacking is None and self._known.facts.reached(not_before):",
        "and lacking is None and self._known.facts.reached(first.rested_at):",
    ),
    Mutation(
        "an input is not made again for a consumer that cannot run",
        "meetings.py",
        "    if reader.hold and facts.has_unused_version(name, consumer):\n        return []",
        "",
    ),
    Mutation(
        "after an outage, there is no run on inputs that are too old",
        "known.py",
        "return self.superseded_at(key, {})",
        "return None",
    ),
    Mutation(
        "after an outage, a late target waits for inputs on their way",
        "known.py",
        "soon = arrival <= end + busy + asset.tick",
        "soon = False",
    ),
    Mutation(
        "an unknown dependency blocks everything downstream of it",
        "lineage.py",
        "len(sets_of(keys, inputs)), _unexplained(graph, keys))",
        'len(sets_of(keys, inputs)), "")',
    ),
    Mutation(
        "any of several inputs may be the last to come",
        "estimate.py",
        "if wait and feeders > 1:",
        "if False:",
    ),
    Mutation(
        "estimates are quantiles, not means",
        "estimate.py",
        "if variance <= 0.0 or mean <= 0.0:",
        "if True:",
    ),
    Mutation(
        "a root starts with one that it meets in its own location",
        "companions.py",
        "for key, begin in _begins(known).items():",
        "for key, begin in ():",
    ),
    Mutation(
        "a root starts alone when they meet elsewhere",
        "companions.py",
        "and root.location == known.facts.assets[key].location",
        "",
    ),
    Mutation(
        "a root that is not due before they meet starts alone",
        "companions.py",
        "due <= begin",
        "True",
    ),
    Mutation(
        "a root does not start early for what cannot be made",
        "companions.py",
        "if asset.hold or not",
        "if not",
    ),
    Mutation(
        "a root that is made at most every so often does not start early",
        "companions.py",
        "and known.facts.reached(first.rested_at)",
        "",
    ),
    Mutation(
        "a location is planned with the ticks that it was seen to make",
        "facts.py",
        "tick = lineage.graph.tick(execution_set.location, snapshot.ticks)",
        "tick = lineage.graph.tick(execution_set.location)",
    ),
    Mutation(
        "durations that have changed are noticed",
        "moments.py",
        "if trend and abs(trend.evidence) > _ENOUGH_EVIDENCE:",
        "if False:",
    ),
    Mutation(
        "one accident is not a change",
        "moments.py",
        "min(surprise, _EVIDENCE_OF_ONE)",
        "surprise",
    ),
    Mutation(
        "durations near the mean are no evidence of a change",
        "moments.py",
        "/ deviation - _USUAL",
        "/ deviation",
    ),
    Mutation(
        "after a change, the mean is of the newest runs alone",
        "moments.py",
        "mean_of=newest)",
        "mean_of=before.count)",
    ),
    Mutation(
        "durations that have become longer vary more as well",
        "moments.py",
        "spread = max(spread, min(factor * spread, ASSUMED_SPREAD * mean))",
        "",
    ),
    Mutation(
        "a mean of few runs is less certain than one of many",
        "estimate.py",
        "mean_of = count if moments.mean_of is None else moments.mean_of",
        "mean_of = count",
    ),
    Mutation(
        "a target is not fresh behind a silent location",
        "report.py",
        "stands = hold is not None and (late or hold.phase in (Phase.SILENT, Phase.UNKNOWN))",
        "stands = hold is not None and late",
    ),
    Mutation(
        "no more is requested than there is room for",
        "capacity.py",
        "if not free_at[name] or free_at[name][0] > next_tick}",
        "if False}",
    ),
    Mutation(
        "the most urgent in all locations takes the next free slot",
        "capacity.py",
        "for run in sorted(_wanted(lineage, decisions), key=lambda run: _order(run, decisions)):",
        "for run in _wanted(lineage, decisions):",
    ),
    Mutation(
        "a run takes as long as its longest chain, not as its longest asset",
        "capacity.py",
        "max(ready) + stage.execution.mean if ready else stage.run.mean",
        "stage.run.mean",
    ),
    Mutation(
        "only what needs a full pool waits, not all of its run",
        "capacity.py",
        "lacking = sorted(room.needs(together, lineage) & full)",
        "lacking = sorted(full)",
    ),
    Mutation(
        "what finds no place starts earlier",
        "capacity.py",
        "return min(begin, self._free[-1] - seconds) if self._free else begin",
        "return begin",
    ),
    Mutation(
        "what is upstream of a run that starts earlier does so too",
        "capacity.py",
        "if moved:\n            self._move_inputs(execution_set, begin)",
        "",
    ),
    Mutation(
        "roots that find no place each start together",
        "capacity.py",
        "near = tick if execution_set.feeders or is_short else MARGIN",
        "near = tick if execution_set.feeders else MARGIN",
    ),
    Mutation(
        "roots start together also where another run makes both start earlier",
        "capacity.py",
        "_Combined(begin, free, needs, [execution_set])",
        "_Combined(free, free, needs, [execution_set])",
    ),
    Mutation(
        "a run under way has its place until it is expected to end",
        "capacity.py",
        "while self._under_way and self._under_way[-1].end > begin:",
        "while False:",
    ),
)


def caught_by(mutation: Mutation) -> str | None:
    """Return the first story that fails; None: the mutation survives."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "freshline")
        shutil.copytree(ROOT / "shared/src/freshline", copy)
        path = copy / "planner" / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            sys.exit(f"{mutation.file} no longer has exactly one: {mutation.old}")
        path.write_text(text.replace(mutation.old, mutation.new))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *STORIES, "-x", "-q"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    failed = re.search(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)
    return failed[1] if failed else None


def main() -> int:
    survivors = 0
    print("| rule taken away | caught by |\n| --- | --- |")
    for mutation in MUTATIONS:
        story = caught_by(mutation)
        survivors += story is None
        print(f"| {mutation.rule} | {story or '**nothing**'} |", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
