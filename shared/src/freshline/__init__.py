"""One lineage over many Dagster code locations: keys, contracts, freshness across boundaries.

What a location uses is here; each name is documented where it is defined. Names are loaded on
first use, so that the command line and the planner start without Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freshline.contract import Contract, ContractError
    from freshline.keys import KeyConventionError, asset_key
    from freshline.policy import MaxLag, PolicyError, max_lag

__all__ = [
    "Contract",
    "ContractError",
    "KeyConventionError",
    "MaxLag",
    "PolicyError",
    "asset_key",
    "max_lag",
]

_HOMES = {
    "Contract": "freshline.contract",
    "ContractError": "freshline.contract",
    "KeyConventionError": "freshline.keys",
    "MaxLag": "freshline.policy",
    "PolicyError": "freshline.policy",
    "asset_key": "freshline.keys",
    "max_lag": "freshline.policy",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
