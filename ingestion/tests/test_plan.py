"""What a plan shows, what apply then changes, and what both refuse."""

from __future__ import annotations

import pytest
from ingestion.airbyte.apply import apply
from ingestion.airbyte.client import AirbyteApi
from ingestion.airbyte.declaration import Basic, Connection, Cron, Secret, Source, Stream
from ingestion.airbyte.plan import make_plan
from ingestion.connections import fetch_stargazer
from ingestion.errors import DeclarationError, PlanError, SettingsError

# The object that is changed by hand in Airbyte, the change, and what the plan then shows.
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


def notes(workspace, kind: str = "connection") -> list[str]:
    return [note for one in workspace.plan().objects if one.kind == kind for note in one.notes]


class TestDrift:
    @pytest.mark.parametrize(("kind", "by_hand", "expected"), DRIFT)
    def test_a_change_by_hand_is_shown_and_undone(self, applied, kind, by_hand, expected):
        ids = [applied.one(one)[f"{one}Id"] for one in ("source", "destination", "connection")]
        applied.edit(kind, **by_hand)

        assert expected.items() <= applied.changes().items()
        assert {kind} == {place.split(".")[0] for place in applied.changes()}
        assert [kind] == applied.apply()
        assert {} == applied.changes()
        assert ids == [
            applied.one(one)[f"{one}Id"] for one in ("source", "destination", "connection")
        ]

    def test_a_stream_added_by_hand_is_removed(self, fake_workspace, fake):
        fake_workspace.apply()
        fake.only("connection")["configurations"]["streams"].append(
            {"name": "issues", "syncMode": "full_refresh_append"}
        )

        assert {
            "connection.streams.issues": ("-", "full_refresh_append", None)
        } == fake_workspace.changes()
        fake_workspace.apply()
        assert {} == fake_workspace.changes()

    def test_a_stream_that_the_source_newly_offers_is_not_drift(self, fake_workspace, fake):
        fake_workspace.apply()
        fake.only("connection")["configurations"]["streams"].append(
            {"name": "issues", "syncMode": "full_refresh_append", "selected": False}
        )

        assert {} == fake_workspace.changes()

    @pytest.mark.parametrize("value", [None, "", [], {}])
    def test_an_empty_value_is_not_drift(self, fake_workspace, fake, value):
        fake_workspace.apply()
        fake.only("destination")["configuration"]["jdbc_url_params"] = value

        # This client checks no answers: the description forbids nulls, but some servers send them.
        with AirbyteApi(fake.settings()) as fake_workspace.api:
            assert {} == fake_workspace.changes()

    def test_a_default_that_the_server_fills_in_is_not_drift(self, fake_workspace, fake):
        fake_workspace.apply()
        fake.only("destination")["configuration"]["tunnel_method"] = {"tunnel_method": "NO_TUNNEL"}

        assert {} == fake_workspace.changes()

    def test_other_peoples_objects_are_left_alone(self, applied):
        body = {"name": "theirs", "workspaceId": applied.api.workspace_id}
        configuration = {**applied.one("source")["configuration"], "sourceType": "github"}
        configuration["credentials"]["personal_access_token"] = "another-secret"
        applied.api.create("source", {**body, "configuration": configuration})

        assert {} == applied.changes()


class TestUpdate:
    def test_an_update_keeps_ids_and_with_them_the_sync_state(self, applied):
        before = {kind: applied.one(kind)[f"{kind}Id"] for kind in ("source", "connection")}
        applied.env["GITHUB_REPOSITORY"] = "acme/moonshot"
        applied.declare(prefix="gh_")
        applied.declare_stream(sync_mode="incremental_append")

        assert ["source", "connection"] == applied.apply()
        assert {} == applied.changes()
        assert before == {kind: applied.one(kind)[f"{kind}Id"] for kind in before}

    def test_a_field_that_is_no_longer_declared_is_removed(self, workspace):
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

        with pytest.raises(PlanError, match="cannot change its source or destination"):
            applied.plan()

    def test_another_type_of_source_is_refused(self, applied):
        source = applied.connection.source.model_copy(update={"type": "gitlab"})
        applied.declare(source=source)

        with pytest.raises(PlanError, match="a type cannot be changed"):
            applied.plan()


