"""Reads the type names of SQL engines: which type does an engine mean by a name?

sqlglot parses the names. The tables here hold what it leaves open, because it translates between
engines and need not know it, and what it gets wrong. The facts come from each engine's own page on
data types; `tests/test_types.py` repeats them as examples.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from freshline.contract.dialects import dialect_of

__all__ = ["SqlType", "engines_of", "sql_type"]

_T = TypeVar("_T")

DEFAULT_ENGINE: Final = "postgres"
"""The engine whose names are assumed if nothing says which one it is."""


class SqlType(NamedTuple):
    """A type as its engine means it: two names of one type give equal values."""

    name: str
    """sqlglot's name of the type, one for all its aliases: TEXT, DECIMAL, TIMESTAMPTZ."""
    sizes: tuple[int, ...] = ()
    """Length, or precision and scale. Empty: any."""
    named_sizes: bool = False
    """Whether the sizes were written down, or follow from the name; else they are a default."""
    parts: tuple[tuple[str, SqlType], ...] = ()
    """The elements of an array or map, the fields of a struct: their names ("": none), types."""
    values: frozenset[str] = frozenset()
    """The values of an enumeration, in lower case."""


def engines_of(makes: Collection[str], reads: Collection[str] = ()) -> tuple[str, ...]:
    """Return the SQL engines by whose names the type of a column may be written.

    `makes` and `reads` are the kinds of the asset and of its readers. Several engines are returned
    if an asset has the kinds of several (it copies from one to the other), or its readers have
    other ones.
    """
    producer, readers = _named_engines(tuple(makes)), _named_engines(tuple(reads))
    both = producer & readers
    return tuple(sorted(both or producer | readers)) or (DEFAULT_ENGINE,)


@lru_cache(maxsize=8192)
def sql_type(name: str, engine: str) -> SqlType | None:
    """Return the type that `engine` means by `name`; None: not known, such as a type of a user."""
    plain = " ".join(name.lower().split())
    if engine == "sqlite":
        return SqlType(_sqlite_affinity(plain))
    for pattern, replacement in _SPELLINGS:
        plain = pattern.sub(replacement, plain)
    if engine in _POSTGRES_LIKE:
        plain = re.sub(r"^_(\w+)$", r"\1[]", plain.removeprefix("pg_catalog."))
    if engine == "redshift":
        plain = plain.replace("(max)", "(65535)")
    base, bracket, rest = plain.partition("(")
    base = _RESPELLED.get(engine, {}).get(base.strip(), base)
    if base.strip() in _OWN_NAMES.get(engine, ()):
        return SqlType(f"own {base.strip()}")
    plain = base + bracket + rest
    parsed = _parse(plain, engine)
    found = None if parsed is None else _read(parsed, plain, engine)
    if found and engine == DEFAULT_ENGINE and not _has_only(found, _POSTGRES_NAMES):
        return None
    return found


@lru_cache(maxsize=1024)
def _named_engines(kinds: tuple[str, ...]) -> frozenset[str]:
    return frozenset(engine for kind in kinds if (engine := dialect_of(kind)))


def _parse(name: str, engine: str) -> Any:
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        parsed = exp.DataType.build(name, dialect=engine)
    except (SqlglotError, ValueError, IndexError):  # the last one: sqlglot's own, on odd names
        return None
    # sqlglot has a class of its own for the names of objects, such as oid and regclass.
    if isinstance(parsed, exp.ObjectIdentifier):
        return parsed
    known = isinstance(parsed, exp.DataType) and parsed.this not in (
        exp.DataType.Type.USERDEFINED,
        exp.DataType.Type.UNKNOWN,
    )
    return parsed if known else None


