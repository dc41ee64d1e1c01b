"""The client: pages, tokens, and one line for every fault."""

from __future__ import annotations

import httpx
import pytest
from fake_airbyte import FakeAirbyte
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.secrets import Redactor
from ingestion.errors import AirbyteError
from ingestion.settings import AirbyteSettings

HTML = b"<html><body>Please log in</body></html>"


class TestPages:
    @pytest.mark.parametrize("number", [0, 1, 20, 21, 40, 130])
    def test_all_are_read(self, fake, api, number):
        for index in range(number):
            fake.add(
                "source", name=f"s{index}", sourceType="github", configuration={"repositories": []}
            )

        assert [f"s{i}" for i in range(number)] == [one["name"] for one in api.every("source")]

    def test_a_name_on_the_last_page_is_found(self, fake, api):
        for index in range(41):
            fake.add("source", name=f"s{index}", sourceType="github", configuration={})

        assert ["s40"] == [one["name"] for one in api.named("source", "s40")]


class TestCredentials:
    def test_a_token_is_asked_for_once(self, fake, api):
        list(api.every("source"))
        list(api.every("destination"))

        assert 1 == fake.count("POST /applications/token")

    def test_an_expired_token_is_replaced_in_the_middle(self, fake, api):
        fake.token_uses = 2
        for _ in range(5):
            list(api.every("source"))

        assert fake.count("POST /applications/token") == 3

    def test_an_expired_token_does_not_repeat_a_write(self, fake, api):
        fake.token_uses = 1
        assert api.workspace_id
        body = {
            "name": "one",
            "workspaceId": api.workspace_id,
            "configuration": {"sourceType": "github"},
        }
        api.create("source", body)

        assert 1 == len(fake.objects["source"])

    def test_basic_authentication(self, fake, new_api):
        settings = AirbyteSettings(url=fake.url, username="airbyte", password="basic-secret")

        assert [] == list(new_api(settings).every("source"))

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
    def test_wrong_ones_name_their_variables(self, fake, new_api, credentials, variables):
        with pytest.raises(AirbyteError, match=variables):
            list(new_api(fake.settings(**credentials)).every("source"))

    def test_two_workspaces_ask_for_a_choice(self, fake, api):
        fake.workspaces = 2

        with pytest.raises(AirbyteError, match="more than one workspace: set AIRBYTE_WORKSPACE_ID"):
            assert api.workspace_id

    def test_no_workspace_says_so(self, fake, api):
        fake.workspaces = 0

        with pytest.raises(AirbyteError, match="see no workspace"):
            assert api.workspace_id


# What goes wrong, what is said about it, and how often it is tried: reading, then writing.
FAULTS = [
    ("400", {"status": 400}, "correct the declaration", 1, 1),
    ("401", {"status": 401}, "refused the credentials", 2, 2),  # once more with a new token
    ("403", {"status": 403}, "may not do this", 1, 1),
    ("404", {"status": 404}, "no public API there: check AIRBYTE_URL", 1, 1),
    ("409", {"status": 409}, "busy with that very thing", 1, 1),
    ("422", {"status": 422}, "correct the declaration", 1, 1),
    ("429", {"status": 429, "headers": {"retry-after": "3"}}, "fewer requests", 5, 5),
    ("500", {"status": 500}, "Airbyte is in trouble", 5, 1),
    ("502", {"status": 502, "body": HTML, "content_type": "text/html"}, "a proxy in between", 5, 1),
    ("503", {"status": 503}, "Airbyte is in trouble", 5, 1),
    ("503, later", {"status": 503, "headers": {"retry-after": "1"}}, "in trouble", 5, 5),
    ("504", {"status": 504}, "Airbyte is in trouble", 5, 1),
    ("HTML", {"status": 200, "body": HTML, "content_type": "text/html"}, "a login page", 1, 1),
    ("dropped", {"drop": True}, "broke the connection off", 5, 1),
    ("slow", {"seconds": 1.0}, "did not answer in time", 5, 1),
]