class TestNames:
    def test_two_sources_of_one_name_are_refused(self, applied):
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

    def test_a_connection_renamed_only_in_the_file_is_refused(self, applied):
        id_ = applied.one("connection")["connectionId"]
        applied.declare(name="fetch_stars")

        with pytest.raises(PlanError, match=rf"second one beside 'fetch_stargazer' \({id_}\)"):
            applied.plan()
        with pytest.raises(PlanError, match="rename it in Airbyte, which keeps its state"):
            applied.apply()
        assert id_ == applied.one("connection")["connectionId"]

    def test_a_connection_renamed_on_both_sides_is_the_same(self, applied):
        id_ = applied.one("connection")["connectionId"]
        applied.edit("connection", name="fetch_stars")
        applied.declare(name="fetch_stars")

        assert [] == applied.apply()
        assert id_ == applied.one("connection")["connectionId"]

    @pytest.mark.parametrize(
        "theirs",
        [
            {"prefix": "theirs_"},
            {"namespaceDefinition": "destination"},
            {"configurations": {"streams": [{"name": "tags", "syncMode": "full_refresh_append"}]}},
        ],
    )
    def test_an_undeclared_connection_into_other_tables_is_ignored(self, applied, theirs):
        applied.edit("connection", name="theirs", **theirs)

        assert ["connection"] == applied.apply()
        assert {} == applied.changes()
        assert 2 == len(list(applied.api.every("connection")))

    def test_two_declared_connections_may_share_a_namespace(self, applied):
        """Both are declared, so neither counts as the other one under an old name."""
        other = fetch_stargazer.model_copy(update={"name": "fetch_other"})

        assert not make_plan(
            applied.api, [fetch_stargazer, other], applied.env, applied.digests
        ).empty

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
    def test_a_rotated_secret_is_noticed_and_set(self, applied):
        applied.env["GITHUB_TOKEN"] = "github-secret-2"

        (place,) = applied.changes()
        assert "source.configuration.credentials.personal_access_token" == place
        assert ["source"] == applied.apply()
        assert {} == applied.changes()

    def test_a_secret_without_a_digest_is_set_once(self, applied):
        applied.digests.known.clear()

        assert {
            "source.configuration.credentials.personal_access_token": ("~", "unknown", "set"),
            "destination.configuration.password": ("~", "unknown", "set"),
        } == applied.changes()
        assert ["source", "destination"] == applied.apply()
        assert {} == applied.changes()

    def test_digests_do_not_contain_the_secret(self, applied):
        kept = str(applied.digests.known)

        assert "github-secret-1" not in kept
        assert "warehouse-secret-1" not in kept

    def test_secrets_arrive_in_airbyte(self, fake_workspace, fake):
        fake_workspace.apply()

        stored = fake.only("source")["configuration"]["credentials"]
        assert "github-secret-1" == stored["personal_access_token"]

    def test_a_secret_spelled_out_is_refused(self, workspace):
        workspace.configure("source", credentials={"personal_access_token": "in-the-clear"})

        with pytest.raises(DeclarationError, match=r"is a secret: write Secret") as caught:
            workspace.plan()
        assert "in-the-clear" not in str(caught.value)

    def test_a_missing_secret_is_named(self, workspace):
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
    def test_a_value_that_the_specification_forbids_is_refused(
        self, workspace, transport, actor, changes, message
    ):
        workspace.configure(actor, **changes)
        transport.exchanges.clear()

        with pytest.raises(DeclarationError, match=message):
            workspace.apply()
        assert [] == [one for one in transport.exchanges if not one.startswith("GET")]

    def test_a_connector_without_specification_is_noted(self, workspace):
        changed = workspace.connection.destination.model_copy(update={"type": "unheard-of"})
        workspace.declare(destination=changed)

        assert [
            "no specification of destination-unheard-of is committed: Airbyte alone will check it"
        ] == notes(workspace, "destination")


class TestKeys:
    @pytest.mark.parametrize("of", ["plan", "apply"])
    def test_several_repositories_by_the_environment_are_refused(self, workspace, of):
        workspace.env["GITHUB_REPOSITORY"] = "acme/*"

        with pytest.raises(DeclarationError, match=r"several repositories \(acme/\*\)"):
            getattr(workspace, of)()
        assert [] == list(workspace.api.every("source"))


