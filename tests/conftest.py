from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where imports are found: fixtures that start the stack's servers, the package `support`, tools.
sys.path[:0] = [str(ROOT / folder) for folder in ("devstack/testing", "tests", "tools")]
pytest_plugins = ["devstack_fixtures"]
