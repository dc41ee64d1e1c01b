"""The GitHub stand-in."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from devstack.github.server import GitHub
from devstack.github.stars import Star
from devstack_fixtures import Program
from helpers import InProcess, until
from hypothesis import given, settings
from hypothesis import strategies as st

LIST = "/repos/octo/cat/stargazers"
WITH_TIME = "application/vnd.github.v3.star+json"
NOW = 1_600_000_000
TOKEN = "good"


class FixedStars:
    """A source of `count` stars, one in each second before `NOW`."""

    def __init__(self, count: int) -> None:
        self._stars = [
            Star(NOW - count + number, number + 1, f"u{number + 1}") for number in range(count)
        ]

    def repositories(self) -> Sequence[str]:
        return ["octo/cat"]

    def of(self, _: str, now: float) -> Sequence[Star]:
        return [star for star in self._stars if star.starred_at <= now]


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def client(count: int = 3, *, token: str | None = TOKEN, **options: Any) -> httpx.Client:
    stand_in = GitHub(FixedStars(count), token=TOKEN, **{"clock": Clock(), **options})
    headers = {} if token is None else {"Authorization": f"token {token}"}
    return browse(stand_in, headers)


def browse(stand_in: GitHub, headers: dict[str, str]) -> httpx.Client:
    transport = InProcess(stand_in.application())
    return httpx.Client(base_url="http://testserver", transport=transport, headers=headers)


def ids(answer: httpx.Response) -> list[int]:
    return [user["id"] for user in answer.json()]


def links(answer: httpx.Response) -> dict[str, int]:
    """Return the pages that the `Link` header names, by relation."""
    found = re.findall(r'<[^>]*[?&]page=(\d+)[^>]*>; rel="(\w+)"', answer.headers.get("link", ""))
    return {name: int(page) for page, name in found}


class TestPaging:
    """`GET /repos/{owner}/{repo}/stargazers`, page by page."""

    def test_page_has_thirty_entries_by_default(self) -> None:
        answer = client(95).get(LIST)

        assert ids(answer) == list(range(1, 31))
        assert links(answer) == {"next": 2, "last": 4}

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("per_page=2&page=1", {"next": 2, "last": 3}),
            ("per_page=2&page=2", {"prev": 1, "next": 3, "last": 3, "first": 1}),
            ("per_page=2&page=3", {"prev": 2, "first": 1}),
            ("per_page=2&page=9", {"prev": 3, "first": 1}),
            ("per_page=5", {}),
        ],
    )
    def test_links_name_the_pages_around(self, query: str, expected: dict[str, int]) -> None:
        assert links(client(5).get(f"{LIST}?{query}")) == expected

    @pytest.mark.parametrize(
        ("per_page", "size"),
        [("1", 1), ("100", 100), ("1000", 100), ("0", 30), ("-3", 30), ("x", 30)],
    )
    def test_page_size_is_from_one_to_a_hundred(self, per_page: str, size: int) -> None:
        assert len(ids(client(150).get(f"{LIST}?per_page={per_page}"))) == size

    @pytest.mark.parametrize("page", ["0", "-1", "x", "", "²"])
    def test_page_that_is_no_number_is_the_first(self, page: str) -> None:
        assert ids(client(5).get(LIST, params={"per_page": 2, "page": page})) == [1, 2]

    def test_a_page_beyond_the_last_is_empty(self) -> None:
        answer = client(5).get(f"{LIST}?page=4")

        assert (answer.status_code, answer.json()) == (200, [])

    def test_links_name_the_repository_by_number_and_keep_the_query(self) -> None:
        browser = client(5)
        answer = browser.get(f"{LIST}?per_page=2&x=a%26b", headers={"Accept": WITH_TIME})
        url = answer.links["next"]["url"]
        number = browser.get("/repos/octo/cat").json()["id"]

        assert (
            url == f"http://testserver/repositories/{number}/stargazers?per_page=2&x=a%26b&page=2"
        )
        assert ids(browser.get(url)) == [3, 4]

    @settings(max_examples=40, deadline=None)
    @given(count=st.integers(0, 350), size=st.integers(1, 120))
    def test_following_next_gives_everyone_once_in_order(self, count: int, size: int) -> None:
        browser = client(count)
        found: list[int] = []
        url = f"{LIST}?per_page={size}"
        while url:
            answer = browser.get(url)
            found += ids(answer)
            url = answer.links.get("next", {}).get("url", "")

        assert found == list(range(1, count + 1))

    def test_new_stars_appear_at_the_end(self) -> None:
        clock = Clock()
        clock.now = NOW - 2
        browser = client(5, clock=clock)
        before = ids(browser.get(LIST))
        clock.now = NOW

        assert before == [1, 2, 3, 4]
        assert ids(browser.get(LIST)) == [1, 2, 3, 4, 5]


class TestPageCap:
    """GitHub's cap of 400 pages, on request."""

    def test_last_page_that_is_served_has_no_next(self) -> None:
        answer = client(50, page_cap=4).get(f"{LIST}?per_page=10&page=4")

        assert ids(answer) == list(range(31, 41))
        assert links(answer) == {"prev": 3, "first": 1}

    def test_page_beyond_the_cap_is_refused(self) -> None:
        answer = client(50, page_cap=4).get(f"{LIST}?per_page=10&page=5")

        assert answer.status_code == 422
        assert "pagination is limited for this resource" in answer.json()["message"]

    def test_there_is_no_cap_by_default(self) -> None:
        assert ids(client(450).get(f"{LIST}?per_page=1&page=450")) == [450]


