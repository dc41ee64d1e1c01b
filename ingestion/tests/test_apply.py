"""Check, apply and destroy, against a faulty Airbyte and the embedded one alike."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from ingestion.apply import apply, connection_id_of, destroy
from ingestion.client import AirbyteApi, AirbyteError
from ingestion.connections import fetch_stargazer
from ingestion.declaration import Connection, DeclarationError
from ingestion.plan import Plan, PlanError, make_plan
from ingestion.settings import SettingsError


class Workspace:
    """One connection declared, an Airbyte, and what is remembered between applies."""

    def __init__(self, api: AirbyteApi, env: dict[str, str], digests: Any) -> None:
        self.api = api
        self.env = env
        self.digests = digests
        self.connection = fetch_stargazer

    def plan(self) -> Plan:
        return make_plan(self.api, [self.connection], self.env, self.digests)

    def apply(self) -> list[str]:
        """The kinds of objects that were changed."""
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
        """What the plan would change, by place: operation, old, new."""
        return {
            f"{one.kind}.{'.'.join(change.path)}": (change.operation, change.old, change.new)
            for one in self.plan().objects
            for change in one.changes
        }

    def one(self, kind: str) -> dict[str, Any]:
        (entry,) = self.api.every(kind)
        return entry

    def edit(self, kind: str, **fields: Any) -> None:
        """Change something by hand, as in Airbyte's UI."""
        self.api.update(kind, self.one(kind)[f"{kind}Id"], fields)

    def declare(self, **changes: Any) -> None:
        self.connection = self.connection.model_copy(update=changes)

    def configure(self, actor: str, **changes: Any) -> None:
        declared = getattr(self.connection, actor)
        configuration = {**declared.configuration, **changes}
        self.declare(**{actor: declared.model_copy(update={"configuration": configuration})})

    def declare_stream(self, **changes: Any) -> None:
        (stream,) = self.connection.streams
        self.declare(streams=(stream.model_copy(update=changes),))


@pytest.fixture
def workspace(airbyte, env, digests) -> Workspace:
    return Workspace(airbyte, env, digests)


@pytest.fixture
def applied(workspace) -> Workspace:
    workspace.apply()
    return workspace


@pytest.fixture
def faulty(api, env, digests) -> Workspace:
    """A workspace on the faulty Airbyte alone."""
    return Workspace(api, env, digests)


class TestApply:
    def test_makes_everything_and_then_nothing(self, workspace):
        assert not workspace.plan().empty
        assert ["source", "destination", "connection"] == workspace.apply()
        assert {} == workspace.changes()
        assert workspace.plan().empty
        assert [] == workspace.apply()

    def test_tells_airbyte_all_that_is_declared(self, applied):
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

    def test_checking_changes_nothing(self, workspace, transport):
        transport.exchanges.clear()
        workspace.plan()

        assert {"GET", "POST /applications/token 200"} >= {
            one if one.startswith("POST") else one.split()[0] for one in transport.exchanges
        }


# By hand in Airbyte, what the plan then says, and whether it was in a configuration.
DRIFT = [
    ("connection", {"prefix": "gh_"}, {"connection.prefix": ("~", "gh_", "")}),
    ("connection", {"status": "inactive"}, {"connection.status": ("~", "inactive", "active")}),
    (
        "connection",
        {"schedule": {"scheduleType": "cron", "cronExpression": "0 0 * * * ? UTC"}},
        {"connection.schedule": ("~", "cron", "manual")},
    ),
    (
        "connection",
        {"namespaceDefinition": "destination"},
        {"connection.namespace": ("~", "<the destination's>", "postgres")},
    ),
    (
        "connection",
        {
            "configurations": {
                "streams": [{"name": "stargazers", "syncMode": "full_refresh_append"}]
            }
        },
        {
            "connection.streams.stargazers.sync_mode": (
                "~",
                "full_refresh_append",
                "incremental_deduped_history",
            )
        },
    ),
    (
        "source",
        {"configuration": {"repositories": ["acme/other"]}},
        {"source.configuration.repositories": ("~", ["acme/other"], ["acme/rocket"])},
    ),
    (
        "source",
        {"configuration": {"num_workers": 7}},
        {"source.configuration.num_workers": ("-", 7, None)},
    ),
    (
        "destination",
        {"configuration": {"port": 6543}},
        {"destination.configuration.port": ("~", 6543, 5432)},
    ),
]


