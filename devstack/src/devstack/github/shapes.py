"""GitHub's JSON for a user, a star and a repository, with every field.

Its links are GitHub's own, so that rows do not depend on where the stand-in listens.
"""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Sequence
from typing import Any

from devstack.github.stars import Star

_API = "https://api.github.com"


def repository_number(name: str) -> int:
    """Return the id of a repository, which depends on its name alone."""
    return zlib.crc32(name.lower().encode()) + 1


def _timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def star_with_time(star: Star) -> dict[str, Any]:
    """Return an entry of the list in the media type with `starred_at`."""
    return {"starred_at": _timestamp(star.starred_at), "user": user(star)}


def user(star: Star) -> dict[str, Any]:
    """Return an entry of the list in the plain media type: the user alone."""
    return _account(star.user_id, star.login, "User")


def _account(number: int, login: str, kind: str) -> dict[str, Any]:
    url = f"{_API}/users/{login}"
    node = base64.b64encode(f"0{len(kind)}:{kind}{number}".encode()).decode()
    return {
        "login": login,
        "id": number,
        "node_id": node,
        "avatar_url": f"https://avatars.githubusercontent.com/u/{number}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"https://github.com/{login}",
        "followers_url": f"{url}/followers",
        "following_url": f"{url}/following{{/other_user}}",
        "gists_url": f"{url}/gists{{/gist_id}}",
        "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
        "subscriptions_url": f"{url}/subscriptions",
        "organizations_url": f"{url}/orgs",
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events{{/privacy}}",
        "received_events_url": f"{url}/received_events",
        "type": kind,
        "user_view_type": "public",
        "site_admin": False,
    }


def repository_body(name: str, stars: Sequence[Star]) -> dict[str, Any]:
    """Return the repository `name` with these stars, the oldest first."""
    owner, _, short = name.partition("/")
    url = f"{_API}/repos/{name}"
    number = repository_number(name)
    created = _timestamp(stars[0].starred_at if stars else 0)
    changed = _timestamp(stars[-1].starred_at if stars else 0)
    return {
        "id": number,
        "node_id": base64.b64encode(f"010:Repository{number}".encode()).decode(),
        "name": short,
        "full_name": name,
        "private": False,
        "owner": _account(repository_number(owner), owner, "Organization"),
        "html_url": f"https://github.com/{name}",
        "description": None,
        "fork": False,
        "url": url,
        "stargazers_url": f"{url}/stargazers",
        "created_at": created,
        "updated_at": changed,
        "pushed_at": changed,
        "homepage": None,
        "size": 0,
        "stargazers_count": len(stars),
        "watchers_count": len(stars),
        "watchers": len(stars),
        "language": None,
        "has_issues": True,
        "has_projects": True,
        "has_wiki": True,
        "has_pages": False,
        "has_discussions": False,
        "forks_count": 0,
        "forks": 0,
        "archived": False,
        "disabled": False,
        "open_issues_count": 0,
        "open_issues": 0,
        "license": None,
        "topics": [],
        "visibility": "public",
        "default_branch": "main",
        "organization": _account(repository_number(owner), owner, "Organization"),
    }
