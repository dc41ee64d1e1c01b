"""No answer to any request is a 5xx, and every answer is JSON that conforms to a description.

There are two descriptions: the server's own, with the internal API, and that of Airbyte's public
API in `airbyte_public_api.yaml`, with which ingestion's tests check the requests of its client.
Good and bad requests are sent, each also with the ids of existing objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
import yaml
from devstack.airbyte.api import create_app
from devstack.airbyte.auth import Credentials, Gate
from devstack.airbyte.faults import Switchboard
from devstack.airbyte.registry import Registry
from devstack_fixtures import DEVSTACK
from helpers_airbyte import FAKE_ID, Airbyte, register_fake
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft7Validator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

DESCRIPTION = DEVSTACK / "testing" / "airbyte_public_api.yaml"
# The configurations of the connectors here, which Airbyte's description cannot know. Without them
# every generated configuration would be refused at once.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "SourceCreate": {
        "type": "object",
        "properties": {
            "sourceType": {"type": "string", "enum": ["fake", "github", "nosuch"]},
            "rows": {"type": "integer"},
            "token": {"type": "string"},
        },
    },
    "DestinationCreate": {
        "type": "object",
        "required": ["destinationType"],
        "properties": {
            "destinationType": {"type": "string", "enum": ["postgres"]},
            "host": {"type": "string"},
            "port": {"type": "integer"},
            "database": {"type": "string"},
            "schema": {"type": "string"},
            "username": {"type": "string"},
            "password": {"type": "string"},
        },
    },
}
PREFIX = "/api/public/v1"
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
# The same requests in every run, enough of them for the odd values of each field.
many = hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


class Described:
    """A running server, and the ids of the objects on it."""

    def __init__(self, airbyte: Airbyte) -> None:
        self.airbyte = airbyte
        source, destination = (
            airbyte.new_source(rows=1),
            airbyte.new_destination(
                # Nothing listens there: a sync that some request starts fails at once.
                "postgresql://nobody:nothing@127.0.0.1:1/nowhere"
            ),
        )
        stream = {"name": "events", "syncMode": "incremental_deduped_history"}
        connection = airbyte.new_connection(source, destination, stream)
        self.known = {
            "sourceId": source,
            "destinationId": destination,
            "connectionId": connection,
            "workspaceId": airbyte.workspace,
            "definitionId": FAKE_ID,
            "jobId": airbyte.start(connection),
            "client_id": airbyte.server.client_id,
            "client_secret": airbyte.server.client_secret,
        }

    def check_operation(self, operation: Any, mode: GenerationMode, prefix: str) -> None:
        """Send many requests to an operation and check the answers."""
        try:
            strategy = operation.as_strategy(generation_mode=mode)

            @many
            @hypothesis.given(case=strategy)
            def check(case: Any) -> None:
                self._check(case, prefix)

            check()
        except Unsatisfiable:
            # An operation without parameters takes no bad ones.
            assert mode == GenerationMode.NEGATIVE

    def _check(self, case: Any, prefix: str) -> None:
        """Send the request as generated, then with the ids of existing objects."""
        self._send(case, prefix)
        if case.method == "DELETE":
            return
        known = dict(self.known)
        if "id" in case.path_parameters:
            kind = case.operation.path.rsplit("/", 2)[1].removesuffix("s")
            known["id"] = known[f"{kind}Id"]
        for part in (case.path_parameters, case.query, case.body):
            if isinstance(part, dict):
                part.update({name: known[name] for name in part if name in known})
        self._send(case, prefix)

    def _send(self, case: Any, prefix: str) -> None:
        answer = case.call(
            base_url=self.airbyte.server.url + prefix,
            auth=(self.airbyte.server.client_id, self.airbyte.server.client_secret),
        )
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code != 204:
            conform(case.operation.schema.raw_schema, case.operation, answer)


def conform(description: dict[str, Any], operation: Any, answer: Any) -> None:
    """Assert that an answer is exactly as its schema says.

    Schemathesis' own check allows fields that `additionalProperties: false` forbids.
    """
    documented = operation.definition.raw["responses"]
    response = documented.get(str(answer.status_code), documented.get("default"))
    for name in response.get("$ref", "").split("/")[3:]:
        response = description["components"]["responses"][name]
    schema = response["content"]["application/json"]["schema"]
    whole = {**schema, "components": description["components"]}
    body = json.loads(answer.text)
    assert [] == [error.message for error in Draft7Validator(whole).iter_errors(body)]
    # No field is null. (A text may contain the word, and a list that the client sent may have one.)
    assert ":null" not in re.sub(r'"(\\.|[^"\\])*"', "", answer.text)


@pytest.fixture(scope="module")
def described(airbyte_server: Any, control: Any, tmp_path_factory: Any) -> Iterator[Described]:
    registry = register_fake(tmp_path_factory.mktemp("connectors"))
    program = airbyte_server(database_url=control.dsn, connectors=registry)
    with Airbyte(program) as client:
        yield Described(client)
    program.stop()


def operations(description: dict[str, Any]) -> list[Any]:
    """Return one test parameter for each operation of a description."""
    schema = schemathesis.openapi.from_dict(description)
    found = [result.ok() for result in schema.get_all_operations()]
    return [pytest.param(one, id=f"{one.method.upper()} {one.path}") for one in found]


def own_description() -> dict[str, Any]:
    """Return the server's own description. No server has to run for it."""
    gate = Gate(Credentials("", "", ""))
    parts: Any = None
    return create_app(parts, Registry([]), gate, parts, Switchboard(gate)).openapi()


def airbytes_description() -> dict[str, Any]:
    """Return Airbyte's description with the configurations of the connectors here."""
    description: dict[str, Any] = yaml.safe_load(DESCRIPTION.read_text())
    for name, configuration in CONFIGURATIONS.items():
        properties = description["components"]["schemas"][name]["properties"]
        assert "configuration" in properties
        properties["configuration"] = configuration
    return description


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("operation", operations(own_description()))
def test_answers_conform_to_the_servers_own_description(
    described: Described, operation: Any, mode: GenerationMode
) -> None:
    described.check_operation(operation, mode, "")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("operation", operations(airbytes_description()))
def test_answers_conform_to_airbytes_description(
    described: Described, operation: Any, mode: GenerationMode
) -> None:
    described.check_operation(operation, mode, PREFIX)
