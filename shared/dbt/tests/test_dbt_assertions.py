"""What dbt tests assert, in words."""

from __future__ import annotations

from typing import Any

import pytest
from freshline.dbt.assertions import assertion


def generic(name: str, namespace: str | None = None, **kwargs: Any) -> dict[str, Any]:
    """Return the properties of a generic test, as they are in a manifest."""
    model = "{{ get_where_subquery(ref('orders')) }}"
    return {
        "description": "",
        "original_file_path": "models/orders.yml",
        "test_metadata": {
            "name": name,
            "namespace": namespace,
            "kwargs": {**kwargs, "model": model},
        },
    }


class TestAssertion:
    @pytest.mark.parametrize(
        ("props", "said"),
        [
            (generic("not_null", column_name="id"), "`id` is never null."),
            (generic("unique", column_name="id"), "No two rows have the same `id`."),
            (
                generic("accepted_values", column_name="state", values=["open", "paid"]),
                "`state` is always one of `open`, `paid`, or null.",
            ),
            (
                generic(
                    "relationships", column_name="buyer", to="source('crm', 'people')", field="id"
                ),
                "Each `buyer` is in `id` of `crm/people`, or null.",
            ),
            (
                generic("relationships", column_name="buyer", to='ref("people", v=2)', field="id"),
                "Each `buyer` is in `id` of `people`, or null.",
            ),
        ],
    )
    def test_dbts_own_tests_have_a_sentence(self, props: dict[str, Any], said: str) -> None:
        assert said == assertion(props)

    @pytest.mark.parametrize(
        ("name", "arguments", "said"),
        [
            (
                "accepted_range",
                {"column_name": "share", "min_value": 0, "max_value": 1},
                "`share` is at least `0` and at most `1`, or null.",
            ),
            (
                "accepted_range",
                {"column_name": "closed", "min_value": "opened"},
                "`closed` is at least `opened`, or null.",
            ),
            (
                "unique_combination",
                {"columns": ["shop", "month"]},
                "No two rows have the same `shop`, `month` together.",
            ),
            (
                "running_total",
                {"column_name": "total", "of": "sales", "order_by": "month"},
                "`total` is the sum of `sales` up to each `month`.",
            ),
            (
                "running_total",
                {"column_name": "t", "of": "s", "order_by": "m", "partition_by": "shop"},
                "`t` is the sum of `s` up to each `m`, for each `shop`.",
            ),
        ],
    )
    def test_freshlines_tests_have_a_sentence(
        self, name: str, arguments: dict[str, Any], said: str
    ) -> None:
        assert said == assertion(generic(name, "freshline_dbt", **arguments))

    def test_a_tests_own_description_comes_first(self) -> None:
        props = generic("not_null", column_name="id") | {"description": "Known."}

        assert "Known." == assertion(props)

    def test_a_condition_on_the_rows_is_said(self) -> None:
        props = generic("unique", column_name="id") | {"config": {"where": "state =\n  'open'"}}

        assert (
            "No two rows have the same `id`. Only rows with `state = 'open'` count."
            == assertion(props)
        )

    def test_a_packages_test_is_named_with_its_arguments(self) -> None:
        limits = generic(
            "accepted_range", "dbt_utils", column_name="n", min_value=0, inclusive=False
        )
        keys = generic("unique_combination", columns=["id", "month"])
        named = "The dbt test `dbt_utils.accepted_range` on `n` finds nothing"

        assert f"{named}, with min_value: `0`; inclusive: `False`." == assertion(limits)
        assert (
            "The dbt test `unique_combination` finds nothing, with columns: `id`, `month`."
            == assertion(keys)
        )

    def test_a_test_that_only_has_the_name_of_one_of_dbts_is_named(self) -> None:
        other = generic("relationships", column_name="buyer", table="people")
        packages = generic("not_null", "strict", column_name="id")
        on_buyer = "The dbt test `relationships` on `buyer` finds nothing"

        assert f"{on_buyer}, with table: `people`." == assertion(other)
        assert "The dbt test `strict.not_null` on `id` finds nothing." == assertion(packages)

    def test_arguments_under_a_key_of_their_own_are_read(self) -> None:
        props = generic("accepted_values", column_name="state", arguments={"values": ["open"]})

        assert "`state` is always one of `open`, or null." == assertion(props)

    def test_of_many_values_most_are_counted(self) -> None:
        props = generic("accepted_values", column_name="n", values=list(range(12)))

        assert "`8`, `9` and 2 more, or null." in str(assertion(props))

    def test_a_singular_test_is_named_by_its_file(self) -> None:
        props = {"description": "", "original_file_path": "tests/no_debts.sql"}

        assert "The query in `tests/no_debts.sql` returns no rows." == assertion(props)
