"""Contracts and findings in the forms of standards: names, values, and where they come from.

That the published schemas accept them is tested in tests/test_standards.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from freshline.check.finding import Finding, Rule, Severity
from freshline.contract import Column, Contract, Export, Import, UsedColumn
from freshline.policy import MaxLag
from freshline.standards import data_contract, data_product, sarif_log
from freshline.standards.logical_types import logical_type

SNAPSHOT = Path(__file__).with_name("standards.json")
CORE = Contract(
    location="core",
    published_as="core",
    exports=(
        Export(
            key="mart/stars",
            owners=("ana@example.com", "team:core"),
            kinds=("dbt", "postgres", "table"),
            policy=MaxLag(60, "0 9 * * 1-5", "Europe/Amsterdam"),
            columns=(
                Column(name="id", type="bigint", nullable=False, description="The number."),
                Column(name="given_at", type="timestamptz"),
                Column(name="shape", type="my_own_type"),
                Column(name="other"),
            ),
            columns_enforced=True,
            description="One row a star.",
        ),
        Export(key="mart/all-stars", policy=MaxLag(2.5), view=True, deps=("mart/stars",)),
        Export(key="mart/plain"),
    ),
)
MARTS = Contract(
    location="marts",
    published_as="marts",
    exports=(Export(key="mart/join", deps=("mart/stars", "crm/people"), owners=("team:marts",)),),
    imports=(
        Import(
            key="mart/stars",
            used_by=("mart/join",),
            columns=(UsedColumn(name="id", type="bigint"),),
        ),
        Import(key="crm/people", used_by=("mart/join",)),
    ),
)
BOTH = (CORE, MARTS)


VERSIONS = {contract.location: data_contract(contract)["version"] for contract in BOTH}


def masked(document: dict[str, Any]) -> Any:
    """Return a document with words in place of versions: these are digests of the content."""
    text = json.dumps(document)
    for location, version in VERSIONS.items():
        text = text.replace(version, f"the version of {location}")
    return json.loads(text)


def names_in(value: Any, path: str = "") -> set[str]:
    """Return the paths of all values in a document, such as `runs[].results[].level`."""
    if isinstance(value, dict):
        return {it for name, inner in value.items() for it in names_in(inner, f"{path}.{name}")}
    if isinstance(value, list):
        return {it for inner in value for it in names_in(inner, f"{path}[]")}
    return {path.removeprefix(".")}


def test_names_and_values_are_those_of_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are an interface: the changelog names each change of the file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "join.sql").write_text("select login from stars")
    log = log_of(
        finding(key="mart/stars", file="join.sql", concerns=("core",)), left_out=[finding()]
    )
    found = {
        "odcs": masked(data_contract(CORE)),
        "odps": masked(data_product(MARTS, BOTH)),
        "sarif": sorted(names_in(log)),
    }

    assert json.loads(SNAPSHOT.read_text(encoding="utf-8")) == found


def by_name(items: list[dict[str, Any]], name: str = "name") -> dict[str, dict[str, Any]]:
    return {item[name]: item for item in items}


class TestDataContract:
    def test_an_asset_is_an_object_with_its_columns(self) -> None:
        stars = by_name(data_contract(CORE)["schema"])["mart_stars"]

        assert ("mart.stars", "table", "One row a star.") == tuple(
            stars[name] for name in ("physicalName", "physicalType", "description")
        )
        assert {
            "name": "id",
            "logicalType": "integer",
            "physicalType": "bigint",
            "required": True,
            "description": "The number.",
        } == stars["properties"][0]

    def test_a_type_without_a_logical_one_has_none(self) -> None:
        stars = by_name(data_contract(CORE)["schema"])["mart_stars"]
        columns = by_name(stars["properties"])

        assert {"name": "shape", "physicalType": "my_own_type", "required": False} == columns[
            "shape"
        ]
        assert {"name": "other", "required": False} == columns["other"]

    def test_an_asset_keeps_its_key_and_owners(self) -> None:
        stars = by_name(data_contract(CORE)["schema"])["mart_stars"]
        custom = {it["property"]: it["value"] for it in stars["customProperties"]}

        assert {
            "dagsterAssetKey": "mart/stars",
            "owners": ["ana@example.com", "team:core"],
            "columnsEnforced": True,
            "freshnessTimezone": "Europe/Amsterdam",
        } == custom

    def test_a_view_is_called_one(self) -> None:
        assert "view" == by_name(data_contract(CORE)["schema"])["mart_all_stars"]["physicalType"]

    def test_a_policy_is_a_service_level(self) -> None:
        levels = by_name(data_contract(CORE)["slaProperties"], "element")

        assert {"mart_stars", "mart_all_stars"} == levels.keys()
        assert {
            "id": "freshness_mart_all_stars",
            "property": "freshness",
            "value": 2.5,
            "unit": "minutes",
            "element": "mart_all_stars",
            "driver": "operational",
            "description": "The data is at most 2.5 minutes behind: every source row of that time "
            "is in it.",
        } == levels["mart_all_stars"]

    def test_a_cron_is_its_schedule(self) -> None:
        level = by_name(data_contract(CORE)["slaProperties"], "element")["mart_stars"]

        assert (60, "cron", "0 9 * * 1-5") == (
            level["value"],
            level["scheduler"],
            level["schedule"],
        )
        assert "Europe/Amsterdam" in level["description"]

    def test_the_team_is_that_of_the_owners(self) -> None:
        assert {
            "name": "core",
            "members": [{"username": "ana@example.com", "role": "owner"}],
        } == data_contract(CORE)["team"]

    def test_the_version_changes_with_the_content_alone(self) -> None:
        again = Contract.from_json(CORE.to_json())
        other = CORE.model_copy(update={"exports": CORE.exports[:1]})

        assert data_contract(CORE)["version"] == data_contract(again)["version"]
        assert data_contract(CORE)["version"] != data_contract(other)["version"]


class TestDataProduct:
    def test_an_import_is_an_input_port_with_the_contract_of_its_maker(self) -> None:
        port = by_name(data_product(MARTS, BOTH)["inputPorts"])["mart/stars"]

        assert ("core", data_contract(CORE)["version"]) == (port["contractId"], port["version"])
        assert {
            "dagsterAssetKey": "mart/stars",
            "object": "mart_stars",
            "usedBy": ["mart/join"],
            "columns": ["id"],
        } == {it["property"]: it["value"] for it in port["customProperties"]}

    def test_what_no_location_makes_has_no_contract(self) -> None:
        port = by_name(data_product(MARTS, BOTH)["inputPorts"])["crm/people"]

        assert ("outside", "outside") == (port["contractId"], port["version"])

    def test_what_it_makes_is_an_output_port_with_its_own_contract(self) -> None:
        (port,) = data_product(MARTS, BOTH)["outputPorts"]

        assert "marts" == port["contractId"]
        assert [{"id": "core", "version": data_contract(CORE)["version"]}] == port["inputContracts"]


@pytest.mark.parametrize(
    ("physical", "kinds", "logical"),
    [
        ("bigint", ["postgres"], "integer"),
        ("numeric(5, 4)", ["postgres"], "number"),
        ("text", ["postgres"], "string"),
        ("timestamptz", ["postgres"], "timestamp"),
        ("date", ["postgres"], "date"),
        ("jsonb", ["postgres"], "object"),
        ("text[]", ["postgres"], "array"),
        ("boolean", [], "boolean"),
        ("NUMBER(38,0)", ["snowflake"], "number"),
        ("STRUCT<a INT64>", ["bigquery"], "object"),
        ("geometry", ["postgres"], None),
        (None, ["postgres"], None),
    ],
)
def test_a_logical_type_follows_from_the_type_in_the_warehouse(
    physical: str | None, kinds: list[str], logical: str | None
) -> None:
    assert logical == logical_type(physical, kinds)


def finding(
    rule: Rule = Rule.MISSING_COLUMN,
    message: str = "column `login` of `mart/stars` does not exist in `core`; used by `mart/join`.",
    **fields: Any,
) -> Finding:
    return Finding(rule, "marts", message, "Bring it back.", **fields)


def log_of(
    *findings: Finding, left_out: list[Finding] | None = None, fallback: Path | None = None
) -> dict[str, Any]:
    return sarif_log(findings, [(it, "we know") for it in left_out or []], fallback)


def results_of(log: dict[str, Any]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = log["runs"][0]["results"]
    return results


class TestSarif:
    def test_every_rule_explains_itself(self) -> None:
        rules = by_name(log_of()["runs"][0]["tool"]["driver"]["rules"], "id")

        assert [rule.value for rule in Rule] == list(rules)
        assert all(it["help"]["text"] and it["help"]["markdown"] for it in rules.values())
        assert "MissingColumn" == rules["missing-column"]["name"]
        assert ["error", "note"] == [
            rules[name]["defaultConfiguration"]["level"]
            for name in ("missing-column", "not-requested")
        ]

    def test_a_finding_is_a_result_of_its_rule(self) -> None:
        (result,) = results_of(log_of(finding(details=("in detail",))))

        assert ("missing-column", 2, "error") == (
            result["ruleId"],
            result["ruleIndex"],
            result["level"],
        )
        assert [
            "column `login` of `mart/stars` does not exist in `core`; used by `mart/join`.",
            "in detail",
            "Bring it back.",
        ] == result["message"]["text"].splitlines()

    def test_a_note_is_a_note(self) -> None:
        (result,) = results_of(log_of(finding(severity=Severity.NOTE)))

        assert "note" == result["level"]

    def test_a_finding_is_where_its_file_has_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "join.sql").write_text("select\n  login_count,\n  login\nfrom stars\n")
        (result,) = results_of(log_of(finding(file="join.sql")))

        assert {
            "artifactLocation": {"uri": "join.sql", "uriBaseId": "SRCROOT"},
            "region": {"startLine": 3},
        } == result["locations"][0]["physicalLocation"]

    def test_a_file_may_have_the_last_part_of_a_key_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "models.yml").write_text("models:\n  - name: join\n")
        message = "`mart/join` of `marts` has no columns."
        (result,) = results_of(log_of(finding(message=message, file="models.yml")))

        assert 2 == result["locations"][0]["physicalLocation"]["region"]["startLine"]

    def test_a_file_without_the_name_has_no_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty.sql").write_text("")
        (result,) = results_of(log_of(finding(file="empty.sql")))

        assert "region" not in result["locations"][0]["physicalLocation"]

    def test_a_file_elsewhere_has_a_whole_address(self, tmp_path: Path) -> None:
        (result,) = results_of(log_of(finding(file=str(tmp_path / "join.sql"))))

        assert {"uri": (tmp_path / "join.sql").as_uri()} == (
            result["locations"][0]["physicalLocation"]["artifactLocation"]
        )

    def test_a_finding_without_a_file_is_in_the_workspace_file(self) -> None:
        (result,) = results_of(log_of(finding(), fallback=Path("workspace.yaml")))

        assert {"artifactLocation": {"uri": "workspace.yaml", "uriBaseId": "SRCROOT"}} == (
            result["locations"][0]["physicalLocation"]
        )

    def test_what_settings_switch_off_is_suppressed_with_the_reason(self) -> None:
        (result,) = results_of(log_of(left_out=[finding()]))

        assert [{"kind": "external", "status": "accepted", "justification": "we know"}] == (
            result["suppressions"]
        )

    def test_the_same_finding_with_other_figures_has_the_same_fingerprint(self) -> None:
        messages = [
            f"`mart/join`: 2 min asked, the path takes {time}" for time in ("3 min", "4 min")
        ]
        other = finding(Rule.POLICY, "`mart/other`: 2 min asked, the path takes 3 min")
        same = [finding(Rule.POLICY, message) for message in messages]
        first, second, third = (
            it["partialFingerprints"]["freshline/v1"] for it in results_of(log_of(*same, other))
        )

        assert first == second != third


def test_a_document_is_plain_yaml() -> None:
    text = yaml.safe_dump(data_contract(CORE), sort_keys=False)

    assert data_contract(CORE) == yaml.safe_load(text)
    assert "&id" not in text
