"""The client: pages, tokens, and one line for every fault."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.secrets import Redactor
from ingestion.errors import AirbyteError
from ingestion.settings import AirbyteSettings

CONFIGURATION = {
    "sourceType": "github",
    "repositories": ["acme/rocket"],
    "credentials": {"personal_access_token": "github-secret-1"},
}


def create_source(api: AirbyteApi, name: str) -> None:
    body = {"name": name, "workspaceId": api.workspace_id, "configuration": CONFIGURATION}
    api.create("source", body)


class TestPages:
    @pytest.mark.parametrize("number", [0, 1, 3, 4, 6, 10])
    def test_every_reads_all_pages(self, airbyte, monkeypatch, number):
        monkeypatch.setattr("ingestion.airbyte.client.PAGE", 3)
        for index in range(number):
            create_source(airbyte, f"s{index}")

        assert {f"s{i}" for i in range(number)} == {one["name"] for one in airbyte.every("source")}

    def test_named_finds_a_name_on_the_last_page(self, airbyte, monkeypatch):
        monkeypatch.setattr("ingestion.airbyte.client.PAGE", 3)
        for index in range(7):
            create_source(airbyte, f"s{index}")

        for index in range(7):
            assert [f"s{index}"] == [one["name"] for one in airbyte.named("source", f"s{index}")]


class TestCredentials:
    def test_a_token_is_asked_for_once(self, embedded, new_api, transport):
        api = new_api(embedded)
        list(api.every("source"))
        list(api.every("destination"))

        assert 1 == transport.count("POST /applications/token")

    def test_an_expired_token_is_replaced(self, airbyte, arm, transport):
        arm(kind="expired")

        assert [] == list(airbyte.every("source"))
        assert 1 == transport.count("POST /applications/token")

    def test_an_expired_token_does_not_repeat_a_write(self, airbyte, arm):
        assert airbyte.workspace_id
        arm(kind="expired")
        create_source(airbyte, "one")

        assert ["one"] == [one["name"] for one in airbyte.every("source")]

    def test_a_user_name_and_a_password_need_no_token(self, embedded, new_api, transport):
        settings = AirbyteSettings(
            url=embedded.url, username=embedded.client_id, password=embedded.client_secret
        )

        assert isinstance(list(new_api(settings).every("source")), list)
        assert 0 == transport.count("POST /applications/token")

    @pytest.mark.parametrize(
        ("credentials", "variables"),
        [
            ({"client_secret": "wrong"}, "AIRBYTE_CLIENT_ID and AIRBYTE_CLIENT_SECRET"),
            (
                {"client_id": None, "client_secret": None, "username": "a", "password": "wrong"},
                "AIRBYTE_USERNAME and AIRBYTE_PASSWORD",
            ),
            ({"client_id": None, "client_secret": None}, "none are set"),
        ],
    )
    def test_wrong_credentials_name_their_variables(
        self, embedded, new_api, credentials, variables
    ):
        with pytest.raises(AirbyteError, match=variables):
            list(new_api(replace(embedded, **credentials)).every("source"))

    def test_two_workspaces_ask_for_a_choice(self, fake, fake_api):
        fake.workspaces = 2

        with pytest.raises(AirbyteError, match="more than one workspace: set AIRBYTE_WORKSPACE_ID"):
            assert fake_api.workspace_id

    def test_no_workspace_is_reported(self, fake, fake_api):
        fake.workspaces = 0

        with pytest.raises(AirbyteError, match="see no workspace"):
            assert fake_api.workspace_id


# Name, fault, message of the error, and how often a read and a write are sent.
FAULTS = [
    ("400", {"kind": "error", "status": 400}, "correct the declaration", 1, 1),
    # Sent once more, with a new token.
    ("401", {"kind": "error", "status": 401}, "refused the credentials", 2, 2),
    ("403", {"kind": "error", "status": 403}, "may not do this", 1, 1),
    ("404", {"kind": "error", "status": 404}, "no public API there: check AIRBYTE_URL", 1, 1),
    ("409", {"kind": "error", "status": 409}, "busy with the same object", 1, 1),
    ("422", {"kind": "error", "status": 422}, "correct the declaration", 1, 1),
    ("429", {"kind": "rate_limit", "seconds": 3}, "fewer requests", 5, 5),
    ("500", {"kind": "error", "status": 500}, "Airbyte is in trouble", 5, 1),
    ("502", {"kind": "html"}, "a proxy in between", 5, 1),
    ("503", {"kind": "error", "status": 503}, "Airbyte is in trouble", 5, 1),
    ("504", {"kind": "error", "status": 504}, "Airbyte is in trouble", 5, 1),
    ("HTML", {"kind": "html", "status": 200}, "a login page", 1, 1),
    ("dropped", {"kind": "drop"}, "broke off the connection", 5, 1),
    ("slow", {"kind": "slow", "seconds": 1.0}, "did not answer in time", 5, 1),
]


class TestFaults:
    @pytest.fixture
    def api(self, airbyte, embedded, new_api, how) -> AirbyteApi:
        """A client that gives up on a slow server after 0.3 seconds."""
        return new_api(
            replace(embedded, workspace_id=airbyte.workspace_id),
            timeout=0.3 if how["kind"] == "slow" else 20.0,
        )

    @pytest.mark.parametrize(("_name", "how", "message", "reads", "_writes"), FAULTS)
    def test_a_read_fails_in_one_line(
        self, api, arm, transport, _name, how, message, reads, _writes
    ):
        arm(method="GET", path="/sources$", times=99, **how)

        with pytest.raises(AirbyteError, match=message) as caught:
            list(api.every("source"))
        assert 1 == len(str(caught.value).splitlines())
        assert reads == transport.count("GET /sources")

    @pytest.mark.parametrize(("_name", "how", "message", "_reads", "writes"), FAULTS)
    def test_a_write_fails_in_one_line(
        self, api, arm, transport, _name, how, message, _reads, writes
    ):
        arm(method="POST", path="/sources$", times=99, **how)
        # The workspace does not exist, so that a slow server creates nothing after we gave up.
        body = {"name": "one", "workspaceId": str(uuid4()), "configuration": CONFIGURATION}

        with pytest.raises(AirbyteError, match=message) as caught:
            api.create("source", body)
        assert 1 == len(str(caught.value).splitlines())
        assert writes == transport.count("POST /sources")

    def test_a_write_is_repeated_after_a_503_with_retry_after(self, fake, fake_api):
        assert fake_api.workspace_id
        fake.fail("POST", "/sources", times=99, status=503, headers={"retry-after": "1"})

        with pytest.raises(AirbyteError, match="in trouble"):
            create_source(fake_api, "one")
        assert 5 == fake.count("POST /sources")

    def test_a_read_succeeds_when_faults_pass(self, airbyte, arm, pauses):
        assert airbyte.workspace_id
        pauses.clear()
        arm(kind="error", status=500, path="/sources$", times=2)
        arm(kind="drop", path="/sources$")

        assert [] == list(airbyte.every("source"))
        assert 3 == len(pauses)
        assert pauses[0] < pauses[2]

    def test_retry_after_is_obeyed(self, airbyte, arm, pauses):
        arm(kind="rate_limit", seconds=17, path="/sources$")

        assert [] == list(airbyte.every("source"))
        assert [17.0] == pauses

    def test_a_retry_after_of_minutes_is_reported(self, airbyte, arm, pauses):
        arm(kind="rate_limit", seconds=600, path="/sources$")

        with pytest.raises(AirbyteError, match="try again later"):
            list(airbyte.every("source"))
        assert [] == pauses

    def test_an_address_without_a_server_is_reported(self, new_api, pauses):
        settings = AirbyteSettings(url="http://127.0.0.1:1", client_id="a", client_secret="b")

        with pytest.raises(AirbyteError, match=r"cannot reach Airbyte .* is AIRBYTE_URL right"):
            list(new_api(settings).every("source"))
        assert 4 == len(pauses)

    def test_delete_succeeds_when_the_object_is_already_gone(self, airbyte, transport):
        airbyte.delete("source", airbyte.workspace_id)

        assert 1 == transport.count(f"DELETE /sources/{airbyte.workspace_id}")

    def test_secrets_in_an_answer_are_hidden(self, fake):
        words = b'{"status": 422, "detail": "bad token github-secret-1 for\\n the-client-secret"}'
        fake.fail("GET", "/sources", status=422, body=words)

        with (
            AirbyteApi(fake.settings(), redact=Redactor("github-secret-1")) as api,
            pytest.raises(AirbyteError) as caught,
        ):
            list(api.every("source"))
        assert "bad token ******** for ********" in str(caught.value)
