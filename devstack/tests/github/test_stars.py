"""Star events from a file or from the stream."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from devstack.errors import DevstackError
from devstack.github.quiet import QuietHours
from devstack.github.stars import COLUMNS, Star, StarFile, StarStream, StreamSettings
from hypothesis import given, settings
from hypothesis import strategies as st

HEADER = "repository,user_id,login,starred_at"
NEVER = 2.0**40
FROM = datetime(2015, 1, 1)  # noqa: DTZ001 - hypothesis adds time zones itself
EPOCH = int(datetime(2026, 3, 15, 12, tzinfo=UTC).timestamp())


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def written(folder: Path, *lines: str) -> Path:
    path = folder / "stars.csv"
    path.write_text("\n".join((HEADER, *lines)) + "\n")
    return path


class TestStarFile:
    """`StarFile`."""

    def test_stars_are_in_githubs_order_whatever_the_order_of_rows(self, tmp_path: Path) -> None:
        path = written(
            tmp_path,
            "o/r,3,carol,2015-08-10T10:00:00Z",
            "o/r,2,bob,2015-08-09T09:00:00Z",
            "o/r,1,ann,2015-08-10T10:00:00Z",
        )

        assert list(StarFile(path).of("o/r", NEVER)) == [
            Star(seconds("2015-08-09T09:00:00Z"), 2, "bob"),
            Star(seconds("2015-08-10T10:00:00Z"), 1, "ann"),
            Star(seconds("2015-08-10T10:00:00Z"), 3, "carol"),
        ]

    def test_equal_rows_count_once(self, tmp_path: Path) -> None:
        path = written(tmp_path, *["o/r,1,ann,2015-08-10T10:00:00Z"] * 3)

        assert len(StarFile(path).of("o/r", NEVER)) == 1

    def test_later_of_two_stars_of_a_person_counts(self, tmp_path: Path) -> None:
        path = written(
            tmp_path, "o/r,1,ann2,2016-01-01T00:00:00Z", "o/r,1,ann,2015-08-10T10:00:00Z"
        )

        assert list(StarFile(path).of("o/r", NEVER)) == [
            Star(seconds("2016-01-01T00:00:00Z"), 1, "ann2")
        ]

    def test_repositories_are_kept_apart(self, tmp_path: Path) -> None:
        path = written(
            tmp_path,
            "o/r,1,ann,2015-08-10T10:00:00Z",
            "o/s,1,ann,2015-08-11T10:00:00Z",
            "O/S,2,bob,2015-08-11T10:00:00Z",
        )
        stars = StarFile(path)

        assert stars.repositories() == ["o/s", "o/r"]
        assert [star.user_id for star in stars.of("o/s", NEVER)] == [1, 2]
        assert [star.user_id for star in stars.of("o/r", NEVER)] == [1]
        assert list(stars.of("o/t", NEVER)) == []

    def test_time_zones_are_understood(self, tmp_path: Path) -> None:
        path = written(tmp_path, "o/r,1,ann,2015-08-10T12:30:00+02:30")

        assert StarFile(path).of("o/r", NEVER)[0].starred_at == seconds("2015-08-10T10:00:00Z")

    def test_star_of_the_future_appears_at_its_time(self, tmp_path: Path) -> None:
        path = written(tmp_path, "o/r,1,ann,2015-08-10T10:00:00Z", "o/r,2,bob,2015-08-10T10:00:05Z")
        stars = StarFile(path)
        later = seconds("2015-08-10T10:00:05Z")

        assert [star.login for star in stars.of("o/r", later - 1)] == ["ann"]
        assert [star.login for star in stars.of("o/r", later)] == ["ann", "bob"]

    def test_byte_order_mark_and_line_ends_of_spreadsheets_are_understood(
        self, tmp_path: Path
    ) -> None:
        """A byte order mark, CRLF, quotes, an empty line at the end."""
        path = tmp_path / "stars.csv"
        path.write_bytes(
            b"\xef\xbb\xbf"
            + HEADER.encode()
            + b'\r\n"o/r","1","ann","2015-08-10T10:00:00Z"\r\n\r\n'
        )

        assert [star.login for star in StarFile(path).of("o/r", NEVER)] == ["ann"]

    def test_file_without_stars_has_no_repositories(self, tmp_path: Path) -> None:
        stars = StarFile(written(tmp_path))

        assert stars.repositories() == []

    def test_changed_file_is_read_again(self, tmp_path: Path) -> None:
        path = written(tmp_path, "o/r,1,ann,2015-08-10T10:00:00Z")
        stars = StarFile(path)
        with path.open("a") as file:
            file.write("o/r,2,bob,2015-08-11T10:00:00Z\n")

        assert [star.login for star in stars.of("o/r", NEVER)] == ["ann", "bob"]

    def test_file_that_has_become_bad_is_served_as_it_was(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = written(tmp_path, "o/r,1,ann,2015-08-10T10:00:00Z")
        stars = StarFile(path)
        with path.open("a") as file:
            file.write("o/r,2,bob\n")

        assert [star.login for star in stars.of("o/r", NEVER)] == ["ann"]
        assert f"{path}, line 3: 3 values" in capsys.readouterr().err

    def test_hundred_thousand_rows_are_read_in_seconds(self, tmp_path: Path) -> None:
        rows = (
            f"o/r,{number},user-{number},2020-01-{number % 28 + 1:02d}T00:00:00Z"
            for number in range(1, 100_001)
        )
        stars = StarFile(written(tmp_path, *rows)).of("o/r", NEVER)

        assert len(stars) == 100_000
        assert stars[0] == Star(seconds("2020-01-01T00:00:00Z"), 28, "user-28")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("o/r,1,ann", "3 values where 4 are expected"),
            ("o/r,1,ann,2015-08-10T10:00:00Z,x", "5 values where 4 are expected"),
            ("r,1,ann,2015-08-10T10:00:00Z", "repository 'r' is not of the form owner/name"),
            ("o/r/s,1,ann,2015-08-10T10:00:00Z", "repository 'o/r/s' is not"),
            ("o/r,one,ann,2015-08-10T10:00:00Z", "user_id 'one' is not a whole number"),
            ("o/r,,ann,2015-08-10T10:00:00Z", "user_id '' is not"),
            ("o/r,0,ann,2015-08-10T10:00:00Z", "user_id '0' is not"),
            ("o/r,-1,ann,2015-08-10T10:00:00Z", "user_id '-1' is not"),
            ("o/r,1.5,ann,2015-08-10T10:00:00Z", "user_id '1.5' is not"),
            ("o/r,9223372036854775808,ann,2015-08-10T10:00:00Z", "to 9223372036854775807"),
            ("o/r,1,,2015-08-10T10:00:00Z", "login '' is empty"),
            ("o/r,1,ann b,2015-08-10T10:00:00Z", "login 'ann b' is"),
            ("o/r,1,ann,", "starred_at '' is not a time"),
            ("o/r,1,ann,yesterday", "starred_at 'yesterday' is not a time"),
            ("o/r,1,ann,2015-08-10T10:00:00", "with its zone"),
            ("o/r,1,ann,2015-02-30T10:00:00Z", "starred_at '2015-02-30T10:00:00Z' is not a time"),
            ("o/r,1,ann,2015-08-10T10:00:00.5Z", "in whole seconds"),
            ("o/r,1,ann,1439200800", "starred_at '1439200800' is not a time"),
            ('o/r,1,"ann,2015-08-10T10:00:00Z', "unexpected end of data"),
        ],
    )
    def test_a_bad_row_is_refused_with_its_line(
        self, tmp_path: Path, line: str, message: str
    ) -> None:
        path = written(tmp_path, "o/r,7,good,2015-08-10T10:00:00Z", "", line)

        with pytest.raises(DevstackError) as caught:
            StarFile(path)

        assert f"{path}, line 4: " in str(caught.value)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        "header", ["", "repository,user_id,login", "user_id,repository,login,starred_at", "a;b;c;d"]
    )
    def test_a_wrong_header_is_refused(self, tmp_path: Path, header: str) -> None:
        path = tmp_path / "stars.csv"
        path.write_text(f"{header}\no/r,1,ann,2015-08-10T10:00:00Z\n" if header else "")

        with pytest.raises(DevstackError, match=f"line 1: the header must be {HEADER}"):
            StarFile(path)

    def test_a_file_that_is_not_text_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "stars.csv"
        path.write_bytes(HEADER.encode() + b"\no/r,1,\xff\xfe,2015-08-10T10:00:00Z\n")

        with pytest.raises(DevstackError, match="not UTF-8"):
            StarFile(path)

    @pytest.mark.parametrize("name", ["missing.csv", "."])
    def test_missing_file_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(DevstackError, match="DEVSTACK_STARS"):
            StarFile(tmp_path / name)

    @settings(max_examples=50, deadline=None)
    @given(
        rows=st.lists(
            st.tuples(
                st.sampled_from(["o/r", "o/s"]),
                st.integers(1, 6),
                st.datetimes(FROM, FROM + timedelta(days=1)),
            ),
            max_size=30,
        ),
        randomness=st.randoms(use_true_random=False),
    )
    def test_order_and_repetition_of_rows_do_not_matter(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        rows: list[tuple[str, int, datetime]],
        randomness: random.Random,
    ) -> None:
        lines = [f"{name},{user},u{user},{at:%Y-%m-%dT%H:%M:%SZ}" for name, user, at in rows]
        shuffled = [*lines, *lines[: len(lines) // 2]]
        randomness.shuffle(shuffled)
        plain = StarFile(written(tmp_path_factory.mktemp("a"), *lines))
        mixed = StarFile(written(tmp_path_factory.mktemp("b"), *shuffled))
        latest: dict[tuple[str, int], int] = {}
        for name, user, at in rows:
            starred_at = int(at.replace(tzinfo=UTC).timestamp())
            latest[name, user] = max(starred_at, latest.get((name, user), 0))

        assert mixed.repositories() == plain.repositories()
        for name in ("o/r", "o/s"):
            expected = sorted(
                Star(starred_at, user, f"u{user}")
                for (repository, user), starred_at in latest.items()
                if repository == name
            )
            assert list(mixed.of(name, NEVER)) == list(plain.of(name, NEVER)) == expected


class TestStarStream:
    """`StarStream`."""

    SETTINGS = StreamSettings("octo/live", seed=7, epoch=EPOCH, per_minute=3.0)

    def stars(self, now: float) -> list[Star]:
        return list(StarStream(self.SETTINGS).of("octo/live", now))

    def test_equal_settings_give_equal_stars(self) -> None:
        assert self.stars(EPOCH + 3600) == self.stars(EPOCH + 3600)

    def test_another_seed_gives_other_stars(self) -> None:
        other = StarStream(StreamSettings("octo/live", seed=8, epoch=EPOCH, per_minute=3.0))

        assert list(other.of("octo/live", EPOCH + 3600)) != self.stars(EPOCH + 3600)

    def test_stars_are_added_with_time_and_earlier_ones_stay(self) -> None:
        stream = StarStream(self.SETTINGS)
        earlier = list(stream.of("octo/live", EPOCH + 60))
        later = list(stream.of("octo/live", EPOCH + 3600))

        assert later[: len(earlier)] == earlier
        assert len(later) > len(earlier)

    def test_past_time_has_the_stars_of_that_time(self) -> None:
        stream = StarStream(self.SETTINGS)
        earlier = list(stream.of("octo/live", EPOCH + 60))
        stream.of("octo/live", EPOCH + 3600)

        assert list(stream.of("octo/live", EPOCH + 60)) == earlier

    def test_rate_is_about_the_one_that_was_set(self) -> None:
        """Three a minute, of which one in twelve is followed by another: 195 an hour on average."""
        live = len(self.stars(EPOCH + 10 * 3600)) - len(self.stars(EPOCH))

        assert 1_750 < live < 2_150

    def test_quiet_hours_have_no_new_stars_and_leave_all_others_as_they_are(self) -> None:
        quiet = QuietHours.parse("13:00-14:30")
        now = EPOCH + 30 * 3600
        stars = list(StarStream(replace(self.SETTINGS, quiet=quiet)).of("octo/live", now))
        every = self.stars(now)
        left_out = [star for star in every if star.starred_at > EPOCH and quiet.include(star[0])]

        assert sorted([*stars, *left_out]) == every
        # An hour and a half of one day, and an hour and a half of the next.
        assert 400 < len(left_out) < 750
        assert stars[:3000] == every[:3000]

    def test_stream_that_is_always_quiet_answers(self) -> None:
        quiet = replace(self.SETTINGS, quiet=QuietHours.parse("00:00-24:00"))

        assert list(StarStream(quiet).of("octo/live", EPOCH + 86400)) == self.stars(EPOCH)

    def test_history_has_eight_months_of_which_one_is_empty(self) -> None:
        months = {
            datetime.fromtimestamp(star.starred_at, UTC).strftime("%Y-%m")
            for star in self.stars(EPOCH)
        }

        assert len(self.stars(EPOCH)) == 3000
        assert sorted(months) == [
            *("2025-07", "2025-08", "2025-09", "2025-10", "2025-11"),
            *("2026-01", "2026-02", "2026-03"),
        ]

    def test_stream_is_sorted_with_ties_and_has_each_person_once(self) -> None:
        stars = self.stars(EPOCH + 3600)
        live = [star.starred_at for star in stars if star.starred_at > EPOCH]

        assert stars == sorted(stars)
        assert len({star.user_id for star in stars}) == len(stars)
        assert len({star.login for star in stars}) == len(stars)
        assert len(set(live)) < len(live)

    def test_stream_written_to_a_file_gives_the_same_stars(self, tmp_path: Path) -> None:
        stars = self.stars(EPOCH + 600)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for star in stars:
            starred_at = datetime.fromtimestamp(star.starred_at, UTC)
            row = ("octo/live", star.user_id, star.login, f"{starred_at:%Y-%m-%dT%H:%M:%SZ}")
            writer.writerow(row)
        path = tmp_path / "stars.csv"
        path.write_text(text.getvalue())

        assert list(StarFile(path).of("octo/live", NEVER)) == stars