class TestDrift:
    @pytest.mark.parametrize(("kind", "by_hand", "expected"), DRIFT)
    def test_is_shown_and_put_right(self, applied, kind, by_hand, expected):
        ids = [applied.one(one)[f"{one}Id"] for one in ("source", "destination", "connection")]
        applied.edit(kind, **by_hand)

        assert expected.items() <= applied.changes().items()
        assert {kind} == {place.split(".")[0] for place in applied.changes()}
        assert [kind] == applied.apply()
        assert {} == applied.changes()
        assert ids == [
            applied.one(one)[f"{one}Id"] for one in ("source", "destination", "connection")
        ]

    def test_a_stream_added_by_hand_is_taken_out(self, faulty, fake):
        faulty.apply()
        fake.only("connection")["configurations"]["streams"].append(
            {"name": "issues", "syncMode": "full_refresh_append"}
        )

        assert {"connection.streams.issues": ("-", "full_refresh_append", None)} == faulty.changes()
        faulty.apply()
        assert {} == faulty.changes()

    def test_a_stream_that_the_source_newly_offers_is_not_drift(self, faulty, fake):
        faulty.apply()
        fake.only("connection")["configurations"]["streams"].append(
            {"name": "issues", "syncMode": "full_refresh_append", "selected": False}
        )

        assert {} == faulty.changes()

    @pytest.mark.parametrize("value", [None, "", [], {}])
    def test_an_empty_value_is_not_drift(self, faulty, fake, value):
        faulty.apply()
        fake.only("destination")["configuration"]["jdbc_url_params"] = value

        # The description forbids nulls in answers; some servers send them all the same.
        with AirbyteApi(fake.settings()) as faulty.api:
            assert {} == faulty.changes()

    def test_a_default_that_the_server_fills_in_is_not_drift(self, faulty, fake):
        faulty.apply()
        fake.only("destination")["configuration"]["tunnel_method"] = {"tunnel_method": "NO_TUNNEL"}

        assert {} == faulty.changes()

    def test_other_peoples_objects_are_left_alone(self, applied):
        body = {"name": "theirs", "workspaceId": applied.api.workspace_id}
        configuration = {**applied.one("source")["configuration"], "sourceType": "github"}
        configuration["credentials"]["personal_access_token"] = "another-secret"
        applied.api.create("source", {**body, "configuration": configuration})

        assert {} == applied.changes()


class TestUpdate:
    def test_keeps_ids_and_so_the_sync_state(self, applied):
        before = {kind: applied.one(kind)[f"{kind}Id"] for kind in ("source", "connection")}
        applied.env["GITHUB_REPOSITORY"] = "acme/moonshot"
        applied.declare(prefix="gh_")
        applied.declare_stream(sync_mode="incremental_append")

        assert ["source", "connection"] == applied.apply()
        assert {} == applied.changes()
        assert before == {kind: applied.one(kind)[f"{kind}Id"] for kind in before}

    def test_removes_what_is_no_longer_declared(self, workspace):
        workspace.configure("source", num_workers=9)
        workspace.apply()
        workspace.connection = fetch_stargazer

        assert {"source.configuration.num_workers": ("-", 9, None)} == workspace.changes()
        workspace.apply()
        assert {} == workspace.changes()
        assert workspace.one("source")["configuration"].get("num_workers") in (None, 4)

    def test_another_source_for_a_connection_is_refused(self, applied):
        source = applied.connection.source.model_copy(update={"name": "github-2"})
        applied.declare(source=source)

        with pytest.raises(PlanError, match="keeps its source and destination for life"):
            applied.plan()

    def test_another_type_of_source_is_refused(self, applied):
        source = applied.connection.source.model_copy(update={"type": "gitlab"})
        applied.declare(source=source)

        with pytest.raises(PlanError, match="a type cannot be changed"):
            applied.plan()


