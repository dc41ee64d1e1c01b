"""What declares a workspace's locations: TOML files, code named itself, or what is found here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from freshline.errors import UnknownNameError, WorkspaceError
from freshline.workspace import Entry, WorkspaceSource, find_workspace, read_workspace
from freshline.workspace.source import Server


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str = "") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def read(*files: str) -> list[Entry]:
    return read_workspace(WorkspaceSource(tuple(map(Path, files))))


TWICE = """
[tool.dagster]
code_location_name = "x"
modules = [{type = "module", name = "a"}, {type = "module", name = "b"}]
"""


def dg_project(folder: str, settings: str = "") -> None:
    name = Path(folder).name
    write(f"{folder}/src/{name}/definitions.py")
    write(
        f"{folder}/pyproject.toml",
        f'[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "{name}"\n'
        + settings,
    )


def dg_workspace(*folders: str) -> None:
    projects = "".join(f'[[workspace.projects]]\npath = "{folder}"\n' for folder in folders)
    write("dg.toml", f'directory_type = "workspace"\n{projects}')


class TestDg:
    def test_each_project_of_a_workspace_is_a_location(self, here: Path) -> None:
        dg_workspace("projects/sales", "projects/reports")
        dg_project("projects/sales")
        dg_project("projects/reports", 'code_location_name = "daily"\n')

        sales, reports = read("dg.toml")

        assert ("sales", "sales.definitions") == (sales.name, sales.target)
        assert str(here / "projects" / "sales" / "src") == sales.working_directory
        assert here == sales.start
        assert here / "projects" / "sales" == sales.env_folder
        assert here / "projects" / "sales" / "contract.json" == sales.contract_file
        assert "daily" == reports.name

    def test_a_workspace_may_be_in_pyproject(self) -> None:
        dg_project("sales")
        write(
            "pyproject.toml",
            '[tool.dg]\ndirectory_type = "workspace"\n'
            '[[tool.dg.workspace.projects]]\npath = "sales"\n',
        )

        assert ["sales"] == [entry.name for entry in read("pyproject.toml")]

    def test_the_dg_file_of_a_project_comes_before_its_pyproject(self) -> None:
        dg_workspace("sales")
        dg_project("sales")
        write(
            "sales/dg.toml", 'directory_type = "project"\n[project]\nroot_module = "shop.sales"\n'
        )

        (entry,) = read("dg.toml")

        assert "shop.sales.definitions" == entry.target

    @pytest.mark.parametrize(
        ("settings", "kind", "target"),
        [
            ('code_location_target_module = "sales.all"', "python_module", "sales.all"),
            ("autoload_defs = true", "autoload_defs_module", "sales.defs"),
            (
                'autoload_defs = true\ndefs_module = "sales.tables"',
                "autoload_defs_module",
                "sales.tables",
            ),
            ('python_environment = "active"', "python_module", "sales.definitions"),
        ],
    )
    def test_a_project_says_which_module_is_loaded(
        self, settings: str, kind: str, target: str
    ) -> None:
        dg_project("sales", settings)

        (entry,) = read("sales/pyproject.toml")

        assert ("sales", kind, target) == (entry.name, entry.kind, entry.target)

    def test_a_project_without_src_is_its_own_working_directory(self, here: Path) -> None:
        write("sales/pyproject.toml", '[tool.dg.project]\nroot_module = "sales"\n')

        (entry,) = read("sales/pyproject.toml")

        assert str(here / "sales") == entry.working_directory

    def test_a_project_has_its_own_python(self, here: Path) -> None:
        dg_project("sales")
        python = here / "sales" / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)

        (own,) = read("sales/pyproject.toml")
        (active,) = read_workspace(
            WorkspaceSource((Path("sales/pyproject.toml"),), use_active_venv=True)
        )
        write("sales/.env", "DG_PROJECT_PYTHON_EXECUTABLE=../python\n")
        (named,) = read("sales/pyproject.toml")

        assert str(python) == own.executable_path
        assert active.executable_path is None
        assert str(here / "sales" / ".." / "python") == named.executable_path

    @pytest.mark.parametrize(
        ("file", "text", "message"),
        [
            ("dg.toml", "[workspace", "dg.toml is not TOML: "),
            ("dg.toml", "", "dg.toml declares no code location; write [workspace] with projects"),
            ("dg.toml", "[workspace]", "dg.toml: workspace.projects must list the projects"),
            ("dg.toml", "[[workspace.projects]]", "workspace.projects[0].path is missing; write"),
            (
                "dg.toml",
                '[[workspace.projects]]\npath = "none"',
                "dg.toml: workspace.projects[0].path is 'none', where no dg project is",
            ),
            ("dg.toml", "project = 3", "dg.toml: project must be a table, not 3."),
            ("dg.toml", "[project]", "dg.toml: project.root_module is missing; write root_module"),
            (
                "pyproject.toml",
                "[tool.dg.project]\nroot_module = 3",
                "pyproject.toml: tool.dg.project.root_module must be a text in quotes, not 3.",
            ),
            (
                "pyproject.toml",
                "",
                "pyproject.toml declares no code location; write [tool.dagster]",
            ),
            (
                "pyproject.toml",
                '[tool.dagster]\nmodule_name = "a"\nmodules = [{type = "module", name = "b"}]',
                "tool.dagster: give module_name or modules, not both.",
            ),
            ("pyproject.toml", "[tool.dagster]\nmodules = 3", "tool.dagster.modules: write a list"),
            (
                "pyproject.toml",
                TWICE,
                "pyproject.toml names x twice; give each a code_location_name.",
            ),
        ],
    )
    def test_a_bad_file_is_refused_with_its_field(self, file: str, text: str, message: str) -> None:
        write(file, text)

        with pytest.raises(WorkspaceError) as refused:
            read(file)

        assert message in str(refused.value)


def test_tool_dagster_names_modules(here: Path) -> None:
    modules = '[{type = "module", name = "a.defs"}, {type = "module", name = "b"}]'
    write("pyproject.toml", f"[tool.dagster]\nmodules = {modules}\n")

    entries = read("pyproject.toml")

    assert [("a.defs", str(here)), ("b", str(here))] == [
        (entry.name, entry.working_directory) for entry in entries
    ]
    assert here / "contract.b.json" == entries[1].contract_file


def test_of_several_files_a_later_one_wins_a_name() -> None:
    write("one.yaml", "load_from: [python_module: a, python_module: b]")
    write("two.yaml", "load_from: [python_module: {module_name: c, location_name: b}]")

    assert [("a", "a"), ("b", "c")] == [
        (entry.name, entry.target) for entry in read("one.yaml", "two.yaml")
    ]


class TestFindWorkspace:
    def test_dagster_prefers_pyproject_to_workspace_yaml(self) -> None:
        write("workspace.yaml")
        write("dg.toml")
        write("pyproject.toml", '[tool.dagster]\nmodule_name = "a"\n')

        found = find_workspace()

        assert (Path("pyproject.toml"), (Path("workspace.yaml"), Path("dg.toml"))) == found[:2]

    @pytest.mark.parametrize("file", ["workspace.yaml", "workspace.yml", "dg.toml"])
    def test_a_pyproject_without_locations_is_passed_over(self, file: str) -> None:
        write("pyproject.toml", "[tool.ruff]\n")
        write(file)

        assert (Path(file), (), None) == find_workspace()

    def test_a_dg_workspace_that_lists_no_projects_is_passed_over(self) -> None:
        settings = '[tool.dg]\ndirectory_type = "workspace"\n[tool.dg.workspace]\n'
        write("pyproject.toml", settings)
        write("workspace.yaml", "load_from: []")

        assert (Path("workspace.yaml"), (), None) == find_workspace()

    def test_dg_finds_its_workspace_from_a_subfolder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dg_workspace("projects/sales")
        dg_project("projects/sales")
        monkeypatch.chdir("projects")

        found = find_workspace()

        assert (Path("../dg.toml"), (), None) == found
        assert ["sales"] == [entry.name for entry in read("../dg.toml")]

    def test_a_project_is_found_alone_and_its_workspace_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dg_workspace("sales")
        dg_project("sales")
        monkeypatch.chdir("sales/src")

        assert (Path("../pyproject.toml"), (), Path("../../dg.toml")) == find_workspace()

    def test_nothing_is_found_in_a_folder_without_locations(self) -> None:
        with pytest.raises(WorkspaceError, match="there is no workspace here: "):
            find_workspace()


class TestElsewhere:
    """A workspace file that is not in the current directory."""

    @pytest.fixture
    def elsewhere(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        home = here / "there"
        module = {"module_name": "defs", "working_directory": "loc", "location_name": "loc"}
        write("there/workspace.yaml", json.dumps({"load_from": [{"python_module": module}]}))
        write("mine/loc/defs.py")
        monkeypatch.chdir("mine")
        return home

    def test_its_paths_start_at_its_own_folder(self, elsewhere: Path) -> None:
        write("../there/loc/defs.py")

        (entry,) = read("../there/workspace.yaml")

        assert (elsewhere, elsewhere / "loc" / "contract.json") == (
            entry.start,
            entry.contract_file,
        )

    def test_contracts_of_an_unrelated_folder_are_never_its_own(
        self, elsewhere: Path, here: Path
    ) -> None:
        (entry,) = read("../there/workspace.yaml")

        # The code is loaded from where Dagster would load it.
        assert (here / "mine", elsewhere / "contracts" / "loc.json") == (
            entry.start,
            entry.contract_file,
        )

    @pytest.mark.usefixtures("elsewhere")
    def test_it_may_be_in_a_subfolder_of_the_one_that_dagster_starts_in(
        self, here: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(here)
        write("loc/defs.py")

        (entry,) = read("there/workspace.yaml")

        assert (here, here / "loc" / "contract.json") == (entry.start, entry.contract_file)


class TestServers:
    @pytest.fixture(autouse=True)
    def served(self) -> None:
        server = {"host": "ingest", "port": 4000, "location_name": "team/ingest"}
        module = {"module_name": "shop", "location_name": "shop"}
        write(
            "workspace.yaml",
            json.dumps({"load_from": [{"grpc_server": server}, {"python_module": module}]}),
        )

    def test_a_location_without_a_folder_has_its_contract_beside_the_file(self, here: Path) -> None:
        assert [
            here / "contracts" / "team%2Fingest.json",
            here / "contracts" / "shop.json",
        ] == [entry.contract_file for entry in read("workspace.yaml")]

    def test_another_server_may_be_asked(self) -> None:
        servers = {"team/ingest": Server("localhost", 4120)}

        entry, _ = read_workspace(WorkspaceSource((Path("workspace.yaml"),), servers=servers))

        assert ("localhost", 4120) == (entry.host, entry.port)

    def test_only_the_server_of_a_served_location_can_be_another(self) -> None:
        for name, error in (("shop", WorkspaceError), ("none", UnknownNameError)):
            servers = {name: Server("localhost", 4120)}
            with pytest.raises(error, match=name):
                read_workspace(WorkspaceSource((Path("workspace.yaml"),), servers=servers))
