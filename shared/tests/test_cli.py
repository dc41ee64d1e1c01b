"""The commands, as a user types them. Locations' code is loaded in tests/downstream."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from freshline.cli import app
from freshline.contract import (
    Column,
    Contract,
    ContractReader,
    Export,
    Import,
    UsedColumn,
    contract_materialization,
)
from freshline.policy import MaxLag
from typer.testing import CliRunner, Result

CORE = Contract(
    location="core",
    published_as="core",
    exports=(
        Export(
            key="mart/stars",
            columns=(Column(name="id", type="bigint"), Column(name="login", type="text")),
        ),
    ),
)
MARTS = Contract(
    location="marts",
    published_as="marts",
    exports=(
        Export(
            key="mart/join",
            deps=("mart/stars",),
            owners=("team:marts",),
            policy=MaxLag(10),
            file="join.sql",
        ),
    ),
    imports=(
        Import(
            key="mart/stars",
            used_by=("mart/join",),
            columns=(UsedColumn(name="login", type="text", used_by=("mart/join",)),),
        ),
    ),
)


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two locations with their committed contracts, in the current directory."""
    entries = [entry(contract.location) for contract in (CORE, MARTS)]
    (tmp_path / "workspace.yaml").write_text(json.dumps({"load_from": entries}))
    for contract in (CORE, MARTS):
        write_contract(tmp_path, contract)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entry(location: str) -> dict[str, dict[str, str]]:
    """Return the entry of a location in the workspace file."""
    return {
        "python_file": {"relative_path": f"{location}/definitions.py", "location_name": location}
    }


def write_contract(workspace: Path, contract: Contract) -> None:
    folder = workspace / contract.location
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(contract.to_json())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def without_login() -> Contract:
    (stars,) = CORE.exports
    assert stars.columns
    return CORE.model_copy(
        update={"exports": (stars.model_copy(update={"columns": stars.columns[:1]}),)}
    )


def test_version_names_freshline_and_the_dagster_beside_it() -> None:
    expected = f"freshline {version('freshline')}, Dagster {dg.__version__}\n"

    assert expected == run("--version").output


