"""What a connector says about itself, stored and read back.

Its specification is in `specs/`, the schemas of its streams are in `catalogs/`. Both are committed,
so that a configuration is checked and assets get their columns without a server. They come from
the connector itself, as messages of the Airbyte protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from ingestion.errors import DeclarationError

__all__ = [
    "connector_spec",
    "record_messages",
    "record_streams",
    "recorded_stream",
    "stream_schema",
]


FOLDER: Final = Path(__file__).parents[1]
"""The folder of the package, which has `specs/` and `catalogs/`."""


def record_messages(
    messages: Iterable[str], connector: str, streams: Sequence[str], folder: Path
) -> Iterator[str]:
    """Store each SPEC and CATALOG message in `folder`, and yield a line about each.

    A catalog keeps the streams that are stored already, with their new schemas, and `streams`.
    Raise `DeclarationError` if the connector lacks one of them, if there is none to keep, or if
    there is no message to store.
    """
    stored = False
    for line in messages:
        message = _parse(line)
        if message.get("type") == "SPEC":
            spec = message["spec"]["connectionSpecification"]
            file = folder / "specs" / f"{connector}.json"
            _write(file, spec)
            stored = True
            yield f"wrote specs/{connector}.json"
        elif message.get("type") == "CATALOG":
            file = folder / "catalogs" / f"{connector}.json"
            found = {one["name"]: one for one in message["catalog"]["streams"]}
            kept = sorted({*_recorded(file), *streams})
            if missing := [name for name in kept if name not in found]:
                raise DeclarationError(
                    f"{connector} has no stream {missing[0]!r}; it has {', '.join(sorted(found))}"
                )
            if not kept:
                raise DeclarationError(
                    f"name the streams to keep with --stream: {', '.join(sorted(found))}"
                )
            _write(file, {"streams": [found[name] for name in kept]})
            stored = True
            yield f"wrote catalogs/{connector}.json: {', '.join(kept)}"
    if not stored:
        raise DeclarationError(
            "no SPEC or CATALOG message on standard input: pipe the connector's `spec` or "
            "`discover --config FILE` into this command"
        )


def record_streams(connector: str, streams: Sequence[dict[str, Any]]) -> str:
    """Add streams, in the protocol's words, to a connector's catalog; return a line about it."""
    catalog = {**_streams(FOLDER, connector), **{one["name"]: one for one in streams}}
    file = FOLDER / "catalogs" / f"{connector}.json"
    _write(file, {"streams": [catalog[name] for name in sorted(catalog)]})
    _streams.cache_clear()
    return f"wrote catalogs/{connector}.json: {', '.join(sorted(one['name'] for one in streams))}"


def stream_schema(connector: str, stream: str) -> dict[str, Any]:
    """Read a stream's JSON schema from `catalogs/`.

    Raise `DeclarationError` if the connector's catalog or the stream is not there.
    """
    entry = recorded_stream(connector, stream)
    if entry is None:
        remedy = f"record it: see `ingestion record --help` (catalogs/{connector}.json)"
        if not _streams(FOLDER, connector):
            raise DeclarationError(f"no catalog of {connector} is committed; {remedy}")
        raise DeclarationError(f"the catalog of {connector} has no stream {stream!r}; {remedy}")
    schema: dict[str, Any] = entry["json_schema"]
    return schema


def recorded_stream(connector: str, stream: str) -> dict[str, Any] | None:
    """Read what `catalogs/` has of a stream, in the protocol's words; None if it is not there."""
    return _streams(FOLDER, connector).get(stream)


def connector_spec(connector: str) -> dict[str, Any] | None:
    """Read a connector's specification from `specs/`; None if none is committed."""
    return _spec(FOLDER, connector)


@cache
def _streams(folder: Path, connector: str) -> dict[str, dict[str, Any]]:
    """Read the recorded streams of a connector, by name; {} if no catalog is committed."""
    file = folder / "catalogs" / f"{connector}.json"
    if not file.is_file():
        return {}
    return {one["name"]: one for one in json.loads(file.read_text(encoding="utf-8"))["streams"]}


@cache
def _spec(folder: Path, connector: str) -> dict[str, Any] | None:
    file = folder / "specs" / f"{connector}.json"
    if not file.is_file():
        return None
    spec: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return spec


def _parse(line: str) -> dict[str, Any]:
    """Return a message of the protocol; {} for anything else that a connector prints."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _recorded(file: Path) -> list[str]:
    if not file.exists():
        return []
    return [one["name"] for one in json.loads(file.read_text(encoding="utf-8"))["streams"]]


def _write(file: Path, document: object) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
