"""Read which partitions an asset has, and which partitions of its inputs each of them reads.

What is found here is what `Partitions` and `PartitionsRead` in `document` hold, as plain JSON
values. What cannot be followed is said in words that end a sentence. Like `describe`, the gate runs
this file inside every location's own environment. It imports nothing but the standard library,
`freshline.names`, `freshline.declared`, `node` and, inside functions, Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from freshline.contract.node import Node
from freshline.declared import epoch_of, told
from freshline.names import COMPLETE_FROM

_MOST_KEYS: Final = 10_000
"""Contracts with more partition keys would be slow to read at every tick of every location."""

_EVERYTHING: Final[Mapping[str, Any]] = {}
"""All partitions are read."""


class _Dimensions(NamedTuple):
    """The dimensions of a partitions definition that freshline follows, at most one of each."""

    windows: Any = None
    """The definition of the time windows; None: it has none."""
    keys: Any = None
    """The definition of static or dynamic keys; None: it has none."""
    windows_name: str | None = None
    """The name of the dimension; None: there is only one."""
    keys_name: str | None = None


class _Unsupported(Exception):  # noqa: N818  # it never leaves this file
    """freshline cannot follow this, because of what the message says."""


# --- which there are ------------------------------------------------------------------------


def partitions_of(node: Node) -> dict[str, Any] | None:
    """Return the partitions of an asset; None: it has none."""
    if node.partitions is None:
        return None
    try:
        return _partitions(node)
    except _Unsupported as error:
        return {"unsupported": str(error)}


def _partitions(node: Node) -> dict[str, Any]:
    if node.observed:
        raise _Unsupported("it has partitions, and is observed as a whole")
    dimensions = _dimensions(node.partitions)
    found: dict[str, Any] = {"single_run": node.single_run}
    if dimensions.windows is not None:
        found["windows"] = _windows(dimensions.windows)
        found["complete_from"] = epoch_of(told(node.metadata, COMPLETE_FROM))
    if dimensions.keys is not None:
        found.update(_keys(dimensions.keys))
    if dimensions.windows_name is not None and dimensions.keys_name is not None:
        # Dagster joins the parts of a key in the order of the names of the dimensions.
        found["keys_first"] = dimensions.keys_name < dimensions.windows_name
    return found


def _dimensions(definition: Any) -> _Dimensions:
    """Return the dimensions of a partitions definition. Raises `_Unsupported`."""
    import dagster as dg

    if isinstance(definition, dg.TimeWindowPartitionsDefinition):
        if getattr(definition, "exclusions", None):
            raise _Unsupported("its time windows have exclusions, which freshline does not follow")
        return _Dimensions(windows=definition)
    if isinstance(definition, (dg.StaticPartitionsDefinition, dg.DynamicPartitionsDefinition)):
        return _Dimensions(keys=definition)
    if not isinstance(definition, dg.MultiPartitionsDefinition):
        kind = type(definition).__name__
        raise _Unsupported(f"its partitions are a {kind}, which freshline does not know")
    named = {it.name: it.partitions_def for it in definition.partitions_defs}
    parts = {name: _dimensions(each) for name, each in named.items()}
    windows = [name for name, part in parts.items() if part.windows is not None]
    keys = [name for name, part in parts.items() if part.keys is not None]
    if len(windows) > 1:
        raise _Unsupported("its partitions have two time dimensions, and freshline follows one")
    if len(windows) == len(keys) == 1:
        return _Dimensions(named[windows[0]], named[keys[0]], windows[0], keys[0])
    if all(isinstance(each, dg.StaticPartitionsDefinition) for each in named.values()):
        return _Dimensions(keys=definition)
    raise _Unsupported(
        "its partitions have two dimensions without time of which one is dynamic, and freshline "
        "follows one"
    )


def _windows(definition: Any) -> dict[str, Any]:
    return {
        "cron": definition.cron_schedule,
        "timezone": definition.timezone,
        "start": definition.start.timestamp(),
        "end": definition.end.timestamp() if definition.end else None,
        "end_offset": definition.end_offset,
        "fmt": definition.fmt,
    }


def _keys(definition: Any) -> dict[str, Any]:
    import dagster as dg

    if isinstance(definition, dg.DynamicPartitionsDefinition):
        if not definition.name:
            raise _Unsupported("a function of its own says which partitions it has")
        return {"dynamic": definition.name}
    keys = [str(key) for key in definition.get_partition_keys()]
    if not keys:
        raise _Unsupported("it has no partition keys")
    if len(keys) > _MOST_KEYS:
        raise _Unsupported(
            f"it has {len(keys)} partition keys, and freshline follows {_MOST_KEYS} at most"
        )
    return {"keys": keys}


def why_unfollowed(unsupported: str | None, reads: Mapping[str, str | None]) -> str | None:
    """Return why freshline cannot follow the partitions of an asset, as the end of a sentence.

    `unsupported` is what is wrong with its partitions; `reads`, by input, with which of them it
    reads. None: it can follow them.
    """
    if unsupported:
        return unsupported
    for key, why in sorted(reads.items()):
        if why:
            return f"which partitions of {key} it reads cannot be followed: {why}"
    return None


# --- what each of them reads ----------------------------------------------------------------


def reads_of(node: Node, known: Mapping[str, Node]) -> dict[str, dict[str, Any]]:
    """Return which partitions an asset reads of its inputs, by key; not there: all of them.

    `known` are the assets that its location declares, by key. Another location may make an input:
    then what it has is not known here, and what the reader says counts as far as it applies.
    """
    if node.partitions is None and not node.mappings:
        return {}
    try:
        reader = _dimensions(node.partitions) if node.partitions is not None else _Dimensions()
    except _Unsupported:
        return {}  # what cannot be followed is said of its partitions
    reads: dict[str, dict[str, Any]] = {}
    for key in sorted(set(node.deps) - {node.key}):
        mapping, made = node.mappings.get(key), known.get(key)
        if made is not None and (made.made or made.observed) and made.partitions is None:
            continue
        definition = made.partitions if made is not None else None
        try:
            read = _read(mapping, node.partitions, reader, definition)
        except _Unsupported as error:
            # Without partitions of its own, it can only be said to read all of the input.
            read = {"unsupported": str(error)} if node.partitions is not None else _EVERYTHING
        if read:
            reads[key] = dict(read)
    return reads


def _read(
    mapping: Any, definition: Any, reader: _Dimensions, input_definition: Any
) -> Mapping[str, Any]:
    """Return which partitions are read of an input; `input_definition` is None if not known.

    Raises `_Unsupported`.
    """
    import dagster as dg

    if mapping is not None:
        _check_shipped(mapping)
    if isinstance(mapping, dg.LastPartitionMapping):
        return {"last": True}
    try:
        given = _dimensions(input_definition) if input_definition is not None else None
    except _Unsupported:
        return _EVERYTHING
    if isinstance(mapping, dg.TimeWindowPartitionMapping):
        return _moved(mapping) if _have_windows(reader, given) else _EVERYTHING
    if isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping):
        return _of_dimension(mapping.partition_dimension_name, reader, given)
    if isinstance(mapping, dg.MultiPartitionMapping):
        return _by_dimension(mapping, reader, given)
    if mapping is None and given and _is_multi(definition) != _is_multi(input_definition):
        return _of_dimension(None, reader, given)
    if mapping is None or isinstance(mapping, dg.IdentityPartitionMapping):
        return _same(reader, given)
    return _EVERYTHING


def _check_shipped(mapping: Any) -> None:
    """Raise `_Unsupported` if a mapping is not one of those that come with Dagster."""
    if not type(mapping).__module__.startswith("dagster."):
        name = type(mapping).__name__
        raise _Unsupported(f"{name} is code of its own location, which others cannot call")


def _is_multi(definition: Any) -> bool:
    import dagster as dg

    return isinstance(definition, dg.MultiPartitionsDefinition)


def _have_windows(reader: _Dimensions, given: _Dimensions | None) -> bool:
    return reader.windows is not None and (given is None or given.windows is not None)


def _have_keys(reader: _Dimensions, given: _Dimensions | None) -> bool:
    """Return whether both have keys, and each key of the reader is one of the input."""
    import dagster as dg

    if given is None or reader.keys is None or given.keys is None:
        return reader.keys is not None and given is None
    definitions = (reader.keys, given.keys)
    if any(isinstance(each, dg.DynamicPartitionsDefinition) for each in definitions):
        return bool(reader.keys == given.keys)
    return set(reader.keys.get_partition_keys()) <= set(given.keys.get_partition_keys())


def _moved(mapping: Any) -> Mapping[str, Any]:
    """Return which windows a `TimeWindowPartitionMapping` says. Raises `_Unsupported`."""
    start, end = mapping.start_offset, mapping.end_offset
    if start > end:
        raise _Unsupported(
            f"TimeWindowPartitionMapping(start_offset={start}, end_offset={end}) ends before it "
            "begins"
        )
    return {"windows": [start, end]}


def _same(reader: _Dimensions, given: _Dimensions | None) -> Mapping[str, Any]:
    """Return the partitions of the same name, in all dimensions that there are."""
    if given is not None:
        has, other = [[it is not None for it in each[:2]] for each in (reader, given)]
        # No key of one kind is a key of the other.
        if has != other or (reader.keys is not None and not _have_keys(reader, given)):
            return _EVERYTHING
    read: dict[str, Any] = {}
    if reader.windows is not None:
        read["windows"] = [0, 0]
    if reader.keys is not None:
        read["same_key"] = True
    return read


def _of_dimension(
    name: str | None, reader: _Dimensions, given: _Dimensions | None
) -> Mapping[str, Any]:
    """Return the partitions that are the same in the one dimension that both have.

    `name` is what the definition with two dimensions calls it; None: it does not matter.
    """

    def is_meant(*names: str | None) -> bool:
        known = [each for each in names if each is not None]
        return name is None or not known or name in known

    sides = [side for side in (reader, given) if side is not None]
    read: dict[str, Any] = {}
    if _have_windows(reader, given) and is_meant(*(side.windows_name for side in sides)):
        read["windows"] = [0, 0]
    if _have_keys(reader, given) and is_meant(*(side.keys_name for side in sides)):
        read["same_key"] = True
    return read


def _by_dimension(
    mapping: Any, reader: _Dimensions, given: _Dimensions | None
) -> Mapping[str, Any]:
    """Return the partitions that a `MultiPartitionMapping` says. Raises `_Unsupported`."""
    import dagster as dg

    read: dict[str, Any] = {}
    for input_name, each in mapping.downstream_mappings_by_upstream_dimension.items():
        inner = each.partition_mapping
        _check_shipped(inner)
        is_same = isinstance(inner, dg.IdentityPartitionMapping)
        if each.dimension_name == reader.windows_name:
            applies = given is None or input_name == given.windows_name
            if applies and isinstance(inner, dg.TimeWindowPartitionMapping):
                read.update(_moved(inner))
            elif applies and is_same:
                read["windows"] = [0, 0]
        elif each.dimension_name == reader.keys_name:
            applies = given is None or input_name == given.keys_name
            if applies and is_same and _have_keys(reader, given):
                read["same_key"] = True
    return read
