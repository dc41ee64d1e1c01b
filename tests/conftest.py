from __future__ import annotations

import sys
from pathlib import Path

# The servers that tests start, and the helpers beside this file.
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "devstack" / "testing"), str(ROOT / "tests")]
pytest_plugins = ["devstack_fixtures"]
