"""The committed contracts: what each code location of this workspace makes and needs."""

from __future__ import annotations

import json
from typing import Any

from support.dagster import LOCATIONS, ROOT


def read_contracts() -> dict[str, dict[str, Any]]:
    """Return the document of each location by its name."""
    return {
        name: json.loads((ROOT / name / "contract.json").read_text(encoding="utf-8"))
        for name in LOCATIONS
    }