class TestFaults:
    @pytest.mark.parametrize(("_name", "how", "message", "reads", "_writes"), FAULTS)
    def test_reading(self, fake, new_api, _name, how, message, reads, _writes):
        api = new_api(fake.settings(workspace_id=fake.workspace_id), timeout=0.3)
        fake.fail("GET", "/sources", times=99, **how)

        with pytest.raises(AirbyteError, match=message) as caught:
            list(api.every("source"))
        assert 1 == len(str(caught.value).splitlines())
        assert reads == fake.count("GET /sources")

    @pytest.mark.parametrize(("_name", "how", "message", "_reads", "writes"), FAULTS)
    def test_writing(self, fake, new_api, _name, how, message, _reads, writes):
        api = new_api(fake.settings(workspace_id=fake.workspace_id), timeout=0.3)
        fake.fail("POST", "/sources", times=99, **how)
        configuration = {"sourceType": "github"}
        body = {"name": "one", "workspaceId": fake.workspace_id, "configuration": configuration}

        with pytest.raises(AirbyteError, match=message) as caught:
            api.create("source", body)
        assert 1 == len(str(caught.value).splitlines())
        assert writes == fake.count("POST /sources")

    def test_a_read_survives_passing_faults(self, fake, api, pauses):
        fake.fail("GET", "/sources", times=2, status=500)
        fake.fail("GET", "/sources", drop=True)

        assert [] == list(api.every("source"))
        assert 3 == len(pauses)
        assert pauses[0] < pauses[2]

    def test_retry_after_is_obeyed(self, fake, api, pauses):
        fake.fail("GET", "/sources", status=429, headers={"retry-after": "17"})

        assert [] == list(api.every("source"))
        assert [17.0] == pauses

    def test_an_endless_retry_after_is_reported(self, fake, api, pauses):
        fake.fail("GET", "/sources", status=429, headers={"retry-after": "3600"})

        with pytest.raises(AirbyteError, match="try again later"):
            list(api.every("source"))
        assert [] == pauses

    def test_nobody_there(self, new_api, pauses):
        with FakeAirbyte() as gone:
            settings = gone.settings()

        with pytest.raises(AirbyteError, match=r"cannot reach Airbyte .* is AIRBYTE_URL right"):
            list(new_api(settings).every("source"))
        assert 4 == len(pauses)

    def test_what_is_gone_is_deleted(self, fake, api):
        api.delete("source", fake.workspace_id)

        assert 1 == fake.count("DELETE /sources/.*")

    def test_secrets_in_an_answer_are_hidden(self, fake):
        words = b'{"status": 422, "detail": "bad token github-secret-1 for\\n the-client-secret"}'
        fake.fail("GET", "/sources", status=422, body=words)

        with (
            AirbyteApi(fake.settings(), redact=Redactor("github-secret-1")) as api,
            pytest.raises(AirbyteError) as caught,
        ):
            list(api.every("source"))
        assert "bad token ******** for ********" in str(caught.value)


class TestEmbedded:
    """The same words for the embedded server's own faults."""

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ({"kind": "error", "status": 403}, "may not do this"),
            ({"kind": "html", "times": 5}, "a proxy in between"),
            ({"kind": "drop", "times": 5}, "broke the connection off"),
        ],
    )
    def test_faults(self, embedded, new_api, fault, message):
        api = new_api(embedded)
        assert api.workspace_id
        httpx.post(f"{embedded.url}/faults", json={"path": "sources", **fault}).raise_for_status()
        try:
            with pytest.raises(AirbyteError, match=message):
                list(api.every("source"))
        finally:
            httpx.delete(f"{embedded.url}/faults")

    def test_an_expired_token_is_replaced(self, embedded, new_api):
        api = new_api(embedded)
        list(api.every("source"))
        httpx.post(f"{embedded.url}/faults", json={"kind": "expired"}).raise_for_status()

        assert isinstance(list(api.every("source")), list)
