"""One network and one workspace on its hosts, for all tests; each leaves them as they were."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from devstack_fixtures import Launcher

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "shared" / "tests"), str(ROOT / "tests" / "hosts")]

from engine_teams import until  # noqa: E402  # found by the line above
from judge import Judgement, judge, unfinished  # noqa: E402
from network import Network, NetworkError  # noqa: E402
from site_on_hosts import Site, running_site  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hosts", "random faults between hosts")
    group.addoption("--kills", type=int, default=6, help="How many processes are killed.")
    group.addoption("--partitions", type=int, default=2, help="How often the network is cut.")
    group.addoption("--seed", type=int, default=1, help="Which ones, and when.")


MEASURED = pytest.StashKey[list[str]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what was measured."""
    for line in config.stash.get(MEASURED, []):
        terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes lines with figures, which are printed at the end of the session."""
    lines = request.config.stash.setdefault(MEASURED, [])
    return lambda line: lines.append(f"{request.node.name}: {line}")


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    try:
        with Network() as network:
            yield network
    except NetworkError as error:
        pytest.skip(f"no hosts can be made here: {error}")


@pytest.fixture(scope="session")
def site(
    network: Network, devstack_launcher: Launcher, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with running_site(folder, network, devstack_launcher) as site:
        yield site


@pytest.fixture(autouse=True)
def _all_well(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let every test leave a site on which all runs end, none was lost and none was made twice."""
    if "site" not in request.fixturenames:
        yield
        return
    site: Site = request.getfixturevalue("site")
    began = datetime.now(UTC)
    yield
    begun = set(unfinished(site))
    until(lambda: not begun & set(unfinished(site)), 180, why="some runs did not end")
    # What has failed just now is tried again within seconds.
    with suppress(AssertionError):
        until(lambda: not judge(site, began).lost, 30)
    assert Judgement([], [], []) == judge(site, began)
