"""Stars: who starred which repository, and when; from a file or from a seeded stream.

Both return the stars of a repository at a given time in GitHub's order, the oldest first. Stars of
the same second are ordered by user id.
"""

from __future__ import annotations

import bisect
import csv
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

from devstack.errors import DevstackError
from devstack.github.quiet import QuietHours

DEFAULT_REPOSITORY = "octo/live-stars"
COLUMNS = ("repository", "user_id", "login", "starred_at")
BIGGEST_USER_ID = 2**63 - 1
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_.-]+")
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")
_LOGIN = re.compile(r"[^\s/]{1,100}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})")


class Star(NamedTuple):
    """One star. Stars sort in GitHub's order. `starred_at` is in seconds since 1970, UTC."""

    starred_at: int
    user_id: int
    login: str


class Stars(Protocol):
    """A source of stars."""

    def repositories(self) -> Sequence[str]:
        """Return the full names of its repositories, the one with the most stars first."""

    def of(self, repository: str, now: float) -> Sequence[Star]:
        """Return the stars until `now` (seconds since 1970, UTC), oldest first.

        The caller must not change the sequence.
        """


class StarFile:
    """Stars from a CSV file with the header `repository,user_id,login,starred_at`.

    Rows may be in any order. A person has one star of a repository, as on GitHub. If there are
    several rows for it, the latest counts (the person took the star back and gave it again); if
    these have the same time, the last one in the file. A star of the future appears at its time.

    The file is read again when it has changed. If the new content is bad, the last good content is
    served, and standard error says what is wrong. The first reading raises `DevstackError` when the
    file cannot be read or a row is bad; the message names the line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature = self._signature_now()
        self._stars = _by_repository(_read_rows(path))

    def repositories(self) -> Sequence[str]:
        self._refresh()
        return sorted(self._stars, key=lambda name: (-len(self._stars[name]), name))

    def of(self, repository: str, now: float) -> Sequence[Star]:
        self._refresh()
        stars = self._stars.get(repository, [])
        given = bisect.bisect_right(stars, now, key=lambda star: star.starred_at)
        return stars if given == len(stars) else stars[:given]

    def _refresh(self) -> None:
        signature = self._signature_now()
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._stars = _by_repository(_read_rows(self._path))
        except DevstackError as error:
            print(f"{error} Serving what was read before.", file=sys.stderr, flush=True)

    def _signature_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _by_repository(rows: Iterable[tuple[str, Star]]) -> dict[str, list[Star]]:
    latest: dict[str, dict[int, Star]] = {}
    for repository, star in rows:
        of_repository = latest.setdefault(repository, {})
        known = of_repository.get(star.user_id)
        if known is None or star.starred_at >= known.starred_at:
            of_repository[star.user_id] = star
    return {repository: sorted(stars.values()) for repository, stars in latest.items()}


def _read_rows(path: Path) -> Iterator[tuple[str, Star]]:
    try:
        # utf-8-sig: spreadsheet programs put a byte order mark before the header.
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from _parse(path, file)
    except OSError as error:
        raise DevstackError(
            f"{path}: {error.strerror}. DEVSTACK_STARS (or --stars) must name a readable CSV file."
        ) from error


def _parse(path: Path, file: TextIO) -> Iterator[tuple[str, Star]]:
    reader = csv.reader(file, strict=True)
    names: dict[str, str] = {}
    line = 1
    try:
        header = next(reader, None)
        if header is None or tuple(header) != COLUMNS:
            raise ValueError(
                f"the header must be {','.join(COLUMNS)}, not {','.join(header or ())}"
            )
        while True:
            # A quoted value may hold line breaks; a message names the line where the row begins.
            line = reader.line_num + 1
            row = next(reader, None)
            if row is None:
                return
            if not row:
                continue
            if len(row) != len(COLUMNS):
                raise ValueError(f"{len(row)} values where {len(COLUMNS)} are expected")
            repository, user_id, login, starred_at = row
            # On GitHub, names that differ by case alone are the same.
            name = names.setdefault(repository.lower(), _checked_repository(repository))
            yield name, Star(_seconds(starred_at), _checked_user_id(user_id), _checked_login(login))
    except UnicodeDecodeError as error:
        raise DevstackError(f"{path}, near line {line}: not UTF-8 ({error}).") from error
    except (ValueError, csv.Error) as error:
        raise DevstackError(f"{path}, line {line}: {error}. Put the line right.") from error


def _checked_repository(text: str) -> str:
    if not _REPOSITORY.fullmatch(text):
        raise ValueError(f"repository {text!r} is not of the form owner/name")
    return text


def _checked_user_id(text: str) -> int:
    if not _USER_ID.fullmatch(text) or int(text) > BIGGEST_USER_ID:
        raise ValueError(f"user_id {text!r} is not a whole number from 1 to {BIGGEST_USER_ID}")
    return int(text)


def _checked_login(text: str) -> str:
    if not _LOGIN.fullmatch(text):
        raise ValueError(f"login {text!r} is empty, too long, or has a space or slash in it")
    return text


def _seconds(text: str) -> int:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(
            f"starred_at {text!r} is not a time in whole seconds with its zone, "
            "such as 2015-08-10T11:29:04Z"
        ) from None


@dataclass(frozen=True)
class StreamSettings:
    """What a stream depends on: equal settings give equal stars, on any machine, at any time.

    `epoch` is in seconds since 1970, UTC. Some eight months before it have `history` stars; one of
    these months is empty. After it new stars arrive without end, on average `per_minute`, but none
    in the `quiet` hours; all others are the same as without these hours.
    """

    repository: str
    seed: int
    epoch: int
    per_minute: float = 2.0
    history: int = 3000
    quiet: QuietHours | None = None


class StarStream:
    """A seeded, never-ending stream of stars of one repository."""

    MONTHS_BACK = 8
    EMPTY_MONTH = 3
    # One star in so many is followed by another in the same second, as in real lists.
    SAME_SECOND_EVERY = 12

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        # Not for secrets: the same seed must give the same stars.
        seed = f"{settings.seed} {settings.epoch} {settings.per_minute}"
        self._random = random.Random(seed)  # noqa: S311
        self._people = 0
        self._stars = self._history()
        self._arrivals = self._live()
        self._next = next(self._arrivals)

    def repositories(self) -> Sequence[str]:
        return [self._settings.repository]

    def of(self, repository: str, now: float) -> Sequence[Star]:
        if repository != self._settings.repository:
            return []
        while self._next.starred_at <= now:
            if not self._is_quiet(self._next.starred_at):
                self._stars.append(self._next)
            self._next = next(self._arrivals)
        given = bisect.bisect_right(self._stars, now, key=lambda star: star.starred_at)
        return self._stars if given == len(self._stars) else self._stars[:given]

    def _is_quiet(self, time: int) -> bool:
        quiet = self._settings.quiet
        return quiet is not None and quiet.include(time)

    def _history(self) -> list[Star]:
        epoch = datetime.fromtimestamp(self._settings.epoch, UTC)
        start = _month_start(epoch, self.MONTHS_BACK).timestamp()
        empty_from = _month_start(epoch, self.EMPTY_MONTH).timestamp()
        empty_to = _month_start(epoch, self.EMPTY_MONTH - 1).timestamp()
        span = self._settings.epoch - start - (empty_to - empty_from)
        times = []
        for _ in range(self._settings.history):
            # The minimum of two: more stars at first, as after an announcement.
            time = start + span * min(self._random.random(), self._random.random())
            times.append(int(time if time < empty_from else time + empty_to - empty_from))
        return [self._star(time) for time in sorted(times)]

    def _live(self) -> Iterator[Star]:
        time = float(self._settings.epoch)
        while True:
            time += self._random.expovariate(self._settings.per_minute / 60)
            # The next second, so always after the epoch, where the history ends.
            second = int(time) + 1
            yield self._star(second)
            if self._random.randrange(self.SAME_SECOND_EVERY) == 0:
                yield self._star(second)

    def _star(self, starred_at: int) -> Star:
        self._people += 1
        # Ids grow, so that stars of the same second keep their order.
        return Star(starred_at, 1_000_000 + self._people, f"stargazer-{self._people:06d}")


def _month_start(time: datetime, months_back: int) -> datetime:
    first = time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(months_back):
        first = (first - timedelta(days=1)).replace(day=1)
    return first