def _read(parsed: Any, text: str, engine: str) -> SqlType | None:
    """Return the type that sqlglot has `parsed` from `text`."""
    if parsed.this.__class__.__name__ == "Interval":
        return SqlType(_interval(parsed.this.sql().upper(), engine))
    written = str(getattr(parsed.this, "value", parsed.this)).upper()
    if written in _WRAPPERS:
        inner = parsed.expressions[-1]
        return _read(inner, text, engine) if inner.key == "datatype" else None
    name = _ALIASES.get(engine, {}).get(written) or _ALIASES[""].get(written, written)
    sizes, named = _sizes(parsed, written, name, text, engine)
    if written in ("FLOAT", "DOUBLE") and engine in _FLOAT_BY_PRECISION:
        name = _float(parsed, written, text, engine)
    parts = _parts(parsed, text, engine)
    if parts is None:
        return None
    if name == "ARRAY" and engine in _POSTGRES_LIKE and parts and parts[0][1].name == "ARRAY":
        parts = parts[0][1].parts  # Postgres does not keep the number of dimensions
    values = _values(parsed) if name == "ENUM" else frozenset()
    return SqlType(name, sizes, named, parts, values)


def _values(parsed: Any) -> frozenset[str]:
    from sqlglot import exp

    return frozenset(it.name.lower() for it in parsed.find_all(exp.Literal) if it.is_string)


def _parts(parsed: Any, text: str, engine: str) -> tuple[tuple[str, SqlType], ...] | None:
    """Return the types inside; None: one of them is not known."""
    parts = []
    for part in parsed.expressions:
        inner = part.args.get("kind") if part.key == "columndef" else part
        if inner is None or inner.key != "datatype":
            continue
        found = _read(inner, text, engine)
        if found is None:
            return None
        parts.append((part.name.lower() if part.key == "columndef" else "", found))
    return tuple(parts)


def _sizes(
    parsed: Any, written: str, name: str, text: str, engine: str
) -> tuple[tuple[int, ...], bool]:
    """Return the sizes of a type, and whether they are named. A length of `max` is none."""
    fixed = _FIXED_SIZES.get(engine, {}).get(written)
    if fixed:
        return fixed, True
    params = [part.name for part in parsed.expressions if part.key == "datatypeparam"]
    if written in _CLICKHOUSE_DECIMALS and params and params[0].isdigit():
        return (_CLICKHOUSE_DECIMALS[written], int(params[0])), True
    length = parsed.args.get("values") if name == "ARRAY" and engine == "duckdb" else None
    if length and length[0].name.isdigit():
        return (int(length[0].name),), True
    if name not in _SIZED or not all(map(str.isdigit, params)):
        return (), False
    if name == "TEXT" and engine == "clickhouse" and written != "FIXEDSTRING":
        return (), False  # String has no length; ClickHouse ignores the one of VARCHAR(10)
    if not params:
        return _DEFAULT_SIZES.get(engine, {}).get(written, ()), False
    sizes = tuple(int(size) for size in params)
    # For NUMBER in Snowflake and DECIMAL in DuckDB, sqlglot fills in the default.
    named = re.search(rf"\(\s*{sizes[0]}\b", text) is not None
    return (*sizes, 0) if name.endswith("DECIMAL") and len(sizes) == 1 else sizes, named


def _float(parsed: Any, written: str, text: str, engine: str) -> str:
    """Return FLOAT (4 bytes) or DOUBLE. With a precision, its bits decide: up to 24 are 4 bytes."""
    params = [part.name for part in parsed.expressions if part.key == "datatypeparam"]
    if len(params) == 1 and params[0].isdigit():
        return "FLOAT" if int(params[0]) <= 24 else "DOUBLE"
    # SQL Server's float has 8 bytes; sqlglot gives it the name of its real.
    return "DOUBLE" if engine in ("tsql", "fabric") and text == "float" else written


def _interval(unit: str, engine: str) -> str:
    if engine in _ONE_INTERVAL:
        return "INTERVAL"
    months = re.search(r"YEAR|MONTH|QUARTER", unit) is not None
    return "INTERVAL YEAR TO MONTH" if months else "INTERVAL DAY TO SECOND"


def _sqlite_affinity(name: str) -> str:
    """Return what SQLite makes of a type's name, by the rules of its page on data types (3.1)."""
    for words, affinity in (
        (("int",), "BIGINT"),
        (("char", "clob", "text"), "TEXT"),
        (("blob",), "BINARY"),
        (("real", "floa", "doub"), "DOUBLE"),
    ):
        if any(word in name for word in words):
            return affinity
    return "DECIMAL"


