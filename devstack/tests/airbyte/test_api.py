# ruff: noqa: A001 - an id is an id
"""The public API: who may call, what it shows, what it refuses, and with which message."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from helpers_airbyte import FAKE_ID, Airbyte

MASK = "**********"
DEDUP = {"name": "events", "syncMode": "incremental_deduped_history"}
DSN = "postgresql://someone:hunter2@127.0.0.1:5432/nowhere"


@pytest.fixture
def wired(airbyte: Airbyte) -> tuple[str, str]:
    """A source and a destination; no test connects to them."""
    return airbyte.new_source(rows=1), airbyte.new_destination(DSN)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return status and title of a problem document, and check its form."""
    document = answer.json()
    assert answer.status_code == document["status"]
    assert document["type"].endswith(f"#{document['title']}")
    assert None not in document.values()
    return document["status"], document["title"]


class TestCredentials:
    def token(self, server: Any, **how: Any) -> httpx.Response:
        return httpx.post(f"{server.url}/api/public/v1/applications/token", **how)

    def test_token_is_issued_for_json_without_grant_type(self, server: Any) -> None:
        """dagster-airbyte asks so."""
        body = {"client_id": server.client_id, "client_secret": server.client_secret}
        answer = self.token(server, json=body).json()

        assert ("Bearer", 900) == (answer["token_type"], answer["expires_in"])

    def test_token_is_issued_for_a_form_with_grant_type(self, server: Any) -> None:
        """Airbyte's SDK asks so."""
        body = {
            "client_id": server.client_id,
            "client_secret": server.client_secret,
            "grant_type": "client_credentials",
        }

        assert 200 == self.token(server, data=body).status_code

    def test_wrong_secret_is_unauthorized(self, server: Any) -> None:
        body = {"client_id": server.client_id, "client_secret": "guess"}

        assert (401, "unauthorized") == problem(self.token(server, json=body))

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"client_id": 1}', b"\xff"])
    def test_body_that_is_no_token_request_is_refused(self, server: Any, body: bytes) -> None:
        assert (422, "unprocessable-entity") == problem(self.token(server, content=body))

    def test_basic_authentication_is_accepted(self, server: Any) -> None:
        url = f"{server.url}/api/public/v1/workspaces"
        good = httpx.get(url, auth=(server.client_id, server.client_secret))
        bad = httpx.get(url, auth=(server.client_id, "guess"))

        assert 200 == good.status_code
        assert (401, "unauthorized") == problem(bad)

    @pytest.mark.parametrize(
        "header",
        [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer a.b.c"},
            {"Authorization": "Bearer 1e999.x.y"},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Basic " + base64.b64encode(b"\xff").decode()},
            {"Authorization": "Digest x"},
        ],
    )
    def test_bad_authorization_header_is_unauthorized(
        self, server: Any, header: dict[str, str]
    ) -> None:
        answer = httpx.get(f"{server.url}/api/public/v1/workspaces", headers=header)

        assert (401, "unauthorized") == problem(answer)

    def test_health_needs_no_credentials(self, server: Any) -> None:
        answer = httpx.get(f"{server.url}/api/public/v1/health")

        assert (200, "Successful operation") == (answer.status_code, answer.json())


class TestWorkspaces:
    def test_workspace_is_listed_and_found_by_id(self, airbyte: Airbyte) -> None:
        (listed,) = airbyte.ask("GET", "workspaces")["data"]

        assert airbyte.workspace == listed["workspaceId"]
        assert listed == airbyte.ask("GET", f"workspaces/{airbyte.workspace}")


