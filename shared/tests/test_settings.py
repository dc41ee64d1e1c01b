"""The settings of a workspace: where they are, what they may say, and what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from freshline.check import Finding, Rule, Severity
from freshline.errors import SettingsError
from freshline.settings import Outcome, read_settings, rule_named

UNKNOWN = Finding(Rule.UNKNOWN_IMPORT, "marts", "no `raw/stars`.", key="raw/stars")
NOTE = Finding(Rule.UNKNOWN_IMPORT, "ml", "no `crm/x`.", key="crm/x", severity=Severity.NOTE)
CYCLE = Finding(Rule.CYCLE, "core", "a circle.", key="mart/a", concerns=("core", "marts"))
BROKEN = Finding(Rule.DOES_NOT_LOAD, "core", "it does not load.")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace file, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace.yaml").touch()
    return tmp_path / "workspace.yaml"


def write(text: str, file: str = "freshline.toml") -> None:
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def refusal(workspace: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        read_settings(workspace)
    return str(refused.value)


class TestWhere:
    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("freshline.toml", 'convention = "one-part"'),
            ("pyproject.toml", '[tool.freshline]\nconvention = "one-part"'),
        ],
    )
    def test_the_file_is_beside_the_workspace_or_above(
        self, workspace: Path, file: str, text: str
    ) -> None:
        write(text, file)
        nested = workspace.parent / "deploy" / "prod"
        nested.mkdir(parents=True)

        assert "one-part" == read_settings(workspace).convention
        assert "one-part" == read_settings(nested / "workspace.yaml").convention
        assert "one-part" == read_settings(nested).convention

    @pytest.mark.usefixtures("workspace")
    def test_the_nearest_file_with_settings_counts_alone(self) -> None:
        write('convention = "one-part"\n[rules]\ncycle = "note"')
        write('[project]\nname = "x"', "a/b/pyproject.toml")
        write('[tool.freshline]\nconvention = "three-parts"', "a/pyproject.toml")

        settings = read_settings(Path("a/b/workspace.yaml"))

        assert ("three-parts", {}) == (settings.convention, settings.rules)

    def test_without_a_file_nothing_is_set(self, workspace: Path) -> None:
        settings = read_settings(workspace)

        assert (None, {}, ()) == (settings.convention, settings.rules, settings.exceptions)

    def test_two_files_in_one_folder_are_refused(self, workspace: Path) -> None:
        write("")
        write("[tool.freshline]", "pyproject.toml")

        assert (
            "freshline.toml and [tool.freshline] in pyproject.toml are both settings of one "
            "workspace: keep one of them." == refusal(workspace)
        )

    def test_a_function_is_imported_from_the_folder_of_the_settings(self, workspace: Path) -> None:
        write("def keys(parts, props):\n    return parts", "our_own_keys.py")
        write('convention = "our_own_keys:keys"')

        convention = read_settings(workspace).convention

        assert callable(convention)
        assert ["a"] == convention(["a"], None)


class TestBadSettings:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("convention = ", "freshline.toml is not TOML: Invalid value"),
            (
                'convention = "layer_table"',
                (
                    "freshline.toml: convention: 'layer_table' is no key convention: did you mean "
                    "layer-table?"
                ),
            ),
            ("convention = 3", "freshline.toml: convention: input should be a valid string, not 3"),
            (
                'convnetion = "one-part"',
                "freshline.toml: convnetion: no such setting; did you mean convention?",
            ),
            (
                '[rules]\nunknown-imports = "note"',
                "freshline.toml: rules: 'unknown-imports' is no rule; did you mean unknown-import?",
            ),
            (
                '[rules]\ncycle = "warning"',
                (
                    "freshline.toml: rules.cycle.level: 'warning' is no level; write one of "
                    "finding, note, off."
                ),
            ),
            (
                '[rules]\ncycle = "off"',
                (
                    "freshline.toml: rules.cycle: a rule that is off needs a reason; write "
                    '{level = "off", reason = "..."}.'
                ),
            ),
            (
                '[rules]\ncycle = {level = "off", reason = " "}',
                "freshline.toml: rules.cycle.reason: is empty; write what it is.",
            ),
            (
                '[rules]\ncycle = {level = "off", because = "x"}',
                "freshline.toml: rules.cycle.because: no such setting; there are level, reason.",
            ),
            (
                '[rules]\ndoes-not-load = {level = "off", reason = "slow"}',
                "freshline.toml: rules.does-not-load: what a location makes is not known",
            ),
            (
                '[[exceptions]]\nrule = "cycle"\nkey = "*"',
                "freshline.toml: exceptions[1].reason: is missing; say why, in a sentence.",
            ),
            (
                '[[exceptions]]\nrule = "cycel"\nkey = "*"\nreason = "x"',
                "freshline.toml: exceptions[1].rule: 'cycel' is no rule; did you mean cycle?",
            ),
            ("rules = 3", "freshline.toml: rules: input should be a valid dictionary, not 3."),
        ],
    )
    def test_the_message_names_the_file_the_field_and_the_fix(
        self, workspace: Path, text: str, message: str
    ) -> None:
        write(text)

        assert refusal(workspace).startswith(message)

    def test_a_field_in_pyproject_has_its_whole_name(self, workspace: Path) -> None:
        write('[tool.freshline.rules]\ncycle = "off"', "pyproject.toml")

        assert refusal(workspace).startswith("pyproject.toml: tool.freshline.rules.cycle: a rule")

    def test_a_rule_that_is_not_known_is_named_with_all_rules(self) -> None:
        with pytest.raises(SettingsError, match="'zzz' is no rule; the rules are does-not-load, "):
            rule_named("zzz")


class TestApplied:
    def applied(self, workspace: Path, text: str, **kwargs: Any) -> Outcome:
        write(text)
        return read_settings(workspace).applied_to([UNKNOWN, CYCLE, NOTE], **kwargs)

    def test_without_settings_nothing_changes(self, workspace: Path) -> None:
        assert ([UNKNOWN, CYCLE, NOTE], []) == self.applied(workspace, "")

    def test_all_of_a_rule_become_notes(self, workspace: Path) -> None:
        found, left_out = self.applied(workspace, '[rules]\nunknown-import = "note"')

        assert [("core", "finding"), ("marts", "note"), ("ml", "note")] == [
            (it.location, it.severity.value) for it in found
        ]
        assert [] == left_out

    def test_all_of_a_rule_become_findings(self, workspace: Path) -> None:
        found, _ = self.applied(workspace, '[rules]\nunknown-import = "finding"')

        assert {Severity.ERROR} == {finding.severity for finding in found}

    def test_a_rule_that_is_off_is_left_out_with_the_reason(self, workspace: Path) -> None:
        text = '[rules]\nunknown-import = {level = "off", reason = "we know"}'

        assert ([CYCLE], [(UNKNOWN, "we know"), (NOTE, "we know")]) == (
            self.applied(workspace, text)
        )

    @pytest.mark.parametrize(
        ("rule", "key", "location", "covered"),
        [
            ("unknown-import", "raw/*", None, [UNKNOWN]),
            ("unknown-import", "*", None, [UNKNOWN, NOTE]),
            ("unknown-import", "*", "m[al]*", [UNKNOWN, NOTE]),
            ("unknown-import", "*", "marts", [UNKNOWN]),
            ("cycle", "mart/a", "marts", [CYCLE]),  # it has a part in it
        ],
    )
    def test_an_exception_covers_keys_and_locations(
        self, workspace: Path, rule: str, key: str, location: str | None, covered: list[Finding]
    ) -> None:
        where = f'location = "{location}"\n' if location else ""
        text = f'[[exceptions]]\nrule = "{rule}"\nkey = "{key}"\n{where}reason = "why"'

        found, left_out = self.applied(workspace, text)

        assert [(finding, "why") for finding in covered] == left_out
        assert {UNKNOWN, CYCLE, NOTE} - set(covered) == set(found)

    def test_a_pattern_for_every_key_covers_a_finding_without_key(self, workspace: Path) -> None:
        write(
            '[[exceptions]]\nrule = "does-not-load"\nkey = "*"\nlocation = "core"\nreason = "why"'
        )

        assert ([], [(BROKEN, "why")]) == read_settings(workspace).applied_to([BROKEN])

    def test_an_exception_that_covers_nothing_is_a_note(self, workspace: Path) -> None:
        text = '[[exceptions]]\nrule = "cycle"\nkey = "mart/b"\nreason = "why"'

        *_, note = self.applied(workspace, text).findings

        assert (Severity.NOTE, Rule.CYCLE, "mart/b", "freshline.toml") == (
            note.severity,
            note.rule,
            note.key,
            note.file,
        )
        assert "is no longer needed" in note.message
        assert "Take it out of freshline.toml." == note.fix

    def test_an_exception_from_a_rule_that_was_not_judged_is_no_note(self, workspace: Path) -> None:
        text = '[[exceptions]]\nrule = "policy"\nkey = "mart/b"\nreason = "why"'

        found = self.applied(workspace, text, not_judged=[Rule.POLICY]).findings

        assert [UNKNOWN, CYCLE, NOTE] == found
