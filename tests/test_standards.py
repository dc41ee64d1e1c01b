"""What this workspace exports, by the published schemas of the standards and their own tools."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator
from support.contracts import read_contracts
from support.dagster import HOST_BIN, ROOT
from support.versions import environment_of

ACTION = ROOT / ".github" / "actions" / "freshline-check" / "action.yml"
DATACONTRACT = "datacontract-cli==1.2.8"
"""The standard's command line. Its wheel has the schema of the standard."""
LOCATIONS = sorted(read_contracts())


@pytest.fixture(scope="module")
def datacontract() -> Path:
    """An environment of its own: it pins older versions of what the host has."""
    return environment_of(DATACONTRACT)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    command = [HOST_BIN / "freshline", "contract", "export", "--odcs", "--into", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("location", LOCATIONS)
class TestDataContracts:
    def test_the_published_schema_accepts_it(
        self, location: str, exported: Path, datacontract: Path
    ) -> None:
        (file,) = datacontract.glob("lib/*/site-packages/datacontract/schemas/odcs-3.1.0.*.json")
        schema = json.loads(file.read_text())
        document = yaml.safe_load((exported / f"{location}.odcs.yaml").read_text())

        assert [] == [error.message for error in Draft201909Validator(schema).iter_errors(document)]

    def test_its_command_line_reads_it_without_an_error(
        self, location: str, exported: Path, datacontract: Path
    ) -> None:
        done = subprocess.run(
            [datacontract / "bin" / "datacontract", "lint", f"{location}.odcs.yaml"],
            cwd=exported,
            env={"PATH": os.environ["PATH"], "HOME": str(exported)},
            capture_output=True,
            text=True,
            check=False,
        )

        assert 0 == done.returncode, done.stdout + done.stderr

    def test_it_says_what_the_contract_says(self, location: str, exported: Path) -> None:
        contract = read_contracts()[location]
        document = yaml.safe_load((exported / f"{location}.odcs.yaml").read_text())
        columns = {
            it["physicalName"].replace(".", "/"): [column["name"] for column in it["properties"]]
            for it in document["schema"]
        }
        levels = {it["element"]: it["value"] for it in document["slaProperties"]}

        assert {
            it["key"]: [column["name"] for column in it["columns"]] for it in contract["exports"]
        } == columns
        assert {
            it["key"].replace("/", "_"): it["policy"]["minutes"]
            for it in contract["exports"]
            if "policy" in it
        } == levels


class Runner:
    """Runs the steps of the action, as GitHub's runner does with a composite action."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._action = yaml.safe_load(ACTION.read_text())

    def run(self, **inputs: str) -> tuple[int, dict[str, str], str]:
        """Return the exit status, the outputs, and what was printed. Nothing is installed."""
        given = {name: str(it["default"]) for name, it in self._action["inputs"].items()}
        given |= {"install": "", **{name.replace("_", "-"): it for name, it in inputs.items()}}
        (step,) = [it for it in self._action["runs"]["steps"] if it.get("id") == "check"]
        output = self._folder / "output"
        output.write_text("")
        variables = {name: self._filled(text, given) for name, text in step["env"].items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=self._folder / self._filled(step["working-directory"], given),
            env={
                "PATH": os.pathsep.join([str(HOST_BIN), os.environ["PATH"]]),
                "GITHUB_OUTPUT": str(output),
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        lines = output.read_text().splitlines()
        outputs = dict(line.split("=", 1) for line in lines)
        return done.returncode, outputs, done.stdout + done.stderr

    def _filled(self, text: str, inputs: dict[str, str]) -> str:
        for name, value in inputs.items():
            text = text.replace("${{ inputs." + name + " }}", value)
        assert "${{" not in text
        return text


class TestAction:
    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        shutil.copy(ROOT / "workspace.yaml", tmp_path)
        for name, contract in read_contracts().items():
            folder = tmp_path / name
            (folder / ".venv" / "bin").mkdir(parents=True)
            (folder / ".venv" / "bin" / "python").touch()
            (folder / "pyproject.toml").touch()
            (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
        return tmp_path

    def test_passes_when_nothing_is_found(self, checkout: Path) -> None:
        status, outputs, printed = Runner(checkout).run()

        assert (0, "true") == (status, outputs["clean"]), printed
        assert "No findings" in printed

    def test_fails_with_annotations_and_a_log_when_a_team_would_break(self, checkout: Path) -> None:
        drop_column(checkout / "ingestion" / "contract.json", "starred_at")
        status, outputs, printed = Runner(checkout).run()
        log = json.loads(Path(outputs["sarif-file"]).read_text())

        assert (1, "false") == (status, outputs["clean"]), printed
        assert "::error " in printed
        assert "missing-column" in {it["ruleId"] for it in log["runs"][0]["results"]}

    def test_fails_when_it_could_not_run(self, checkout: Path) -> None:
        status, outputs, printed = Runner(checkout).run(workspace="nothing.yaml")

        assert (2, {}) == (status, outputs)
        assert "nothing.yaml" in printed

    def test_an_input_is_no_command(self, checkout: Path) -> None:
        Runner(checkout).run(workspace="$(touch broken); touch broken")

        assert not (checkout / "broken").exists()


def drop_column(file: Path, name: str) -> None:
    contract: dict[str, Any] = json.loads(file.read_text())
    for export in contract["exports"]:
        export["columns"] = [it for it in export["columns"] if it["name"] != name]
    file.write_text(json.dumps(contract), encoding="utf-8")
