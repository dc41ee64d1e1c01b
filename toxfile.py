"""A tox environment for each code location that workspace.yaml names.

tox loads this file as well as tox.ini, whose section [testenv] defines these environments.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tox.config.sets import ConfigSet
from tox.plugin import impl

ROOT = Path(__file__).resolve().parent
sys.path.append(str(ROOT / "tools"))
from projects import read_locations  # noqa: E402  # tools/ is not installed


@impl
def tox_extend_envs() -> list[str]:
    """Return the names that `tox -e` accepts as well."""
    return read_locations(ROOT)


@impl
def tox_add_core_config(core_conf: ConfigSet) -> None:
    """Add the locations to what plain `tox` runs."""
    core_conf["env_list"].envs.extend(read_locations(ROOT))