class TestConfiguration:
    def source(self, airbyte: Airbyte, **configuration: Any) -> dict[str, Any]:
        id = airbyte.new_source(**configuration)
        shown: dict[str, Any] = airbyte.ask("GET", f"sources/{id}")
        return shown

    def test_configuration_is_shown_without_type_and_nulls(self, airbyte: Airbyte) -> None:
        shown = self.source(airbyte, rows=1, page=None)

        assert ("fake", FAKE_ID) == (shown["sourceType"], shown["definitionId"])
        assert {"rows": 1} == shown["configuration"]
        assert time.time() - 100 < shown["createdAt"] <= time.time()

    def test_secrets_are_masked_in_every_branch(self, airbyte: Airbyte) -> None:
        auth = {"kind": "login", "user": "me", "password": "hunter2"}
        shown = self.source(airbyte, rows=1, token="hunter3", auth=auth)

        assert {
            "rows": 1,
            "token": MASK,
            "auth": {"kind": "login", "user": "me", "password": MASK},
        } == shown["configuration"]

    def test_definition_id_may_stand_for_the_type(self, airbyte: Airbyte) -> None:
        body = {
            "name": "by id",
            "workspaceId": airbyte.workspace,
            "definitionId": FAKE_ID,
            "configuration": {"rows": 1},
        }

        assert "fake" == airbyte.ask("POST", "sources", json=body)["sourceType"]

    @pytest.mark.parametrize(
        ("configuration", "message"),
        [
            ({}, "one of configuration.sourceType, definitionId is needed"),
            ({"sourceType": 7}, "configuration.sourceType must be a text"),
            ({"sourceType": "nosuch"}, "this server has no such source; it has: fake, github"),
            ({"sourceType": "fake"}, "configuration: required property missing: rows"),
            (
                {"sourceType": "fake", "rows": -1},
                "configuration.rows: must have minimum 0",
            ),
            (
                {"sourceType": "fake", "rows": 1, "token": MASK},
                "a masked secret stands where no secret was stored before",
            ),
        ],
    )
    def test_configuration_that_the_connector_would_refuse_is_refused(
        self, airbyte: Airbyte, configuration: dict[str, Any], message: str
    ) -> None:
        body = {"name": "x", "workspaceId": airbyte.workspace, "configuration": configuration}
        answer = airbyte.post("sources", json=body)

        assert (422, "unprocessable-entity") == problem(answer)
        assert message == answer.json()["data"]["message"]

    def test_refusal_does_not_repeat_secrets(self, airbyte: Airbyte) -> None:
        configuration = {
            "sourceType": "fake",
            "rows": "many",
            "token": ["hunter2"],
            "auth": {"kind": "key", "key": "pw"},
        }
        body = {"name": "x", "workspaceId": airbyte.workspace, "configuration": configuration}
        answer = airbyte.post("sources", json=body)

        assert 422 == answer.status_code
        assert "hunter2" not in answer.text
        assert "'pw'" not in answer.text

    def test_patch_keeps_what_it_does_not_name(self, airbyte: Airbyte) -> None:
        """This holds within objects too, and a mask keeps the secret."""
        auth = {"kind": "login", "user": "me", "password": "hunter2"}
        id = airbyte.new_source(rows=1, token="old", auth=auth)
        change = {"configuration": {"rows": 2, "auth": {"user": "you", "password": MASK}}}
        shown = airbyte.ask("PATCH", f"sources/{id}", json=change)

        assert {
            "rows": 2,
            "token": MASK,
            "auth": {"kind": "login", "user": "you", "password": MASK},
        } == shown["configuration"]

    def test_put_replaces_the_whole_configuration(self, airbyte: Airbyte) -> None:
        id = airbyte.new_source(rows=1, token="old", page=10)
        body = {"name": "renamed", "configuration": {"rows": 2, "token": MASK}}
        shown = airbyte.ask("PUT", f"sources/{id}", json=body)

        assert ("renamed", {"rows": 2, "token": MASK}) == (shown["name"], shown["configuration"])

    def test_change_of_type_is_refused(self, airbyte: Airbyte, wired: Any) -> None:
        change = {"configuration": {"sourceType": "github"}}

        assert 422 == airbyte.patch(f"sources/{wired[0]}", json=change).status_code

    def test_text_that_cannot_be_stored_is_refused(self, airbyte: Airbyte) -> None:
        for text in ("nul \0", "half \ud800"):
            body = {
                "name": "x",
                "workspaceId": airbyte.workspace,
                "configuration": {"sourceType": "fake", "rows": 1, "note": text},
            }
            answer = airbyte.post("sources", content=json.dumps(body))

            assert (422, "unprocessable-entity") == problem(answer)

    def test_document_nested_too_deeply_is_refused(self, airbyte: Airbyte) -> None:
        body = '{"a":' * 20_000 + "1" + "}" * 20_000

        assert airbyte.post("sources", content=body).status_code in (400, 422)