class TestMediaTypes:
    """`Accept`."""

    @pytest.mark.parametrize(
        "accept", [WITH_TIME, "application/vnd.github.star+json", f"text/x, {WITH_TIME};q=1"]
    )
    def test_star_media_type_has_the_time(self, accept: str) -> None:
        answer = client(1).get(LIST, headers={"Accept": accept})

        assert [set(star) for star in answer.json()] == [{"starred_at", "user"}]
        assert answer.json()[0]["starred_at"] == "2020-09-13T12:26:39Z"
        assert answer.headers["x-github-media-type"] == "github.v3; param=star; format=json"

    @pytest.mark.parametrize("accept", ["*/*", "application/json", "application/vnd.github+json"])
    def test_other_json_media_types_have_the_user_alone(self, accept: str) -> None:
        answer = client(1).get(LIST, headers={"Accept": accept})

        assert answer.json()[0]["login"] == "u1"
        assert answer.headers["x-github-media-type"] == "github.v3; format=json"

    def test_media_type_that_is_not_json_is_unsupported(self) -> None:
        answer = client(1).get(LIST, headers={"Accept": "text/html"})

        assert answer.status_code == 415
        assert answer.json()["message"].startswith("Unsupported 'Accept' header: 'text/html'")

    def test_a_user_has_every_field_that_github_gives(self) -> None:
        user = client(1).get(LIST).json()[0]

        assert user == {
            "login": "u1",
            "id": 1,
            "node_id": "MDQ6VXNlcjE=",
            "avatar_url": "https://avatars.githubusercontent.com/u/1?v=4",
            "gravatar_id": "",
            "url": "https://api.github.com/users/u1",
            "html_url": "https://github.com/u1",
            "followers_url": "https://api.github.com/users/u1/followers",
            "following_url": "https://api.github.com/users/u1/following{/other_user}",
            "gists_url": "https://api.github.com/users/u1/gists{/gist_id}",
            "starred_url": "https://api.github.com/users/u1/starred{/owner}{/repo}",
            "subscriptions_url": "https://api.github.com/users/u1/subscriptions",
            "organizations_url": "https://api.github.com/users/u1/orgs",
            "repos_url": "https://api.github.com/users/u1/repos",
            "events_url": "https://api.github.com/users/u1/events{/privacy}",
            "received_events_url": "https://api.github.com/users/u1/received_events",
            "type": "User",
            "user_view_type": "public",
            "site_admin": False,
        }


class TestAuthentication:
    """Credentials."""

    @pytest.mark.parametrize(
        "header",
        [
            "token good",
            "Bearer good",
            "TOKEN  good",
            f"Basic {base64.b64encode(b'me:good').decode()}",
        ],
    )
    def test_good_credentials_are_accepted(self, header: str) -> None:
        answer = client(1, token=None).get(LIST, headers={"Authorization": header})

        assert answer.status_code == 200

    @pytest.mark.parametrize("path", ["/rate_limit", "/repos/octo/cat", LIST, "/repos/no/body"])
    @pytest.mark.parametrize(
        "header",
        [
            "token bad",
            "Bearer bad",
            "good",
            "token",
            "",
            "Digest good",
            "Basic !",
            "Basic bWU6YmFk",
        ],
    )
    def test_bad_credentials_are_refused_everywhere(self, path: str, header: str) -> None:
        answer = client(1, token=None).get(path, headers={"Authorization": header})

        assert answer.status_code == 401
        assert answer.json() == {
            "message": "Bad credentials",
            "documentation_url": "https://docs.github.com/rest",
            "status": "401",
        }

    def test_list_needs_credentials_and_the_repository_does_not(self) -> None:
        browser = client(1, token=None)

        assert browser.get(LIST).status_code == 403
        assert browser.get("/repos/octo/cat").status_code == 200
        assert browser.get("/rate_limit").json()["rate"]["limit"] == 60


