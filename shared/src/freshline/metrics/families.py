"""What an outlook says, as Prometheus' metric families.

The names, labels and units are an interface: see docs/monitoring.md. Times are UTC in epoch
seconds, so that they stay right however old the answer is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)

from freshline.check.runtime import RuntimeFindings
from freshline.history.events import RESULTS
from freshline.history.tally import Work
from freshline.model import TargetPlan, TargetStatus
from freshline.names import IMPORTS_CHECK, POLICIES_CHECK
from freshline.planner import silent_locations
from freshline.sensor.outlook import Outlook

__all__ = ["READABLE", "families_of", "families_without_outlook"]

READABLE = "readable"
"""The name, beside those of the checks, under which a contract is counted that cannot be read."""

Findings: TypeAlias = Mapping[str, RuntimeFindings]

_TARGET = ("target", "location")


def families_of(outlook: Outlook, findings: Findings, now: float) -> Iterator[Metric]:
    """Yield all families for what is known at `now`."""
    yield from _of_the_exporter(up=True)
    yield GaugeMetricFamily(
        "freshline_looked_at_seconds",
        "When the database was asked for what is shown here: UTC, epoch seconds.",
        outlook.now,
        unit="seconds",
    )
    yield from _of_targets(outlook.plan.targets.values(), outlook.plan.now)
    yield from _of_locations(outlook, now)
    yield from _of_work(outlook)
    yield _of_contracts(outlook, findings)


def families_without_outlook() -> Iterator[Metric]:
    """Yield what there is to say while the database does not answer: no figure of before."""
    yield from _of_the_exporter(up=False)


def _of_the_exporter(*, up: bool) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "freshline_up",
        "1: the database has answered. 0: it has not, and nothing is shown of what was known.",
        float(up),
    )
    yield InfoMetricFamily(
        "freshline_build",
        "The versions of freshline and of Dagster that the exporter runs with.",
        {"version": version("freshline"), "dagster_version": version("dagster")},
    )


def _of_targets(targets: Iterable[TargetPlan], at: float) -> Iterator[Metric]:
    """Yield the families of targets, whose lags are those of the time `at`."""
    data_time = GaugeMetricFamily(
        "freshline_data_time_seconds",
        "Every source row that existed then is in the target: UTC, epoch seconds. "
        "Missing while it is unknown.",
        labels=_TARGET,
        unit="seconds",
    )
    deadline = GaugeMetricFamily(
        "freshline_deadline_seconds",
        "Until when the target's data is new enough: UTC, epoch seconds. Missing while the data "
        "time is unknown.",
        labels=_TARGET,
        unit="seconds",
    )
    maximum = GaugeMetricFamily(
        "freshline_maximum_lag_seconds",
        "How far behind the policy lets the target be.",
        labels=_TARGET,
        unit="seconds",
    )
    shortest = GaugeMetricFamily(
        "freshline_shortest_lag_seconds",
        "The shortest maximum lag that the path to the target could hold. Missing if not known.",
        labels=_TARGET,
        unit="seconds",
    )
    status = GaugeMetricFamily(
        "freshline_target_status",
        "1 for the status that the target has, 0 for the others.",
        labels=(*_TARGET, "status"),
    )
    held_up = GaugeMetricFamily(
        "freshline_held_up_by",
        "1 for what holds the target up: an asset, the location of that asset, and the phase that "
        "the asset is in.",
        labels=("target", "location", "asset", "phase"),
    )
    for target in sorted(targets, key=lambda it: it.key):
        whose = (target.key, target.location)
        if target.lag is not None:
            data_time.add_metric(whose, at - target.lag)
        if target.deadline is not None:
            deadline.add_metric(whose, target.deadline)
        maximum.add_metric(whose, target.maximum)
        if target.shortest is not None:
            shortest.add_metric(whose, target.shortest)
        for each in TargetStatus:
            status.add_metric((*whose, each.value), float(each is target.status))
        blame = target.blame
        if blame is not None:
            held_up.add_metric((target.key, blame.location, blame.asset, blame.phase.value), 1.0)
    yield from (data_time, deadline, maximum, shortest, status, held_up)


def _of_locations(outlook: Outlook, now: float) -> Iterator[Metric]:
    told_at = GaugeMetricFamily(
        "freshline_location_last_tick_seconds",
        "When the location last told that it ticks: UTC, epoch seconds. It tells it once a minute.",
        labels=("location",),
        unit="seconds",
    )
    age = GaugeMetricFamily(
        "freshline_location_last_tick_age_seconds",
        "How long ago that was, by the exporter's clock.",
        labels=("location",),
        unit="seconds",
    )
    interval = GaugeMetricFamily(
        "freshline_location_tick_interval_seconds",
        "The seconds between two ticks: as the location declares, or as it has measured.",
        labels=("location",),
        unit="seconds",
    )
    silent = GaugeMetricFamily(
        "freshline_location_silent",
        "1 if the location was not heard of for so long that plans do without it, else 0.",
        labels=("location",),
    )
    seen, ticks = outlook.snapshot.seen, outlook.snapshot.ticks
    fallen_silent = silent_locations(outlook.graph, outlook.snapshot, now)
    for location, at in sorted(seen.items()):
        told_at.add_metric([location], at)
        age.add_metric([location], max(0.0, now - at))
        interval.add_metric([location], outlook.graph.tick(location, ticks))
        silent.add_metric([location], float(location in fallen_silent))
    yield from (told_at, age, interval, silent)


def _of_work(outlook: Outlook) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "freshline_requests",
        "Runs that freshline has requested since the exporter was started, without retries.",
        labels=("location",),
    )
    runs = CounterMetricFamily(
        "freshline_runs",
        "Runs that have ended since the exporter was started, whoever started them.",
        labels=("location", "result"),
    )
    seconds = CounterMetricFamily(
        "freshline_work_seconds",
        "How long the steps of these runs took together.",
        labels=("location",),
        unit="seconds",
    )
    # Where nothing was run yet, a counter stands at zero: it must not appear with its first run.
    for location in sorted({*outlook.snapshot.seen, *outlook.work}):
        work = outlook.work.get(location, Work())
        requests.add_metric([location], work.requests)
        for result in RESULTS.values():
            runs.add_metric([location, result], work.ended.get(result, 0))
        seconds.add_metric([location], work.seconds)
    yield from (requests, runs, seconds)


def _of_contracts(outlook: Outlook, findings: Findings) -> Metric:
    family = GaugeMetricFamily(
        "freshline_contract_findings",
        "What is wrong with the location's contract: how much each of its checks finds, and "
        f"whether it can be read ({READABLE}).",
        labels=("location", "check"),
    )
    for location in sorted({*findings, *outlook.problems}):
        found = findings.get(location, RuntimeFindings())
        family.add_metric([location, IMPORTS_CHECK], len(found.imports))
        family.add_metric([location, POLICIES_CHECK], len(found.policies))
        family.add_metric([location, READABLE], float(location in outlook.problems))
    return family
