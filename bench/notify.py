"""How soon `freshline notify` tells that a promise is broken: from the deadline to the webhook.

``.venv/bin/python bench/notify.py`` prints the table of docs/monitoring.md. On a real Postgres, 20
targets become late one after the other within a minute and a half, each for a reason of its own. A
notifier, in a process of its own, tells a webhook.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from own_postgres import own_postgres

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "shared" / "tests"))

TARGETS, APART, MINUTES = 20, 3.0, 60.0
FIRST_AFTER = 25.0  # seconds in which the notifier starts


def main() -> None:
    from webhook import running_webhook

    with (
        own_postgres() as server,
        server.new_database() as database,
        tempfile.TemporaryDirectory() as home,
        running_webhook() as webhook,
    ):
        delays = sorted(measure(Path(home), database, webhook))
    print("| breaches | median | longest |\n| ---: | ---: | ---: |")
    print(f"| {len(delays)} | {median(delays):.1f} s | {delays[-1]:.1f} s |")


def measure(home: Path, database: Any, webhook: Any) -> list[float]:
    """Return the seconds from each deadline to its message."""
    import dagster as dg
    from conftest import write_instance
    from freshline.contract import Export
    from freshline.policy import MaxLag
    from outlooks import contract, publish, report

    write_instance(home, database)
    (home / "notify.toml").write_text(f'others = ["json://{webhook.host}/"]')
    keys = [f"mart/{number:02}" for number in range(TARGETS)]
    exports = [Export(key=key, policy=MaxLag(MINUTES)) for key in keys]
    deadlines = {}
    with dg.DagsterInstance.from_config(str(home)) as instance:
        publish(instance, contract("marts", *exports, tick=600.0))
        for number, key in enumerate(keys):
            ahead = FIRST_AFTER + number * APART
            deadlines[key] = time.time() + ahead
            report(instance, key, ago=MINUTES * 60.0 - ahead)
    notifier = subprocess.Popen(
        [Path(sys.executable).with_name("freshline"), "notify"],
        cwd=home,
        env={**os.environ, "DAGSTER_HOME": str(home)},
    )
    try:
        end = max(deadlines.values()) + 30.0
        while len(times_told(keys, webhook)) < TARGETS and time.time() < end:
            time.sleep(0.2)
    finally:
        notifier.terminate()
        notifier.wait(60)
    told = times_told(keys, webhook)
    return [told[key] - deadline for key, deadline in deadlines.items()]


def times_told(keys: list[str], webhook: Any) -> dict[str, float]:
    """Return when each target was told of. What breaks within one look is one message."""
    told: dict[str, float] = {}
    for (_, content), at in zip(list(webhook.received), list(webhook.times), strict=False):
        for key in keys:
            if key in content["message"]:
                told.setdefault(key, at)
    return told


if __name__ == "__main__":
    main()