class TestPaging:
    @pytest.fixture
    def forty_five(self, airbyte: Airbyte) -> Iterator[list[str]]:
        ids = [airbyte.new_source(rows=number) for number in range(45)]
        yield ids
        for id in ids:
            airbyte.delete(f"sources/{id}")

    @pytest.mark.usefixtures("forty_five")
    def test_page_has_twenty_entries_by_default(self, airbyte: Airbyte) -> None:
        assert 20 == len(airbyte.ask("GET", "sources")["data"])

    def test_following_next_gives_all_entries(
        self, airbyte: Airbyte, forty_five: list[str]
    ) -> None:
        """The query of `next` replaces that of the first request, as in dagster-airbyte."""
        params: dict[str, Any] = {"limit": 10, "workspaceIds": airbyte.workspace}
        found: list[str] = []
        while True:
            answer = airbyte.ask("GET", "sources", params=params)
            found += [one["sourceId"] for one in answer["data"]]
            if "next" not in answer:
                break
            params |= {k: v[0] for k, v in parse_qs(urlsplit(answer["next"]).query).items()}

        assert forty_five == [id for id in found if id in forty_five]
        assert len(found) == len(set(found))

    @pytest.mark.usefixtures("forty_five")
    def test_previous_leads_back(self, airbyte: Airbyte) -> None:
        first = airbyte.ask("GET", "sources", params={"limit": 10})
        second = airbyte.ask("GET", first["next"])

        assert "previous" not in first
        assert first["data"] == airbyte.ask("GET", second["previous"])["data"]

    @pytest.mark.usefixtures("wired")
    def test_other_workspace_is_empty(self, airbyte: Airbyte) -> None:
        for path in ("sources", "destinations", "connections", "jobs"):
            answer = airbyte.ask("GET", path, params={"workspaceIds": str(uuid.uuid4())})

            assert {"data": []} == answer

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=101", "limit=x", "offset=-1", "offset=9999999999", "limit="]
    )
    def test_bad_limit_or_offset_is_refused(self, airbyte: Airbyte, query: str) -> None:
        for path in ("workspaces", "sources", "destinations", "connections", "jobs"):
            answer = airbyte.get(f"{path}?{query}")

            assert (422, "unprocessable-entity") == problem(answer)


