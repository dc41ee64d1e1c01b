"""How much more a team's runs a minute four hosts make than one: each in a network namespace.

Two workers' places on one host, then eight on four, in one go. The runs sleep, so that the hosts
have work and the one machine that they all are has little: what is measured is what the daemon, the
broker and the database let through. Exits with status 1 below the goal. Needs root, or a kernel
that lets users make namespaces. Run it on a quiet machine with

    .venv/bin/python bench/hosts.py         # some six minutes
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import dagster as dg

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [
    str(ROOT / folder)
    for folder in ("devstack/testing", "shared/tests", "tests", "tests/hosts", "tools")
]

from devstack_fixtures import Launcher  # noqa: E402  # found by the lines above
from engine_teams import ENDED, until  # noqa: E402
from network import Network, NetworkError  # noqa: E402
from site_on_hosts import Site, running_site  # noqa: E402

HOSTS = ("one-a", "one-b", "one-c", "one-d")
PLACES = 2
WAVES = 4
GOAL = 3.8


def main() -> int:
    launcher = Launcher()
    try:
        with Network() as network, tempfile.TemporaryDirectory(prefix="hosts-") as folder:
            teams = {"one": HOSTS}
            with running_site(Path(folder), network, launcher, teams, policies=False) as site:
                return compare(site)
    except NetworkError as error:
        sys.exit(f"no hosts can be made here: {error}")
    finally:
        launcher.close()


def compare(site: Site) -> int:
    many = measure(site, len(HOSTS))
    for host in HOSTS[1:]:
        site.workers[host].stop()
    one = measure(site, 1)
    ratio = many / one
    print(f"{PLACES} places on one host: {one:.2f} runs a minute")
    print(f"{PLACES * len(HOSTS)} places on {len(HOSTS)} hosts: {many:.2f} runs a minute")
    print(f"{ratio:.2f} times as many; the goal is {GOAL}")
    return int(ratio < GOAL)


def measure(site: Site, hosts: int) -> float:
    """Return how many runs a minute `hosts` hosts make, from the first begun to the last ended."""
    ids = [site.submit("nap") for _ in range(WAVES * PLACES * hosts)]
    wanted = dg.RunsFilter(run_ids=ids)

    def all_have_ended() -> bool:
        return all(run.status in ENDED for run in site.instance.get_runs(wanted))

    until(all_have_ended, 900, why=site.worker_log)
    records = site.instance.get_run_records(wanted)
    failed = [record for record in records if record.dagster_run.status.value != "SUCCESS"]
    if failed:
        sys.exit(f"a run failed:\n{site.messages(failed[0].dagster_run.run_id)}")
    begin = min(record.start_time or 0.0 for record in records)
    end = max(record.end_time or 0.0 for record in records)
    return len(ids) / (end - begin) * 60


if __name__ == "__main__":
    sys.exit(main())
