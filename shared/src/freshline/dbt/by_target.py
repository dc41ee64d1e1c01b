"""Does a setting of a dbt model, such as its schema, depend on the target that dbt runs in?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jinja2 import Environment, TemplateSyntaxError, nodes

__all__ = ["depends_on_target"]

_DIFFERING: Final = frozenset({"target", "env_var", "var"})
"""The names of dbt's context whose values are others in another target or environment."""
_MENTIONED: Final = re.compile(rf"\b({'|'.join(sorted(_DIFFERING))})\b")
_JINJA: Final = Environment(extensions=["jinja2.ext.do"], autoescape=True)  # dbt has `do` too


def depends_on_target(props: Mapping[str, Any], setting: str) -> bool:
    """Return whether a setting is written with what differs between targets.

    Of the YAML files, the manifest keeps the templates of dbt_project.yml only; of the SQL, all.
    """
    if "{{" in str((props.get("unrendered_config") or {}).get(setting)):
        return True
    code = props.get("raw_code") or ""
    if setting not in code or not _MENTIONED.search(code):
        return False
    try:
        template = _JINJA.parse(code)
    except TemplateSyntaxError:
        return False  # a Python model, or a tag of dbt that has no settings in it
    differing = set(_DIFFERING)
    for assigned in template.find_all(nodes.Assign):
        if isinstance(assigned.target, nodes.Name) and _names(assigned.node) & differing:
            differing.add(assigned.target.name)
    return any(_names(value) & differing for value in _configured(template, setting))


def _configured(template: nodes.Template, setting: str) -> Iterator[nodes.Expr]:
    """Yield the values that calls of ``config(...)`` give to a setting."""
    for call in template.find_all(nodes.Call):
        if not isinstance(call.node, nodes.Name) or call.node.name != "config":
            continue
        yield from (given.value for given in call.kwargs if given.key == setting)
        for given in call.args:
            if isinstance(given, nodes.Dict):
                for pair in given.items:
                    if isinstance(pair.key, nodes.Const) and pair.key.value == setting:
                        yield pair.value


def _names(expression: nodes.Node) -> set[str]:
    """Return the names that an expression uses."""
    own = {expression.name} if isinstance(expression, nodes.Name) else set()
    return own | {name.name for name in expression.find_all(nodes.Name)}
