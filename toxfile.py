"""A tox environment for each code location that workspace.yaml names.

tox loads this file as well as tox.ini, whose section [testenv] defines these environments.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from tox.config.sets import ConfigSet
from tox.plugin import impl

WORKSPACE = Path(__file__).with_name("workspace.yaml")


def locations() -> list[str]:
    workspace = yaml.safe_load(WORKSPACE.read_text(encoding="utf-8"))
    return [entry["python_module"]["location_name"] for entry in workspace["load_from"]]


@impl
def tox_extend_envs() -> list[str]:
    """Return the names that `tox -e` accepts as well."""
    return locations()


@impl
def tox_add_core_config(core_conf: ConfigSet) -> None:
    """Add the locations to what plain `tox` runs."""
    core_conf["env_list"].envs.extend(locations())
