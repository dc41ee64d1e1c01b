"""A declared connection, an Airbyte, and the digests of what was applied."""

from __future__ import annotations

from typing import Any

from ingestion.airbyte.apply import apply
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.plan import Plan, make_plan
from ingestion.connections import fetch_stargazer


class Workspace:
    """Plans and applies the declaration, changes it, and changes Airbyte by hand."""

    def __init__(self, api: AirbyteApi, env: dict[str, str], digests: Any) -> None:
        self.api = api
        self.env = env
        self.digests = digests
        self.connection = fetch_stargazer

    def plan(self) -> Plan:
        return make_plan(self.api, [self.connection], self.env, self.digests)

    def apply(self) -> list[str]:
        """Apply the declaration, and return the kinds of the objects that were changed."""
        changed: list[str] = []
        apply(
            self.api,
            [self.connection],
            self.env,
            self.digests,
            lambda plan: changed.append(plan.kind),
        )
        return changed

    def changes(self) -> dict[str, tuple[str, Any, Any]]:
        """Return what the plan would change: path to (operation, old, new)."""
        return {
            f"{one.kind}.{'.'.join(change.path)}": (change.operation, change.old, change.new)
            for one in self.plan().objects
            for change in one.changes
        }

    def one(self, kind: str) -> dict[str, Any]:
        """Return the only object of that kind in Airbyte."""
        (entry,) = self.api.every(kind)
        return entry

    def edit(self, kind: str, **fields: Any) -> None:
        """Change something by hand, as in Airbyte's UI."""
        self.api.update(kind, self.one(kind)[f"{kind}Id"], fields)

    def declare(self, **changes: Any) -> None:
        """Change the declared connection."""
        self.connection = self.connection.model_copy(update=changes)

    def configure(self, actor: str, **changes: Any) -> None:
        """Change the declared configuration of the source or the destination."""
        declared = getattr(self.connection, actor)
        configuration = {**declared.configuration, **changes}
        self.declare(**{actor: declared.model_copy(update={"configuration": configuration})})

    def declare_stream(self, **changes: Any) -> None:
        """Change the declared stream."""
        (stream,) = self.connection.streams
        self.declare(streams=(stream.model_copy(update=changes),))
