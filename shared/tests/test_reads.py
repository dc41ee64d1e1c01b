"""The columns that dbt models read of other locations' tables, found in their SQL."""

from __future__ import annotations

from typing import Any

import pytest
from freshline.contract.reads import columns_read, with_columns_read

ORDERS = ("crm/orders", "crm", "orders")
PEOPLE = ("crm/people", "crm", "people")
SALES = ("mart/sales", "selling", "sales", "")
SRC = "{{ source('crm', 'orders') }}"
WHO = "{{ source('crm', 'people') }}"


def read(code: str, dialect: str = "postgres") -> dict[str, list[str]]:
    found = columns_read(code, dialect, (ORDERS, PEOPLE, SALES))
    return {key: sorted(columns) for key, columns in found.items()}


@pytest.mark.parametrize(
    ("code", "columns"),
    [
        (f"select id, amount from {SRC}", ["amount", "id"]),
        (f"select ID, Amount from {SRC} where State = 'new'", ["amount", "id", "state"]),
        (f'select "Id" from {SRC}', ["Id"]),
        (f"select o.id, o.amount * 2 as twice from {SRC} as o order by twice", ["amount", "id"]),
        (f"select sum(amount) as amount from {SRC} group by day", ["amount", "day"]),
        (f"select distinct on (a, b) c from {SRC} order by a, d desc", ["a", "b", "c", "d"]),
        (f"select row_number() over (partition by a order by b) as n from {SRC}", ["a", "b"]),
        (f"select o.a from {SRC} o join other x on x.k = o.k and o.d > x.d", ["a", "d", "k"]),
        (f"with o as (select * from {SRC}) select id from o where amount > 1", ["amount", "id"]),
        (f"with o as (select * from {SRC}), p as (select * from o) select p.id from p", ["id"]),
        (f"with o as (select *, a + b as c from {SRC}) select c, d from o", ["a", "b", "d"]),
        (f"with o as (select id as key from {SRC}) select key from o", ["id"]),
        (f"select x.id from (select * from {SRC} where ok) x left join y on true", ["id", "ok"]),
        (f"with o as (select * from {SRC} union select * from x) select id from o", ["id"]),
        (f"select id from {SRC} union all select number from {SRC}", ["id", "number"]),
        (f"select 1 from t where exists (select 1 from {SRC} o where o.k = t.k)", ["k"]),
        (f"select a from {SRC} {{% if is_incremental() %}} where b > 1 {{% endif %}}", ["a", "b"]),
        (f"{{{{ config(materialized='table') }}}} select a from {SRC}", ["a"]),
        (f"select a from {SRC} where day >= '{{{{ var('start') }}}}'", ["a", "day"]),
        (
            f"{{% set names = ['a', 'b'] %}}select {{{{ names | join(', ') }}}} from {SRC}",
            ["a", "b"],
        ),
        (
            f"select {{% for n in ['a', 'b'] %}} {{{{ n }}}}, {{% endfor %}} 1 from {SRC}",
            ["a", "b"],
        ),
        (
            f"""with recursive r as (select id from {SRC} union all
            select x.id from x join r on r.id = x.parent) select id from r""",
            ["id"],
        ),
        (f"select a from {SRC} where b > (select max(c) from {{{{ this }}}})", ["a", "b"]),
    ],
)
def test_columns_that_certainly_come_from_a_table_are_found(code: str, columns: list[str]) -> None:
    assert {"crm/orders": columns} == read(code)


@pytest.mark.parametrize(
    "code",
    [
        f"select * from {SRC}",
        f"select count(*) from {SRC}",
        f"select o.* from {SRC} o",
        f"select id from {SRC} join other using (x)",  # of either
        f"select id from {SRC}, other",
        f"select id from {SRC} cross join lateral jsonb_each(items)",
        f"select a + 1 as b from (select 1 as a) x where b in (select c from {SRC})",  # of outside
        f"select o from {SRC} o",  # the whole row
        f"select x from {SRC} as o(x, y)",  # columns renamed
        f"with o(x) as (select * from {SRC}) select x from o",
        f"with o as (select * from {SRC} cross join other) select id from o",
        f"select ctid, current_date from {SRC}",
        f"select timestampdiff(day, '2024-01-01', '2024-01-02') from {SRC}",
        f"select extract(epoch from now()), date_trunc('month', now()) from {SRC}",
        f"select {{{{ var('column') }}}} from {SRC}",
        f"select {{{{ cents('amount') }}}}, id from {SRC}",  # a macro
        f"select {{{{ dbt_utils.star(from={SRC}) }}}}, id from {SRC}",
        f"select id from {SRC} {{% if target.name == 'dev' %}} where day > 1 {{% endif %}}",
        f"select {{{{ 'a' if target.name | lower == 'dev' else 'b' }}}} from {SRC}",
        f"select {{{{ 'a' if var('x') is none else 'b' }}}} from {SRC}",
        f"select {{{{ 'a' if 'd' in target.name else 'b' }}}} from {SRC}",
        f"{{% if execute %}} select id from {SRC} {{% endif %}}",
        "select id from {{ source('crm', 'unknown') }}",
        f"select id frm {SRC} where (",
        f"{{% if %}} select id from {SRC}",
        "{% for i in range(1000000000) %} {% endfor %} select id from " + SRC,
        "select ''.__class__",
        "",
    ],
)
def test_nothing_is_found_where_it_is_not_certain(code: str) -> None:
    assert {} == read(code)


