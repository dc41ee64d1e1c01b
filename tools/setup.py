"""Set the checkout up: uv, one virtual environment a project, dbt manifests.

Standard library only, since it runs before anything is installed. Running it again is quick
and harmless: an environment is rebuilt when its lock file, its project file or the Python
that it was made with has changed, or when an earlier set-up was interrupted. With the names
of projects it sets up those alone: `python3 tools/setup.py analytics_core`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
UV = STATE / "uv" / "bin" / "uv"
OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)
"""dagster-dbt, dbt-core 1.11 and the connector do not work on 3.14; all else here does."""
NEEDED_BYTES = 3 * 1024**3
"""The six environments and uv's cache, with room to spare."""

# Folder of each project, and the local packages that are installed into its environment.
PROJECTS: dict[str, tuple[str, ...]] = {
    ".": ("shared",),
    "ingestion": ("shared", "ingestion"),
    "analytics_core": ("shared", "analytics_core"),
    "analytics_marts": ("shared", "analytics_marts"),
    "devstack": ("devstack",),
    "devstack/connectors/source-github": (),
}

# What a project prepares once its environment stands.
PREPARE: dict[str, tuple[str, ...]] = {
    "analytics_core": ("-m", "analytics_core.prepare"),
    "analytics_marts": ("-m", "analytics_marts.prepare"),
}


def main(names: list[str]) -> None:
    """Set up the named projects, or all of them."""
    unknown = [name for name in names if name not in PROJECTS]
    if unknown:
        give_up(f"No project is called {unknown[0]}.", f"There are: {', '.join(PROJECTS)}")
    folders = names or list(PROJECTS)
    check_python()
    STATE.mkdir(exist_ok=True)
    with (STATE / "setup.lock").open("w") as lock:
        wait_for(lock)
        if any(stale(folder) for folder in folders):
            check_disk()
            install_uv()
        for folder in folders:
            if stale(folder):
                install(folder, PROJECTS[folder])
        for folder in (folder for folder in folders if folder in PREPARE):
            arguments = PREPARE[folder]
            run([str(python_of(folder)), *arguments], f"prepare {folder}")


def check_python() -> None:
    found = f"{sys.version_info.major}.{sys.version_info.minor} ({sys.executable})"
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        give_up(
            f"Python {found} does not fit: 3.11 to 3.13 do.",
            "Name another one: make PYTHON=python3.12 ...",
        )
    try:
        import ensurepip  # noqa: F401  (Debian ships Python without it)
        import venv  # noqa: F401
    except ImportError:
        give_up(
            f"Python {found} has no venv module.",
            "On Debian and Ubuntu: apt-get install python3-venv",
        )


def wait_for(lock) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up of this checkout is running: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def check_disk() -> None:
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        give_up(
            f"{free / 1024**3:.1f} GB are free on the disk of {ROOT}, "
            f"{NEEDED_BYTES / 1024**3:.0f} GB are needed.",
            "Make room, then run the same command again: it goes on where it stopped.",
        )


def install_uv() -> None:
    """Install uv at the version and hashes that the host's lock file names."""
    pin = uv_pin()
    stamp = UV.parent.parent / ".pin"
    if UV.exists() and stamp.exists() and stamp.read_text() == pin:
        return
    started = time.monotonic()
    environment = UV.parent.parent
    shutil.rmtree(environment, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(environment)], "make an environment for uv")
    requirements = environment / "requirements.txt"
    requirements.write_text(pin)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    run([*pip, "--require-hashes", "-r", str(requirements)], "install uv")
    stamp.write_text(pin)
    say(f"uv installed ({time.monotonic() - started:.0f} s)")


def uv_pin() -> str:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("uv=="))
    length = next(i for i, line in enumerate(lines[start:]) if not line.endswith("\\"))
    return "\n".join(lines[start : start + length + 1]) + "\n"


def install(folder: str, packages: tuple[str, ...]) -> None:
    """Make the project's environment anew: exactly its lock file, and the local packages."""
    started = time.monotonic()
    environment = ROOT / folder / ".venv"
    python = str(environment / "bin" / "python")
    name = "host" if folder == "." else folder
    shutil.rmtree(environment, ignore_errors=True)
    run(
        [str(UV), "venv", "--quiet", "--python", sys.executable, str(environment)],
        f"make {name}'s environment",
    )
    lock = str(ROOT / folder / "requirements.lock")
    run(
        [
            str(UV),
            "pip",
            "sync",
            "--quiet",
            # A code server and every run import Dagster: seconds each, without bytecode.
            "--compile-bytecode",
            "--require-hashes",
            "--python",
            python,
            lock,
        ],
        f"install {name}'s packages",
    )
    if packages:  # the connector has none of ours
        editable = [argument for package in packages for argument in ("-e", str(ROOT / package))]
        run(
            [str(UV), "pip", "install", "--quiet", "--no-deps", "--python", python, *editable],
            f"install {name} itself",
        )
    stamp_of(folder).write_text(fingerprint(folder))
    say(f"{name}: environment ready ({time.monotonic() - started:.0f} s)")


def stale(folder: str) -> bool:
    stamp = stamp_of(folder)
    return not stamp.exists() or stamp.read_text() != fingerprint(folder)


def fingerprint(folder: str) -> str:
    """A digest of what the environment is made from, its own place included (scripts name it)."""
    files = [ROOT / folder / "requirements.lock"]
    files += [ROOT / package / "pyproject.toml" for package in PROJECTS[folder]]
    digest = hashlib.sha256(f"{sys.version}{sys.executable}{ROOT}".encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def stamp_of(folder: str) -> Path:
    return ROOT / folder / ".venv" / ".setup"


def python_of(folder: str) -> Path:
    return ROOT / folder / ".venv" / "bin" / "python"


def run(command: list[str], purpose: str) -> None:
    # An active environment of the caller's must not become the target of uv's.
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode != 0:
        way_out = "Run the same command again once that is mended: it goes on where it stopped."
        if "No space left on device" in result.stdout:
            way_out = "The disk is full. Make room, then run the same command again."
        give_up(f"Could not {purpose}:\n{result.stdout.strip()}", way_out)


def say(message: str) -> None:
    print(f"setup: {message}", flush=True)


def give_up(problem: str, way_out: str) -> NoReturn:
    sys.exit(f"setup: {problem}\nsetup: {way_out}")


if __name__ == "__main__":
    main(sys.argv[1:])
