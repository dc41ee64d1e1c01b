"""Checks what the metadata of an asset tells freshline, so that a slip is named when code loads.

Later it would be met at every tick of the location's sensor, which could then request nothing.
Policies are checked where they are read: see `freshline.policy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from freshline.declared import epoch_of, told, unwrapped
from freshline.errors import MetadataError
from freshline.names import (
    AT_MOST_EVERY,
    CHECK_VIEW,
    COMPLETE_FROM,
    CONFIG,
    EXPECTED_SECONDS,
    USES,
    VIEW,
)

__all__ = ["check_metadata"]

_USES_EXAMPLE: Final = '{"raw/orders": [{"name": "id", "type": "bigint"}]}'


def check_metadata(spec: Any) -> None:
    """Raise `MetadataError` if the `AssetSpec` tells freshline something that cannot be used."""
    for name, unit in ((AT_MOST_EVERY, "minutes"), (EXPECTED_SECONDS, "seconds")):
        value = told(spec.metadata, name)
        if value is not None and not _is_positive(value):
            raise _wrong(spec, name, f"a number of {unit} above 0", value)
    for name in (VIEW, CHECK_VIEW):
        value = told(spec.metadata, name)
        if value is not None and not isinstance(value, bool):
            raise _wrong(spec, name, "True or False", value)
    begin = told(spec.metadata, COMPLETE_FROM)
    if begin is not None and epoch_of(begin) is None:
        expected = 'a date or a time in ISO 8601, as in "2026-01-01" or "2026-01-01T06:00+01:00"'
        raise _wrong(spec, COMPLETE_FROM, expected, begin)
    config = unwrapped(spec.metadata.get(CONFIG))
    if config is not None and not isinstance(config, Mapping):
        raise _wrong(spec, CONFIG, 'the config of the op, as in {"since": "2026-01-01"}', config)
    uses = unwrapped(spec.metadata.get(USES))
    if uses is not None and not _are_uses(uses):
        raise _wrong(spec, USES, f"columns by upstream key, as in {_USES_EXAMPLE}", uses)


def _is_positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and value > 0


def _are_uses(uses: object) -> bool:
    return isinstance(uses, Mapping) and all(
        isinstance(key, str)
        and isinstance(columns, (list, tuple))
        and all(
            isinstance(column, Mapping) and isinstance(column.get("name"), str)
            for column in columns
        )
        for key, columns in uses.items()
    )


def _wrong(spec: Any, name: str, expected: str, value: object) -> MetadataError:
    return MetadataError(
        f"asset {spec.key.to_user_string()}: metadata {name!r} must be {expected}, not {value!r}."
    )
