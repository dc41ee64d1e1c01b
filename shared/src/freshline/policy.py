"""`MaxLag`: how far behind the data of an asset may be, and where the asset carries it.

freshline's own place for a policy is the metadata key `MAX_LAG` of the asset's spec. dbt models get
it there from their ``meta`` through freshline's translator, Python assets through `max_lag`. What
is written in Dagster's older notations is read too: see `freshline.declared`. Nothing here imports
Dagster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from croniter import (  # type: ignore[import-untyped]  # it ships no types
    CroniterError,
    croniter,
)

from freshline.declared import Written, written_policies
from freshline.errors import PolicyError
from freshline.names import MAX_LAG
from freshline.words import similar

__all__ = ["MaxLag", "chosen_policy", "max_lag", "max_lag_metadata", "policy_of"]

# The names that people may write, each with the field of `MaxLag`. The first three are those of
# Dagster's first freshness policies, which older dbt projects use.
_FIELDS: Final = {
    "maximum_lag_minutes": "minutes",
    "cron_schedule": "cron",
    "cron_schedule_timezone": "timezone",
    "minutes": "minutes",
    "cron": "cron",
    "timezone": "timezone",
}
_EXAMPLE: Final = '{"maximum_lag_minutes": 5}'
_TEN_YEARS: Final = 5_260_000
"""In minutes. Python may have no date for a deadline that is further away."""


@dataclass(frozen=True, slots=True)
class MaxLag:
    """The promise that the lag is at most `minutes`: at all times, or with `cron` at its ticks.

    `cron` is read in `timezone`, an IANA name, by default UTC. Raises `PolicyError` for values
    that cannot be kept.
    """

    minutes: float
    cron: str | None = None
    timezone: str | None = None

    def __post_init__(self) -> None:
        _check_minutes(self.minutes)
        _check_cron(self.cron)
        _check_timezone(self.timezone, self.cron)

    @classmethod
    def parse(cls, mapping: object, where: str) -> MaxLag:
        """Read the policy that is written as `mapping`, for example in the ``meta`` of a dbt model.

        `where` names the asset and the file, for messages. Raises `PolicyError`.
        """
        if not isinstance(mapping, Mapping):
            raise PolicyError(
                f"{where}: a freshness policy is a mapping such as {_EXAMPLE}, not {mapping!r}."
            )
        fields: dict[str, Any] = {}
        for given, value in mapping.items():
            field = _FIELDS.get(given) if isinstance(given, str) else None
            if field is None:
                close = similar(str(given), _FIELDS)
                meant = f" (did you mean {close!r}?)" if close else ""
                raise PolicyError(
                    f"{where}: the freshness policy has an unknown field {given!r}{meant}. "
                    "Fields: maximum_lag_minutes, cron, timezone."
                )
            if field in fields:
                raise PolicyError(
                    f"{where}: the freshness policy says {field} twice, the second time "
                    f"as {given!r}. Keep one."
                )
            fields[field] = _number(value) if field == "minutes" else value
        if "minutes" not in fields:
            raise PolicyError(
                f"{where}: the freshness policy lacks maximum_lag_minutes, as in {_EXAMPLE}."
            )
        try:
            return cls(**fields)
        except PolicyError as error:
            raise PolicyError(f"{where}: {error}") from None

    def covers(self, other: MaxLag) -> bool:
        """Return whether `other` is kept whenever this policy is."""
        if self.minutes > other.minutes:
            return False
        # A lag that holds at all times also holds at the ticks of any cron.
        ticks, others = ((it.cron, it.timezone or "UTC") for it in (self, other))
        return self.cron is None or ticks == others

    def to_json(self) -> dict[str, Any]:
        """Return the policy as plain values, without fields that are not set."""
        whole = float(self.minutes).is_integer()
        plain: dict[str, Any] = {"minutes": int(self.minutes) if whole else self.minutes}
        if self.cron is not None:
            plain["cron"] = self.cron
        if self.timezone is not None:
            plain["timezone"] = self.timezone
        return plain

    def __str__(self) -> str:
        minutes = f"{self.minutes:g} minute" + ("" if self.minutes == 1 else "s")
        if self.cron is None:
            return f"at most {minutes} behind"
        return f"at most {minutes} behind at {self.cron} ({self.timezone or 'UTC'})"


def max_lag(
    minutes: float, *, cron: str | None = None, timezone: str | None = None
) -> dict[str, Any]:
    """Return metadata that promises a maximum lag: ``@dg.asset(metadata=max_lag(minutes=5))``.

    Raises `PolicyError`.
    """
    return max_lag_metadata(MaxLag(minutes, cron, timezone))


def max_lag_metadata(policy: MaxLag) -> dict[str, Any]:
    """Return the metadata that carries `policy` on an asset's spec."""
    return {MAX_LAG: policy.to_json()}