class TestNames:
    def test_two_sources_of_one_name_are_reported(self, applied):
        configuration = {**applied.one("source")["configuration"], "sourceType": "github"}
        configuration["credentials"]["personal_access_token"] = "another-secret"
        body = {
            "name": "github",
            "workspaceId": applied.api.workspace_id,
            "configuration": configuration,
        }
        applied.api.create("source", body)

        with pytest.raises(PlanError, match="2 sources named 'github'"):
            applied.plan()
        with pytest.raises(PlanError, match="2 sources named 'github'"):
            applied.apply()

    def test_two_connections_share_their_destination(self, workspace):
        second = fetch_stargazer.model_copy(
            update={
                "name": "fetch_other",
                "source": fetch_stargazer.source.model_copy(update={"name": "github-other"}),
                "prefix": "other_",
            }
        )
        both = [fetch_stargazer, second]
        apply(workspace.api, both, workspace.env, workspace.digests)

        assert 2 == len(list(workspace.api.every("source")))
        assert 1 == len(list(workspace.api.every("destination")))
        assert make_plan(workspace.api, both, workspace.env, workspace.digests).empty


class TestSecrets:
    def test_a_rotated_one_is_noticed_and_set(self, applied):
        applied.env["GITHUB_TOKEN"] = "github-secret-2"

        (place,) = applied.changes()
        assert "source.configuration.credentials.personal_access_token" == place
        assert ["source"] == applied.apply()
        assert {} == applied.changes()

    def test_an_unknown_one_is_set_once(self, applied):
        applied.digests.known.clear()

        assert {
            "source.configuration.credentials.personal_access_token": ("~", "unknown", "set"),
            "destination.configuration.password": ("~", "unknown", "set"),
        } == applied.changes()
        assert ["source", "destination"] == applied.apply()
        assert {} == applied.changes()

    def test_what_is_kept_of_them_gives_nothing_away(self, applied):
        kept = str(applied.digests.known)

        assert "github-secret-1" not in kept
        assert "warehouse-secret-1" not in kept

    def test_they_arrive(self, faulty, fake):
        faulty.apply()

        stored = fake.only("source")["configuration"]["credentials"]
        assert "github-secret-1" == stored["personal_access_token"]

    def test_spelled_out_they_are_refused(self, workspace):
        workspace.configure("source", credentials={"personal_access_token": "in-the-clear"})

        with pytest.raises(DeclarationError, match=r"is a secret: write Secret") as caught:
            workspace.plan()
        assert "in-the-clear" not in str(caught.value)

    def test_a_missing_one_is_named(self, workspace):
        del workspace.env["GITHUB_TOKEN"]

        with pytest.raises(SettingsError, match="GITHUB_TOKEN is not set"):
            workspace.plan()


class TestConfiguration:
    @pytest.mark.parametrize(
        ("actor", "changes", "message"),
        [
            ("source", {"repositories": []}, "repositories breaks the connector's rule: minItems"),
            ("source", {"repositories": ["no-owner"]}, "repositories.0 breaks .* pattern"),
            ("source", {"num_workers": "many"}, "num_workers breaks .* type integer"),
            ("destination", {"port": "5432"}, "port breaks .* type integer"),
        ],
    )
    def test_is_held_to_the_connectors_own_specification(
        self, workspace, transport, actor, changes, message
    ):
        workspace.configure(actor, **changes)
        transport.exchanges.clear()

        with pytest.raises(DeclarationError, match=message):
            workspace.apply()
        assert [] == [one for one in transport.exchanges if not one.startswith("GET")]

    def test_an_unknown_connector_is_left_to_airbyte(self, faulty):
        changed = faulty.connection.destination.model_copy(update={"type": "unheard-of"})
        faulty.declare(destination=changed)

        assert [
            "no specification of destination-unheard-of is committed: Airbyte alone will check it"
        ] == [note for one in faulty.plan().objects for note in one.notes]


