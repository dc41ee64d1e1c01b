"""The columns that dbt models certainly make, found in their SQL."""

from __future__ import annotations

from typing import Any

import pytest
from freshline.contract.outputs import columns_made, with_columns_made

RELATIONS = (
    ("orders", "crm", "orders"),
    ("staged", "shop", "staged", ""),
    ("people", "shop", "people", ""),
)
KNOWN = (None, ("a", "b", "id"), ("id", "name"))
SRC = "{{ source('crm', 'orders') }}"
STAGED = "{{ ref('staged') }}"
PEOPLE = "{{ ref('people') }}"


def made(code: str, dialect: str = "postgres") -> list[str] | None:
    found = columns_made(code, dialect, RELATIONS, KNOWN)
    return None if found is None else list(found)


@pytest.mark.parametrize(
    ("dialect", "code", "columns"),
    [
        ("postgres", f'select a, o.B, 1 + 1 as C, "D" from {SRC} o', ["a", "b", "c", "D"]),
        ("postgres", f"select count(*) as n, (select 1) as one from {SRC};", ["n", "one"]),
        ("postgres", f"with x as (select * from {STAGED}) select * from x", ["a", "b", "id"]),
        ("postgres", f"with x as (select a from {SRC}) select *, 1 as n from x", ["a", "n"]),
        ("postgres", f"with x(k, l, m) as (select * from {STAGED}) select * from x", list("klm")),
        ("postgres", f"select * from (select a from {SRC}) o(x)", ["x"]),
        (
            "postgres",
            f"select s.*, o.c from {STAGED} s join {SRC} o on true",
            [*("a", "b", "id"), "c"],
        ),
        ("postgres", f"select * from {STAGED} join {PEOPLE} using (id)", ["a", "b", "id", "name"]),
        ("postgres", f"(select a from {SRC}) union all select b from {SRC}", ["a"]),
        ("postgres", f"select * from (select a from {SRC} union select b from {SRC}) u", ["a"]),
        (
            "postgres",
            "with recursive r as (select 1 as n union all select n + 1 from r) select * from r",
            ["n"],
        ),
        (
            "postgres",
            f"select a from {SRC} {{% if is_incremental() %}} where a > 1 {{% endif %}}",
            ["a"],
        ),
        (
            "postgres",
            f"select {{% for n in ['a', 'b'] %}} {{{{ n }}}}, {{% endfor %}} 1 as c from {SRC}",
            ["a", "b", "c"],
        ),
        (
            "duckdb",
            f"select * exclude (a) replace (1 as b) rename (id as key) from {STAGED}",
            ["b", "key"],
        ),
        ("duckdb", f"from {STAGED}", ["a", "b", "id"]),
        ("bigquery", f"select * except (a), 2 as `A b` from {STAGED}", ["b", "id", "A b"]),
        ("tsql", f"select x = a, [B c] from {SRC}", ["x", "B c"]),
        ("snowflake", f"select raw:city::string as city, ID from {SRC}", ["city", "id"]),
        ("clickhouse", f"select o.a from {SRC} o", ["a"]),
    ],
)
def test_columns_that_the_sql_names_are_all_columns(
    dialect: str, code: str, columns: list[str]
) -> None:
    assert columns == made(code, dialect)


