"""A stand-in for the three GitHub endpoints that reading stargazers takes.

`GET /rate_limit`, `GET /repos/{owner}/{repo}` and `GET /repos/{owner}/{repo}/stargazers`,
as api.github.com answers them: pages linked by `Link` (30 stars by default, 100 at most, the oldest
first; the links name the repository by its number), two media types (with and without
`starred_at`), token or bearer credentials, `X-RateLimit-*`, `ETag` and 304 (not counted as a
request), and 401, 403, 404, 415 and 422 with GitHub's messages.

Two things differ on purpose. An option for each makes it as on GitHub:

- GitHub serves the first 400 pages of a list and answers 422 to page 401. So nobody sees more than
  40,000 stargazers, and the connector, which follows `Link`, stops there without an error: most of
  a file of 100,000 stars would be missing. Here there is no such cap, unless `page_cap` sets one.
- GitHub allows 5,000 requests an hour. To read 100,000 stars takes 1,001 requests, and a maximum
  lag of minutes asks for that many times an hour. Here `DEFAULT_RATE_LIMIT` allows it.

Since 2026-06-30 GitHub gives the list to a repository's collaborators alone. Here whoever has the
one token is a collaborator; without credentials the answer is 403.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.github.shapes import repository_body, repository_number, star_with_time, user
from devstack.github.stars import Stars

DEFAULT_RATE_LIMIT = 1_000_000
ANONYMOUS_RATE_LIMIT = 60
WINDOW_SECONDS = 3600
DEFAULT_PAGE_SIZE = 30
BIGGEST_PAGE_SIZE = 100

_DOCUMENTATION = "https://docs.github.com/rest"


@dataclass
class Quota:
    """How many requests one caller has made in the current hour, and may make."""

    limit: int
    reset: int = 0
    used: int = 0

    def renew(self, now: float) -> None:
        if now >= self.reset:
            self.reset, self.used = int(now) + WINDOW_SECONDS, 0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Used": str(self.used),
            "X-RateLimit-Reset": str(self.reset),
            "X-RateLimit-Resource": "core",
        }

    def body(self) -> dict[str, int]:
        return {
            "limit": self.limit,
            "used": self.used,
            "remaining": self.remaining,
            "reset": self.reset,
        }


class GitHub:
    """The stand-in: its stars, its one token, its quotas, its answers.

    `repository` exists even if `stars` has no star of it. `rate_limit` is in requests an hour with
    the token. Pages after `page_cap` are refused; None serves all. `clock` returns seconds since
    1970, UTC.
    """

    def __init__(
        self,
        stars: Stars,
        *,
        token: str,
        repository: str | None = None,
        rate_limit: int = DEFAULT_RATE_LIMIT,
        page_cap: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stars = stars
        self._token = token
        self._repository = repository
        self._page_cap = page_cap
        self._clock = clock
        self._quotas = {True: Quota(rate_limit), False: Quota(ANONYMOUS_RATE_LIMIT)}

    def application(self) -> Any:
        """Return the ASGI application."""
        routes = [
            Route("/rate_limit", self._rate_limit),
            Route("/repos/{owner}/{repo}", self._metered(self._get_repository)),
            Route("/repos/{owner}/{repo}/stargazers", self._metered(self._list_stargazers)),
            Route("/repositories/{number:int}", self._metered(self._get_repository)),
            Route("/repositories/{number:int}/stargazers", self._metered(self._list_stargazers)),
        ]
        application = Starlette(
            routes=routes,
            exception_handlers={HTTPException: self._error, Exception: self._crash},
        )
        application.router.redirect_slashes = False
        return application

    # -- endpoints ----------------------------------------------------------------------------

    async def _rate_limit(self, request: Request) -> Response:
        quota = self._quota(request)
        core = quota.body()
        other = {"limit": 5000, "used": 0, "remaining": 5000, "reset": quota.reset}
        resources = {"core": core, "graphql": other, "search": {**other, "limit": 30}}
        return self._json(request, {"resources": resources, "rate": core}, quota)

    def _get_repository(self, request: Request) -> tuple[Any, dict[str, str]]:
        name = self._named(request)
        return repository_body(name, self._stars.of(name, self._clock())), {}

    def _list_stargazers(self, request: Request) -> tuple[Any, dict[str, str]]:
        name = self._named(request)
        if not self._is_authenticated(request):
            raise HTTPException(403, "Must be a collaborator to list the stargazers.")
        with_time = _wants_time(request.headers.get("accept", "*/*"))
        stars = self._stars.of(name, self._clock())
        size = _page_size(request.query_params.get("per_page"))
        page = _positive(request.query_params.get("page"), 1)
        last = max(1, -(-len(stars) // size))
        if self._page_cap is not None:
            last = min(last, self._page_cap)
            if page > self._page_cap:
                raise HTTPException(
                    422,
                    "In order to keep the API fast for everyone, pagination is limited for this "
                    "resource. Check the rel=last link relation in the Link response header to "
                    "see how far back you can traverse.",
                )
        shown = stars[(page - 1) * size : page * size]
        body = [star_with_time(star) if with_time else user(star) for star in shown]
        headers = {"X-GitHub-Media-Type": f"github.v3{'; param=star' * with_time}; format=json"}
        base = f"{request.base_url}repositories/{repository_number(name)}/stargazers"
        if link := _link(base, dict(request.query_params), page, last):
            headers["Link"] = link
        return body, headers

    # -- what every answer shares -------------------------------------------------------------

    def _metered(
        self, answer: Callable[[Request], tuple[Any, dict[str, str]]]
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            quota = self._quota(request)
            if quota.remaining == 0:
                return _failure(403, "API rate limit exceeded for user ID 1.", quota.headers())
            try:
                body, headers = answer(request)
            except HTTPException as error:
                quota.used += 1
                return _failure(error.status_code, error.detail, quota.headers())
            return self._json(request, body, quota, headers, costs=1)

        return endpoint

    def _json(
        self,
        request: Request,
        body: Any,
        quota: Quota,
        headers: Mapping[str, str] | None = None,
        *,
        costs: int = 0,
    ) -> Response:
        content = json.dumps(body, separators=(",", ":")).encode()
        # Clients cache the links and the media type with the body.
        seed = repr(sorted((headers or {}).items())).encode() + content
        tag = f'W/"{hashlib.sha256(seed).hexdigest()}"'
        known = [item.strip() for item in request.headers.get("if-none-match", "").split(",")]
        unchanged = tag in known or tag.removeprefix("W/") in known or known == ["*"]
        quota.used += 0 if unchanged else costs
        all_headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            **(headers or {}),
            **quota.headers(),
            "ETag": tag,
            "Cache-Control": "private, max-age=60, s-maxage=60",
            "Vary": "Accept, Authorization, Cookie, Accept-Encoding, Accept",
        }
        if unchanged:
            return Response(status_code=304, headers=all_headers)
        return Response(content, headers=all_headers, media_type="application/json; charset=utf-8")

    async def _error(self, _: Request, error: Exception) -> Response:
        """Answer what no endpoint answers: an unknown path or method, bad credentials."""
        if not isinstance(error, HTTPException):
            raise error
        details = {404: "Not Found", 405: "Not Found"}
        status = 404 if error.status_code == 405 else error.status_code
        return _failure(status, details.get(error.status_code, error.detail), {})

    async def _crash(self, _: Request, __: Exception) -> Response:
        return _failure(500, "Server Error", {})

    def _quota(self, request: Request) -> Quota:
        quota = self._quotas[self._is_authenticated(request)]
        quota.renew(self._clock())
        return quota

    def _is_authenticated(self, request: Request) -> bool:
        """Return whether the request has the one token; false if it has no credentials.

        Raises `HTTPException` 401 for other credentials.
        """
        header = request.headers.get("authorization")
        if header is None:
            return False
        scheme, _, value = header.partition(" ")
        given = value.strip()
        if scheme.lower() == "basic":
            given = _password_of(given)
        elif scheme.lower() not in ("token", "bearer"):
            given = ""
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise HTTPException(401, "Bad credentials")
        return True

    def _named(self, request: Request) -> str:
        """Return the repository that the path names, spelled as the source spells it.

        Raises `HTTPException` 404 when there is none.
        """
        names = [*self._stars.repositories(), *([self._repository] if self._repository else [])]
        number = request.path_params.get("number")
        if number is not None:
            found = [name for name in names if repository_number(name) == number]
        else:
            wanted = f"{request.path_params['owner']}/{request.path_params['repo']}".lower()
            found = [name for name in names if name.lower() == wanted]
        if not found:
            raise HTTPException(404, "Not Found")
        return found[0]


def _failure(status: int, message: str, headers: Mapping[str, str]) -> Response:
    body = {"message": message, "documentation_url": _DOCUMENTATION, "status": str(status)}
    return Response(
        json.dumps(body).encode(),
        status_code=status,
        headers={"X-GitHub-Media-Type": "github.v3; format=json", **headers},
        media_type="application/json; charset=utf-8",
    )


def _password_of(basic: str) -> str:
    """Return the token in basic credentials: the password or, if that is empty, the user."""
    try:
        user, _, password = base64.b64decode(basic, validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password or user


def _wants_time(accept: str) -> bool:
    """Return whether `Accept` asks for the media type with `starred_at`.

    Raises `HTTPException` 415 when it accepts nothing that is JSON.
    """
    types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    if any(kind.endswith(("+json", "/json", "/*")) or not kind for kind in types):
        return any(kind in _TIMED for kind in types)
    raise HTTPException(
        415, f"Unsupported 'Accept' header: '{accept}'. Must accept 'application/json'."
    )


_TIMED = ("application/vnd.github.star+json", "application/vnd.github.v3.star+json")


def _positive(text: str | None, default: int) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return default
    return int(text) or default


def _page_size(text: str | None) -> int:
    return min(_positive(text, DEFAULT_PAGE_SIZE), BIGGEST_PAGE_SIZE)


def _link(base: str, query: Mapping[str, str], page: int, last: int) -> str:
    """Return the `Link` header; an empty text when everything fits on one page."""
    pages = {}
    if page > 1:
        pages["prev"] = min(page - 1, last)
    if page < last:
        pages |= {"next": page + 1, "last": last}
    if page > 1:
        pages["first"] = 1
    return ", ".join(
        f'<{base}?{urlencode({**query, "page": number})}>; rel="{name}"'
        for name, number in pages.items()
    )