class TestInterruption:
    """An apply is cut short at every write, before and after it counted, then run again."""

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kind", ["source", "destination", "connection"])
    @pytest.mark.parametrize("how", [{"drop": True}, {"status": 500}, {"status": 504}])
    def test_of_a_creation(self, faulty, fake, kind, after, how):
        fake.fail("POST", f"/{kind}s", after=after, **how)
        if after:  # it was made although the answer was lost: found by its name
            faulty.apply()
        else:
            with pytest.raises(AirbyteError):
                faulty.apply()
        faulty.apply()

        assert {} == faulty.changes()
        assert [1, 1, 1] == [len(objects) for objects in fake.objects.values()]

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("kind", ["source", "connection"])
    def test_of_an_update(self, faulty, fake, kind, after):
        faulty.apply()
        faulty.env["GITHUB_TOKEN"] = "github-secret-2"
        faulty.declare(prefix="gh_")
        fake.fail("PATCH", f"/{kind}s/.*", after=after, drop=True)

        with pytest.raises(AirbyteError, match="run the command again to continue"):
            faulty.apply()
        faulty.apply()
        assert {} == faulty.changes()
        stored = fake.only("source")["configuration"]["credentials"]
        assert "github-secret-2" == stored["personal_access_token"]

    def test_before_the_digests_are_kept(self, faulty, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(faulty.digests, "write", _broken)
            with pytest.raises(RuntimeError):
                faulty.apply()
        faulty.apply()

        assert {} == faulty.changes()


class TestTwoAtOnce:
    @pytest.mark.parametrize("kind", ["source", "destination", "connection"])
    def test_a_lost_race_takes_back_what_it_made(self, faulty, fake, kind):
        """Somebody else creates the same, between the look and the creation."""

        def somebody_else() -> None:
            fake.add(kind, **_lookalike(fake, faulty.connection, kind, fake.bodies[-1][1]))

        fake.fail("POST", f"/{kind}s", after=True, status=200, seconds=0.01, also=somebody_else)
        faulty.apply()
        faulty.apply()

        assert [1, 1, 1] == [len(objects) for objects in fake.objects.values()]
        assert {} == faulty.changes()

    @pytest.mark.parametrize("_attempt", range(5))
    def test_both_come_to_the_same_end(self, fake, env, digests, _attempt):
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
        # Whoever lost was told what happened, in words that say how to go on.
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
        gone: list[tuple[str, str, bool]] = []
        destroy(applied.api, [applied.connection], applied.digests, lambda *one: gone.append(one))

        assert [
            ("connection", "fetch_stargazer", True),
            ("source", "github", True),
            ("destination", "warehouse", True),
        ] == gone
        assert connection_id_of(applied.api, applied.connection) is None
        assert {} == applied.digests.known

    def test_keeps_what_another_connection_uses(self, faulty, fake):
        faulty.apply()
        theirs = {**fake.only("connection"), "name": "theirs", "sourceId": fake.workspace_id}
        del theirs["connectionId"], theirs["workspaceId"]
        fake.add("connection", **theirs)
        gone: list[tuple[str, str, bool]] = []
        destroy(faulty.api, [faulty.connection], faulty.digests, lambda *one: gone.append(one))

        assert ("destination", "warehouse", False) in gone
        assert 1 == len(fake.objects["destination"])

    def test_can_be_run_again(self, applied):
        for _ in range(2):
            destroy(applied.api, [applied.connection], applied.digests, lambda *_: None)

        assert [] == list(applied.api.every("source"))


def _broken(*_: object) -> None:
    raise RuntimeError("the warehouse went away")


def _lookalike(
    fake: Any, connection: Connection, kind: str, sent: Mapping[str, Any]
) -> dict[str, Any]:
    """What somebody else's apply would have made of the same declaration."""
    made = {name: value for name, value in sent.items() if name != "workspaceId"}
    if kind == "connection":
        return made
    configuration = dict(sent["configuration"])
    type_ = configuration.pop(f"{kind}Type")
    return {**made, f"{kind}Type": type_, "configuration": configuration}
