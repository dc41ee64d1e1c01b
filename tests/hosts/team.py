"""The code of a team; a test makes a copy for each, in a folder that has the team's name.

Every asset notes in the file `trace` beside that folder when it begins, that it goes on, and when
it ends. The file stands for a warehouse that can be reached from everywhere: what is noted there
after the run was given up was done in vain, or twice.
"""

# No `from __future__ import annotations`: Dagster reads the annotation of `context`.
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from freshline import data_time_metadata, max_lag, stamp_lag, with_freshline

LOCATION = Path(__file__).parent.name
SITE = Path(__file__).parent.parent
RELEASE = "first"
POLICIES = True
MINUTES = 1.5
NOTE_EVERY = 0.1


def note(context: dg.AssetExecutionContext, word: str) -> None:
    key = context.asset_key.to_user_string()
    line = f"{time.monotonic():.3f} {context.run_id} {os.getpid()} {key} {word}\n"
    file = os.open(SITE / "trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())  # one write: lines of several processes do not mix
    os.close(file)


def work(context: dg.AssetExecutionContext, is_done: Callable[[], bool]) -> None:
    note(context, "begins")
    while not is_done():
        time.sleep(NOTE_EVERY)
        note(context, "goes on")
    note(context, "ends")


def after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


@dg.asset(key_prefix=LOCATION)
def quick(context: dg.AssetExecutionContext) -> None:
    work(context, after(0))
    context.add_output_metadata({"release": RELEASE, "clock": time.time()})


@dg.asset(key_prefix=LOCATION)
def task(context: dg.AssetExecutionContext) -> None:
    work(context, after(2))


@dg.asset(key_prefix=LOCATION)
def nap(context: dg.AssetExecutionContext) -> None:
    time.sleep(float(os.environ["NAP_SECONDS"]))


@dg.asset(key_prefix=LOCATION)
def patient(context: dg.AssetExecutionContext) -> None:
    gates = SITE / "gates"
    work(context, lambda: (gates / context.run_id).exists() or (gates / "all").exists())


@dg.asset(key_prefix=LOCATION)
def starter(context: dg.AssetExecutionContext) -> None:
    """Start a program, as a sync or dbt would be."""
    note(context, "begins")
    subprocess.run(["sleep", "4321"], check=True)


@dg.asset(key_prefix=LOCATION)
def talker(context: dg.AssetExecutionContext) -> None:
    note(context, "begins")
    print("many words " * 100_000)
    note(context, "ends")


@dg.asset(key_prefix=LOCATION)
def source(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    began = datetime.now(UTC)
    work(context, after(0.5))
    yield from stamp_lag(context, iter([dg.MaterializeResult(metadata=data_time_metadata(began))]))


def derived(name: str, origin: str) -> dg.AssetsDefinition:
    """Return an asset with a policy, made from the source of the team `origin`."""

    @dg.asset(
        key=[LOCATION, name],
        deps=[dg.AssetKey([origin, "source"])],
        metadata=max_lag(minutes=MINUTES),
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        work(context, after(0.5))
        yield from stamp_lag(context, iter([dg.MaterializeResult()]))

    return body


ASSETS = [quick, task, nap, patient, starter, talker, source]
if POLICIES:
    ASSETS.append(derived("report", LOCATION))
if POLICIES and LOCATION == "two":
    ASSETS.append(derived("mart", "one"))

defs = with_freshline(
    dg.Definitions(assets=ASSETS, executor=dg.in_process_executor), location=LOCATION
)
