"""Type names are compared as the engine means them: its aliases, defaults and sizes."""

from __future__ import annotations

import pytest
from freshline.compare.types import accepts, unread_types

# By engine: what a reader expects, what the producer has; "=" if each accepts the other, "<" if
# only the reader accepts the producer's, "x" if neither does, "?" if one is not known.
TABLES = {
    "postgres": """
        text = character varying | text = varchar | text = name | text = bpchar | text = string
        text < char(3) | text < varchar(10) | varchar(10) < varchar(5) | varchar(10) = char
        text < citext | bpchar(3) = character(3) | national character varying(10) = varchar(10)
        text = "char" | character varying(5) = varchar(5) | text x uuid | text x bytea
        int8 = bigint | int4 = integer | int2 = smallint | int = int4 | bigint x integer
        integer = serial | integer = serial4 | bigint = bigserial | bigint = serial8
        smallint = smallserial | smallint = serial2 | pg_catalog.int4 = integer
        real = float4 | real = float(1) | real = float(24) | double precision = float(25)
        double precision = float8 | double precision = float | double precision = float(53)
        double precision = double | real x float | real x double precision
        numeric = decimal | numeric < decimal(28,6) | numeric(12) = numeric(12,0)
        numeric(12,2) < numeric(10,2) | numeric(12,2) x numeric(10,3) | dec(5) = numeric(5)
        timestamptz = timestamp with time zone | timestamptz = timestamp(6) with time zone
        timestamptz = timestamptz(3) | timestamp = timestamp without time zone
        timestamp = timestamp(3) | timestamp x timestamptz | date x timestamp
        time = time without time zone | timetz = time(3) with time zone | time x timetz
        interval = interval day to second | interval = interval(3) | interval = interval year
        interval year to month = interval day to second
        int4[] = integer[] | text[] = _text | _int4 = integer[] | text[] = varchar[]
        integer array = int[] | integer array[4] = integer[] | integer[][] = integer[]
        integer[] x bigint[] | text[] x text | integer[] = ARRAY | text[] x integer[]
        bool = boolean | bytea x text | json x jsonb | uuid x text | inet x cidr | oid = oid
        varbit(5) = bit varying(5) | bit(3) < bit(2) | money x numeric | tsvector x text
        int4range x int8range | vector(3) x vector(4) | geometry = geometry(Point, 4326)
        text ? mood | mood ? spirits | text ? USER-DEFINED | timestamp ? datetime
        bigint = int64 | integer ? string | smallint ? tinyint
    """,
    "redshift": """
        text = varchar(256) | varchar = character varying | varchar(256) = text | varchar = bpchar
        varchar(max) = varchar(65535) | varchar(65535) = text | text < varchar(10)
        char = nchar | varchar(300) < char(20)
        decimal = numeric(18,0) | numeric(18,0) = decimal | real = float4
        float8 = double precision
        float = double precision | float(10) = real | timestamptz = timestamp with time zone
        timestamp x timestamptz | varbyte = varbinary | varbyte = binary varying | super x varchar
        interval year to month x interval day to second
    """,
    "snowflake": """
        number(38,0) = integer | number(38,0) = bigint | integer = int | bigint = smallint
        tinyint = byteint | number = number(38,0) | number = decimal | numeric = number
        number(38,0) = number | number < number(10,2) | integer < number(10,0)
        integer x number(38,2) | integer x float | number(12,2) < number(10,2)
        float = double | float = real | float4 = float8 | double precision = float
        text = string | string = varchar(16777216) | varchar(16777216) = text | text = nvarchar
        varchar(10) = char | text < varchar(10)
        timestamp = timestamp_ntz | timestamp_ntz = datetime | timestamp_ntz = timestampntz
        timestamp_ntz(9) = timestamp_ntz(3) | timestamp_ntz = timestamp without time zone
        timestamp_tz = timestamptz | timestamp_tz = timestamp with time zone
        timestamp_ltz = timestamp with local time zone | timestamp_ltz = timestampltz
        timestamp_ntz x timestamp_tz | timestamp_ntz x timestamp_ltz | timestamp_tz x timestamp_ltz
        date x timestamp_ntz | binary = varbinary | boolean x number | variant x object
        variant x array | array = array(number) | object(a number) x object(b number)
        map(varchar, number) x map(varchar, float) | geography x geometry | number ? point
    """,
    "bigquery": """
        int64 = bigint | int64 = integer | int64 = int | int64 = smallint | int64 = byteint
        float64 = float | bool = boolean | numeric = decimal | bignumeric = bigdecimal
        numeric < numeric(10,2) | numeric(38,9) = numeric
        numeric x bignumeric | numeric x float64 | int64 x string
        string < string(10) | string(20) < string(10) | bytes < bytes(5) | string x bytes
        timestamp x datetime | date x datetime | json x string
        array<int64> = array<integer> | array<int64> x array<string> | array<int64> x int64
        struct<a int64, b string> x struct<a int64, b int64> | record = struct<a int64>
        struct<a int64> < struct<a int64, b string> | range<date> x range<timestamp>
        array<struct<a int64>> x array<struct<b int64>>
    """,
    "duckdb": """
        varchar = text | varchar = string | varchar(10) = text | text = bpchar | char = varchar
        bigint = int8 | bigint = long | integer = int4 | integer = signed | smallint = short
        tinyint = int1 | hugeint x bigint | ubigint x bigint | uinteger x integer
        double = float8 | float = real | float = float4 | double x float
        decimal = decimal(18,3) | decimal < decimal(10,2)
        timestamp = datetime | timestamp = timestamp without time zone
        timestamp = timestamp_us | timestamp = timestamp_ns | timestamptz x timestamp
        timestamptz = timestamp with time zone | blob = bytea | blob = varbinary | bit = bitstring
        boolean = logical | integer[] < integer[3] | integer[3] x integer[4] | integer[] x bigint[]
        struct(a integer) < struct(a integer, b varchar) | struct(a integer) x struct(b integer)
        struct(a integer) x struct(a bigint) | map(varchar, integer) x map(varchar, bigint)
        varchar < enum('a', 'b') | enum('a', 'b') < enum('a') | varchar ? mood
        varint = bignum | json x integer | uuid x blob
    """,
    "databricks": """
        string < varchar(10) | string < char(3) | bigint = long
        int = integer | smallint = short | tinyint = byte | float = real | double x float
        decimal = decimal(10,0) | decimal = dec | decimal = numeric | decimal < decimal(18,2)
        timestamp = timestamp_ltz | timestamp x timestamp_ntz
        array<int> x array<bigint> | struct<a:int> = struct<a int>
        struct<a:int> x struct<a:bigint> | map<string,int> x map<string,bigint>
        interval year to month x interval day to second | variant x string | binary x string
    """,
    "spark": """
        string < varchar(10) | bigint = long | int = integer | timestamp = timestamp_ltz
        timestamp x timestamp_ntz | decimal(10,0) = decimal | array<int> x array<string>
    """,
    "mysql": """
        tinyint(1) = boolean | tinyint = bool | int = int(11) | int = integer | int x int unsigned
        bigint unsigned = serial | bigint(20) = bigint | mediumint x int
        decimal = decimal(10,0) | decimal = fixed | numeric = dec | decimal(10,0) = numeric
        double = double precision | double = real | double = float(53) | float = float(24)
        float x double | datetime = datetime(6) | datetime x timestamp | text = longtext
        varchar(255) = tinytext | text < varchar(255) | char = char(1) | varchar(10) = char
        blob = longblob | varbinary(3) < binary(2) | varchar(9) < enum('a') | json x text
    """,
    "tsql": """
        float = float(53) | real = float(24) | float = double precision | float x real
        varchar(max) = text | nvarchar(max) = ntext | varchar(max) < varchar(10)
        decimal = numeric | decimal(18,0) = decimal | int = integer
        varbinary(max) = image | sysname = nvarchar(128) | timestamp = rowversion
        datetime2 = datetime2(7) | datetime x datetime2 | datetime2 x datetimeoffset
        money x smallmoney | bit x int | uniqueidentifier x varchar(36)
    """,
    "clickhouse": """
        Int64 = BIGINT | Int32 = INT | Int8 = TINYINT | UInt64 x Int64 | Int128 x Int64
        String = TEXT | String = VARCHAR(10) | String = Nullable(String) | Int64 = Nullable(Int64)
        String = LowCardinality(String) | String = LowCardinality(Nullable(String))
        String < FixedString(3) | String < Enum8('a' = 1)
        Float64 = DOUBLE | Float32 = FLOAT | Float32 x Float64 | Bool = Boolean
        Decimal(9,2) = Decimal32(2) | Decimal(18,2) = Decimal64(2) | Decimal(38,2) = Decimal128(2)
        DateTime = DateTime('UTC') | DateTime = TIMESTAMP | DateTime64(3) = DateTime64(6, 'UTC')
        DateTime x DateTime64(3) | Date x Date32 | Array(Int32) = Array(Nullable(Int32))
        Array(Int32) x Array(Int64) | Tuple(a Int32) x Tuple(a Int64)
        Map(String, Int32) x Map(String, Int64) | Int64 = SimpleAggregateFunction(sum, Int64)
    """,
    "trino": """
        varchar < varchar(10) | integer = int | real x double | decimal = decimal(38,0)
        timestamp = timestamp(6) | timestamp x timestamp with time zone
        timestamp with time zone = timestamp(3) with time zone | array(integer) = array(int)
        row(a integer) x row(a bigint) | map(varchar, bigint) x map(varchar, integer)
        interval day to second x interval year to month
    """,
    "oracle": """
        number(38,0) = integer | number < number(10) | number(10) = number(10,0)
        varchar2(10) = varchar2(10 char) | clob = long | clob = nclob | raw(16) < raw(8)
        float = double precision | float x binary_float | binary_double x binary_float
        timestamp = timestamp(6) | timestamp x timestamp with time zone | date x timestamp
        timestamp with time zone x timestamp with local time zone
    """,
    "sqlite": """
        integer = bigint | text = varchar(10) | real = double | real = float | numeric = datetime
        text x integer | blob x text
    """,
}


