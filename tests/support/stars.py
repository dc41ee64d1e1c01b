"""Star events for the GitHub stand-in."""

from __future__ import annotations

import csv
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

REPOSITORY = "octo/lighthouse"
START = datetime(2026, 1, 20, tzinfo=UTC)


def write_stars(path: Path, count: int, later: int = 0) -> Counter[str]:
    """Write `count` events, and `later` more that are all newer; return the stars of each month.

    The events are not sorted. Some are in the same second, and March has none. The first `count`
    are the same for every value of `later`.
    """
    chance = random.Random(7)
    rows = []
    for number in range(1, count + later + 1):
        day = chance.choice([*range(40), *range(75, 120)] if number <= count else range(120, 140))
        # There are so few seconds that about one star in three shares its second with another.
        at = START + timedelta(days=day, seconds=60 * chance.randrange(20))
        rows.append([REPOSITORY, 1000 + number, f"gazer-{number:04}", f"{at:%Y-%m-%dT%H:%M:%SZ}"])
    months = Counter(row[3][:7] for row in rows)
    chance.shuffle(rows)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["repository", "user_id", "login", "starred_at"])
        writer.writerows(rows)
    return months