class TestLosses:
    """What the table of a stream lacks because of its mode: one line a stream, no difference."""

    REMOVED = (
        "stream stargazers (incremental_deduped_history): a row that the source removes stays, and "
        "a row that comes late, below the newest `starred_at`, is missed: full_refresh_overwrite "
        "reads all rows each time, or clear the stream in Airbyte now and then"
    )

    def test_an_incremental_stream_is_noted(self, applied):
        assert [self.REMOVED] == notes(applied)
        assert applied.plan().empty

    @pytest.mark.parametrize(
        "sync_mode", ["full_refresh_overwrite", "full_refresh_overwrite_deduped"]
    )
    def test_a_stream_that_is_read_whole_is_not_noted(self, workspace, sync_mode):
        workspace.declare_stream(sync_mode=sync_mode)
        workspace.apply()

        assert [] == notes(workspace)
        assert {} == workspace.changes()

    @pytest.mark.parametrize(
        ("sync_mode", "words"),
        [
            ("full_refresh_append", "every sync adds all rows again"),
            ("incremental_append", "a row is added again each time that it is read or changes; a "),
        ],
    )
    def test_rows_that_are_there_twice_are_noted(self, workspace, sync_mode, words):
        workspace.declare_stream(sync_mode=sync_mode)

        (note,) = notes(workspace)
        assert note.startswith(f"stream stargazers ({sync_mode}): {words}")

    def test_a_connector_that_reads_the_log_of_a_database_misses_nothing(self, workspace, record):
        record("source-postgres", "orders", {"id": {}, "_ab_cdc_deleted_at": {}})
        workspace.declare(source=Source(name="shop", type="postgres", configuration={}))
        workspace.declare_stream(name="orders", cursor=None, fields=(), nested=())

        assert [] == notes(workspace)

    def test_without_a_known_cursor_only_removed_rows_are_noted(self, workspace, record):
        record("source-shop", "orders", {"id": {}})
        workspace.declare(source=Source(name="shop", type="shop", configuration={}))
        workspace.declare_stream(name="orders", cursor=None, fields=(), nested=())

        (note,) = notes(workspace)
        assert "a row that the source removes stays: full_refresh_overwrite" in note

    @pytest.mark.parametrize(
        ("type_", "stream", "field", "setting", "plural"),
        [
            ("github", "commits", "repository", "repositories", "repositories"),
            ("jira", "issues", "project", "projects", "projects"),
            ("gitlab", "issues", "project_id", "projects_list", "projects_list"),
        ],
    )
    def test_a_key_that_different_projects_may_share_is_noted(
        self, workspace, record, type_, stream, field, setting, plural
    ):
        record(f"source-{type_}", stream, {"id": {}, field: {}})
        workspace.configure("source", **{setting: ["acme/a", "acme/b"]})
        workspace.declare(source=workspace.connection.source.model_copy(update={"type": type_}))
        workspace.declare_stream(
            name=stream, cursor=None, primary_key=("id",), fields=(), nested=()
        )

        (note,) = notes(workspace)
        assert note.endswith(f"; rows of different {plural} that share `id` are one row")

    def test_a_key_that_names_the_project_is_not_noted(self, workspace, record):
        record("source-jira", "issues", {"id": {}, "project": {}})
        workspace.configure("source", projects=["a", "b"])
        workspace.declare(source=workspace.connection.source.model_copy(update={"type": "jira"}))
        workspace.declare_stream(
            name="issues", cursor=None, primary_key=("project", "id"), fields=(), nested=()
        )

        (note,) = notes(workspace)
        assert "are one row" not in note

    def test_streams_that_share_a_raw_table_are_noted(self, workspace, record):
        stem = "arrival_pack_arrivalpacknotification_stacklist"
        streams = []
        for name in (f"{stem}_include", f"{stem}_exclude"):
            record("source-github", name, {"id": {}})
            streams.append(Stream(name=name, sync_mode="full_refresh_overwrite"))
        workspace.declare(streams=tuple(streams))

        assert [
            f"stream {one} (full_refresh_overwrite): a Postgres destination before version 3 mixes "
            f"its rows with fetch_stargazer.{other}'s"
            for one, other in (
                (f"{stem}_include", f"{stem}_exclude"),
                (f"{stem}_exclude", f"{stem}_include"),
            )
        ] == notes(workspace)


