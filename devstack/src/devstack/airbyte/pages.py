"""One page of a list, with links to the pages before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request


def page(request: Request, found: Sequence[Any], limit: int, offset: int) -> dict[str, Any]:
    """Return the answer to a request for a list.

    `found` begins at `offset` and has one entry more than `limit` if the list goes on after this
    page: then the page has a `next`.
    """
    answer: dict[str, Any] = {"data": list(found[:limit])}
    if len(found) > limit:
        answer["next"] = _address(request, limit, offset + limit)
    if offset > 0:
        answer["previous"] = _address(request, limit, max(0, offset - limit))
    return answer


def _address(request: Request, limit: int, offset: int) -> str:
    return str(request.url.include_query_params(limit=limit, offset=offset))