@pytest.mark.parametrize(
    ("dialect", "code"),
    [
        ("postgres", f"select * from {SRC}"),
        ("postgres", f"select a, o.* from {SRC} o"),
        ("postgres", "select * from {{ this }}"),
        ("postgres", f"select count(*) from {SRC}"),  # the engine names it
        ("postgres", f"select a::int from {SRC}"),
        ("postgres", f"select * from {STAGED}, lateral f(a)"),
        ("postgres", f"select * from {STAGED} natural join {PEOPLE}"),
        ("postgres", f"select * from {STAGED} s join {PEOPLE} p on s.id = p.id"),  # `id` twice
        ("postgres", f"with x(k) as (select * from {STAGED}) select * from x"),
        ("postgres", f"select a {{{{ var('more') }}}} from {SRC}"),
        ("postgres", f"select a as {{{{ var('prefix') }}}}_a from {SRC}"),
        ("postgres", f"select {{{{ cents('a') }}}} as a from {SRC}"),  # a macro
        ("postgres", f"select a {{% if var('more') %}}, b {{% endif %}} from {SRC}"),
        ("postgres", f"select a {{% if is_incremental() %}}, b {{% endif %}} from {SRC}"),
        (
            "postgres",
            """with recursive r as (select 1 as n union all select n + 1 from r)
            search depth first by n set o select * from r""",
        ),
        ("postgres", "select 1 as a; select 2 as b"),
        ("postgres", "drop table x"),
        ("postgres", f"select a frm {SRC} where ("),
        ("postgres", ""),
        ("duckdb", f"select a from {SRC} union by name select b from {SRC}"),
        ("duckdb", f"select columns(*) as x from {SRC}"),
        ("duckdb", f"select unnest(s) as x from {SRC}"),  # the fields of a struct
        ("databricks", f"select explode(m) as (k, v) from {SRC}"),
        ("bigquery", f"select as struct a from {SRC}"),
        ("bigquery", f"select o.address.* from {SRC} o"),
        ("tsql", f"select a as x from {SRC} for json path"),
        ("snowflake", f"select * ilike '%x%' from {STAGED}"),
        ("snowflake", f"select * from {STAGED} pivot (sum(a) for b in ('x'))"),
        ("clickhouse", f"select o.a, p.b from {SRC} o join {PEOPLE} p on o.i = p.i"),
        ("clickhouse", f"select * from {STAGED} array join a as item"),
    ],
)
def test_nothing_is_known_where_it_is_not_certain(dialect: str, code: str) -> None:
    assert None is made(code, dialect)


def model(name: str, code: str, *parents: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"0:model.shop.{name}",
        "asset": name,
        "adapter": "postgres",
        "code": code,
        "hooks": [],
        "relations": [[f"0:model.shop.{parent}", "shop", parent, ""] for parent in parents],
        **fields,
    }


def exported(*models: dict[str, Any]) -> dict[str, list[str] | None]:
    exports = [{"key": it["asset"]} for it in models if it["asset"]]
    document = with_columns_made({"exports": exports, "models": list(models)})
    assert {"exports"} == set(document)
    return {export["key"]: export.get("made_columns") for export in document["exports"]}


def test_a_star_has_the_columns_of_the_models_that_it_is_selected_from() -> None:
    staged = model("staged", "select b, a from x", asset=None)

    assert {"first": ["a", "b"], "second": ["a", "b"], "unknown": None} == exported(
        model("second", "select * from {{ ref('first') }}", "first"),
        model("first", "select * from {{ ref('staged') }}", "staged"),
        model("unknown", "select * from {{ ref('seed') }}", "seed"),
        staged,
    )


def test_models_that_select_from_each_other_are_not_known() -> None:
    assert {"one": None, "two": None} == exported(
        model("one", "select * from {{ ref('two') }}", "two"),
        model("two", "select * from {{ ref('one') }}", "one"),
    )


@pytest.mark.parametrize(
    ("hook", "columns"),
    [
        ("grant select on {{ this }} to {{ target.role }}", ["a"]),
        ("create index on {{ this }} (a)", ["a"]),
        ("alter table {{ this }} add column loaded_at timestamp", None),
        ("{{ add_audit_columns(this) }}", None),
    ],
)
def test_a_hook_that_may_add_a_column_makes_the_columns_unknown(
    hook: str, columns: list[str] | None
) -> None:
    assert {"one": columns} == exported(model("one", "select a from x", hooks=[hook]))


def test_the_columns_of_an_adapter_without_a_dialect_are_not_known() -> None:
    assert {"one": None} == exported(model("one", "select a from x", adapter="somebase"))