class TestCheck:
    def test_prints_one_line_when_nothing_is_wrong(self) -> None:
        result = run("check", "--committed")

        assert (0, "No findings (2 locations, 2 assets, 1 import).\n") == (
            result.exit_code,
            result.output,
        )

    def test_ends_with_1_when_there_are_findings(self, workspace: Path) -> None:
        write_contract(workspace, without_login())

        result = run("check", "--committed")

        assert 1 == result.exit_code
        assert "missing-column" in result.output
        assert "1 finding (2 locations, 2 assets, 1 import)." in result.output

    def test_prints_findings_as_json(self, workspace: Path) -> None:
        write_contract(workspace, without_login())

        document = json.loads(run("check", "--committed", "--json").output)

        assert not document["clean"]
        assert [
            {
                "rule": "missing-column",
                "severity": "finding",
                "location": "marts",
                "concerns": [],
                "key": "mart/stars",
                "message": "column `login` of `mart/stars` does not exist in `core`, which makes "
                "the table; used by `mart/join` of `marts`.",
                "fix": "`core` brings the column back, or `mart/join` stops using it first.",
                "details": [],
                "file": "marts/join.sql",
            }
        ] == document["findings"]
        assert {
            "name": "core",
            "known": True,
            "error": None,
            "exports": 1,
            "imports": 0,
        } == document["locations"][0]

    def test_prints_annotations_for_github(self, workspace: Path) -> None:
        write_contract(workspace, without_login())

        first, last = run("check", "--committed", "--github").output.splitlines()

        assert first == (
            "::error file=marts/join.sql,title=missing-column%3A marts::column `login` of "
            "`mart/stars` does not exist in `core`, which makes the table; used by `mart/join` of "
            "`marts`.%0A`core` brings the column back, or `mart/join` stops using it first."
        )
        assert "1 finding (2 locations, 2 assets, 1 import)." == last

    def test_prints_sarif(self, workspace: Path) -> None:
        write_contract(workspace, without_login())
        (workspace / "marts" / "join.sql").write_text("select\n  login\nfrom stars\n")

        result = run("check", "--committed", "--sarif")

        (found,) = json.loads(result.output)["runs"][0]["results"]
        assert (1, "missing-column") == (result.exit_code, found["ruleId"])
        assert {
            "artifactLocation": {"uri": "marts/join.sql", "uriBaseId": "SRCROOT"},
            "region": {"startLine": 2},
        } == found["locations"][0]["physicalLocation"]

    def test_names_a_location_without_a_committed_contract(self, workspace: Path) -> None:
        (workspace / "core" / "contract.json").unlink()

        document = json.loads(run("check", "--committed", "--json").output)

        assert ["does-not-load", "unknown-import"] == [it["rule"] for it in document["findings"]]
        assert (
            "it has no committed contract (core/contract.json); run `freshline contract write core`"
            in document["findings"][0]["message"]
        )

    def test_names_a_committed_contract_that_cannot_be_read(self, workspace: Path) -> None:
        (workspace / "core" / "contract.json").write_text("<<<<<<< HEAD")

        document = json.loads(run("check", "--committed", "--json").output)

        assert (
            "core/contract.json cannot be read: the contract is not JSON"
            in (document["findings"][0]["message"])
        )

    def test_refuses_the_committed_contract_of_another_location(self, workspace: Path) -> None:
        (workspace / "core" / "contract.json").write_text(MARTS.to_json())

        document = json.loads(run("check", "--committed", "--json").output)

        assert "core/contract.json is the contract of marts" in document["findings"][0]["message"]

    def test_checks_policies_with_a_file_of_durations(self, workspace: Path) -> None:
        (workspace / "durations.json").write_text('{"mart/stars": 600}')

        result = run("check", "--committed", "--json", "--durations", "durations.json")

        assert ["policy"] == [it["rule"] for it in json.loads(result.output)["findings"]]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "durations.json is not JSON"),
            ("[]", "durations.json must be an object"),
            ('{"a": "b"}', "a must be a number of seconds, not 'b'"),
            ('{"a": true}', "a must be a number of seconds, not True"),
        ],
    )
    def test_refuses_a_bad_file_of_durations(
        self, workspace: Path, content: str, message: str
    ) -> None:
        (workspace / "durations.json").write_text(content)

        result = run("check", "--committed", "--durations", "durations.json")

        assert 2 == result.exit_code
        assert message in result.output

    def test_explains_a_rule(self, workspace: Path) -> None:
        (workspace / "workspace.yaml").unlink()

        result = run("check", "--explain", "cycle")

        assert 0 == result.exit_code
        assert "Finds: Assets of several locations that wait for each other" in result.output
        assert "[[tool.freshline.exceptions]]" in result.output

    def test_names_the_rule_that_was_meant(self) -> None:
        result = run("check", "--explain", "cycles")

        assert (2, "freshline: 'cycles' is no rule; did you mean cycle?\n") == (
            result.exit_code,
            result.stderr,
        )

    def test_leaves_out_what_the_settings_switch_off_and_says_so(self, workspace: Path) -> None:
        write_contract(workspace, without_login())
        off = '[tool.freshline.rules]\nmissing-column = {level = "off", reason = "until May"}'
        (workspace / "pyproject.toml").write_text(off)

        printed, document = run("check", "--committed"), run("check", "--committed", "--json")

        assert (
            "No findings (2 locations, 2 assets, 1 import). 1 finding left out by settings.\n"
            == printed.output
        )
        assert (0, 0) == (printed.exit_code, document.exit_code)
        (left_out,) = json.loads(document.output)["left_out"]
        assert ("missing-column", "mart/stars", "until May") == (
            left_out["rule"],
            left_out["key"],
            left_out["reason"],
        )

    def test_keys_are_judged_only_if_the_settings_ask_for_it(self, workspace: Path) -> None:
        published = CORE.model_copy(update={"published_as": "core", "exports": (Export(key="X"),)})
        write_contract(workspace, published)
        write_contract(workspace, MARTS.model_copy(update={"imports": ()}))
        (workspace / "freshline.toml").write_text('convention = "layer-table"')

        found = json.loads(run("check", "--committed", "--json").output)["findings"]

        assert ["key-convention"] == [it["rule"] for it in found]
        (workspace / "freshline.toml").unlink()
        assert 0 == run("check", "--committed").exit_code

    def test_bad_settings_end_with_2(self, workspace: Path) -> None:
        (workspace / "freshline.toml").write_text("rules = 3")

        result = run("check", "--committed")

        assert 2 == result.exit_code
        assert "freshline.toml: rules: input should be a valid dictionary" in result.stderr

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "no dg.toml here or above; name a file with -w, or a module with -m."),
            ("load_from: [", "workspace.yaml is not YAML"),
            ("{}", "workspace.yaml has no load_from with a list of code locations."),
            ("load_from: [{}]", "workspace.yaml, entry 1: write exactly one of python_module"),
            ("load_from: [{python_module: {}}]", "entry 1: python_module needs module_name."),
            ("load_from: [{python_module: [1]}]", "python_module must be a name or a mapping"),
            ("load_from: [{grpc_server: {}}]", "entry 1: a grpc_server needs a port or a socket."),
            ("load_from: [{grpc_server: {port: x}}]", "port must be a number, not 'x'."),
            (
                "load_from: [{python_module: {module_name: a, executable_path: {env: NO_SUCH}}}]",
                "entry 1: executable_path comes from NO_SUCH, which is not set.",
            ),
            (
                "load_from: [{python_file: a.py}, {python_file: a.py}]",
                "names a.py twice; give each a location_name.",
            ),
        ],
    )
    def test_ends_with_2_when_the_workspace_is_bad(
        self, workspace: Path, content: str | None, message: str
    ) -> None:
        file = workspace / "workspace.yaml"
        if content is None:
            file.unlink()
        else:
            file.write_text(content)

        result = run("check", "--committed")

        assert 2 == result.exit_code
        assert message in result.output

    def test_reads_committed_files_without_dagster(self) -> None:
        """Importing Dagster takes seconds: without it, the gate over committed files is quick."""
        code = (
            "import sys; from freshline.cli import app\n"
            "try: app(['check', '--committed'])\n"
            "except SystemExit as end: assert end.code == 0\n"
            "slow = {'dagster', 'sqlglot', 'grpc'} & set(sys.modules); assert not slow, slow"
        )
        outcome = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )

        assert (0, "") == (outcome.returncode, outcome.stderr)


