"""One page of a list, with addresses of the pages around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request


def page(request: Request, found: Sequence[Any], limit: int, offset: int) -> dict[str, Any]:
    """The answer to a list request.

    ``found`` is what lies from ``offset`` on, one more than ``limit`` if there is more: only then
    has the page a ``next``.
    """
    answer: dict[str, Any] = {"data": list(found[:limit])}
    if len(found) > limit:
        answer["next"] = _address(request, limit, offset + limit)
    if offset > 0:
        answer["previous"] = _address(request, limit, max(0, offset - limit))
    return answer


def _address(request: Request, limit: int, offset: int) -> str:
    return str(request.url.include_query_params(limit=limit, offset=offset))