class TestNotFound:
    """Requests for what does not exist."""

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/nope",
            "/repos/octo/dog",
            "/repos/octo/dog/stargazers",
            "/repositories/1/stargazers",
            f"{LIST}/",
        ],
    )
    def test_unknown_path_is_answered_in_githubs_words(self, path: str) -> None:
        answer = client().get(path)

        assert answer.status_code == 404
        assert answer.json()["message"] == "Not Found"

    def test_unknown_method_is_not_found(self) -> None:
        assert client().post(LIST).status_code == 404

    def test_repository_is_found_whatever_its_case(self) -> None:
        answer = client().get("/repos/OCTO/Cat")

        assert answer.json()["full_name"] == "octo/cat"


class TestRepository:
    """`GET /repos/{owner}/{repo}`."""

    def test_counts_the_stars(self) -> None:
        body = client(5).get("/repos/octo/cat").json()

        assert (body["stargazers_count"], body["watchers_count"]) == (5, 5)
        assert body["owner"]["login"] == "octo"

    def test_repository_without_stars_exists_when_it_is_named(self) -> None:
        class Empty(FixedStars):
            def repositories(self) -> Sequence[str]:
                return []

        stand_in = GitHub(Empty(0), token=TOKEN, repository="octo/empty")
        browser = browse(stand_in, {"Authorization": "token good"})

        assert browser.get("/repos/octo/empty").json()["stargazers_count"] == 0
        assert browser.get("/repos/octo/empty/stargazers").json() == []


class TestRateLimit:
    """`X-RateLimit-*` and `GET /rate_limit`."""

    def limits(self, answer: httpx.Response) -> tuple[int, int, int]:
        names = ("limit", "remaining", "used")
        return tuple(int(answer.headers[f"x-ratelimit-{name}"]) for name in names)

    def test_every_answer_has_the_limits(self) -> None:
        browser = client(1, rate_limit=10)

        assert self.limits(browser.get(LIST)) == (10, 9, 1)
        assert self.limits(browser.get("/repos/octo/cat")) == (10, 8, 2)
        assert self.limits(browser.get("/repos/no/body")) == (10, 7, 3)

    def test_asking_for_the_limits_costs_nothing(self) -> None:
        browser = client(1, rate_limit=10)
        browser.get(LIST)
        browser.get("/rate_limit")
        body = browser.get("/rate_limit").json()

        expected = {"limit": 10, "used": 1, "remaining": 9, "reset": NOW + 3600}
        assert body["rate"] == body["resources"]["core"] == expected

    def test_request_is_refused_when_the_limit_is_used_up(self) -> None:
        browser = client(1, rate_limit=2)
        browser.get(LIST)
        last = browser.get(LIST)
        refused = browser.get(LIST)

        assert (last.status_code, self.limits(last)) == (200, (2, 0, 2))
        assert (refused.status_code, self.limits(refused)) == (403, (2, 0, 2))
        assert refused.json()["message"].startswith("API rate limit exceeded")
        assert refused.headers["x-ratelimit-reset"] == str(NOW + 3600)

    def test_limit_is_renewed_after_an_hour(self) -> None:
        clock = Clock()
        browser = client(1, rate_limit=1, clock=clock)
        browser.get(LIST)
        clock.now += 3599
        early = browser.get(LIST).status_code
        clock.now += 1

        assert (early, browser.get(LIST).status_code) == (403, 200)

    def test_each_caller_has_a_limit_of_its_own(self) -> None:
        browser = client(1, rate_limit=1)
        browser.get(LIST)
        del browser.headers["Authorization"]

        assert self.limits(browser.get("/repos/octo/cat")) == (60, 59, 1)


