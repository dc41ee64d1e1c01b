"""The key convention."""

from __future__ import annotations

import pytest
from dagster import AssetKey
from freshline.errors import KeyConventionError
from freshline.keys import (
    asset_key,
    convention_of,
    conventional_name,
    key_problem,
    parts_of,
)


class TestAssetKey:
    def test_is_layer_and_table(self) -> None:
        assert AssetKey(["mart", "mart_gh_join"]) == asset_key("mart", "mart_gh_join")

    @pytest.mark.parametrize(
        ("layer", "table", "better"),
        [
            ("Mart", "orders", "the layer 'Mart' is not made of .*; name it 'mart'"),
            ("raw", "Ads Insights", "the table 'Ads Insights' is not .*; name it 'ads_insights'"),
            ("raw", "issue-events", "name it 'issue_events'"),
            ("raw", "issueEvents", "name it 'issue_events'"),
            ("raw", "a/b", "name it 'a_b'"),
            ("raw", "commandes_été", "name it 'commandes_t'"),
            ("raw", "", "the table '' is empty; give it a name"),
            (" ", "orders", "the layer ' ' is empty"),
            ("raw", "???", "is not made of lower-case letters, digits and underscores$"),
            ("raw", None, "the table None is not text but NoneType"),
        ],
    )
    def test_refuses_names_outside_the_convention(
        self, layer: str, table: str, better: str
    ) -> None:
        with pytest.raises(KeyConventionError, match=better):
            asset_key(layer, table)

    def test_names_the_file_to_change(self) -> None:
        with pytest.raises(KeyConventionError) as caught:
            asset_key("mart", "Orders", where="model Orders (models/Orders.sql)")

        assert str(caught.value) == (
            "model Orders (models/Orders.sql): the table 'Orders' is not made of lower-case "
            "letters, digits and underscores; name it 'orders'"
        )


class TestKeyProblem:
    def test_a_layer_and_a_table_are_no_problem(self) -> None:
        assert key_problem(["postgres", "stargazers_user2"]) is None

    def test_one_part_is_too_few(self) -> None:
        assert (
            "has 1 part; a key is [layer, table]: the logical schema, then the table"
            == key_problem(["orders"])
        )

    def test_three_parts_are_too_many(self) -> None:
        assert "has 3 parts; a key is" in str(key_problem(["db", "raw", "orders"]))

    def test_names_the_part_with_the_problem(self) -> None:
        problem = key_problem(["raw", "Orders"])

        assert problem is not None
        assert problem.startswith("has the table 'Orders', which is not made of")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("orders", "orders"), ("OrderItems", "order_items"), ("  x--y ", "x_y"), ("É", "")],
)
def test_conventional_name(name: str, expected: str) -> None:
    assert expected == conventional_name(name)


class TestConventionOf:
    def test_a_function_is_imported(self) -> None:
        expected: object = conventional_name

        assert expected == convention_of("freshline.keys:conventional_name", "here")

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("layer_table", "here: 'layer_table' is no key convention: did you mean layer-table?"),
            ("", "here: '' is no key convention: write one of layer-table, dagster-dbt, one-part,"),
            (3, "here: 3 is no key convention: write one of"),
            ("no.such:thing", "here: no.such:thing cannot be imported: No module named 'no'"),
            ("freshline.keys:nothing", "cannot be imported: module 'freshline.keys' has no"),
            ("freshline.keys:CONVENTIONS", "is no function"),
        ],
    )
    def test_refuses_what_is_no_convention(self, value: object, message: str) -> None:
        with pytest.raises(KeyConventionError) as refused:
            convention_of(value, "here")

        assert message in str(refused.value)

    @pytest.mark.parametrize("answer", ["orders", [], None])
    def test_a_function_that_returns_no_parts_is_refused(self, answer: object) -> None:
        with pytest.raises(KeyConventionError, match="here: the function for keys returned"):
            parts_of(lambda *_: answer, ["raw", "orders"], None, "here")  # type: ignore[arg-type]