class TestExisting:
    """What people made by hand in Airbyte can be declared as it is."""

    @pytest.mark.parametrize(
        ("by_hand", "declared"),
        [
            ({"name": "GitHub → Postgres"}, {"airbyte_name": "GitHub → Postgres"}),
            (
                {"schedule": {"scheduleType": "cron", "cronExpression": "0 0 12 * * ?"}},
                {"schedule": Cron("0  0 12 * * ? UTC")},
            ),
            (
                {"schedule": {"scheduleType": "cron", "cronExpression": "0 0 12 ? * MON UTC"}},
                {"schedule": Cron("0 0 12 ? * MON")},
            ),
            ({"namespaceDefinition": "destination"}, {"namespace_definition": "destination"}),
            ({"namespaceDefinition": "source"}, {"namespace_definition": "source"}),
        ],
    )
    def test_it_is_no_difference_and_apply_makes_it_again(self, applied, by_hand, declared):
        applied.edit("connection", **by_hand)
        applied.connection = Connection(**{**dict(applied.connection), **declared})

        assert {} == applied.changes()
        applied.api.delete("connection", applied.one("connection")["connectionId"])
        assert ["connection"] == applied.apply()
        assert {} == applied.changes()

    def test_a_schedule_that_differs_is_a_difference(self, applied):
        applied.declare(schedule=Cron("0 0 12 * * ?"))

        assert {"connection.schedule": ("~", "manual", "cron 0 0 12 * * ? UTC")} == (
            applied.changes()
        )
        applied.apply()
        assert {} == applied.changes()

    def test_a_schedule_of_the_ui_can_stay_and_cannot_be_set(self, fake_workspace, fake):
        fake_workspace.declare(schedule=Basic("Every 24 HOURS"))
        with pytest.raises(PlanError, match="public API cannot set this kind"):
            fake_workspace.plan()
        fake_workspace.declare(schedule="manual")
        fake_workspace.apply()
        fake_workspace.declare(schedule=Basic("Every 24 HOURS"))
        with pytest.raises(PlanError, match=r"'basic Every 24 HOURS' .* and 'manual' in Airbyte"):
            fake_workspace.plan()
        basic = {"scheduleType": "basic", "basicTiming": "Every 24 HOURS"}
        fake.only("connection")["schedule"] = basic

        assert {} == fake_workspace.changes()
        fake_workspace.declare(prefix="gh_")
        assert ["connection"] == fake_workspace.apply()
        assert basic == fake.only("connection")["schedule"]

    def test_a_namespace_where_nothing_lands_is_refused(self):
        with pytest.raises(ValueError, match="namespace must be 'postgres', where stream"):
            Connection(
                **{**dict(fetch_stargazer), "namespace": "x", "namespace_definition": "destination"}
            )

    def test_the_namespace_of_a_stream_in_the_source_is_kept(self, fake_workspace, fake):
        fake_workspace.declare_stream(namespace="sales")
        fake_workspace.apply()

        assert "sales" == fake.only("connection")["configurations"]["streams"][0]["namespace"]
        assert {} == fake_workspace.changes()
        fake_workspace.declare_stream(namespace="shop")
        assert {"connection.streams.stargazers.namespace": ("~", "sales", "shop")} == (
            fake_workspace.changes()
        )

    def test_an_unrecorded_stream_is_noted(self, fake_workspace):
        fake_workspace.declare_stream(name="issues", fields=(), nested=())

        first, _ = notes(fake_workspace)
        assert "the location does not load before the columns of issues are recorded" in first
        assert "`ingestion record source-github --stream issues`" in first

    def test_an_undeclared_connection_from_another_source_into_the_same_tables_is_refused(
        self, applied
    ):
        applied.edit("connection", name="theirs")
        source = applied.connection.source.model_copy(update={"name": "github-2"})
        applied.declare(source=source, name="ours")

        with pytest.raises(PlanError, match="would write the tables of 'theirs'"):
            applied.plan()


class TestAdoptedSecrets:
    """Airbyte has the secret already; nobody can read it there."""

    @pytest.fixture
    def adopting(self, applied):
        applied.digests.known.clear()
        for actor, path, name in (
            ("source", "credentials", "GITHUB_TOKEN"),
            ("destination", "password", "WAREHOUSE_PASSWORD"),
        ):
            before = getattr(applied.connection, actor).configuration[path]
            secret = Secret(name, adopted=True)
            value = {**before, "personal_access_token": secret} if path != "password" else secret
            applied.configure(actor, **{path: value})
        return applied

    def test_it_is_no_difference_until_its_variable_changes(self, adopting):
        assert {} == adopting.changes()
        assert [
            "credentials.personal_access_token: taken to be what Airbyte has, until the next apply"
        ] == notes(adopting, "source")
        assert [] == adopting.apply()
        assert [] == notes(adopting, "source")
        adopting.env["GITHUB_TOKEN"] = "github-secret-2"

        assert ["source.configuration.credentials.personal_access_token"] == list(
            adopting.changes()
        )
        assert ["source"] == adopting.apply()
        assert {} == adopting.changes()

    def test_it_is_sent_to_an_airbyte_that_does_not_have_it(self, adopting):
        for kind in ("connection", "source", "destination"):
            adopting.api.delete(kind, adopting.one(kind)[f"{kind}Id"])

        assert ["source", "destination", "connection"] == adopting.apply()
        assert {} == adopting.changes()
