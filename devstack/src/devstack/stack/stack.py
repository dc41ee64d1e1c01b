"""The stack of one checkout: its services, their order, and what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from devstack.errors import DevstackError
from devstack.files import write_private
from devstack.ports import LOOPBACK
from devstack.stack.environment import Environment
from devstack.stack.locations import (
    WORKSPACE,
    has_code,
    read_locations,
    rights_from_contracts,
)
from devstack.stack.services import Keeper, Service

LIVE_REPOSITORY = "octo/live-stars"
SEED = 1
# The name of the database and of the role that owns it.
AIRBYTE_NAME = "embedded_airbyte"
HEALTH_SECONDS = 5.0
# Our folders in .local/, where other tools keep things too.
_DATA = ("postgres", "airbyte", "github", "broker", "log", "run")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One line of `devstack status`."""

    service: str
    state: str
    where: str
    pid: str
    log: str


class Stack:
    """Postgres, a GitHub stand-in, an embedded Airbyte and a broker for the checkout `root`.

    `say` is called with a line of text, without secrets, for each thing that happens. The services
    of a `tied` stack end when this process ends, also when it is killed.
    """

    def __init__(self, root: Path, say: Say, *, tied: bool = False) -> None:
        self._root = root
        self._local = root / ".local"
        self._say = say
        self.environment = Environment(root)
        self.keeper = Keeper(self._local, tied=tied)

    # -- commands -----------------------------------------------------------------------------

    def up(self) -> list[str]:
        """Start every service that does not run, and return their names.

        Waits while a command is ending after which services stop. Raises `DevstackError` when one
        does not start. The services that this call has started are stopped then.
        """
        started: list[str] = []
        with self._held("leaving", fcntl.LOCK_EX):
            pass  # nobody is leaving any more
        with self._locked():
            try:
                self._check_stars()
                self.environment.prepare()
                for name, make in self._makers().items():
                    if self._is_external(name):
                        self.keeper.stop(name)
                        self._say(f"{name}: a server of your own, as .env says")
                        continue
                    if self._is_needless(name):
                        self.keeper.stop(name)
                        continue
                    self._ensure(make(), started)
            except BaseException:
                for name in reversed(started):
                    self.keeper.stop(name)
                raise
        return started

    def down(self) -> None:
        """Stop everything that runs, in the reverse of the starting order."""
        with self._locked():
            self._stop_all()

    def reset(self) -> None:
        """Stop everything and delete the data; passwords in `.env` stay."""
        with self._locked():
            self._stop_all()
            for name in _DATA:
                shutil.rmtree(self._local / name, ignore_errors=True)
            self._say(f"deleted the data in {self._local}")

    def status(self) -> list[Row]:
        """Return the state of each service, in starting order."""
        rows = []
        for name, make in self._makers().items():
            if self._is_external(name):
                rows.append(Row(name, "external", self._address(name), "", ""))
                continue
            if self._is_needless(name):
                continue
            state = self.keeper.state(make())
            pid = "" if state.record is None else str(state.record.pid)
            log = self.keeper.log(name)
            rows.append(
                Row(name, state.word, self._address(name), pid, str(log) if log.exists() else "")
            )
        return rows

    @contextlib.contextmanager
    def leaving(self) -> Iterator[None]:
        """Let `up` wait: the services that run now stop soon. The lock ends with this process."""
        with self._held("leaving", fcntl.LOCK_SH):
            yield

    def missing(self) -> list[str]:
        """Return the services that ran before `up` and have been stopped since, by others.

        While another command works on the checkout nothing is missing: it may restart them.
        """
        if not self.keeper.missing():
            return []  # as nearly always: without the lock, for which others would have to wait
        try:
            with self._locked(wait=False):
                return self.keeper.missing()
        except BlockingIOError:
            return []

    def stop(self, names: list[str]) -> None:
        """Stop these services, the last of them first."""
        with self._locked():
            for name in reversed(names):
                self.keeper.stop(name)

    # -- services -----------------------------------------------------------------------------

    def _makers(self) -> dict[str, Callable[[], Service]]:
        """Return, by name, a function that describes each service; they need those before them."""
        return {
            "postgres": self._postgres,
            "github": self._github,
            "airbyte": self._airbyte,
            "broker": self._broker,
            "workers": self._workers,
        }

    def _ensure(self, service: Service, started: list[str]) -> None:
        begin = time.monotonic()
        if service.name == "airbyte":
            self._hand_over_credentials()
        new = self.keeper.ensure(service)
        if new:
            started.append(service.name)
        if service.name == "postgres":
            self._create_databases()
            self._give_rights()
        if service.name == "github":
            self._note_repository(str(self.keeper.facts(service)["repository"]))
        took = f"started in {time.monotonic() - begin:.1f} s" if new else "already running"
        self._say(f"{service.name}: {took}, {self._address(service.name)}")

    def _postgres(self) -> Service:
        data = self._local / "postgres"
        command = ("postgres", "--data", str(data), "--port", self._port("postgres"))
        log = ("--log", str(self.keeper.log("postgres")))
        return Service(
            "postgres", _serve(*command, *log), lambda _: _answers_sql(self._superuser())
        )

    def _github(self) -> Service:
        command = ["github", "--port", self._port("github")]
        stars = self.environment.stars_file()
        settings = self.environment.settings()
        if stars is not None:
            command += ["--stars", str(stars)]
        else:
            theirs = self.environment.is_set_by_user("GITHUB_REPOSITORY")
            repository = settings["GITHUB_REPOSITORY"] if theirs else LIVE_REPOSITORY
            command += ["--seed", str(SEED), "--epoch", str(self._epoch())]
            command += ["--repository", repository]
        quiet = self.environment.quiet_hours()
        if quiet is not None:
            command += ["--quiet", quiet]
        return Service(
            "github",
            _serve(*command),
            lambda facts: _answers(f"{facts.get('url')}/rate_limit"),
            {"GITHUB_TOKEN": settings.get("GITHUB_TOKEN", "")},
        )

    def _airbyte(self) -> Service:
        command = ("airbyte", "--data", str(self._local / "airbyte"), "--port")
        return Service(
            "airbyte",
            _serve(*command, self._port("airbyte")),
            lambda facts: _answers(f"{facts.get('url')}/api/public/v1/health"),
            {"DEVSTACK_AIRBYTE_DATABASE_URL": self._airbyte_database_url()},
        )

    def _broker(self) -> Service:
        password = self.environment.broker_password()
        command = ("broker", "--data", str(self._local / "broker"), "--port", self._port("broker"))
        log = ("--log", str(self.keeper.log("broker")))
        return Service(
            "broker",
            _serve(*command, *log),
            lambda facts: _answers_ping(facts, password),
            {"DEVSTACK_BROKER_PASSWORD": password},
        )

    def _workers(self) -> Service:
        command = _serve("workers", "--root", str(self._root))
        # A location that is new has no worker until they are started again, with its account.
        files = [self._root / WORKSPACE, self._root / ".env"]
        reads = "".join(file.read_text(encoding="utf-8") for file in files if file.exists())
        return Service("workers", command, lambda _: True, reads=reads)

    # -- what is in them ----------------------------------------------------------------------

    def _check_stars(self) -> None:
        """Raise `DevstackError` for a bad setting of stars, before anything starts or changes."""
        self.environment.quiet_hours()
        path = self.environment.stars_file()
        if path is None:
            return
        from devstack.github.stars import StarFile

        names = StarFile(path).repositories()
        wanted = self.environment.settings().get("GITHUB_REPOSITORY", "")
        theirs = self.environment.is_set_by_user("GITHUB_REPOSITORY")
        if theirs and wanted.lower() not in [name.lower() for name in names]:
            raise DevstackError(
                f"GITHUB_REPOSITORY is {wanted}, of which {path} has no star; it has "
                f"{', '.join(names) or 'none at all'}. Change GITHUB_REPOSITORY in .env, or remove "
                "it from there to take the file's."
            )

    def _note_repository(self, served: str) -> None:
        if not self.environment.is_set_by_user("GITHUB_REPOSITORY"):
            self.environment.derive({"GITHUB_REPOSITORY": served})

    def _create_databases(self) -> None:
        from devstack.postgres.databases import ensure_database

        settings = self.environment.settings()
        for prefix in ("DAGSTER_PG", "WAREHOUSE"):
            if not self.environment.is_external_database(prefix):
                ensure_database(
                    self._superuser(),
                    database=settings[f"{prefix}_DATABASE"],
                    user=settings[f"{prefix}_USER"],
                    password=settings[f"{prefix}_PASSWORD"],
                )
        if not self.environment.is_external("airbyte"):
            self._create_airbyte_database()

    def _give_rights(self) -> None:
        """Let each code location enter the warehouse with the rights that its contract needs.

        Whatever the stack's Postgres has is closed to all others, also what an older version of
        the stack has made.
        """
        from devstack.postgres.roles import apply_roles, close_databases

        settings = self.environment.settings()
        ours = [
            settings[f"{prefix}_DATABASE"]
            for prefix in ("DAGSTER_PG", "WAREHOUSE")
            if not self.environment.is_external_database(prefix)
        ]
        close_databases(self._superuser(), [*ours, AIRBYTE_NAME, "postgres"])
        if self.environment.is_external_database("WAREHOUSE") or not read_locations(self._root):
            return
        statements = rights_from_contracts(self._root, settings, self._say)
        if statements is None:
            self._say("the rights in the warehouse stay as they are until that is put right")
            return
        for warning in apply_roles(
            self._superuser(),
            settings["WAREHOUSE_DATABASE"],
            statements,
            passwords=self.environment.passwords(),
            reader=settings["WAREHOUSE_USER"],
        ):
            self._say(f"warehouse: {warning}")

    def _create_airbyte_database(self) -> None:
        """Make a database for the embedded Airbyte's records, which hold secrets in clear text.

        They must not be in the warehouse: other teams read it, and it may be the user's own.
        """
        from devstack.postgres.databases import ensure_database, has_table

        password = self._airbyte_database_password()
        if not password:
            warehouse = self.environment.settings()["WAREHOUSE_DATABASE"]
            ours = not self.environment.is_external_database("WAREHOUSE")
            # An older version kept them in the warehouse, and they stay there. In a new database
            # the connections would be new, and would read every stream from its beginning.
            if ours and has_table(self._superuser(), warehouse, "airbyte.connection"):
                return
            password = secrets.token_urlsafe(24)
            path = self._airbyte_database_password_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, password)
        ensure_database(
            self._superuser(), database=AIRBYTE_NAME, user=AIRBYTE_NAME, password=password
        )

    def _hand_over_credentials(self) -> None:
        """Write the client of `.env` into the embedded Airbyte's credentials."""
        path = self._local / "airbyte" / "credentials.json"
        try:
            known = dict(json.loads(path.read_text()))
        except (OSError, ValueError):
            known = {"signing_key": secrets.token_hex(32)}
        settings = self.environment.settings()
        ours = {
            "client_id": settings["AIRBYTE_CLIENT_ID"],
            "client_secret": settings["AIRBYTE_CLIENT_SECRET"],
        }
        if {**known, **ours} != known:
            self.keeper.stop("airbyte")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, json.dumps({**known, **ours}))

    def _airbyte_database_url(self) -> str:
        """Return where the embedded Airbyte keeps its records, as decided at its first start."""
        from devstack.postgres.server import Address

        password = self._airbyte_database_password()
        if not password:
            return _dsn(self.environment.settings(), "WAREHOUSE")
        port = self.environment.port("postgres")
        return Address(LOOPBACK, port, AIRBYTE_NAME, password, AIRBYTE_NAME).conninfo

    def _airbyte_database_password(self) -> str:
        """Return the password of the embedded Airbyte's own database; empty if it has none."""
        try:
            return self._airbyte_database_password_file().read_text()
        except OSError:
            return ""

    def _airbyte_database_password_file(self) -> Path:
        return self._local / "airbyte" / "database_password"

    def _superuser(self) -> str:
        from devstack.postgres.server import SUPERUSER, Address

        try:
            password = (self._local / "postgres" / "password").read_text().strip()
        except OSError:
            password = ""
        port = self.environment.port("postgres")
        return Address(LOOPBACK, port, SUPERUSER, password, "postgres").conninfo

    def _epoch(self) -> int:
        """Return when this checkout's live stream began, in seconds since 1970, UTC.

        The time is kept in a file, so that the stars of the past never change.
        """
        path = self._local / "github" / "epoch"
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            epoch = int(time.time())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{epoch}\n")
            return epoch

    # -- small things -------------------------------------------------------------------------

    def _stop_all(self) -> None:
        order = list(self._makers())
        names = sorted(self.keeper.names(), key=lambda name: -order.index(name))
        for name in names:
            stopped = self.keeper.stop(name)
            self._say(f"{name}: {'stopped' if stopped else 'was not running'}")
        if not names:
            self._say("nothing was running")

    def _port(self, name: str) -> str:
        return str(self.environment.port(name))

    def _is_needless(self, name: str) -> bool:
        """Return whether there is no code here for the workers to load."""
        return name == "workers" and not has_code(self._root)

    def _is_external(self, name: str) -> bool:
        return name != "workers" and self.environment.is_external(name)

    def _address(self, name: str) -> str:
        if name == "workers":
            return WORKSPACE
        settings = self.environment.settings()
        if self.environment.is_external(name):
            if name == "postgres":
                host, port = settings.get("WAREHOUSE_HOST"), settings.get("WAREHOUSE_PORT")
                return f"{host}:{port}"
            if name == "broker":
                # It may have a password in it.
                return urlsplit(settings["FRESHLINE_BROKER_URL"]).netloc.rpartition("@")[2]
            return settings["AIRBYTE_URL" if name == "airbyte" else "GITHUB_API_URL"]
        scheme = "http://" if name in ("github", "airbyte") else ""
        return f"{scheme}{LOOPBACK}:{self._port(name)}"

    @contextlib.contextmanager
    def _locked(self, *, wait: bool = True) -> Iterator[None]:
        """Let one command at a time work on the checkout.

        Raises `BlockingIOError` if another one does, and this one is not to wait.
        """
        with self._held("lock", fcntl.LOCK_EX, wait=wait):
            yield

    @contextlib.contextmanager
    def _held(self, name: str, kind: int, *, wait: bool = True) -> Iterator[None]:
        """Hold a lock of a `kind` of `fcntl.flock` on a file in .local/."""
        try:
            self._local.mkdir(parents=True, exist_ok=True)
            # Postgres may run as another user, who must enter. Nobody else may list the folder.
            self._local.chmod(0o711)
            lock = (self._local / name).open("a")
        except OSError as error:
            raise DevstackError(f"{self._local} cannot be used: {error.strerror}.") from error
        with lock:
            try:
                fcntl.flock(lock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                self._say("waiting for another devstack command to finish")
                fcntl.flock(lock, kind)
            yield


def _serve(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "devstack", "serve", *arguments)


def _dsn(settings: Mapping[str, str], prefix: str) -> str:
    def part(name: str) -> str:
        return quote(settings.get(f"{prefix}_{name}", ""), safe="")

    return (
        f"postgresql://{part('USER')}:{part('PASSWORD')}@{part('HOST')}:{part('PORT')}"
        f"/{part('DATABASE')}"
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=HEALTH_SECONDS) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _answers_sql(conninfo: str) -> bool:
    import psycopg

    try:
        psycopg.connect(conninfo, connect_timeout=int(HEALTH_SECONDS)).close()
    except psycopg.OperationalError:
        return False
    return True


def _answers_ping(facts: Mapping[str, Any], password: str) -> bool:
    from devstack.broker.server import Address, why_not_ready

    if "port" not in facts:
        return False
    return why_not_ready(Address(facts["host"], facts["port"], password)) is None
