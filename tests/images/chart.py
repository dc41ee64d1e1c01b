"""The chart, rendered by Helm's own library, and what can be asked about the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import helm_python as helm  # type: ignore[import-not-found]  # only `tox -e images` has it
import yaml
from support.dagster import ROOT

CHART = ROOT / "deploy" / "chart"
EXAMPLE = yaml.safe_load((CHART / "examples" / "two-teams.yaml").read_text(encoding="utf-8"))
TEAMS = list(EXAMPLE["teams"])

Values = dict[str, Any]
Object = dict[str, Any]


def changed(path: str, value: object) -> Values:
    """Return the example with another value at `path`, as ``teams.ingestion.image``."""
    values: Values = deepcopy(EXAMPLE)
    *folders, name = path.split(".")
    inner = values
    for folder in folders:
        inner = inner.setdefault(folder, {})
    inner[name] = value
    return values


@dataclass(frozen=True)
class Pod:
    """A pod of a rendered Deployment."""

    name: str
    """Of the Deployment."""
    labels: Mapping[str, str]
    spec: Object

    @property
    def location(self) -> str | None:
        """The location of its team; None: it is the host's."""
        return self.labels.get("freshline/location")

    @property
    def container(self) -> Object:
        (container,) = self.spec["containers"]
        found: Object = container
        return found

    @property
    def environment(self) -> dict[str, Object]:
        """Its variables by their names; no name is there twice."""
        found = {it["name"]: it for it in self.container["env"]}
        assert len(found) == len(self.container["env"])
        return found

    @property
    def secrets(self) -> set[str]:
        """The names of the secrets that it is given a value of."""
        refs = (it.get("valueFrom", {}).get("secretKeyRef") for it in self.environment.values())
        return {ref["name"] for ref in refs if ref}


class Rendered:
    """The objects that Helm makes of the chart with some values, in the release `acme`."""

    def __init__(self, values: Values, release: str = "acme") -> None:
        with helm.Chart.load(CHART) as chart:
            manifests = chart.render(values, name=release, namespace="teams")
        self.objects: list[Object] = [
            document
            for name, text in sorted(manifests.items())
            if name.endswith(".yaml")
            for document in yaml.safe_load_all(text)
            if document
        ]

    def kind(self, kind: str) -> dict[str, Object]:
        """Return all objects of a kind, by name."""
        found = [it for it in self.objects if it["kind"] == kind]
        named: dict[str, Object] = {it["metadata"]["name"]: it for it in found}
        assert len(named) == len(found)
        return named

    def file(self, name: str, key: str) -> Any:
        """Return what a file in a ConfigMap has, read as YAML."""
        return yaml.safe_load(self.kind("ConfigMap")[name]["data"][key])

    @property
    def pods(self) -> dict[str, Pod]:
        return {
            name: Pod(name, it["spec"]["template"]["metadata"]["labels"], _spec(it))
            for name, it in self.kind("Deployment").items()
        }

    def by_name(self) -> dict[tuple[str, str], Object]:
        """Return all objects by kind and name."""
        return {(it["kind"], it["metadata"]["name"]): it for it in self.objects}

    def reaches(self, source: Pod, target: Pod, port: int) -> bool:
        """Return whether the NetworkPolicies let `source` talk to `target` on a TCP port."""
        leaves = [it for it in self._policies(source) if "Egress" in it["policyTypes"]]
        enters = [it for it in self._policies(target) if "Ingress" in it["policyTypes"]]
        out = not leaves or any(
            _names(rule, "to", target, port) for it in leaves for rule in it.get("egress") or ()
        )
        into = not enters or any(
            _names(rule, "from", source, port) for it in enters for rule in it.get("ingress") or ()
        )
        return out and into

    def _policies(self, pod: Pod) -> Iterator[Object]:
        for policy in self.kind("NetworkPolicy").values():
            if _chooses(policy["spec"]["podSelector"], pod):
                yield policy["spec"]


def _spec(deployment: Object) -> Object:
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def _names(rule: Object, side: str, pod: Pod, port: int) -> bool:
    """Return whether a rule of a policy is about a pod of this namespace and a TCP port."""
    ports = rule.get("ports")
    right_port = ports is None or any(
        it["port"] == port and it.get("protocol", "TCP") == "TCP" for it in ports
    )
    peers = rule.get(side)
    # With a selector of namespaces a peer is in another namespace: the example names no own ones.
    right_peer = peers is None or any(
        "podSelector" in it and "namespaceSelector" not in it and _chooses(it["podSelector"], pod)
        for it in peers
    )
    return right_port and right_peer


def _chooses(selector: Object, pod: Pod) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    wanted = selector.get("matchLabels", {}).items()
    expressions = selector.get("matchExpressions", [])
    assert all(it["operator"] == "In" for it in expressions)
    return wanted <= pod.labels.items() and all(
        pod.labels.get(it["key"]) in it["values"] for it in expressions
    )
