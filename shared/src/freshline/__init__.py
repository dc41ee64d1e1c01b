"""One lineage over many Dagster code locations: keys, contracts, freshness across boundaries.

What a location uses is here; each name is documented where it is defined. Names are loaded on
first use, so that the command line and the planner start without Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freshline.contract import Contract
    from freshline.errors import ContractError, KeyConventionError, PolicyError
    from freshline.keys import asset_key
    from freshline.location import with_freshline
    from freshline.policy import MaxLag, max_lag
    from freshline.sensor import build_freshness_sensor
    from freshline.stamp import data_time_metadata, stamp_lag

__all__ = [
    "Contract",
    "ContractError",
    "KeyConventionError",
    "MaxLag",
    "PolicyError",
    "asset_key",
    "build_freshness_sensor",
    "data_time_metadata",
    "max_lag",
    "stamp_lag",
    "with_freshline",
]

_HOMES = {
    "Contract": "freshline.contract",
    "ContractError": "freshline.errors",
    "KeyConventionError": "freshline.errors",
    "MaxLag": "freshline.policy",
    "PolicyError": "freshline.errors",
    "asset_key": "freshline.keys",
    "build_freshness_sensor": "freshline.sensor",
    "data_time_metadata": "freshline.stamp",
    "max_lag": "freshline.policy",
    "stamp_lag": "freshline.stamp",
    "with_freshline": "freshline.location",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
