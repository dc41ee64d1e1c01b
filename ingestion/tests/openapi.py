"""Checks HTTP exchanges against the description of Airbyte's public API.

The description is `airbyte_public_api.yaml`; devstack's own tests check the embedded Airbyte's
answers against the same file.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

import httpx
import yaml
from devstack_fixtures import DEVSTACK
from jsonschema import Draft7Validator

DESCRIPTION = yaml.safe_load((DEVSTACK / "testing" / "airbyte_public_api.yaml").read_text())
BASE = "/api/public/v1"


class CheckedTransport(httpx.BaseTransport):
    """Passes requests on, and checks each of them and its answer against the description."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self.requests: list[str] = []
        """Every request, "GET /sources"."""
        self.exchanges: list[str] = []
        """Every request that got an answer, "GET /sources/{sourceId} 200"."""

    def count(self, request: str) -> int:
        return self.requests.count(request)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path.removeprefix(BASE)}")
        if not path.startswith(BASE):
            return self._inner.handle_request(request)
        body = json.loads(request.content) if request.content else None
        template, operation = check_request(
            request.method, path.removeprefix(BASE), request.url.query.decode(), body
        )
        response = self._inner.handle_request(request)
        response.read()
        self.exchanges.append(f"{request.method} {template} {response.status_code}")
        if response.status_code < 300:
            documented = operation["responses"]
            assert str(response.status_code) in documented, self.exchanges[-1]
            schema = schema_of(documented[str(response.status_code)])
            if schema is not None and "json" in response.headers["content-type"]:
                body = response.json()
                conform(schema, body, "answer")
                assert not list(nulls(body)), self.exchanges[-1]
        return response

    def close(self) -> None:
        self._inner.close()


def check_request(method: str, path: str, query: str, body: Any) -> tuple[str, dict[str, Any]]:
    """Return the path's template and the operation.

    Raise AssertionError if the description does not allow the request.
    """
    template, operation = operation_of(method, path)
    given = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    unknown = given - {one["name"] for one in operation.get("parameters", ())}
    assert set() == unknown, f"{method} {template} knows no {unknown}"
    schema = schema_of(operation.get("requestBody", {}))
    if schema is None:
        assert body is None, f"{method} {template} takes no body"
    else:
        conform(schema, body, "request")
    return template, operation


def operation_of(method: str, path: str) -> tuple[str, dict[str, Any]]:
    for template, operations in DESCRIPTION["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", template), path):
            assert method.lower() in operations, f"{template} has no {method}"
            return template, operations[method.lower()]
    raise AssertionError(f"no path {path} is described")


def schema_of(part: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of a request's or an answer's JSON; None if it has none."""
    if "$ref" in part:
        _, _, section, name = part["$ref"].split("/")
        part = DESCRIPTION["components"][section][name]
    return part["content"]["application/json"]["schema"] if "content" in part else None


def conform(schema: dict[str, Any], body: Any, what: str) -> None:
    """Raise AssertionError if the JSON breaks the schema."""
    whole = {**schema, "components": DESCRIPTION["components"]}
    faults = [f"{what} {list(e.absolute_path)}: {e.message}" for e in _validator(whole, body)]
    assert faults == [], faults


def nulls(value: Any) -> Any:
    if value is None:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from nulls(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nulls(inner)


def _validator(schema: dict[str, Any], body: Any) -> Any:
    return Draft7Validator(schema).iter_errors(body)