class TestConnections:
    def test_defaults_are_filled_in(self, airbyte: Airbyte, wired: Any) -> None:
        id = airbyte.new_connection(*wired, DEDUP)
        shown = airbyte.ask("GET", f"connections/{id}")
        created = shown.pop("createdAt")

        assert time.time() - 100 < created <= time.time()
        assert {
            "connectionId": id,
            "name": "the connection",
            "sourceId": wired[0],
            "destinationId": wired[1],
            "workspaceId": airbyte.workspace,
            "status": "active",
            "schedule": {"scheduleType": "manual"},
            "namespaceDefinition": "destination",
            "prefix": "",
            "nonBreakingSchemaUpdatesBehavior": "ignore",
            "tags": [],
            "configurations": {
                "streams": [
                    {
                        "name": "events",
                        "syncMode": "incremental_deduped_history",
                        "cursorField": ["updated_at"],
                        "primaryKey": [["id"]],
                    }
                ]
            },
        } == shown

    def test_connection_without_streams_gets_all_of_the_source(
        self, airbyte: Airbyte, wired: Any
    ) -> None:
        body = {"sourceId": wired[0], "destinationId": wired[1]}
        streams = airbyte.ask("POST", "connections", json=body)["configurations"]["streams"]

        assert [
            ("events", "full_refresh_overwrite"),
            ("log", "full_refresh_overwrite"),
            ("odd", "full_refresh_overwrite"),
        ] == [(one["name"], one["syncMode"]) for one in streams]

    @pytest.mark.parametrize(
        ("stream", "message"),
        [
            ({"name": "nosuch"}, "the source has no stream 'nosuch'"),
            (
                {"name": "odd", "syncMode": "incremental_append"},
                (
                    "stream 'odd' cannot sync as incremental_append; it can:"
                    " full_refresh_overwrite, full_refresh_overwrite_deduped, full_refresh_append"
                ),
            ),
            (
                {"name": "log", "syncMode": "incremental_deduped_history"},
                "stream 'log': deduplication needs a primaryKey",
            ),
            (
                {**DEDUP, "primaryKey": [["name"]]},
                "stream 'events': its primary key is set by the source",
            ),
            (
                {**DEDUP, "cursorField": ["name"]},
                "stream 'events': its cursor is set by the source",
            ),
            (
                {**DEDUP, "selectedFields": [{"fieldPath": ["name"]}]},
                (
                    "stream 'events': field 'id' must stay selected, the sync needs it as cursor"
                    " or primary key"
                ),
            ),
            (
                {**DEDUP, "selectedFields": [{"fieldPath": ["nosuch"]}]},
                "stream 'events' has no top-level field 'nosuch'",
            ),
            (
                {**DEDUP, "mappers": [{"type": "hashing"}]},
                "stream 'events': mappers are not supported by this server",
            ),
        ],
    )
    def test_stream_settings_that_cannot_work_are_refused(
        self, airbyte: Airbyte, wired: Any, stream: dict[str, Any], message: str
    ) -> None:
        body = {
            "sourceId": wired[0],
            "destinationId": wired[1],
            "configurations": {"streams": [stream]},
        }
        answer = airbyte.post("connections", json=body)

        assert (422, "unprocessable-entity") == problem(answer)
        assert message == answer.json()["data"]["message"]

    def test_patch_changes_only_what_it_names(self, airbyte: Airbyte, wired: Any) -> None:
        id = airbyte.new_connection(*wired, DEDUP, prefix="a_")
        before = airbyte.ask("GET", f"connections/{id}")
        change = {
            "namespaceDefinition": "custom_format",
            "namespaceFormat": "raw",
            "schedule": {"scheduleType": "cron", "cronExpression": "0 0 * * * ?"},
        }
        after = airbyte.ask("PATCH", f"connections/{id}", json=change)

        assert {**before, **change} == after
        assert after == airbyte.ask("GET", f"connections/{id}")

    def test_unknown_source_or_destination_is_not_found(self, airbyte: Airbyte, wired: Any) -> None:
        nobody = str(uuid.uuid4())
        for source, destination in ((nobody, wired[1]), (wired[0], nobody)):
            body = {"sourceId": source, "destinationId": destination}

            assert (404, "resource-not-found") == problem(airbyte.post("connections", json=body))

    def test_connection_is_deleted_with_its_source(self, airbyte: Airbyte, wired: Any) -> None:
        id = airbyte.new_connection(*wired, DEDUP)
        airbyte.delete(f"sources/{wired[0]}")

        assert 404 == airbyte.get(f"connections/{id}").status_code

    def test_include_deleted_lists_nothing_that_was_deleted(
        self, airbyte: Airbyte, wired: Any
    ) -> None:
        """`includeDeleted` is accepted and changes nothing."""
        deleted = {airbyte.new_connection(*wired, DEDUP), *wired}
        airbyte.delete(f"sources/{wired[0]}")
        airbyte.delete(f"destinations/{wired[1]}")
        for kind in ("connection", "source", "destination"):
            params = {"includeDeleted": True, "limit": 100}
            shown = airbyte.ask("GET", f"{kind}s", params=params)["data"]

            assert not deleted & {one[f"{kind}Id"] for one in shown}
            assert 422 == airbyte.get(f"{kind}s", params={"includeDeleted": "x"}).status_code


