"""What the tests share: the embedded Airbyte, a fake one, an environment, digests in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from fake_airbyte import FakeAirbyte
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.record import FOLDER
from ingestion.airbyte.secrets import Digests
from ingestion.settings import AirbyteSettings
from openapi import CheckedTransport
from workspace import Workspace


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-lineage", action="store_true", help="accept the lineage as it is now")


class MemoryDigests:
    """A `DigestStore` without a database."""

    def __init__(self) -> None:
        self.known: dict[str, Digests] = {}

    def read(self, owner: str) -> Digests:
        return dict(self.known.get(owner, {}))

    def write(self, owner: str, digests: Mapping[str, str]) -> None:
        self.known[owner] = dict(digests)

    def forget(self, owner: str) -> None:
        self.known.pop(owner, None)


@pytest.fixture(autouse=True)
def _cheap_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make digests at a fraction of their cost: the tests make hundreds."""
    monkeypatch.setattr("ingestion.airbyte.secrets._SCRYPT", {"n": 2, "r": 1, "p": 1})


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a copy of `catalogs/` and `specs/`, which is used and written instead."""
    folder = tmp_path / "recorded"
    for name in ("catalogs", "specs"):
        shutil.copytree(FOLDER / name, folder / name)
    monkeypatch.setattr("ingestion.airbyte.record.FOLDER", folder)
    return folder


@pytest.fixture
def record(recorded: Path) -> Callable[..., None]:
    """Records one more stream of a connector, for this test."""

    def add(connector: str, stream: str, properties: Mapping[str, object], **more: object) -> None:
        file = recorded / "catalogs" / f"{connector}.json"
        catalog = json.loads(file.read_text()) if file.exists() else {"streams": []}
        schema = {"type": "object", "properties": properties}
        catalog["streams"].append({"name": stream, "json_schema": schema, **more})
        file.write_text(json.dumps(catalog))

    return add


@pytest.fixture
def digests() -> MemoryDigests:
    return MemoryDigests()


@pytest.fixture
def env() -> dict[str, str]:
    """An environment with every variable that the declaration needs, none of them real."""
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


@pytest.fixture
def fake() -> Iterator[FakeAirbyte]:
    with FakeAirbyte() as server:
        yield server
        assert [] == server.violations


@pytest.fixture(scope="session")
def embedded(postgres_server, airbyte_server) -> Iterator[AirbyteSettings]:
    """The embedded Airbyte, the same one for all tests."""
    with postgres_server.new_database() as database:
        server = airbyte_server(database_url=database.dsn, faults=True)
        yield AirbyteSettings(
            url=server.url, client_id=server.client_id, client_secret=server.client_secret
        )
        server.stop()


@pytest.fixture
def transport() -> Iterator[CheckedTransport]:
    """Checks every exchange of a client against Airbyte's description, and lists it."""
    checked = CheckedTransport()
    yield checked
    checked.close()


@pytest.fixture
def pauses() -> list[float]:
    """The seconds for which clients would have slept between attempts."""
    return []


@pytest.fixture
def new_api(
    transport: CheckedTransport, pauses: list[float]
) -> Iterator[Callable[..., AirbyteApi]]:
    """Makes clients that send through `transport`, and never sleep."""
    made: list[AirbyteApi] = []

    def new(settings: AirbyteSettings, timeout: float = 20.0) -> AirbyteApi:
        api = AirbyteApi(settings, timeout=timeout, transport=transport, sleep=pauses.append)
        made.append(api)
        return api

    yield new
    for api in made:
        api.__exit__(None, None, None)


@pytest.fixture
def airbyte(
    embedded: AirbyteSettings, transport: CheckedTransport, new_api: Callable[..., AirbyteApi]
) -> AirbyteApi:
    """A client of the embedded Airbyte, which is emptied first."""
    api = new_api(embedded)
    for kind in ("connection", "source", "destination"):
        for entry in list(api.every(kind)):
            api.delete(kind, entry[f"{kind}Id"])
    transport.requests.clear()
    return api


@pytest.fixture
def arm(embedded: AirbyteSettings) -> Iterator[Callable[..., None]]:
    """Makes later requests to the embedded Airbyte fail; unused faults end with the test."""
    faults = f"{embedded.url}/faults"
    yield lambda **fault: httpx.post(faults, json=fault).raise_for_status()
    httpx.delete(faults).raise_for_status()


@pytest.fixture
def fake_api(fake: FakeAirbyte, new_api: Callable[..., AirbyteApi]) -> AirbyteApi:
    """A client of the fake Airbyte."""
    return new_api(fake.settings())


@pytest.fixture
def workspace(airbyte, env, digests) -> Workspace:
    """A workspace on the embedded Airbyte, with nothing applied."""
    return Workspace(airbyte, env, digests)


@pytest.fixture
def applied(workspace) -> Workspace:
    """A workspace on the embedded Airbyte, with the declaration applied."""
    workspace.apply()
    return workspace


@pytest.fixture
def fake_workspace(fake_api, env, digests) -> Workspace:
    """A workspace on the fake Airbyte."""
    return Workspace(fake_api, env, digests)
