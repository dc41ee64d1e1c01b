"""What apply and destroy do, also when they are interrupted."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from ingestion.airbyte.apply import apply, connection_id_of, destroy
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.declaration import Connection
from ingestion.airbyte.plan import make_plan
from ingestion.connections import fetch_stargazer
from ingestion.errors import AirbyteError, PlanError


class TestApply:
    def test_makes_everything_once(self, workspace):
        assert not workspace.plan().empty
        assert ["source", "destination", "connection"] == workspace.apply()
        assert {} == workspace.changes()
        assert workspace.plan().empty
        assert [] == workspace.apply()

    def test_sends_all_that_is_declared(self, applied):
        source, connection = applied.one("source"), applied.one("connection")

        assert "github" == source["sourceType"]
        assert ["acme/rocket"] == source["configuration"]["repositories"]
        assert "http://127.0.0.1:9" == source["configuration"]["api_url"]
        assert {"scheduleType": "manual"} == connection["schedule"]
        assert "postgres" == connection["namespaceFormat"]
        (stream,) = connection["configurations"]["streams"]
        assert "incremental_deduped_history" == stream["syncMode"]
        assert ["starred_at"] == stream["cursorField"]
        assert [["user_id"]] == stream["primaryKey"]

    def test_plan_only_reads(self, workspace, transport):
        transport.exchanges.clear()
        workspace.plan()

        assert {"GET", "POST /applications/token 200"} >= {
            one if one.startswith("POST") else one.split()[0] for one in transport.exchanges
        }


class TestInterruption:
    """An apply fails at a write, before or after Airbyte carried it out, and is run again."""

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kind", ["source", "destination", "connection"])
    @pytest.mark.parametrize("how", [{"drop": True}, {"status": 500}, {"status": 504}])
    def test_a_creation_is_finished_by_the_next_apply(self, fake_workspace, fake, kind, after, how):
        fake.fail("POST", f"/{kind}s", after=after, **how)
        if after:  # it was created although the answer was lost, and is found by its name
            fake_workspace.apply()
        else:
            with pytest.raises(AirbyteError):
                fake_workspace.apply()
        fake_workspace.apply()

        assert {} == fake_workspace.changes()
        assert [1, 1, 1] == [len(objects) for objects in fake.objects.values()]

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kind", ["source", "connection"])
    def test_an_update_is_finished_by_the_next_apply(self, fake_workspace, fake, kind, after):
        fake_workspace.apply()
        fake_workspace.env["GITHUB_TOKEN"] = "github-secret-2"
        fake_workspace.declare(prefix="gh_")
        fake.fail("PATCH", f"/{kind}s/.*", after=after, drop=True)

        with pytest.raises(AirbyteError, match="run the command again to continue"):
            fake_workspace.apply()
        fake_workspace.apply()
        assert {} == fake_workspace.changes()
        stored = fake.only("source")["configuration"]["credentials"]
        assert "github-secret-2" == stored["personal_access_token"]

    def test_secrets_are_set_again_when_their_digests_were_not_written(
        self, workspace, monkeypatch
    ):
        with monkeypatch.context() as patched:
            patched.setattr(workspace.digests, "write", _broken)
            with pytest.raises(RuntimeError):
                workspace.apply()
        workspace.apply()

        assert {} == workspace.changes()


class TestTwoAtOnce:
    @pytest.mark.parametrize("kind", ["source", "destination", "connection"])
    def test_deletes_its_own_object_when_somebody_created_the_same(
        self, fake_workspace, fake, kind
    ):
        """Somebody else creates the same after we saw that there is none."""

        def somebody_else() -> None:
            fake.add(kind, **_lookalike(fake, fake_workspace.connection, kind, fake.bodies[-1][1]))

        fake.fail("POST", f"/{kind}s", after=True, status=200, seconds=0.01, also=somebody_else)
        fake_workspace.apply()
        fake_workspace.apply()

        assert [1, 1, 1] == [len(objects) for objects in fake.objects.values()]
        assert {} == fake_workspace.changes()

    @pytest.mark.parametrize("_attempt", range(5))
    def test_two_applies_end_as_declared(self, fake, env, digests, _attempt):
        errors: list[str] = []
        barrier = threading.Barrier(2)

        def person() -> None:
            with AirbyteApi(fake.settings(), sleep=lambda _: None) as api:
                barrier.wait()
                try:
                    apply(api, [fetch_stargazer], env, digests)
                except (AirbyteError, PlanError) as error:
                    errors.append(str(error))

        people = [threading.Thread(target=person) for _ in range(2)]
        for one in people:
            one.start()
        for one in people:
            one.join()
        with AirbyteApi(fake.settings(), sleep=lambda _: None) as api:
            apply(api, [fetch_stargazer], env, digests)
            plan = make_plan(api, [fetch_stargazer], env, digests)

        assert plan.empty
        assert [1, 1, 1] == [len(objects) for objects in fake.objects.values()]
        # Each error says what happened, or what to do.
        known = (
            "2 sources named",
            "2 destinations named",
            "2 connections named",
            "run the command again",
            "run this again",
            "does not exist",
        )
        assert [] == [one for one in errors if not any(words in one for words in known)]


class TestDestroy:
    def test_leaves_nothing(self, applied):
        reported: list[tuple[str, str, bool]] = []
        destroy(
            applied.api, [applied.connection], applied.digests, lambda *one: reported.append(one)
        )

        assert [
            ("connection", "fetch_stargazer", True),
            ("source", "github", True),
            ("destination", "warehouse", True),
        ] == reported
        assert connection_id_of(applied.api, applied.connection) is None
        assert {} == applied.digests.known

    def test_keeps_what_another_connection_uses(self, applied):
        source = applied.connection.source.model_copy(update={"name": "theirs"})
        update = {"name": "theirs", "prefix": "theirs_", "source": source}
        theirs = applied.connection.model_copy(update=update)
        apply(applied.api, [theirs], applied.env, applied.digests)
        reported: list[tuple[str, str, bool]] = []
        destroy(
            applied.api, [applied.connection], applied.digests, lambda *one: reported.append(one)
        )

        assert ("destination", "warehouse", False) in reported
        assert ["warehouse"] == [one["name"] for one in applied.api.every("destination")]
        assert ["theirs"] == [one["name"] for one in applied.api.every("source")]

    def test_can_be_run_again(self, applied):
        for _ in range(2):
            destroy(applied.api, [applied.connection], applied.digests, lambda *_: None)

        assert [] == list(applied.api.every("source"))


def _broken(*_: object) -> None:
    raise RuntimeError("the warehouse went away")


def _lookalike(
    fake: Any, connection: Connection, kind: str, sent: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what another apply of the same declaration would have created."""
    made = {name: value for name, value in sent.items() if name != "workspaceId"}
    if kind == "connection":
        return made
    configuration = dict(sent["configuration"])
    type_ = configuration.pop(f"{kind}Type")
    return {**made, f"{kind}Type": type_, "configuration": configuration}
