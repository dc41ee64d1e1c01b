"""100,000 stars into Postgres: the embedded Airbyte beside PyAirbyte's Postgres cache.

``devstack/.venv/bin/python bench/airbyte_load.py`` prints the table of the README's section
"airbyte_load". Both read the same GitHub stand-in through the same connector into the same
Postgres, one after the other. PyAirbyte gets a virtual environment of its own in a temporary
folder (some 600 MB), deleted afterwards; ``--pyairbyte FOLDER`` takes one made before.

Memory is the highest sum of resident memory of a process and its descendants, sampled four times a
second. The connector is the same on both sides; one of the two columns leaves it out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import psycopg
from devstack.airbyte.registry import load_registry
from devstack.postgres.server import PostgresServer

ROOT = Path(__file__).resolve().parents[1]
DEVSTACK = ROOT / "devstack" / ".venv" / "bin" / "devstack"
PYAIRBYTE = "airbyte==0.71.3"
REPOSITORY = "acme/rocket"
SAMPLE_SECONDS = 0.25

_PYAIRBYTE_PROGRAM = """
import json, sys
import airbyte
from airbyte.caches import PostgresCache

order = json.load(sys.stdin)
source = airbyte.get_source(
    "source-github", config=order["config"], local_executable=order["connector"]
)
source.select_streams(["stargazers"])
source.read(cache=PostgresCache(schema_name="pyairbyte", **order["postgres"]))
"""


@dataclass(frozen=True)
class Load:
    """What one load took: seconds, and bytes at the highest, without and with the connector."""

    name: str
    seconds: float
    own_bytes: int
    all_bytes: int
    rows: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stars", type=int, default=100_000)
    parser.add_argument("--pyairbyte", type=Path, help="a virtual environment that has PyAirbyte")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airbyte-load-") as name:
        folder = Path(name)
        # Postgres may run as another user, who must be able to pass through.
        folder.chmod(0o711)
        python = options.pyairbyte or install_pyairbyte(folder / "pyairbyte")
        stars = folder / "stars.csv"
        write_stars(stars, options.stars)
        with (
            PostgresServer(folder / "postgres") as postgres,
            served("github", stars=stars) as github,
        ):
            config = {
                "credentials": {"personal_access_token": github["token"]},
                "repositories": [REPOSITORY],
                "api_url": github["url"],
            }
            before = os.getloadavg()[0]
            loads = [
                load_embedded(folder, postgres, config),
                load_pyairbyte(python / "bin" / "python", folder, postgres, config),
            ]
            show(loads, options.stars, before)


def load_embedded(folder: Path, postgres: PostgresServer, config: dict[str, Any]) -> Load:
    """Measure one sync of the embedded Airbyte, from the request to the end of the job."""
    at = postgres.address
    url = f"postgresql://{at.user}:{at.password}@{at.host}:{at.port}/{at.database}"
    with (
        served("airbyte", data=folder / "airbyte", database_url=url) as server,
        httpx.Client(
            base_url=f"{server['url']}/api/public/v1/",
            auth=(server["client_id"], server["client_secret"]),
            timeout=60,
        ) as api,
    ):

        def post(path: str, **body: Any) -> Any:
            return api.post(path, json=body).raise_for_status().json()

        workspace = server["workspace_id"]
        source = post(
            "sources",
            name="github",
            workspaceId=workspace,
            configuration={"sourceType": "github", **config},
        )
        destination = post(
            "destinations",
            name="postgres",
            workspaceId=workspace,
            configuration={
                "destinationType": "postgres",
                "host": at.host,
                "port": at.port,
                "username": at.user,
                "password": at.password,
                "database": at.database,
                "schema": "embedded",
            },
        )
        connection = post(
            "connections",
            sourceId=source["sourceId"],
            destinationId=destination["destinationId"],
            configurations={
                "streams": [{"name": "stargazers", "syncMode": "incremental_deduped_history"}]
            },
        )
        with Peak(server["pid"]) as memory:
            began = time.monotonic()
            job = post("jobs", connectionId=connection["connectionId"], jobType="sync")
            while job["status"] == "running":
                time.sleep(0.2)
                job = api.get(f"jobs/{job['jobId']}").raise_for_status().json()
            seconds = time.monotonic() - began
    if job["status"] != "succeeded":
        raise SystemExit(f"the embedded Airbyte's job {job['status']}")
    rows = count(postgres, "embedded.stargazers")
    return Load("embedded Airbyte", seconds, memory.own, memory.whole, rows)


def load_pyairbyte(
    python: Path, folder: Path, postgres: PostgresServer, config: dict[str, Any]
) -> Load:
    """Measure one read of PyAirbyte into its Postgres cache, from start to end of the program."""
    connector = load_registry().find("source", type="github")
    if connector is None:
        raise SystemExit("there is no GitHub connector")
    at = postgres.address
    order = {
        "config": config,
        "connector": connector.command_line()[0],
        "postgres": {
            "host": at.host,
            "port": at.port,
            "username": at.user,
            "password": at.password,
            "database": at.database,
        },
    }
    work = folder / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "AIRBYTE_OFFLINE_MODE": "1",
        "AIRBYTE_LOGGING_ROOT": str(work / "logs"),
    }
    began = time.monotonic()
    process = subprocess.Popen(
        [str(python), "-c", _PYAIRBYTE_PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=work,
        env=environment,
        text=True,
    )
    with Peak(process.pid) as memory:
        process.communicate(json.dumps(order))
        seconds = time.monotonic() - began
    if process.returncode != 0:
        raise SystemExit("PyAirbyte failed; its message is above")
    rows = count(postgres, "pyairbyte.stargazers")
    return Load("PyAirbyte, Postgres cache", seconds, memory.own, memory.whole, rows)


class Peak:
    """Watches the memory of a process and its descendants for as long as the block lasts."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.own = 0
        self.whole = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            own = whole = 0
            # Processes end while they are looked at.
            with contextlib.suppress(psutil.Error):
                for process in (self._root, *self._root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        size = process.memory_info().rss
                        whole += size
                        if not any(word.endswith("/source-github") for word in process.cmdline()):
                            own += size
            self.own, self.whole = max(self.own, own), max(self.whole, whole)


@contextlib.contextmanager
def served(name: str, **options: Any) -> Iterator[dict[str, Any]]:
    """Run one server of the stack; yield what it announces about itself, and its process id."""
    words = [str(DEVSTACK), "serve", name, "--with-parent"]
    for option, value in options.items():
        words += [f"--{option.replace('_', '-')}", str(value)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise SystemExit(f"devstack serve {name} did not start")
        yield {**json.loads(line), "pid": process.pid}
    finally:
        process.terminate()
        process.wait()


def install_pyairbyte(folder: Path) -> Path:
    """Make a virtual environment with PyAirbyte in `folder`, and return that."""
    uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
    subprocess.run([uv, "venv", "--quiet", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, PYAIRBYTE], check=True)
    return folder


def write_stars(file: Path, number: int) -> None:
    """Write a repository's stars in random order, several in the same second."""
    rng = random.Random(20_260_630)
    start = datetime(2020, 1, 1, tzinfo=UTC)
    people = rng.sample(range(1, number + 1), number)
    with file.open("w") as out:
        out.write("repository,user_id,login,starred_at\n")
        for person in people:
            starred_at = start + timedelta(seconds=rng.randrange(number // 2 + 1))
            out.write(f"{REPOSITORY},{person},user{person},{starred_at:%Y-%m-%dT%H:%M:%SZ}\n")


def count(postgres: PostgresServer, table: str) -> int:
    with psycopg.connect(postgres.address.conninfo) as db:
        row = db.execute(f"select count(distinct user_id) from {table}").fetchone()
    return int(row[0]) if row else 0


def show(loads: list[Load], stars: int, load_average: float) -> None:
    print(f"{stars:,} stars; {os.cpu_count()} cores, load average before {load_average:.1f};")
    print(f"Python {sys.version.split()[0]}, {PYAIRBYTE}\n")
    print("| | seconds | peak memory without the connector | with it | rows |")
    print("| --- | --- | --- | --- | --- |")
    for one in loads:
        own, whole = one.own_bytes / 2**20, one.all_bytes / 2**20
        print(f"| {one.name} | {one.seconds:.0f} | {own:.0f} MB | {whole:.0f} MB | {one.rows:,} |")
    ours, theirs = loads
    print(
        f"\nTime {ours.seconds / theirs.seconds:.2f} and memory without the connector"
        f" {ours.own_bytes / theirs.own_bytes:.2f} times PyAirbyte's."
    )
    if ours.seconds > theirs.seconds or ours.own_bytes >= theirs.own_bytes:
        raise SystemExit("the embedded Airbyte is slower or larger")
    if {one.rows for one in loads} != {stars}:
        raise SystemExit("rows are missing")


if __name__ == "__main__":
    main()