def rows() -> list[tuple[str, str, str, str]]:
    found = []
    for engine, table in TABLES.items():
        for cell in table.replace("\n", "|").split("|"):
            for sign in ("=", "<", "x", "?"):
                # Signs stand between blanks; `Enum8('a' = 1)` is no comparison.
                expected, between, actual = cell.partition(f" {sign} ")
                if between and expected.count("(") == expected.count(")"):
                    found.append((engine, expected.strip(), sign, actual.strip()))
                    break
            else:
                assert not cell.strip(), cell
    return found


@pytest.mark.parametrize(("engine", "expected", "sign", "actual"), rows())
def test_types_are_compared_as_their_engine_means_them(
    engine: str, expected: str, sign: str, actual: str
) -> None:
    kinds = ("dbt", engine)

    assert (sign in "=<?") is accepts(expected, actual, kinds)
    assert (sign in "=?") is accepts(actual, expected, kinds)
    assert (sign == "?") is bool(unread_types(expected, actual, kinds))


@pytest.mark.parametrize(
    ("expected", "actual", "made", "read", "accepted"),
    [
        (None, "text", (), (), True),
        ("text", None, (), (), True),
        ("String", "text", ("postgres",), (), True),
        ("int8", "bigint", (), (), True),  # Postgres, if nothing names an engine
        ("bigint", "integer", (), (), False),
        ("number(38,0)", "integer", ("python",), ("dbt", "snowflake"), True),
        ("bigint", "integer", ("Snowflake",), (), True),
        ("bigint", "integer", ("postgresql",), (), False),
        ("varchar(max)", "text", ("sqlserver",), (), True),
        # A copy from one engine to the other may be named as in either.
        ("bigint", "integer", ("postgres", "snowflake"), (), True),
        ("bigint", "integer", ("postgres", "snowflake"), ("postgres",), False),
        ("timestamptz", "timestamp", ("postgres", "snowflake"), (), False),
    ],
)
def test_the_engine_is_that_of_the_asset_or_else_of_its_readers(
    expected: str | None,
    actual: str | None,
    made: tuple[str, ...],
    read: tuple[str, ...],
    accepted: bool,
) -> None:
    assert accepted is accepts(expected, actual, made, read)


@pytest.mark.parametrize(
    ("expected", "actual", "unread"),
    [
        ("text", "mood", ["mood"]),
        ("mood", "spirits", ["mood", "spirits"]),
        ("bigint", "string", ["string"]),  # Dagster's name for a column without a type
        ("mood", "Mood", []),
        ("mood", None, []),
        ("text", "?", []),  # dbt's translators: nobody has written a type
        ("text", "integer", []),
    ],
)
def test_a_type_that_is_not_known_is_named(
    expected: str, actual: str | None, unread: list[str]
) -> None:
    assert unread == unread_types(expected, actual)
