"""Policies: what can be written, what is refused, and where an asset carries one."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from freshline.errors import PolicyError
from freshline.names import MAX_LAG
from freshline.policy import MaxLag, max_lag, max_lag_metadata, policy_of

WHERE = "model mart_x (models/mart_x.sql)"


class TestParse:
    @pytest.mark.parametrize(
        ("written", "expected"),
        [
            ({"maximum_lag_minutes": 5}, MaxLag(5)),
            ({"maximum_lag_minutes": 0.5}, MaxLag(0.5)),
            ({"maximum_lag_minutes": "15"}, MaxLag(15)),  # from var() or env_var() of dbt
            (
                {"maximum_lag_minutes": 60, "cron": "0 9 * * 1-5", "timezone": "Europe/Amsterdam"},
                MaxLag(60, "0 9 * * 1-5", "Europe/Amsterdam"),
            ),
            # The field names of Dagster's first freshness policies.
            (
                {
                    "maximum_lag_minutes": 60,
                    "cron_schedule": "@daily",
                    "cron_schedule_timezone": "UTC",
                },
                MaxLag(60, "@daily", "UTC"),
            ),
        ],
    )
    def test_reads_a_policy(self, written: dict[str, Any], expected: MaxLag) -> None:
        assert expected == MaxLag.parse(written, WHERE)

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            (5, "a freshness policy is a mapping such as"),
            ({}, "lacks maximum_lag_minutes"),
            ({"maximum_lag_minutes": "soon"}, "must be a number of minutes, not 'soon'"),
            ({"maximum_lag_minutes": "0"}, "must be above 0, not 0"),
            ({"maximum_lag_minutes": None}, "must be a number of minutes, not None"),
            ({"maximum_lag_minutes": True}, "must be a number of minutes, not True"),
            ({"maximum_lag_minutes": float("nan")}, "must be a finite number, not nan"),
            ({"maximum_lag_minutes": float("inf")}, "must be a finite number, not inf"),
            ({"maximum_lag_minutes": 1e10}, "must be ten years (5260000) at most"),
            ({"maximum_lag_minutes": 0}, "must be above 0, not 0"),
            ({"maximum_lag_minutes": -5}, "must be above 0, not -5"),
            (
                {"maximum_lag_minute": 5},
                "unknown field 'maximum_lag_minute' (did you mean 'maximum_lag_minutes'?)",
            ),
            ({"maximum_lag_minutes": 5, "lol": 1}, "unknown field 'lol'. Fields: "),
            ({"maximum_lag_minutes": 5, "minutes": 6}, "says minutes twice"),
            ({"maximum_lag_minutes": 5, "cron": "9 o'clock"}, "it has 2 fields, not 5"),
            ({"maximum_lag_minutes": 5, "cron": "0 25 * * *"}, "the cron '0 25 * * *' cannot be"),
            ({"maximum_lag_minutes": 5, "cron": "0 0 31 2 *"}, "the cron '0 0 31 2 *' cannot be"),
            ({"maximum_lag_minutes": 5, "cron": 9}, "it is not text"),
            ({"maximum_lag_minutes": 5, "timezone": "UTC"}, "has no cron to be read with"),
            (
                {"maximum_lag_minutes": 5, "cron": "0 9 * * *", "timezone": "Mars/Olympus"},
                "the time zone 'Mars/Olympus' is not known",
            ),
            (
                {"maximum_lag_minutes": 5, "cron": "0 9 * * *", "timezone": "../etc"},
                "the time zone '../etc' is not known",
            ),
            (
                {"maximum_lag_minutes": 5, "cron": "0 9 * * *", "timezone": 2},
                "the time zone 2 is not known",
            ),
        ],
    )
    def test_a_bad_policy_is_refused_with_model_file_and_fix(
        self, written: object, message: str
    ) -> None:
        with pytest.raises(PolicyError) as caught:
            MaxLag.parse(written, WHERE)

        assert str(caught.value).startswith(f"{WHERE}: ")
        assert message in str(caught.value)


class TestMaxLag:
    def test_whole_minutes_are_integers_in_json(self) -> None:
        assert {"minutes": 5} == MaxLag(5.0).to_json()

    def test_is_readable_as_text(self) -> None:
        assert "at most 5 minutes behind" == str(MaxLag(5))
        assert "at most 1 minute behind" == str(MaxLag(1))
        assert "at most 60 minutes behind at 0 9 * * * (UTC)" == str(MaxLag(60, "0 9 * * *"))


class TestPolicyOf:
    def test_reads_the_policy_of_a_python_asset(self) -> None:
        @dg.asset(metadata=max_lag(minutes=5, cron="0 9 * * *"))
        def orders() -> None: ...

        assert MaxLag(5, "0 9 * * *") == policy_of(orders.get_asset_spec())

    def test_reads_a_policy_that_dagster_has_wrapped(self) -> None:
        metadata = {MAX_LAG: dg.MetadataValue.json(MaxLag(2.5).to_json())}

        assert MaxLag(2.5) == policy_of(dg.AssetSpec("orders", metadata=metadata))

    def test_is_none_without_a_policy(self) -> None:
        assert policy_of(dg.AssetSpec("orders")) is None

    def test_reads_the_policy_of_a_partitioned_asset(self) -> None:
        spec = dg.AssetSpec(
            ["raw", "orders"],
            metadata=max_lag_metadata(MaxLag(5)),
            partitions_def=dg.StaticPartitionsDefinition(["a"]),
        )

        assert MaxLag(5) == policy_of(spec)


class TestCovers:
    @pytest.mark.parametrize(
        ("policy", "other", "expected"),
        [
            (MaxLag(5), MaxLag(5), True),
            (MaxLag(5), MaxLag(6), True),
            (MaxLag(6), MaxLag(5), False),
            (MaxLag(5), MaxLag(5, "0 9 * * *"), True),
            (MaxLag(5, "0 9 * * *"), MaxLag(5), False),
            (MaxLag(5, "0 9 * * *"), MaxLag(6, "0 9 * * *", "UTC"), True),
            (MaxLag(5, "0 9 * * *"), MaxLag(5, "0 9 * * *", "Europe/Amsterdam"), False),
            (MaxLag(5, "0 9 * * *"), MaxLag(5, "0 8 * * *"), False),
        ],
    )
    def test_says_whether_one_is_kept_whenever_the_other_is(
        self, policy: MaxLag, other: MaxLag, expected: bool
    ) -> None:
        assert expected is policy.covers(other)