class TestStreams:
    def test_stream_properties_are_those_of_the_source(self, airbyte: Airbyte, wired: Any) -> None:
        params = {"sourceId": wired[0], "destinationId": wired[1]}
        events = airbyte.ask("GET", "streams", params=params)[0]

        assert {
            "streamName": "events",
            "syncModes": [
                "full_refresh_overwrite",
                "full_refresh_overwrite_deduped",
                "full_refresh_append",
                "incremental_append",
                "incremental_deduped_history",
            ],
            "defaultCursorField": ["updated_at"],
            "sourceDefinedCursorField": True,
            "sourceDefinedPrimaryKey": [["id"]],
            "propertyFields": [["id"], ["updated_at"], ["name"], ["payload"]],
        } == events


class TestUnknown:
    @pytest.mark.parametrize("path", ["sources", "destinations", "connections"])
    def test_unknown_ids_are_not_found(self, airbyte: Airbyte, path: str) -> None:
        for method in ("GET", "PATCH", "DELETE"):
            body = {} if method == "PATCH" else None
            answer = airbyte.request(method, f"{path}/{uuid.uuid4()}", json=body)

            assert (404, "resource-not-found") == problem(answer)

    def test_unknown_jobs_are_not_found(self, airbyte: Airbyte) -> None:
        assert (404, "resource-not-found") == problem(airbyte.get("jobs/999999"))
        assert (404, "resource-not-found") == problem(airbyte.delete("jobs/999999"))
        body = {"connectionId": str(uuid.uuid4()), "jobType": "sync"}
        assert (404, "resource-not-found") == problem(airbyte.post("jobs", json=body))

    def test_id_that_is_no_uuid_is_refused(self, airbyte: Airbyte) -> None:
        assert (422, "unprocessable-entity") == problem(airbyte.get("sources/seven"))

    def test_unknown_paths_and_methods_are_refused(self, airbyte: Airbyte) -> None:
        assert (404, "resource-not-found") == problem(airbyte.get("nosuch"))
        assert (405, "method-not-allowed") == problem(airbyte.put("jobs"))

    def test_jobs_of_other_types_are_refused(self, airbyte: Airbyte, wired: Any) -> None:
        id = airbyte.new_connection(*wired, DEDUP)
        answer = airbyte.post("jobs", json={"connectionId": id, "jobType": "reset"})

        assert (422, "unprocessable-entity") == problem(answer)


class TestInternalApi:
    def test_connection_has_the_catalog_of_its_streams(self, airbyte: Airbyte, wired: Any) -> None:
        id = airbyte.new_connection(*wired, DEDUP, namespaceDefinition="custom_format")
        answer = airbyte.internal("connections/get", connectionId=id)
        (stream,) = answer["syncCatalog"]["streams"]

        assert (id, "customformat") == (answer["connectionId"], answer["namespaceDefinition"])
        assert "events" == stream["stream"]["name"]
        assert {"type": "integer"} == stream["stream"]["jsonSchema"]["properties"]["id"]
        assert ("incremental", "append_dedup", True) == (
            stream["config"]["syncMode"],
            stream["config"]["destinationSyncMode"],
            stream["config"]["selected"],
        )

    def test_internal_api_can_be_switched_off(self, airbyte_server: Any, control: Any) -> None:
        """Airbyte 1.7 and later have none. Nothing else changes."""
        program = airbyte_server(database_url=control.dsn, no_internal_api=True)
        try:
            with Airbyte(program) as client:
                body = {"connectionId": str(uuid.uuid4())}
                answer = client.post(f"{program.url}/api/v1/connections/get", json=body)

                assert (404, "resource-not-found") == problem(answer)
                assert 200 == client.get("connections").status_code
                assert 404 == client.get(f"{program.url}/faults").status_code
        finally:
            program.stop()