def policy_of(spec: Any) -> MaxLag | None:
    """Read the policy that an `AssetSpec` carries, in any notation; None: it carries none.

    Raises `PolicyError` for a policy in freshline's own notation that cannot be kept. In another
    notation, where nothing minded it before, it counts as none: it must not keep a location from
    loading. The gate reports it.
    """
    policy, problems = chosen_policy(written_policies(spec), f"asset {spec.key.to_user_string()}")
    for each, problem in problems:
        if each.own:
            raise PolicyError(problem)
    return policy


def chosen_policy(
    written: Iterable[Written], where: str
) -> tuple[MaxLag | None, list[tuple[Written, str]]]:
    """Return the policy that counts, the first that can be read, and what is wrong with others.

    `where` names the asset, for messages. None: none can be read.
    """
    chosen: tuple[MaxLag, str] | None = None
    problems: list[tuple[Written, str]] = []
    for each in written:
        try:
            policy = MaxLag.parse(each.policy, where if each.own else f"{where}, {each.notation}")
        except PolicyError as error:
            problems.append((each, str(error)))
            continue
        if chosen is None:
            chosen = policy, each.notation
        elif policy != chosen[0]:
            problem = (
                f"{where}: two different policies, {chosen[0]} in {chosen[1]} and {policy} in "
                f"{each.notation}. The first counts; keep only one."
            )
            problems.append((each, problem))
    return (chosen[0] if chosen else None), problems


def partitioned_message(key: str, file: str | None, why: str) -> str:
    """Return that a partitioned asset cannot carry a policy, `why`, and what to do."""
    place = f" ({file})" if file else ""
    return (
        f"asset {key}{place} carries a maximum lag, which cannot be kept: {why}. Take the policy "
        "off, or put it on an asset that reads this one and has no partitions, or others."
    )


def _number(value: object) -> object:
    """Return a number that is written as text, as ``var()`` and ``env_var()`` of dbt give it."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
        number = float(value)
        return int(number) if number.is_integer() else number
    return value


def _check_minutes(minutes: object) -> None:
    # bool is an int to Python, but True is no number of minutes.
    if isinstance(minutes, bool) or not isinstance(minutes, (int, float)):
        raise PolicyError(
            f"maximum_lag_minutes must be a number of minutes, not {minutes!r}; "
            f"write it as in {_EXAMPLE}."
        )
    if not math.isfinite(minutes):
        raise PolicyError(
            f"maximum_lag_minutes must be a finite number, not {minutes!r}; "
            "leave the policy out if any lag will do."
        )
    if minutes > _TEN_YEARS:
        raise PolicyError(
            f"maximum_lag_minutes must be ten years ({_TEN_YEARS}) at most, not {minutes!r}; "
            "leave the policy out if any lag will do."
        )
    if minutes <= 0:
        raise PolicyError(
            f"maximum_lag_minutes must be above 0, not {minutes!r}: data is always a little behind."
        )


def _check_cron(cron: object) -> None:
    if cron is None:
        return
    problem = None
    if not isinstance(cron, str):
        problem = "it is not text"
    elif not cron.startswith("@") and len(cron.split()) != 5:
        problem = f"it has {len(cron.split())} fields, not 5"
    else:
        try:
            # This also refuses dates that never come, such as the 31st of February.
            croniter(cron, datetime(2000, 1, 1, tzinfo=UTC)).get_next(float)
        except (CroniterError, ValueError) as error:
            problem = str(error)
    if problem:
        raise PolicyError(
            f"the cron {cron!r} cannot be read ({problem}); write five fields, "
            'as in "0 9 * * 1-5" for nine on weekdays.'
        )


def _check_timezone(name: object, cron: object) -> None:
    if name is None:
        return
    if cron is None:
        raise PolicyError(
            f"the time zone {name!r} has no cron to be read with; "
            "add cron, or take the time zone off."
        )
    try:
        if not isinstance(name, str):
            raise TypeError("it is not text")
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise PolicyError(
            f"the time zone {name!r} is not known; write an IANA name such as "
            '"Europe/Amsterdam" or "UTC".'
        ) from None
