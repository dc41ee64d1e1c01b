"""Keeps what a connector says about itself: its specification, and the schemas of its streams.

Both are committed, so that a configuration is checked and assets get their columns without a
server. They come from the connector itself, as messages of the Airbyte protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ingestion.errors import DeclarationError

__all__ = ["record_messages"]


def record_messages(
    messages: Iterable[str], connector: str, streams: Sequence[str], folder: Path
) -> Iterator[str]:
    """Store each SPEC and CATALOG message; say what was stored, a line each.

    `streams` are added to those kept before (none named: refresh those); `DeclarationError` if
    the connector does not have one, or if there was no message to store.
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


def _parse(line: str) -> dict[str, Any]:
    """A message of the protocol; {} for anything else that a connector prints."""
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
