"""What the tests share: a faulty Airbyte, an environment, a memory for digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from fake_airbyte import FakeAirbyte
from ingestion.client import AirbyteApi
from ingestion.secrets import Digests
from ingestion.settings import AirbyteSettings
from openapi import CheckedTransport


class Memory:
    """A `DigestStore` without a database."""

    def __init__(self) -> None:
        self.known: dict[str, Digests] = {}

    def read(self, owner: str) -> Digests:
        return dict(self.known.get(owner, {}))

    def write(self, owner: str, digests: Mapping[str, str]) -> None:
        self.known[owner] = dict(digests)

    def forget(self, owner: str) -> None:
        self.known.pop(owner, None)


@pytest.fixture
def digests() -> Memory:
    return Memory()


@pytest.fixture
def fake() -> Iterator[FakeAirbyte]:
    with FakeAirbyte() as server:
        yield server


@pytest.fixture
def env() -> dict[str, str]:
    """A whole environment, none of it real."""
    return {
        "WAREHOUSE_HOST": "127.0.0.1",
        "WAREHOUSE_PORT": "5432",
        "WAREHOUSE_USER": "loader",
        "WAREHOUSE_PASSWORD": "warehouse-secret-1",
        "WAREHOUSE_DATABASE": "warehouse",
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "GITHUB_TOKEN": "github-secret-1",
        "GITHUB_REPOSITORY": "acme/rocket",
    }


def settings_of(fake: FakeAirbyte, **changes: str | None) -> AirbyteSettings:
    fields: dict[str, str | None] = {
        "client_id": fake.client_id,
        "client_secret": fake.client_secret,
        **changes,
    }
    return AirbyteSettings(url=fake.url, **fields)


@pytest.fixture
def pauses() -> list[float]:
    """Seconds that the client slept between attempts; none of them is slept for real."""
    return []


@pytest.fixture
def transport() -> Iterator[CheckedTransport]:
    checked = CheckedTransport()
    yield checked
    checked.close()


@pytest.fixture
def new_api(
    fake: FakeAirbyte, pauses: list[float], transport: CheckedTransport
) -> Iterator[Callable[..., AirbyteApi]]:
    made: list[AirbyteApi] = []

    def new(timeout: float = 5.0, **changes: str | None) -> AirbyteApi:
        api = AirbyteApi(
            settings_of(fake, **changes), timeout=timeout, transport=transport, sleep=pauses.append
        )
        made.append(api)
        return api

    yield new
    for api in made:
        api.__exit__(None, None, None)


@pytest.fixture
def api(new_api: Callable[..., AirbyteApi]) -> AirbyteApi:
    return new_api()
