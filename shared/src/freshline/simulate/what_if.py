"""Change the policies of a graph, to simulate what would follow: `--what-if mart/orders=2m`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from freshline.errors import WhatIfError
from freshline.model import Graph
from freshline.policy import MaxLag
from freshline.words import similar

__all__ = ["with_policies"]

_QUESTION = re.compile(
    r"^(?:(?P<location>[^:=]+):)?(?P<key>[^:=]+)=(?P<lag>none|(?P<number>\d+(?:\.\d+)?)(?P<unit>[smh]))$"
)
_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}


def with_policies(graph: Graph, questions: Iterable[str]) -> Graph:
    """Return `graph` with the policies that `questions` ask for.

    Each is `LOCATION:KEY=2m`: a number with s, m or h, or `none`.

    Raises `WhatIfError` for a question that cannot be read or names no asset of the location.
    """
    assets = dict(graph.assets)
    for question in questions:
        match = _QUESTION.match(question.strip())
        if match is None:
            raise WhatIfError(
                f"--what-if {question}: write LOCATION:KEY=2m, with s, m or h for the unit, "
                "or LOCATION:KEY=none."
            )
        key, location = match["key"].strip(), match["location"]
        asset = assets.get(key)
        if asset is None or (location and asset.location != location):
            close = similar(
                key, [other.key for other in assets.values() if location in (None, other.location)]
            )
            meant = f"; did you mean {assets[close].location}:{close}?" if close else "."
            raise WhatIfError(f"--what-if {question}: there is no such asset{meant}")
        policy = asset.policy
        if match["lag"] == "none":
            policy = None
        else:
            minutes = float(match["number"]) * _MINUTES[match["unit"]]
            if minutes <= 0:
                raise WhatIfError(f"--what-if {question}: a maximum lag is above zero.")
            policy = replace(policy, minutes=minutes) if policy else MaxLag(minutes)
        assets[key] = replace(asset, policy=policy)
    return replace(graph, assets=assets)