class TestConditionalRequests:
    """`ETag` and `If-None-Match`."""

    def test_unchanged_answer_is_304_and_costs_nothing(self) -> None:
        browser = client(3, rate_limit=10)
        tag = browser.get(LIST).headers["etag"]
        again = browser.get(LIST, headers={"If-None-Match": tag})

        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["x-ratelimit-used"] == "1"

    def test_a_new_star_changes_its_page(self) -> None:
        clock = Clock()
        clock.now = NOW - 2
        browser = client(3, clock=clock)
        tag = browser.get(LIST).headers["etag"]
        clock.now = NOW

        assert browser.get(LIST, headers={"If-None-Match": tag}).status_code == 200

    def test_a_new_page_changes_the_links_of_the_one_before(self) -> None:
        clock = Clock()
        clock.now = NOW - 2
        browser = client(3, clock=clock)
        page = f"{LIST}?per_page=2"
        tag = browser.get(page).headers["etag"]
        clock.now = NOW

        assert browser.get(page, headers={"If-None-Match": tag}).status_code == 200

    def test_each_media_type_has_an_etag_of_its_own(self) -> None:
        browser = client(3)
        tag = browser.get(LIST).headers["etag"]
        headers = {"If-None-Match": tag, "Accept": WITH_TIME}

        assert browser.get(LIST, headers=headers).status_code == 200


@pytest.fixture(scope="module")
def server(
    github_server: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    path = tmp_path_factory.mktemp("stars") / "stars.csv"
    path.write_text(
        "repository,user_id,login,starred_at\n"
        "octo/cat,1,ann,2020-01-01T00:00:00Z\nocto/cat,2,bob,2020-01-02T00:00:00Z\n"
    )
    program = github_server(stars=path)
    yield program
    program.stop()


class TestProgram:
    """`devstack serve github`, as a process of its own."""

    def test_makes_a_token_and_takes_the_repository_with_most_stars(self, server: Program) -> None:
        assert server.repository == "octo/cat"
        assert len(server.token) >= 24

    def test_serves_a_stream_that_grows_when_there_is_no_file(
        self, github_server: Callable[..., Program]
    ) -> None:
        program = github_server(seed=3, rate=600, repository="octo/fast")
        headers = {"Authorization": f"token {program.token}"}

        def count() -> int:
            url = f"{program.url}/repos/octo/fast"
            return int(httpx.get(url, headers=headers).json()["stargazers_count"])

        first = count()
        until(lambda: count() > first)
        program.stop()

        assert first >= 3000

    def test_history_is_the_same_after_a_restart_with_the_same_epoch(
        self, github_server: Callable[..., Program]
    ) -> None:
        epoch = int(time.time()) - 600
        pages = []
        for _ in range(2):
            program = github_server(seed=3, epoch=epoch, token="t")
            pages.append(
                httpx.get(
                    f"{program.url}/repos/octo/live-stars/stargazers?per_page=100&page=30",
                    headers={"Authorization": "token t", "Accept": WITH_TIME},
                ).json()
            )
            program.stop()

        assert len(pages[0]) == 100
        assert pages[0] == pages[1]

    def test_bad_file_is_refused_with_its_line(
        self, github_server: Callable[..., Program], tmp_path: Path
    ) -> None:
        path = tmp_path / "stars.csv"
        path.write_text("repository,user_id,login,starred_at\no/r,x,ann,2020-01-01T00:00:00Z\n")

        with pytest.raises(pytest.fail.Exception) as caught:
            github_server(stars=path)

        assert f"devstack: {path}, line 2: user_id 'x' is not" in str(caught.value)
        assert "Traceback" not in str(caught.value)

    def test_busy_port_names_its_setting(
        self, server: Program, github_server: Callable[..., Program]
    ) -> None:
        port = httpx.URL(server.url).port

        with pytest.raises(pytest.fail.Exception, match="DEVSTACK_GITHUB_PORT"):
            github_server(port=port)

    def test_stops_although_a_client_reads_no_answers(
        self, github_server: Callable[..., Program]
    ) -> None:
        program = github_server(repository="octo/big")
        url = httpx.URL(program.url)
        request = (
            "GET /repos/octo/big/stargazers?per_page=100 HTTP/1.1\r\n"
            f"Host: {url.host}\r\nAuthorization: token {program.token}\r\n\r\n"
        )
        with socket.create_connection((url.host, url.port)) as client:
            # More answers than the kernel buffers: the server cannot finish sending them.
            client.sendall(request.encode() * 200)
            client.recv(1)
            program.stop()

        assert program.exit_code == 0
