"""deploy/chart: what Helm makes of it. No cluster runs here, so nothing is installed."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import dagster as dg
import helm_python as helm  # type: ignore[import-not-found]  # only `tox -e images` has it
import kubernetes_validate  # type: ignore[import-not-found]  # the same
import psycopg
import pytest
import yaml
from chart import CHART, EXAMPLE, TEAMS, Pod, Rendered, changed
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from devstack_fixtures import Database
from support.dagster import ROOT

KUBERNETES = ["1.27", "1.37"]
"""The oldest that Chart.yaml accepts, and the newest whose schemas are known."""
OF_KEDA = {"ScaledObject", "TriggerAuthentication"}
HOST_SECRETS = {"dagster-host", "broker"}
TEAM_SECRETS = {
    "ingestion": {"ingestion", "broker"},
    "analytics_core": {"analytics-core", "broker"},
}
GRPC, HTTP = 4000, 3000


@pytest.fixture(scope="module")
def example() -> Rendered:
    return Rendered(EXAMPLE)


def of_team(rendered: Rendered, location: str) -> dict[str, Pod]:
    """Return the two pods of a team."""
    pods = {name: pod for name, pod in rendered.pods.items() if pod.location == location}
    assert {"server", "worker"} == {pod.container["name"] for pod in pods.values()}
    return {pod.container["name"]: pod for pod in pods.values()}


class TestValues:
    def test_lint_finds_nothing_in_the_chart_with_the_example(self) -> None:
        report = helm.lint(CHART, EXAMPLE, strict=True)

        assert [] == report["errors"]
        assert [] == [it for it in report["messages"] if it["severity"] > 1]

    @pytest.mark.parametrize(
        ("path", "value", "named"),
        [
            ("image", "", "/image"),
            ("image", "freshline/host", "/image"),
            ("image", "freshline/host:latest", "/image"),
            ("image", "registry.example:5000/host", "/image"),
            ("postgres.host", "", "/postgres/host"),
            ("postgres.password", {"secret": "x", "key": "a b"}, "/postgres/password/key"),
            ("teams.ingestion.postgres.password", {"secret": "x"}, "/ingestion/postgres/password"),
            ("broker.port", "6379", "/broker/port"),
            ("broker.pasword", {}, "pasword"),
            ("dagster.run_launcher", {}, "/dagster/run_launcher"),
            ("teams", {}, "/teams"),
            ("teams.analytics-core", {}, "analytics-core"),
            ("teams.host", EXAMPLE["teams"]["ingestion"], "host"),
            ("teams.ingestion.image", None, "/teams/ingestion"),
            ("teams.ingestion.worker", {}, "worker"),
            ("teams.ingestion.env", {"TOKEN": 1}, "/teams/ingestion/env/TOKEN"),
            ("teams.ingestion.secretEnv", {"TOKEN": "x"}, "/teams/ingestion/secretEnv/TOKEN"),
            ("teams.ingestion.workers.places", 0, "/teams/ingestion/workers/places"),
            ("teams.ingestion.workers.autoscale.max", 0, "/workers/autoscale/max"),
        ],
    )
    def test_a_wrong_value_is_refused_by_name(self, path: str, value: object, named: str) -> None:
        values = changed(path, value)

        with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmValuesError) as refused:
            chart.validate_schema(values)

        assert named in str(refused.value)

    def test_what_a_schema_cannot_say_is_refused_by_name_too(self) -> None:
        values = changed("teams.ingestion.workers.autoscale", {"min": 5, "max": 4})
        with pytest.raises(helm.HelmError, match=r"teams\.ingestion\.workers\.autoscale: min"):
            Rendered(values)

        with pytest.raises(helm.HelmError, match="give the release a shorter name"):
            Rendered(EXAMPLE, release="r" * 53)

    def test_the_defaults_lack_what_only_the_user_knows(self) -> None:
        with helm.Chart.load(CHART) as chart, pytest.raises(helm.HelmValuesError) as refused:
            chart.validate_schema({})

        for name in ("/image", "/postgres/host", "/broker/host", "/teams"):
            assert name in str(refused.value)


class TestObjects:
    @pytest.mark.parametrize("version", KUBERNETES)
    def test_kubernetes_knows_every_field(self, example: Rendered, version: str) -> None:
        unknown = set()
        for it in example.objects:
            try:
                kubernetes_validate.validate(it, version, strict=True)
            except kubernetes_validate.SchemaNotFoundError:
                unknown.add(it["kind"])

        assert OF_KEDA == unknown

    def test_pods_run_as_nobody_special_on_a_root_that_they_cannot_write(
        self, example: Rendered
    ) -> None:
        for name, pod in example.pods.items():
            user = pod.spec["securityContext"]
            container = pod.container["securityContext"]
            assert user["runAsNonRoot"], name
            assert 1000 == user["runAsUser"] == user["runAsGroup"], name
            assert {"type": "RuntimeDefault"} == user["seccompProfile"], name
            assert container["readOnlyRootFilesystem"], name
            assert not container["allowPrivilegeEscalation"], name
            assert {"drop": ["ALL"]} == container["capabilities"], name
            assert not pod.spec["automountServiceAccountToken"], name
            assert not pod.spec["enableServiceLinks"], name

    def test_pods_can_write_where_their_images_say(self, example: Rendered) -> None:
        for pod in example.pods.values():
            kind = "team" if pod.location else "host"
            file = ROOT / "deploy" / "images" / f"{kind}.Containerfile"
            written = {
                line.split()[1]
                for line in file.read_text(encoding="utf-8").splitlines()
                if line.startswith("#   /")
            }
            mounts = {it["mountPath"] for it in pod.container["volumeMounts"]}
            volumes = {it["name"] for it in pod.spec["volumes"]}

            assert written | {"/etc/freshline"} == mounts
            assert {it["name"] for it in pod.container["volumeMounts"]} == volumes

    def test_a_pod_has_the_secrets_of_its_own_team_alone(self, example: Rendered) -> None:
        for name, pod in example.pods.items():
            expected = TEAM_SECRETS[pod.location] if pod.location else HOST_SECRETS
            assert expected == pod.secrets, name
            assert not any("secret" in volume for volume in pod.spec["volumes"]), name

    def test_no_password_is_in_clear(self, example: Rendered) -> None:
        for pod in example.pods.values():
            clear = [name for name, it in pod.environment.items() if "value" in it]
            assert not [name for name in clear if "PASSWORD" in name or "SECRET" in name]
        assert not example.kind("ServiceAccount")
        assert not [it for it in example.objects if it["kind"] == "Secret"]

    def test_the_address_of_the_broker_is_made_of_its_secret(self, example: Rendered) -> None:
        for pod in example.pods.values():
            names = list(pod.environment)
            url = pod.environment["FRESHLINE_BROKER_URL"]["value"]

            assert "redis://:$(FRESHLINE_BROKER_PASSWORD)@valkey.data:6379/0" == url
            # Kubernetes puts in only what stands before.
            before = names.index("FRESHLINE_BROKER_PASSWORD") < names.index("FRESHLINE_BROKER_URL")
            assert before

    def test_the_settings_are_those_of_the_checkout_but_for_what_is_replaced(
        self, example: Rendered
    ) -> None:
        settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))

        assert {**settings, **EXAMPLE["dagster"]} == example.file("acme-instance", "dagster.yaml")

    def test_the_workspace_names_the_server_of_each_team(self, example: Rendered) -> None:
        workspace = example.file("acme-workspace", "workspace.yaml")["load_from"]
        services = example.kind("Service")

        assert sorted(TEAMS) == [it["grpc_server"]["location_name"] for it in workspace]
        for entry in (it["grpc_server"] for it in workspace):
            service = services[entry["host"]]["spec"]
            assert entry["port"] == service["ports"][0]["port"]
            selector = service["selector"].items()
            found = [pod for pod in example.pods.values() if selector <= pod.labels.items()]
            assert [of_team(example, entry["location_name"])["server"]] == found

    @pytest.mark.parametrize("location", TEAMS)
    def test_server_and_workers_of_a_team_are_two_commands_of_one_image(
        self, example: Rendered, location: str
    ) -> None:
        pods = of_team(example, location)
        image = EXAMPLE["teams"][location]["image"]

        for name, pod in pods.items():
            command = [*pod.container["command"], *pod.container["args"]]
            verb = "serve" if name == "server" else "worker"
            assert ["freshline", verb, location] == command[:3]
            assert f"{location}.definitions" == command[command.index("-m") + 1]
            assert image == pod.container["image"]
            assert image == pod.environment["DAGSTER_CURRENT_IMAGE"]["value"]

    def test_the_read_only_webserver_can_be_left_out(self, example: Rendered) -> None:
        assert "--read-only" in example.pods["acme-webserver-read-only"].container["args"]
        assert "--read-only" not in example.pods["acme-webserver"].container["args"]

        without = Rendered(changed("readOnlyWebserver.enabled", False))

        assert set(example.pods) - set(without.pods) == {"acme-webserver-read-only"}


class TestUpdates:
    def test_a_new_pod_is_ready_before_an_old_one_ends(self, example: Rendered) -> None:
        for name, deployment in example.kind("Deployment").items():
            strategy = deployment["spec"]["strategy"]
            if name == "acme-daemon":  # two daemons would launch every run twice
                assert ({"type": "Recreate"}, 1) == (strategy, deployment["spec"]["replicas"])
            else:
                assert 0 == strategy["rollingUpdate"]["maxUnavailable"], name
            assert deployment["spec"]["template"]["spec"]["containers"][0]["startupProbe"], name

    @pytest.mark.parametrize("location", TEAMS)
    def test_a_worker_is_given_longer_to_end_than_its_runs(
        self, example: Rendered, location: str
    ) -> None:
        worker = of_team(example, location)["worker"]
        arguments = worker.container["args"]
        drain = int(arguments[arguments.index("--drain") + 1])

        assert drain < worker.spec["terminationGracePeriodSeconds"]

    @pytest.mark.parametrize("location", TEAMS)
    def test_a_deploy_of_a_team_changes_its_own_objects_alone(
        self, example: Rendered, location: str
    ) -> None:
        after = Rendered(changed(f"teams.{location}.image", "registry.example/next:43"))

        differing = {
            it["metadata"]["labels"].get("freshline/location")
            for name, it in after.by_name().items()
            if it != example.by_name()[name]
        }
        assert {location} == differing

    def test_a_new_team_leaves_the_pods_of_the_others_as_they_are(self, example: Rendered) -> None:
        third = EXAMPLE["teams"]["ingestion"]
        after = Rendered(changed("teams.analytics_marts", third)).pods

        for name, pod in example.pods.items():
            if pod.location:
                assert pod == after[name]

    def test_at_most_one_worker_of_a_team_is_evicted_at_a_time(self, example: Rendered) -> None:
        budgets = example.kind("PodDisruptionBudget")
        for location in TEAMS:
            worker = of_team(example, location)["worker"]
            budget = budgets[worker.name]["spec"]
            assert 1 == budget["maxUnavailable"]
            assert budget["selector"]["matchLabels"].items() <= worker.labels.items()


class TestNetwork:
    def test_the_host_reaches_every_server_and_nobody_else_does(self, example: Rendered) -> None:
        pods = example.pods.values()
        servers = [pod for pod in pods if pod.container["name"] == "server"]
        for server in servers:
            reaching = {pod.name for pod in pods if example.reaches(pod, server, GRPC)}
            assert {"acme-webserver", "acme-webserver-read-only", "acme-daemon"} == reaching

    def test_no_pod_of_a_team_reaches_one_of_another_on_any_port_that_is_named(
        self, example: Rendered
    ) -> None:
        pods = [pod for pod in example.pods.values() if pod.location]
        for port in (53, GRPC, HTTP, 5432, 6379, 8001):
            for source in pods:
                for target in pods:
                    if source.location != target.location:
                        assert not example.reaches(source, target, port), (source.name, port)

    def test_the_webserver_is_reached_by_those_who_are_named_alone(self, example: Rendered) -> None:
        (rule,) = example.kind("NetworkPolicy")["acme-host"]["spec"]["ingress"]
        assert EXAMPLE["network"]["webserver"]["from"] == rule["from"]

        closed = Rendered(changed("network.webserver.from", []))

        spec = closed.kind("NetworkPolicy")["acme-host"]["spec"]
        assert "ingress" not in spec
        assert "Ingress" in spec["policyTypes"]

    def test_a_team_reaches_what_its_values_name(self, example: Rendered) -> None:
        policy = example.kind("NetworkPolicy")["acme-ingestion"]["spec"]
        (declared,) = EXAMPLE["teams"]["ingestion"]["egress"]

        other = example.kind("NetworkPolicy")["acme-analytics-core"]["spec"]
        assert declared in policy["egress"]
        assert declared not in other["egress"]

    def test_the_host_reaches_what_the_values_name(self) -> None:
        rule = {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}
        rendered = Rendered(changed("network.host.egress", [rule]))

        assert rule in rendered.kind("NetworkPolicy")["acme-host"]["spec"]["egress"]

    def test_policies_can_be_left_out(self) -> None:
        assert {} == Rendered(changed("network.enabled", False)).kind("NetworkPolicy")


class TestScaling:
    def test_keda_counts_the_runs_of_the_location_that_are_not_over(
        self, example: Rendered, database: Database, tmp_path: Path
    ) -> None:
        (scaled,) = example.kind("ScaledObject").values()
        (trigger,) = scaled["spec"]["triggers"]
        write_instance(tmp_path, database)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            for location in ("analytics_core", "analyticsXcore", "ingestion"):
                for status in dg.DagsterRunStatus:
                    instance.add_run(run_of(location, status))

        with psycopg.connect(database.dsn) as connection:
            counted = connection.execute(trigger["metadata"]["query"]).fetchone()

        assert (4,) == counted
        assert (
            str(EXAMPLE["teams"]["analytics_core"]["workers"]["places"])
            == (trigger["metadata"]["targetQueryValue"])
        )

    def test_the_scaler_sets_the_number_of_workers_and_the_deployment_does_not(
        self, example: Rendered
    ) -> None:
        (scaled,) = example.kind("ScaledObject").values()
        deployments = example.kind("Deployment")

        assert "replicas" not in deployments[scaled["spec"]["scaleTargetRef"]["name"]]["spec"]
        assert 1 == deployments["acme-ingestion-worker"]["spec"]["replicas"]
        assert (1, 6) == (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"])

    def test_the_scaler_has_its_password_by_reference(self, example: Rendered) -> None:
        (access,) = example.kind("TriggerAuthentication").values()
        (reference,) = access["spec"]["secretTargetRef"]
        names = {
            it["authenticationRef"]["name"]
            for scaled in example.kind("ScaledObject").values()
            for it in scaled["spec"]["triggers"]
        }

        assert EXAMPLE["postgres"]["password"] == {
            "secret": reference["name"],
            "key": reference["key"],
        }
        assert {access["metadata"]["name"]} == names

    def test_nothing_of_keda_is_rendered_unless_a_team_asks_for_it(self) -> None:
        rendered = Rendered(changed("teams.analytics_core.workers", {}))

        assert set() == OF_KEDA & {it["kind"] for it in rendered.objects}
        assert "autoscale" not in json.dumps(rendered.objects)


def run_of(location: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """Return a run of an asset of `location`."""
    server = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=GRPC, location_name=location)
    job = RemoteRepositoryOrigin(server, "__repository__").get_job_origin("__ASSET_JOB")
    return dg.DagsterRun("__ASSET_JOB", str(uuid.uuid4()), status=status, remote_job_origin=job)


def write_instance(home: Path, database: Database) -> None:
    """Write a dagster.yaml that keeps everything in `database`."""
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    settings["storage"]["postgres"]["postgres_db"] |= {
        "hostname": database.host,
        "port": database.port,
        "username": database.user,
        "password": database.password,
        "db_name": database.name,
    }
    kept = ("storage", "telemetry")
    text = yaml.safe_dump({key: settings[key] for key in kept})
    (home / "dagster.yaml").write_text(text, encoding="utf-8")