class TestWorkspaceOptions:
    def test_contracts_are_those_of_the_workspace_that_is_named(
        self, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A folder of the same name in the current directory belongs to another workspace."""
        entries = [
            {
                "python_module": {
                    "module_name": "definitions",
                    "working_directory": contract.location,
                    "location_name": contract.location,
                }
            }
            for contract in (CORE, MARTS)
        ]
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": entries}))
        write_contract(workspace, without_login())
        mine = workspace / "mine"
        for contract in (CORE, MARTS):
            write_contract(mine, contract)
        monkeypatch.chdir(mine)

        result = run("check", "--committed", "-w", "../workspace.yaml")

        assert 1 == result.exit_code
        assert "missing-column" in result.output

    def test_several_files_are_one_workspace(self, workspace: Path) -> None:
        for name in ("core", "marts"):
            (workspace / f"{name}.yaml").write_text(json.dumps({"load_from": [entry(name)]}))

        result = run("check", "--committed", "-w", "core.yaml", "--workspace", "marts.yaml")

        assert "No findings (2 locations, 2 assets, 1 import).\n" == result.output

    def test_a_contract_of_another_location_is_refused(self, workspace: Path) -> None:
        renamed = CORE.model_copy(update={"location": "old"}).to_json()
        (workspace / "core" / "contract.json").write_text(renamed)

        result = run("check", "--committed", "--json")

        (finding, _) = json.loads(result.output)["findings"]
        assert (
            "core/contract.json is the contract of old; give the location one name in all"
            in (finding["message"])
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("-w", "a.yaml", "-m", "shop"), "-w and -m are given together; give one of them."),
            (("-d", "shop"), "-d and -a (or DAGSTER_WORKING_DIRECTORY and DAGSTER_ATTRIBUTE) need"),
            (("-m", "a", "-m", "b", "-a", "defs"), "-a names an attribute of one -m"),
            (("--server", "ingest"), "--server ingest: write LOCATION=HOST:PORT"),
            (
                ("--server", "core=localhost:1"),
                "loads core by Python; --server is for locations of",
            ),
            (("--server", "none=localhost:1"), "workspace.yaml has no none; it has core, marts."),
            (("-w", "core"), "core cannot be read: Is a directory; name the file with -w."),
            (("-w", "none.yaml"), "none.yaml: No such file or directory; name the workspace with"),
        ],
    )
    def test_options_that_name_no_workspace_are_refused(
        self, arguments: tuple[str, ...], message: str
    ) -> None:
        result = run("check", "--committed", *arguments)

        assert 2 == result.exit_code
        assert message in result.output

    def test_dotenv_wins_over_the_environment(
        self, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in Dagster: otherwise the two would look at different instances."""
        monkeypatch.setenv("DAGSTER_HOME", "/no/such/folder")
        (workspace / ".env").write_text("DAGSTER_HOME=/nor/this\n")

        result = run("check", "--committed", "--measured")

        assert "DAGSTER_HOME is /nor/this" in result.output


def test_a_command_that_breaks_ends_with_2(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("freshline.check.gather.gather", broken)

    with pytest.raises(SystemExit) as end:
        app(["check", "--committed"])

    assert 2 == end.value.code
    assert "the disk is on fire" in capsys.readouterr().err


def test_an_error_of_freshline_is_one_line_on_standard_error(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "workspace.yaml").write_text("{}")

    with pytest.raises(SystemExit) as end:
        app(["check", "--committed"])

    assert 2 == end.value.code
    assert ("", "freshline: workspace.yaml has no load_from with a list of code locations.\n") == (
        capsys.readouterr()
    )


@pytest.mark.parametrize(
    ("home", "message"),
    [("/no/such/folder", "DAGSTER_HOME is /no/such/folder"), ("", "there is no dagster.yaml here")],
)
def test_measured_durations_need_an_instance(
    home: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", home)

    result = run("check", "--committed", "--measured")

    assert 2 == result.exit_code
    assert message in result.output


class TestImpact:
    def test_shows_who_reads_a_column(self) -> None:
        result = run("impact", "mart/stars.login")

        assert 0 == result.exit_code
        assert "`mart/stars`, column `login` reaches 1 asset in marts" in result.output
        for part in ("mart/join", "team:marts", "at most 10 minutes behind", "reads it"):
            assert part in result.output

    def test_says_when_nothing_depends_on_an_asset(self) -> None:
        assert "Nothing depends on `mart/join`.\n" == run("impact", "mart/join").output

    @pytest.mark.parametrize(
        ("asset", "message"),
        [
            ("mart/star", "no location makes or needs mart/star; did you mean mart/stars?"),
            ("mart/stars.logins", "mart/stars has no column logins; it has id, login."),
        ],
    )
    def test_refuses_an_asset_or_column_that_is_not_there(self, asset: str, message: str) -> None:
        result = run("impact", asset)

        assert 2 == result.exit_code
        assert message in result.output

    def test_since_finds_a_breaking_change(self, workspace: Path) -> None:
        commit_everything(workspace)
        write_contract(workspace, without_login())

        result = run("impact", "--since", "HEAD", "--json")

        assert 1 == result.exit_code
        (change,) = json.loads(result.output)["changes"]
        assert ("core", "column `login` removed", True) == (
            change["location"],
            change["text"],
            change["breaking"],
        )
        assert [("mart/join", "marts")] == [
            (it["key"], it["location"]) for it in change["consumers"]
        ]

    def test_since_finds_nothing_when_nothing_has_changed(self, workspace: Path) -> None:
        commit_everything(workspace)

        result = run("impact", "--since", "HEAD")

        assert (0, "No location makes anything else than at HEAD.\n") == (
            result.exit_code,
            result.output,
        )

    def test_since_counts_a_location_that_left_the_workspace(self, workspace: Path) -> None:
        commit_everything(workspace)
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": [entry("marts")]}))
        with_folder = changes_since(1)
        shutil.rmtree(workspace / "core")
        without_folder = changes_since(1)

        assert [("core", "mart/stars", "removed", True, ["mart/join"])] == with_folder
        assert with_folder == without_folder

    def test_since_counts_a_location_whose_contract_is_gone(self, workspace: Path) -> None:
        commit_everything(workspace)
        (workspace / "core" / "contract.json").unlink()
        without_file = changes_since(1)
        (workspace / "core").rmdir()
        without_folder = changes_since(1)

        assert [("core", "mart/stars", "removed", True, ["mart/join"])] == without_file
        assert without_file == without_folder

    def test_since_prints_what_is_removed(self, workspace: Path) -> None:
        commit_everything(workspace)
        (workspace / "core" / "contract.json").unlink()

        result = run("impact", "--since", "HEAD")

        assert 1 == result.exit_code
        assert "Breaking since HEAD:\n  core: `mart/stars`: removed\n" in result.output
        assert "freshline: core cannot be asked: it has no committed contract" in result.output

    def test_since_ends_with_0_when_no_asset_reads_the_removed_one(self, workspace: Path) -> None:
        commit_everything(workspace)
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": [entry("core")]}))

        assert [("marts", "mart/join", "removed", True, [])] == changes_since(0)

    def test_since_compares_a_renamed_location_by_its_contract_file(self, workspace: Path) -> None:
        # A contract of another location that is also called core, for example in test data.
        write_contract(workspace / "tests", CORE)
        commit_everything(workspace)
        renamed = {**entry("core")["python_file"], "location_name": "warehouse"}
        entries = [{"python_file": renamed}, entry("marts")]
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": entries}))
        contract = without_login().model_copy(update={"location": "warehouse"})
        (workspace / "core" / "contract.json").write_text(contract.to_json())

        assert [
            ("warehouse", "mart/stars", "column `login` removed", True, ["mart/join"])
        ] == changes_since(1)

    def test_since_compares_an_asset_that_has_moved_to_another_location(
        self, workspace: Path
    ) -> None:
        commit_everything(workspace)
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": [entry("marts")]}))
        both = (*MARTS.exports, *without_login().exports)
        write_contract(workspace, MARTS.model_copy(update={"exports": both, "imports": ()}))

        assert [
            ("marts", "mart/stars", "added", False, ["mart/join"]),
            ("core", "mart/stars", "column `login` removed", True, ["mart/join"]),
        ] == changes_since(1)

    def test_since_works_when_the_workspace_file_is_new(self, workspace: Path) -> None:
        (workspace / "workspace.yaml").rename(workspace / "new.yaml")
        commit_everything(workspace)
        (workspace / "new.yaml").rename(workspace / "workspace.yaml")
        write_contract(workspace, without_login())

        assert ["column `login` removed"] == [text for _, _, text, *_ in changes_since(1)]

    def test_since_compares_locations_that_have_no_folder(self, workspace: Path) -> None:
        servers = [
            {"grpc_server": {"port": 4000, "location_name": contract.location}}
            for contract in (CORE, MARTS)
        ]
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": servers}))
        (workspace / "contracts").mkdir()
        for contract in (CORE, MARTS):
            shutil.rmtree(workspace / contract.location)
            file = workspace / "contracts" / f"{contract.location}.json"
            file.write_text(contract.to_json())
        commit_everything(workspace)
        (workspace / "contracts" / "core.json").write_text(without_login().to_json())
        changed = changes_since(1)
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": servers[1:]}))
        (workspace / "contracts" / "core.json").unlink()
        removed = changes_since(1)

        assert [("core", "mart/stars", "column `login` removed", True, ["mart/join"])] == changed
        assert [("core", "mart/stars", "removed", True, ["mart/join"])] == removed

    def test_since_counts_a_project_that_left_a_dg_workspace(self, workspace: Path) -> None:
        (workspace / "workspace.yaml").unlink()
        projects = [f'[[workspace.projects]]\npath = "{name}"\n' for name in ("core", "marts")]
        (workspace / "dg.toml").write_text("".join(projects))
        for name in ("core", "marts"):
            settings = f'[project]\nroot_module = "{name}"\n'
            (workspace / name / "dg.toml").write_text(settings)
        commit_everything(workspace)
        shutil.rmtree(workspace / "core")
        (workspace / "dg.toml").write_text(projects[1])

        assert [("core", "mart/stars", "removed", True, ["mart/join"])] == changes_since(1)

    def test_since_refuses_a_revision_with_a_bad_workspace(self, workspace: Path) -> None:
        file = workspace / "workspace.yaml"
        good = file.read_text()
        file.write_text("{}")
        commit_everything(workspace)
        file.write_text(good)

        result = run("impact", "--since", "HEAD")

        assert 2 == result.exit_code
        assert "workspace.yaml at HEAD has no load_from with a list" in result.output

    def test_since_refuses_a_revision_that_git_does_not_know(self, workspace: Path) -> None:
        git(workspace, "init", "--quiet")

        result = run("impact", "--since", "v9")

        assert 2 == result.exit_code
        assert "git knows no revision v9; give --since a commit" in result.output

    def test_needs_an_asset_or_a_revision(self) -> None:
        assert 2 == run("impact").exit_code


def changes_since(status: int) -> list[tuple[str, str, str, bool, list[str]]]:
    """Run ``freshline impact --since HEAD``, which ends with `status`, and return its changes."""
    result = run("impact", "--since", "HEAD", "--json")
    assert status == result.exit_code, result.output
    return [
        (
            it["location"],
            it["key"],
            it["text"],
            it["breaking"],
            [consumer["key"] for consumer in it["consumers"]],
        )
        for it in json.loads(result.stdout)["changes"]
    ]


def commit_everything(folder: Path) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "before")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


class TestSources:
    def test_writes_a_file_and_does_not_change_it_the_second_time(self, workspace: Path) -> None:
        results = [run("sources", "core", "--into", "models/sources.yml") for _ in range(2)]

        assert [
            "models/sources.yml written.\n",
            "models/sources.yml is up to date.\n",
        ] == [result.output for result in results]
        assert "data_type: bigint" in (workspace / "models" / "sources.yml").read_text()

    def test_prints_the_block_when_no_file_is_named(self) -> None:
        assert "      - name: stars\n" in run("sources", "core").output

    def test_names_the_tables_that_it_leaves_out(self, workspace: Path) -> None:
        exports = (*CORE.exports, Export(key="orders"))
        write_contract(workspace, CORE.model_copy(update={"exports": exports}))

        result = run("sources", "core")

        assert 0 == result.exit_code
        assert "Left out, because their keys are not [layer, table]: `orders`." in result.stderr

    def test_refuses_a_location_that_is_not_in_the_workspace(self) -> None:
        result = run("sources", "ingestion")

        assert 2 == result.exit_code
        assert "workspace.yaml has no ingestion; it has core, marts." in result.output


class TestRetire:
    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "dagster.yaml").write_text("")
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            instance.report_runless_asset_event(contract_materialization(CORE))
            instance.report_runless_asset_event(contract_materialization(MARTS))
        return tmp_path

    def test_takes_a_location_out_of_the_contracts(self, home: Path) -> None:
        first, second = run("retire", "core"), run("retire", "core")

        assert [0, 0] == [first.exit_code, second.exit_code]
        assert "core is retired: its assets and policies no longer count." in first.output
        assert "core is retired already.\n" == second.output
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert ["marts"] == list(ContractReader().read(instance))

    @pytest.mark.usefixtures("home")
    def test_refuses_a_location_that_never_published(self) -> None:
        result = run("retire", "shop")

        assert 2 == result.exit_code
        assert "shop has published no contract here; those that have: core, marts." in result.output

    def test_needs_an_instance(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)

        result = run("retire", "core")

        assert 2 == result.exit_code
        assert "there is no dagster.yaml here; set DAGSTER_HOME" in result.output

    def test_needs_an_instance_that_outlives_dagster_dev(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An empty instance would be made here, and what is written to it would change nothing."""
        (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)

        result = run("retire", "core")

        assert 2 == result.exit_code
        assert "dagster.yaml names no storage" in result.output
        assert not (tmp_path / "history").exists()

    def test_finds_the_instance_that_is_here(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(home)
        monkeypatch.delenv("DAGSTER_HOME")

        assert 0 == run("retire", "core").exit_code

    def test_says_that_the_settings_of_an_instance_are_no_yaml(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "dagster.yaml").write_text("storage: {")
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)

        result = run("retire", "core")

        assert 2 == result.exit_code
        assert f"the instance of {tmp_path} does not answer" in result.output


class TestContract:
    DEFINITIONS = (
        "import dagster as dg\n\n\n@dg.asset(key=['mart', 'stars'])\ndef stars(): ...\n\n\n"
        "defs = dg.Definitions(assets=[stars])\n"
    )

    def test_write_writes_a_file_and_does_not_change_it_the_second_time(
        self, workspace: Path
    ) -> None:
        (workspace / "core" / "definitions.py").write_text(self.DEFINITIONS)

        results = [run("contract", "write", "core") for _ in range(2)]

        assert [
            "core: core/contract.json written\n",
            "core: core/contract.json is up to date\n",
        ] == [result.output for result in results]
        written = Contract.from_json((workspace / "core" / "contract.json").read_text())
        assert (Export(key="mart/stars", file="definitions.py"),) == written.exports
        assert written.code_version is None

    def test_write_leaves_out_the_code_version_of_a_view(self, workspace: Path) -> None:
        view = "metadata={'freshline/view': True}, code_version='7')"
        text = self.DEFINITIONS.replace("'stars'])", f"'stars'], {view}")
        (workspace / "core" / "definitions.py").write_text(text)

        written = run("contract", "write", "core")

        assert 0 == written.exit_code, written.output
        (export,) = Contract.from_json((workspace / "core" / "contract.json").read_text()).exports
        assert (True, None) == (export.view, export.code_version)

    def test_check_requires_a_contract_only_from_locations_that_use_freshline(
        self, workspace: Path
    ) -> None:
        (workspace / "workspace.yaml").write_text(json.dumps({"load_from": [entry("core")]}))
        (workspace / "core" / "contract.json").unlink()
        definitions = workspace / "core" / "definitions.py"
        definitions.write_text(self.DEFINITIONS)
        plain = run("check", "--json")
        definitions.write_text(
            f"import freshline\n{self.DEFINITIONS}"
            "defs = freshline.with_freshline(defs, location='core')\n"
        )
        ours = run("check", "--json")

        assert (0, []) == (plain.exit_code, json.loads(plain.stdout)["findings"])
        assert (1, ["stale-contract"]) == (
            ours.exit_code,
            [it["rule"] for it in json.loads(ours.stdout)["findings"]],
        )

    def test_write_does_not_change_the_file_when_a_location_does_not_load(
        self, workspace: Path
    ) -> None:
        (workspace / "core" / "definitions.py").write_text("raise ValueError('no')\n")
        before = (workspace / "core" / "contract.json").read_text()

        result = run("contract", "write", "core")

        assert 1 == result.exit_code
        assert "ValueError: no" in result.output
        assert before == (workspace / "core" / "contract.json").read_text()

    def test_write_refuses_a_location_that_is_not_in_the_workspace(self) -> None:
        result = run("contract", "write", "ingestion")

        assert 2 == result.exit_code
        assert "workspace.yaml has no ingestion; it has core, marts." in result.output

    def test_show_prints_what_a_location_makes(self, workspace: Path) -> None:
        (workspace / "core" / "definitions.py").write_text(self.DEFINITIONS)

        assert "mart/stars" in run("contract", "show", "core").output

    def test_export_writes_a_contract_and_a_product_for_each_location(
        self, workspace: Path
    ) -> None:
        result = run("contract", "export", "--odcs", "--into", "exported")

        names = ["core.odcs.yaml", "core.odps.yaml", "marts.odcs.yaml", "marts.odps.yaml"]
        assert (0, [f"exported/{name} written" for name in names]) == (
            result.exit_code,
            result.output.splitlines(),
        )
        product = yaml.safe_load((workspace / "exported" / "marts.odps.yaml").read_text())
        assert ["mart/stars"] == [port["name"] for port in product["inputPorts"]]

    def test_export_prints_documents_when_no_folder_is_named(self) -> None:
        documents = list(yaml.safe_load_all(run("contract", "export", "--odcs", "marts").stdout))

        assert [("DataContract", "marts"), ("DataProduct", "marts")] == [
            (it["kind"], it["id"]) for it in documents
        ]

    def test_export_needs_a_standard(self) -> None:
        result = run("contract", "export")

        assert (2, "freshline: say in which standard: --odcs.\n") == (
            result.exit_code,
            result.output,
        )

    def test_export_refuses_a_location_without_a_committed_contract(self, workspace: Path) -> None:
        (workspace / "core" / "contract.json").unlink()

        result = run("contract", "export", "--odcs")

        assert 2 == result.exit_code
        assert "core: it has no committed contract" in result.output

    def test_export_refuses_a_location_that_is_not_in_the_workspace(self) -> None:
        result = run("contract", "export", "--odcs", "ingestion")

        assert 2 == result.exit_code
        assert "workspace.yaml has no ingestion; it has core, marts." in result.output


class TestThoseThatSee:
    """`freshline metrics`, `notify`, `report` and `log`, as far as they refuse to run."""

    @pytest.mark.parametrize("command", ["metrics", "notify", "report", "keep", "log", "status"])
    def test_needs_an_instance(
        self, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("DAGSTER_HOME", raising=False)
        (tmp_path / "notify.toml").write_text('others = ["json://127.0.0.1:1"]')

        result = run(command)

        assert 2 == result.exit_code
        assert "there is no dagster.yaml here; set DAGSTER_HOME" in result.output

    @pytest.mark.parametrize(
        ("command", "package"),
        [("metrics", "prometheus_client"), ("notify", "apprise"), ("report", "matplotlib")],
    )
    def test_names_the_extra_that_is_not_installed(
        self, command: str, package: str, tmp_path: Path
    ) -> None:
        """In a process of its own, in which the package cannot be imported."""
        program = (
            f"import sys; sys.modules[{package!r}] = None; from freshline.cli import app; "
            f"app([{command!r}])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
        )

        assert 2 == done.returncode
        assert f"needs {package}: pip install 'freshline[{command}]'" in done.stderr

    def test_notify_names_what_is_wrong_in_its_settings(self, tmp_path: Path) -> None:
        (tmp_path / "notify.toml").write_text('others = "json://x"')

        result = run("notify", "--config", "notify.toml")

        assert 2 == result.exit_code
        assert "freshline: notify.toml: others: must be a list of addresses" in result.output

    def test_notify_says_which_address_takes_no_test(self, tmp_path: Path) -> None:
        (tmp_path / "notify.toml").write_text('others = ["json://127.0.0.1:1"]')

        result = run("notify", "--test")

        assert 1 == result.exit_code
        assert result.stdout.startswith("notify.toml: others[1]: ")
