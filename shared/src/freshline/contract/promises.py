"""From when on the partitions of an asset count: what is older was never promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from freshline.contract.document import Contract
from freshline.model import Asset, inputs_first
from freshline.windows import Window

__all__ = ["with_promises"]


def with_promises(
    assets: Mapping[str, Asset], contracts: Iterable[Contract]
) -> Mapping[str, Asset]:
    """Return `assets`, of which those with time windows say from when on their partitions count.

    That is what the asset says itself, or else two windows before the maximum lag before the first
    policy was published that needs it; and not before what its inputs say. But it is never later
    than what a partition of another asset reads that counts.
    """
    if not any(asset.windows for asset in assets.values()):
        return assets
    since = {key: at for contract in contracts for key, at in contract.promised.items()}
    inputs = {key: assets.keys() & set(asset.deps) for key, asset in assets.items()}
    order = list(dict.fromkeys([*inputs_first(inputs), *assets]))
    earliest = _said_by_inputs(assets, order)
    begin: dict[str, float] = {}
    """When the promises begin of what a policy needs."""
    needed: dict[str, float] = {}
    found = dict(assets)
    for key in reversed(order):
        asset = assets[key]
        if asset.policy and key in since:
            begin[key] = min(begin.get(key, inf), since[key] - asset.policy.minutes * 60.0)
        if key not in begin:
            continue
        own = min(_own(asset, begin[key], earliest[key]), needed.get(key, inf))
        if asset.windows and own < inf:
            found[key] = replace(asset, promised_from=own)
        for dep in asset.deps:
            begin[dep] = min(begin.get(dep, inf), begin[key])
            needed[dep] = min(needed.get(dep, inf), _read_from(asset, dep, own))
    return found


def _own(asset: Asset, begin: float, earliest: float) -> float:
    """Return from when on the partitions count, whoever reads them."""
    if asset.promised_from is not None:
        return asset.promised_from
    if asset.windows is None:
        return inf
    return max(begin - 2 * asset.windows.longest(begin), earliest)


def _read_from(asset: Asset, dep: str, own: float) -> float:
    """Return from when on partitions of `dep` are read by those of `asset` that count."""
    reads = asset.reads.get(dep)
    if asset.windows is None or own == inf or reads is None or reads.windows is None:
        return inf
    first = asset.windows.shifted(Window(own, own), reads.windows[0], 0)
    return min(own, first.start)


def _said_by_inputs(assets: Mapping[str, Asset], order: Iterable[str]) -> dict[str, float]:
    """Return, for each asset, the latest time that one of its inputs says itself; -inf: none."""
    said: dict[str, float] = {}
    for key in order:
        inputs = [assets[dep] for dep in assets[key].deps if dep in assets]
        said[key] = max(
            (
                max(
                    -inf if dep.promised_from is None else dep.promised_from,
                    said.get(dep.key, -inf),
                )
                for dep in inputs
            ),
            default=-inf,
        )
    return said