def _has_only(found: SqlType, names: Collection[str]) -> bool:
    return (found.name in names or found.name.endswith("RANGE")) and all(
        _has_only(part, names) for _, part in found.parts
    )


def _each(names: str, value: _T) -> dict[str, _T]:
    """Return a table in which each of the names, parted by blanks, has the same value."""
    return dict.fromkeys(names.split(), value)


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


_POSTGRES_LIKE: Final = frozenset({"postgres", "redshift", "materialize", "risingwave"})
_FLOAT_BY_PRECISION: Final = frozenset({*_POSTGRES_LIKE, "mysql", "tsql", "fabric"})
_ONE_INTERVAL: Final = frozenset(
    {"postgres", "materialize", "risingwave", "duckdb", "bigquery", "clickhouse"}
)
"""Engines with one interval type; the others have one of months, and one of days to seconds."""

_WRAPPERS: Final = frozenset({"LOWCARDINALITY", "SIMPLEAGGREGATEFUNCTION"})
"""ClickHouse: how values are stored or merged, not what they are."""

_SPELLINGS: Final = (
    (re.compile(r"^national "), ""),
    (re.compile(r"\b(?:n?char|character) varying\b"), "varchar"),
    (re.compile(r"\bcharacter large object\b"), "clob"),
    # The element's type first, as SQL has it: sqlglot takes `integer array` for an integer.
    (re.compile(r"^(.+?) array(?:\[\d*\])?$"), r"\1[]"),
)

_RESPELLED: Final[Mapping[str, Mapping[str, str]]] = {
    "postgres": {
        "serial2": "smallint",
        "serial4": "integer",
        "serial8": "bigint",
        '"char"': "char",  # one byte, of the system's own tables
        "bit varying": "varbit",
    },
    "oracle": {
        "nclob": "clob",
        "long": "clob",  # text of old; sqlglot takes it for a big integer
        "raw": "blob",
        "long raw": "blob",
        "real": "float",
        "double precision": "float",
    },
    "mysql": {"real": "double", "serial": "bigint unsigned"},
    "tsql": {"sysname": "nvarchar(128)"},
    "duckdb": {
        "varint": "bignum",
        "timestamp_us": "timestamp",
        "datetime": "timestamp",
        "int8": "bigint",
    },
}
"""Names of types that sqlglot, some releases of it at least, cannot parse or mistakes."""

_OWN_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "postgres": _words(
        "box cidr circle citext jsonpath line lseg ltree macaddr macaddr8 path pg_lsn polygon "
        "tsquery tsvector txid_snapshot varbit xid"
    ),
    # FLOAT is a NUMBER with a binary precision; sqlglot takes it for BINARY_FLOAT.
    "oracle": frozenset({"float", "rowid", "urowid"}),
    "duckdb": frozenset({"bignum"}),
    "clickhouse": frozenset({"bfloat16"}),
}
"""Types of an engine that sqlglot cannot parse, or mistakes for another one."""

