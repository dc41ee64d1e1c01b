"""The operating system's user that Postgres runs as.

Postgres refuses to run as root. If root starts it, it therefore runs as an unprivileged user, who
also owns its files. That user must reach the binaries and the data, but cannot enter another
user's closed home directory. If they are in one, Postgres runs in a user namespace, provided that
the kernel allows it: there, root's own files look like an ordinary user's.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.errors import DevstackError

# The first of these that exists is used when root starts a new cluster.
PREFERRED_USERS = ("postgres", "nobody")
_NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


@dataclass(frozen=True)
class Account:
    """How a command is run: as another user, behind a command prefix, or as the current user."""

    user: int | None = None
    group: int | None = None
    prefix: tuple[str, ...] = ()

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the command line that runs these arguments."""
        return [*self.prefix, *map(str, arguments)]

    def popen_options(self) -> dict[str, Any]:
        """Return the arguments of `subprocess.Popen` that switch to this account."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Make this account the owner of a folder and of all that is in it."""
        user, group = (0, 0) if self.prefix else (self.user, self.group)
        if os.geteuid() != 0 or user is None or group is None:
            return
        for folder, _, files in os.walk(path):
            os.chown(folder, user, group)
            for name in files:
                os.chown(Path(folder, name), user, group, follow_symlinks=False)

    def can_run(self, program: Path, folder: Path) -> bool:
        """Return whether this account can run the program and enter the folder."""
        try:
            done = subprocess.run(
                # The shell enters the folder. `cwd` would be entered before the user is switched.
                self.command(["/bin/sh", "-c", 'cd "$1" && "$2" --version', "sh", folder, program]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=60,
                check=False,
                **self.popen_options(),
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def choose_account(program: Path, home: Path, cluster: Path) -> Account:
    """Return the account that can run the Postgres binary `program` in the folder `home`.

    If `cluster` exists, it keeps its owner. Raises `DevstackError` when no account can do it.
    """
    if os.geteuid() != 0:
        _refuse_foreign_owner(cluster if cluster.exists() else home)
        return Account()
    for account in _candidates(cluster):
        if account.can_run(program, home):
            return account
    raise DevstackError(
        f"Postgres does not run as root, and no unprivileged user can reach both {program} and "
        f"{home} (a parent directory is closed to others, and user namespaces are not allowed "
        "here). Run as an ordinary user, or move the checkout to a place that others may enter, "
        "such as /srv."
    )


def _candidates(cluster: Path) -> list[Account]:
    accounts = []
    owner = cluster.stat().st_uid if cluster.exists() else 0
    if owner:
        accounts.append(Account(user=owner, group=cluster.stat().st_gid))
    for name in PREFERRED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        accounts.append(Account(user=entry.pw_uid, group=entry.pw_gid))
    if shutil.which(_NAMESPACE[0]):
        accounts.append(Account(prefix=_NAMESPACE))
    return accounts


def _refuse_foreign_owner(path: Path) -> None:
    if path.stat().st_uid != os.geteuid():
        raise DevstackError(
            f"{path} belongs to {_name_of(path.stat().st_uid)}, not to {_name_of(os.geteuid())}. "
            "Start it as that user, or remove that directory (its data with it)."
        )


def _name_of(user: int) -> str:
    try:
        return f"user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"
