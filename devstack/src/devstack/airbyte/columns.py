"""The Postgres columns of a stream, from its JSON schema, and the cells of its values.

A value that does not fit its column never fails a sync. The cell becomes null, and `_airbyte_meta`
of the row says which field it was, what was done and why, as Airbyte's Destinations V2 do.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

# The bytes of an identifier that Postgres keeps. It cuts off the rest silently.
_IDENTIFIER_BYTES = 63
_INT8 = range(-(2**63), 2**63)

Cell = str | None


class UnfitError(ValueError):
    """A value does not fit its column. The cell gets `instead`."""

    def __init__(self, instead: Cell = None) -> None:
        super().__init__()
        self.instead = instead


@dataclass(frozen=True)
class Column:
    """One field of a stream and its column."""

    field: str
    name: str
    type: str
    convert: Callable[[Any], Cell]


def columns_of(json_schema: Mapping[str, Any], fields: Iterable[str] | None = None) -> list[Column]:
    """Return the columns of a stream's top-level fields, or of the given fields alone."""
    properties = json_schema.get("properties") or {}
    chosen = None if fields is None else set(fields)
    taken: set[str] = set()
    columns = []
    for field, schema in properties.items():
        if chosen is not None and field not in chosen:
            continue
        name = column_name(field, taken)
        taken.add(name)
        kind = _type_of(schema if isinstance(schema, Mapping) else {})
        columns.append(Column(field, name, kind, _CONVERTERS[kind]))
    return columns


def column_name(field: str, taken: Iterable[str] = ()) -> str:
    """Return the column name of a field: its own name or, if no column can have it, a new one.

    No column can have a name in `taken`.
    """
    name = field.replace("\0", "")
    if (
        name
        and len(name.encode(errors="replace")) <= _IDENTIFIER_BYTES
        and not name.startswith("_airbyte_")
        and name not in taken
    ):
        return name
    digest = hashlib.sha256(field.encode(errors="replace")).hexdigest()[:8]
    room = _IDENTIFIER_BYTES - len(digest) - 1
    stem = name.removeprefix("_airbyte_").encode(errors="replace")[:room].decode(errors="ignore")
    return f"{stem}_{digest}"


def cells(
    columns: Iterable[Column], record: Mapping[str, Any]
) -> tuple[list[Cell], list[dict[str, str]]]:
    """Return one row: a text for each column, and what was changed in order to store it."""
    row: list[Cell] = []
    changes: list[dict[str, str]] = []
    for column in columns:
        value = record.get(column.field)
        if value is None:
            row.append(None)
            continue
        try:
            row.append(column.convert(value))
        except UnfitError as unfit:
            row.append(unfit.instead)
            changes.append(
                {
                    "field": column.field,
                    "change": "NULLED" if unfit.instead is None else "TRUNCATED",
                    "reason": "DESTINATION_TYPECAST_ERROR"
                    if unfit.instead is None
                    else "DESTINATION_SERIALIZATION_ERROR",
                }
            )
    return row, changes


def _type_of(schema: Mapping[str, Any]) -> str:
    declared = schema.get("type")
    kinds = {declared} if isinstance(declared, str) else set(declared or ())
    kinds.discard("null")
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) != 1:
        return "jsonb"
    kind = kinds.pop()
    airbyte_type = schema.get("airbyte_type")
    if kind == "string":
        return _string_type(schema.get("format"), airbyte_type)
    if kind == "number" and airbyte_type == "integer":
        return "bigint"
    return {"integer": "bigint", "number": "numeric", "boolean": "boolean"}.get(kind, "jsonb")


def _string_type(form: Any, airbyte_type: Any) -> str:
    if form == "date":
        return "date"
    if form == "date-time":
        return "timestamp" if airbyte_type == "timestamp_without_timezone" else "timestamptz"
    if form == "time":
        return "time" if airbyte_type == "time_without_timezone" else "timetz"
    return "text"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _storable(text)


def _storable(text: str) -> str:
    """Return a text without what Postgres cannot store: NUL and lone surrogates."""
    if "\0" not in text and text.isascii():
        return text
    clean = text.replace("\0", "").encode("utf-8", "replace").decode()
    if clean != text:
        raise UnfitError(clean)
    return text


def _bigint(value: Any) -> str:
    if isinstance(value, bool):
        raise UnfitError
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value.strip(), re.ASCII):
        value = int(value)
    if isinstance(value, int) and value in _INT8:
        return str(value)
    raise UnfitError


def _numeric(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnfitError
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise UnfitError from None
    exponent = number.as_tuple().exponent
    # Postgres' own limits: 131072 digits before the point, 16383 after it.
    if not isinstance(exponent, int) or exponent < -16383 or number.adjusted() >= 131072:
        raise UnfitError
    return str(number)


def _boolean(value: Any) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower()
    raise UnfitError


def _date(value: Any) -> str:
    return _date_time(value).date().isoformat()


def _timestamptz(value: Any) -> str:
    time = _date_time(value)
    return time.isoformat() if time.tzinfo else f"{time.isoformat()}+00:00"


def _timestamp(value: Any) -> str:
    return _date_time(value).replace(tzinfo=None).isoformat()


def _date_time(value: Any) -> dt.datetime:
    """Read any ISO 8601 time, in capital or small letters, with or without blanks around it."""
    if not isinstance(value, str):
        raise UnfitError
    try:
        return dt.datetime.fromisoformat(value.strip().upper())
    except ValueError:
        raise UnfitError from None


def _time(value: Any) -> str:
    return _time_of_day(value).replace(tzinfo=None).isoformat()


def _timetz(value: Any) -> str:
    time = _time_of_day(value)
    return time.isoformat() if time.tzinfo else f"{time.isoformat()}+00:00"


def _time_of_day(value: Any) -> dt.time:
    if not isinstance(value, str):
        raise UnfitError
    # With a day before it, it can be read as leniently as a time with a date.
    return _date_time(f"2000-01-01T{value.strip()}").timetz()


def _jsonb(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise UnfitError from None
    if "\\u0000" not in text and text.isascii():
        return text
    clean = re.sub(r"(?<!\\)((?:\\\\)*)\\u0000", r"\1", text)
    clean = clean.encode("utf-8", "replace").decode()
    if clean != text:
        raise UnfitError(clean)
    return text


_CONVERTERS: dict[str, Callable[[Any], Cell]] = {
    "text": _text,
    "bigint": _bigint,
    "numeric": _numeric,
    "boolean": _boolean,
    "date": _date,
    "timestamptz": _timestamptz,
    "timestamp": _timestamp,
    "time": _time,
    "timetz": _timetz,
    "jsonb": _jsonb,
}

_SQL_NAMES = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "character varying": "text",
}


def converter_of(type_name: str) -> Callable[[Any], Cell] | None:
    """Return the converter to a Postgres type; None if there is none.

    `type_name` is the name that Postgres' `format_type` gives the type.
    """
    return _CONVERTERS.get(_SQL_NAMES.get(type_name, type_name))
