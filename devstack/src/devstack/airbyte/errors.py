"""Problem documents: the JSON objects that answer refused requests, as with Airbyte."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

_REFERENCE = "https://reference.airbyte.com/reference/errors"
_log = logging.getLogger(__name__)


class Problem(Exception):  # noqa: N818 - Airbyte's own word
    """A refused request. `status` is the HTTP status of the answer, `document` its body."""

    def __init__(self, status: int, title: str, detail: str, **data: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.document: dict[str, Any] = {
            "status": status,
            "type": f"{_REFERENCE}#{title}",
            "title": title,
            "detail": detail,
        }
        if data:
            self.document["data"] = data

    def response(self) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else None
        return JSONResponse(self.document, self.status, headers=headers)


def unauthorized() -> Problem:
    return Problem(401, "unauthorized", "The credentials are missing, wrong or expired.")


def not_found(kind: str, identifier: object) -> Problem:
    return Problem(
        404,
        "resource-not-found",
        "The requested resource could not be found.",
        resourceType=kind,
        resourceId=str(identifier),
    )


def unprocessable(message: str) -> Problem:
    return Problem(
        422,
        "unprocessable-entity",
        "The body of the request was not understood",
        message=message,
    )


def conflict(message: str) -> Problem:
    return Problem(409, "state-conflict", "State conflict", message=message)


class ProblemDocument(BaseModel):
    """The form of a problem document, for the server's OpenAPI description."""

    status: int
    type: str
    title: str
    detail: str
    data: dict[str, Any] | None = None


def problem_responses() -> dict[int | str, dict[str, Any]]:
    """Return the answers to refused requests, for the server's OpenAPI description."""
    return {status: {"model": ProblemDocument} for status in (400, 401, 404, 409, 422, 503)}


def install_handlers(app: FastAPI) -> None:
    """Make the application answer every error in a request with a problem document."""

    @app.exception_handler(Problem)
    def refused(_: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # Where and why, but not the value: it may be a secret.
        reasons = (f"{_path(one['loc'])}: {one['msg']}" for one in error.errors())
        return unprocessable("; ".join(reasons)).response()

    @app.exception_handler(HTTPException)
    def refused_by_framework(_: Request, error: HTTPException) -> JSONResponse:
        titles = {400: "bad-request", 404: "resource-not-found", 405: "method-not-allowed"}
        title = titles.get(error.status_code, "unexpected-problem")
        response = Problem(error.status_code, title, str(error.detail)).response()
        response.headers.update(error.headers or {})
        return response

    # JSON can hold text that Postgres cannot: NUL characters and lone surrogates.
    @app.exception_handler(psycopg.DataError)
    @app.exception_handler(UnicodeError)
    def unstorable(*_: object) -> JSONResponse:
        return unprocessable("a text holds a character that cannot be stored").response()

    @app.exception_handler(RecursionError)
    def too_deep(*_: object) -> JSONResponse:
        return unprocessable("the document is nested too deeply").response()

    # Anything else is a defect of this server. Starlette logs it with its traceback.
    @app.exception_handler(Exception)
    def defect(*_: object) -> JSONResponse:
        detail = "An unexpected problem has occurred."
        return Problem(500, "unexpected-problem", detail).response()

    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(psycopg_pool.PoolTimeout)
    def database_unreachable(_: Request, error: Exception) -> JSONResponse:
        _log.error("the state database does not answer: %s", error)
        return Problem(
            503,
            "service-unavailable",
            "The server is currently unable to handle the request.",
        ).response()


def _path(location: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in location)
