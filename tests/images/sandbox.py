"""Images built and run without a registry and without an engine.

The base image is a Debian of `debootstrap`; `buildah` builds on it, in a chroot; `bwrap` runs the
result as user 1000 in namespaces of its own, on a root that cannot be written. What an engine does
with an image is done here too: its user, variables, working folder and entry point.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.dagster import ROOT

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NEEDED = ("debootstrap", "buildah", "bwrap")


def missing() -> str | None:
    """Return why images cannot be built here; None: they can."""
    if os.geteuid() != 0:
        return "only root can build images without an engine"
    absent = [program for program in NEEDED if not shutil.which(program)]
    if absent:
        return f"{', '.join(absent)} not installed: apt-get install debootstrap buildah bubblewrap"
    return None


@dataclass(frozen=True)
class Image:
    """An image that was built, with its files in `root`."""

    root: Path
    config: Mapping[str, Any]
    """What `docker inspect` calls Config."""

    def has(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def command(
        self,
        arguments: Sequence[str],
        *,
        host: str,
        written: Sequence[str],
        env: Mapping[str, str],
        mounted: Mapping[str, Path] | None = None,
        entrypoint: Sequence[str] | None = None,
    ) -> list[str]:
        """Return a command that runs `arguments` in a container with the host name `host`.

        `written` are the folders that can be written, each empty at first; `mounted` are files of
        this machine by their paths there. The network is that of this machine.
        """
        command = ["bwrap", "--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"]
        command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", host]
        command += ["--die-with-parent", "--clearenv"]
        # An engine gives the last one to every container. dbt has locks there.
        for folder in (*written, "/dev/shm"):  # noqa: S108
            command += ["--perms", "1777", "--tmpfs", folder]
        for path, file in (mounted or {}).items():
            command += ["--ro-bind", str(file), path]
        own = dict(pair.split("=", 1) for pair in self.config["Env"])
        for name, value in {**own, **env}.items():
            command += ["--setenv", name, value]
        # Only to become the image's user: who is that has no right of root any more.
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        command += ["--chdir", self.config["WorkingDir"], "--"]
        user, _, group = self.config["User"].partition(":")
        command += ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--"]
        first = self.config.get("Entrypoint") or [] if entrypoint is None else entrypoint
        return [*command, *first, *arguments]


class Builder:
    """Builds images; all that it makes is in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._policy = folder / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._context = folder / "context"
        copy_checkout(self._context)

    @property
    def context(self) -> Path:
        """The checkout that images are made from."""
        return self._context

    def make_base(self) -> None:
        """Make the image `base`: a Debian with Python, and this machine's way to an index."""
        root = self._folder / "debian"
        # It need not survive a loss of power: waiting for the disk takes most of the time.
        settings = root / "etc" / "dpkg" / "dpkg.cfg.d"
        settings.mkdir(parents=True)
        (settings / "quick").write_text("force-unsafe-io\n")
        packages = "--include=python3,python3-venv,ca-certificates"
        self._run("debootstrap", "--variant=minbase", packages, "bookworm", root)
        if CERTIFICATES.exists():
            shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
        for_pip = ["[global]", f"cert = {CERTIFICATES}"]
        if index := os.environ.get("PIP_INDEX_URL"):
            for_pip.append(f"index-url = {index}")
        (root / "etc" / "pip.conf").write_text("\n".join(for_pip) + "\n")
        container = self._buildah("from", "scratch")
        self._buildah("add", container, root, "/")
        self._buildah("commit", "--signature-policy", self._policy, container, "localhost/base")
        self._buildah("rm", container)
        shutil.rmtree(root)

    def build(self, kind: str, **arguments: str) -> Image:
        """Build `deploy/images/KIND.Containerfile` with build arguments."""
        options = ["--isolation", "chroot", "--signature-policy", str(self._policy)]
        for name, value in {"BASE": "localhost/base", **arguments}.items():
            options += ["--build-arg", f"{name}={value}"]
        file = self._context / "deploy" / "images" / f"{kind}.Containerfile"
        self._buildah("bud", *options, "--file", file, "--tag", f"localhost/{kind}", self._context)
        policy = ["--signature-policy", str(self._policy)]
        container = self._buildah("from", *policy, f"localhost/{kind}")
        described = json.loads(self._buildah("inspect", "--type", "image", f"localhost/{kind}"))
        return Image(Path(self._buildah("mount", container)), described["OCIv1"]["config"])

    def _buildah(self, command: str, *arguments: str | Path) -> str:
        """Run buildah with a storage of its own; return the last line that it prints."""
        folders = ["--root", self._folder / "storage", "--runroot", self._folder / "run"]
        options = [*folders, "--storage-driver", "vfs"]
        output = self._run("buildah", *options, command, *arguments)
        return output if command == "inspect" else output.strip().rpartition("\n")[2]

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(
            command,
            env={**os.environ, "TMPDIR": str(self._folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
        return done.stdout


def copy_checkout(target: Path) -> None:
    """Copy what git tracks or would, with some files that no image may have."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    for private in (".env", "deploy/secrets/host.env", "analytics_core/.env", "shared/.env"):
        (target / private).parent.mkdir(parents=True, exist_ok=True)
        (target / private).write_text("DAGSTER_PG_PASSWORD=x\n")
