"""Set the checkout up: uv, a virtual environment for each project, dbt manifests.

Standard library only, since it runs before anything is installed. It is quick when nothing has
changed: an environment is made anew when its lock file, a project file or the Python that it was
made with has changed, or when an earlier set-up was interrupted. To set up only some projects, name
them: `python3 tools/setup.py analytics_core`.
"""

from __future__ import annotations  # an older Python must start, to be refused

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn, TextIO

from projects import Project, find_projects

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".local"
UV = STATE / "uv" / "bin" / "uv"
OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 13)
"""dagster-dbt, dbt-core 1.11 and the connector do not work on 3.14."""
NEEDED_BYTES = 3 * 1024**3
"""The environments and uv's cache, with room to spare."""


def main(names: list[str]) -> None:
    """Set up the named projects, or all of them."""
    check_python()
    projects = choose_projects(names)
    STATE.mkdir(exist_ok=True)
    with (STATE / "setup.lock").open("w") as lock:
        wait_for(lock)
        stale = [project for project in projects if is_stale(project)]
        if stale:
            check_disk()
            install_uv()
        for project in stale:
            install(project)
        for project in projects:
            if project.prepare:
                run([str(python_of(project)), *project.prepare], f"prepare {project.name}")


def choose_projects(names: list[str]) -> list[Project]:
    """Return the named projects, or all of them."""
    projects = find_projects(ROOT)
    for name in names:
        if name not in projects:
            give_up(f"No project is called {name}.", f"There are: {', '.join(projects)}")
    return [projects[name] for name in names or projects]


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


def wait_for(lock: TextIO) -> None:
    """Wait until no other set-up of this checkout holds the lock, and take it."""
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
    """Install uv with the version and hashes of the host's lock file."""
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
    """Return the lines of the host's lock file that pin uv."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("uv=="))
    length = next(i for i, line in enumerate(lines[start:]) if not line.endswith("\\"))
    return "\n".join(lines[start : start + length + 1]) + "\n"


def install(project: Project) -> None:
    """Make the project's environment anew: exactly its lock file, and the local packages."""
    started = time.monotonic()
    environment = ROOT / project.name / ".venv"
    python = str(python_of(project))
    name = "host" if project.name == "." else project.name
    shutil.rmtree(environment, ignore_errors=True)
    run(
        [str(UV), "venv", "--quiet", "--python", sys.executable, str(environment)],
        f"make {name}'s environment",
    )
    pip = [str(UV), "pip"]
    options = ["--quiet", "--python", python]
    # A code server and each run import Dagster, which takes seconds more without bytecode.
    exactly = ["--compile-bytecode", "--require-hashes", str(lock_of(project))]
    run([*pip, "sync", *options, *exactly], f"install {name}'s packages")
    editable = [word for package in project.local_packages for word in ("-e", str(ROOT / package))]
    if editable:
        run([*pip, "install", *options, "--no-deps", *editable], f"install {name} itself")
    stamp_of(project).write_text(fingerprint(project))
    say(f"{name}: environment ready ({time.monotonic() - started:.0f} s)")


def is_stale(project: Project) -> bool:
    stamp = stamp_of(project)
    return not stamp.exists() or stamp.read_text() != fingerprint(project)


def fingerprint(project: Project) -> str:
    """Return a digest of what the environment is made from and of ROOT, which its scripts name."""
    files = [ROOT / package / "pyproject.toml" for package in project.local_packages]
    digest = hashlib.sha256(f"{sys.version}{sys.executable}{ROOT}".encode())
    for file in (lock_of(project), *files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def lock_of(project: Project) -> Path:
    return ROOT / project.name / "requirements.lock"


def stamp_of(project: Project) -> Path:
    return ROOT / project.name / ".venv" / ".setup"


def python_of(project: Project) -> Path:
    return ROOT / project.name / ".venv" / "bin" / "python"


def run(command: list[str], purpose: str) -> None:
    """Run a command; if it fails, exit with its output and `purpose`, a verb and its object."""
    # An environment that the caller has activated must not become the target of uv.
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
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
