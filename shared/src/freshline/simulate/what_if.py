"""Questions of the kind "what if this policy were two minutes?"."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from freshline.errors import WhatIfError
from freshline.model import Graph
from freshline.policy import MaxLag

__all__ = ["changed"]

_QUESTION = re.compile(
    r"^(?:(?P<location>[^:=]+):)?(?P<key>[^:=]+)=(?P<lag>none|(?P<number>\d+(?:\.\d+)?)(?P<unit>[smh]))$"
)
_MINUTES = {"s": 1 / 60, "m": 1.0, "h": 60.0}


def changed(graph: Graph, questions: Iterable[str]) -> Graph:
    """`graph` with the policies of `questions`, each `LOCATION:KEY=2m` (s, m, h or none).

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
            owned = [
                f"{other.location}:{other.key}"
                for other in assets.values()
                if not location or other.location == location
            ]
            near = get_close_matches(f"{location or ''}:{key}", owned, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise WhatIfError(f"--what-if {question}: there is no such asset{hint}")
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