def test_columns_of_several_tables_are_told_apart_by_their_alias() -> None:
    code = f"select o.id, p.name, state from {SRC} o join {WHO} p on o.person = p.id"

    assert {"crm/orders": ["id", "person"], "crm/people": ["id", "name"]} == read(code)


@pytest.mark.parametrize(
    "reference", ["ref('sales')", "ref('selling', 'sales')", "ref('sales', v=1)"]
)
def test_models_of_other_projects_are_found_by_ref(reference: str) -> None:
    versioned = ("mart/sales", "selling", "sales", "1")

    found = columns_read(f"select day from {{{{ {reference} }}}}", "postgres", (versioned,))

    assert {"mart/sales": {"day"}} == found


@pytest.mark.parametrize(
    ("dialect", "code", "columns"),
    [
        ("snowflake", f"select ID, raw:address.city::string from {SRC}", ["id", "raw"]),
        ("snowflake", f"select datediff(day, a, b), dateadd(month, 1, c) from {SRC}", "abc"),
        (
            "snowflake",
            f"select f.value from {SRC} o, lateral flatten(input => o.items) f",
            ["items"],
        ),
        (
            "bigquery",
            f'select "text", t.id, item.price from {SRC} t, t.items item',
            ["id", "items"],
        ),
        ("bigquery", f"select * except (a), `B` from {SRC} where _partitiontime > c", ["B", "c"]),
        ("duckdb", f"select list_transform(a, x -> x + 1) from {SRC}", ["a"]),
        ("databricks", f"select transform(a, x -> x + 1), `b` from {SRC}", ["a", "b"]),
        ("redshift", f"select a as b, b + 1 from {SRC}", ["a"]),  # `b` may be the alias
        ("clickhouse", f"with 5 as n select n + a from {SRC} final", ["a"]),
        ("duckdb", f"select [x for x in a if x > 1], t.b from {SRC} t", ["b"]),
        ("mysql", f'select a, "b", `c` from {SRC}', ["a", "c"]),
    ],
)
def test_names_are_read_as_the_dialect_means_them(
    dialect: str, code: str, columns: list[str]
) -> None:
    assert {"crm/orders": list(columns)} == read(code, dialect)


def test_columns_are_added_to_imports_without_declared_ones() -> None:
    document: dict[str, Any] = {
        "location": "shop",
        "imports": [
            {"key": "crm/orders", "columns": [{"name": "id", "type": "bigint", "used_by": ["a"]}]},
            {"key": "crm/people", "columns": []},
        ],
        "queries": [
            {
                "asset": asset,
                "adapter": "postgres",
                "code": f"select o.day, p.name from {SRC} o join {WHO} p on o.who = p.id",
                "relations": [list(ORDERS), list(PEOPLE)],
                "imports": imports,
            }
            for asset, imports in (("a", ["crm/people"]), ("b", ["crm/orders", "crm/people"]))
        ],
    }

    answer = with_columns_read(document)

    def found(name: str, *by: str) -> dict[str, Any]:
        return {"name": name, "type": None, "used_by": list(by), "inferred": True}

    assert {
        "location": "shop",
        "imports": [
            {
                "key": "crm/orders",
                "columns": [
                    found("day", "b"),
                    {"name": "id", "type": "bigint", "used_by": ["a"]},
                    found("who", "b"),
                ],
            },
            {"key": "crm/people", "columns": [found("id", "a", "b"), found("name", "a", "b")]},
        ],
    } == answer


def test_an_adapter_without_a_dialect_gives_no_columns() -> None:
    query = {
        "asset": "a",
        "adapter": "somebase",
        "code": f"select id from {SRC}",
        "relations": [list(ORDERS)],
        "imports": ["crm/orders"],
    }
    document = {"imports": [{"key": "crm/orders", "columns": []}], "queries": [query]}

    assert {"imports": [{"key": "crm/orders", "columns": []}]} == with_columns_read(document)