_ALIASES: Final[Mapping[str, Mapping[str, str]]] = {
    "": {
        **_each("VARCHAR NVARCHAR CHAR NCHAR BPCHAR NAME TINYTEXT MEDIUMTEXT LONGTEXT", "TEXT"),
        **_each("VARBINARY BLOB TINYBLOB MEDIUMBLOB LONGBLOB IMAGE", "BINARY"),
        # Readers do not rely on the precision of a timestamp.
        **_each("TIMESTAMPNTZ TIMESTAMP_S TIMESTAMP_MS TIMESTAMP_NS", "TIMESTAMP"),
        **_each("ENUM8 ENUM16", "ENUM"),
        "LIST": "ARRAY",
        "NESTED": "STRUCT",
    },
    "postgres": {"SERIAL": "INT", "BIGSERIAL": "BIGINT", "SMALLSERIAL": "SMALLINT"},
    # All integers are NUMBER(38,0), all floats have 8 bytes. DATETIME is TIMESTAMP_NTZ, and so is
    # TIMESTAMP, unless the account says otherwise.
    "snowflake": {
        **_each("INT BIGINT SMALLINT TINYINT", "DECIMAL"),
        "FLOAT": "DOUBLE",
        "DATETIME": "TIMESTAMP",
    },
    "bigquery": {**_each("INT SMALLINT TINYINT", "BIGINT"), "FLOAT": "DOUBLE"},
    "mysql": {"BOOLEAN": "TINYINT"},
    "tsql": {"BIT": "BOOLEAN"},
    "fabric": {"BIT": "BOOLEAN"},
    "oracle": _each("INT SMALLINT BIGINT", "DECIMAL"),
    # TIMESTAMP is the one with the session's time zone.
    "spark": {"TIMESTAMPLTZ": "TIMESTAMPTZ"},
    "databricks": {"TIMESTAMPLTZ": "TIMESTAMPTZ"},
    "clickhouse": {
        **_each("DECIMAL32 DECIMAL64 DECIMAL128 DECIMAL256", "DECIMAL"),
        "FIXEDSTRING": "TEXT",
        "TIMESTAMP": "DATETIME",
    },
}
"""One name for all names of a type, by engine; under "": in every engine."""

_SIZED: Final = _words("TEXT BINARY DECIMAL UDECIMAL BIGDECIMAL BIT VECTOR")
"""The types whose sizes say which values fit. Others have them for display, or for storage."""

_CLICKHOUSE_DECIMALS: Final = {
    "DECIMAL32": 9,
    "DECIMAL64": 18,
    "DECIMAL128": 38,
    "DECIMAL256": 76,
}
"""Their precision; only the scale is written."""

_FIXED_SIZES: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    engine: _each("INT BIGINT SMALLINT TINYINT", (38, 0)) for engine in ("snowflake", "oracle")
}

_DEFAULT_SIZES: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "postgres": {"CHAR": (1,), "NCHAR": (1,), "BIT": (1,)},
    "redshift": {
        "DECIMAL": (18, 0),
        **_each("VARCHAR NVARCHAR TEXT BPCHAR", (256,)),
        **_each("CHAR NCHAR", (1,)),
    },
    "snowflake": {
        **_each("VARCHAR NVARCHAR TEXT", (16_777_216,)),
        **_each("CHAR NCHAR", (1,)),
        **_each("BINARY VARBINARY", (8_388_608,)),
    },
    "bigquery": {"DECIMAL": (38, 9), "BIGDECIMAL": (76, 38)},
    "mysql": {
        "DECIMAL": (10, 0),
        **_each("CHAR NCHAR BINARY BIT", (1,)),
        **_each("TINYTEXT TINYBLOB", (255,)),
        **_each("TEXT BLOB", (65_535,)),
        **_each("MEDIUMTEXT MEDIUMBLOB", (16_777_215,)),
        **_each("LONGTEXT LONGBLOB", (4_294_967_295,)),
    },
    **_each(
        "tsql fabric",
        {
            "DECIMAL": (18, 0),
            **_each("CHAR VARCHAR NCHAR NVARCHAR BINARY VARBINARY", (1,)),
        },
    ),
    **_each("spark databricks hive athena", {"DECIMAL": (10, 0)}),
    **_each("trino presto", {"DECIMAL": (38, 0), "CHAR": (1,)}),
    "clickhouse": {"DECIMAL": (10, 0)},
    "oracle": {"CHAR": (1,), "NCHAR": (1,)},
}
"""The sizes that an engine gives a column if none are written; without an entry: any size."""

_POSTGRES_NAMES: Final = _words(
    "TEXT BINARY BOOLEAN SMALLINT INT BIGINT DECIMAL FLOAT DOUBLE MONEY DATE TIME TIMETZ "
    "TIMESTAMP TIMESTAMPTZ INTERVAL BIT UUID JSON JSONB XML INET OID REGCLASS POINT GEOMETRY "
    "GEOGRAPHY HSTORE VECTOR ARRAY"
)
"""Postgres is the default: a name that it does not have says that another engine is meant."""
