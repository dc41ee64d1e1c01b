"""`FreshlineComponent`: puts a dg project under freshline from YAML.

The folder `defs/freshline` has one file, `defs.yaml`:

    type: freshline.component.FreshlineComponent
    attributes:
      policies:
        - {key: mart/orders, maximum_lag_minutes: 30}
        - {selection: "group:reports", maximum_lag_minutes: 60, cron: "0 9 * * *"}

It adds what `with_freshline` adds. A component cannot change what other components make: so
Dagster's own freshness policies are not attached, and the policies above are published with the
contract.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of the attributes.

import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from dagster import (
    AssetKey,
    AssetSelection,
    AssetSpec,
    Component,
    ComponentLoadContext,
    Definitions,
    Model,
    Resolvable,
)

from freshline.errors import DefinitionsError, PolicyError
from freshline.location import Mode, additions, check_definitions, unfollowed_partitions_of
from freshline.policy import MaxLag, partitioned_message
from freshline.words import similar

__all__ = ["FreshlineComponent", "PolicyAttributes"]

_LOADING: ContextVar[str | None] = ContextVar("_LOADING", default=None)
"""The file of the component that is reading what the other components define."""


class PolicyAttributes(Model, Resolvable):
    """The maximum lag of one asset, or of each asset in a selection."""

    key: str | None = None
    """The parts of an asset's key, joined by slashes."""
    selection: str | None = None
    """In Dagster's syntax for asset selections, as in `group:reports`."""
    maximum_lag_minutes: float
    cron: str | None = None
    timezone: str | None = None


class FreshlineComponent(Component, Model, Resolvable):
    """Adds the contract of the project, its sensor, and a check for each policy in the project.

    `location` is the name of the code location, by default the project's. `policies` come on top
    of those that assets carry in their metadata. `mode` is that of `with_freshline`.
    """

    location: str | None = None
    sensor_name: str = "update_sensor"
    tick_seconds: int = 5
    mode: Mode = "request"
    policies: Sequence[PolicyAttributes] = ()

    def build_defs(self, context: ComponentLoadContext) -> Definitions:
        """Return what `with_freshline` adds to the definitions of the other components.

        Raises what `with_freshline` raises, and `DefinitionsError` if the project has two such
        components.
        """
        file = _file(context)
        with _only_one(file):
            others = _other_definitions(context)
        location = self.location or _project_name(context.project_root)
        carried = check_definitions(others, location=location, sensor_name=self.sensor_name)
        given = _given_policies(self.policies, others, carried, file)
        return additions(
            {**carried, **given},
            definitions=others,
            location=location,
            sensor_name=self.sensor_name,
            tick_seconds=self.tick_seconds,
            mode=self.mode,
            given=given,
        )


def _file(context: ComponentLoadContext) -> str:
    path = Path(context.path)
    file = path / "defs.yaml" if path.is_dir() else path
    root = context.project_root.resolve()
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def _project_name(root: Path) -> str:
    """Return the name that dg gives to the code location of the project in `root`."""
    for name, path in (("dg.toml", ("project",)), ("pyproject.toml", ("tool", "dg", "project"))):
        file = root / name
        if file.is_file():
            settings: Any = tomllib.loads(file.read_text(encoding="utf-8"))
            for part in path:
                settings = settings.get(part, {})
            if settings.get("code_location_name"):
                return str(settings["code_location_name"])
    return root.name


# --- what the other components define --------------------------------------------------------


@contextmanager
def _only_one(file: str) -> Iterator[None]:
    """Raise `DefinitionsError` if the definitions of `file` are asked for while they are built.

    They are, if another component of the project reads what all others define as well.
    """
    loading = _LOADING.get()
    if loading is not None:
        raise DefinitionsError(
            f"{file}: {loading} is a FreshlineComponent already, or a component that it reads "
            "reads this one in turn. A project has one FreshlineComponent; delete the other."
        )
    token = _LOADING.set(file)
    try:
        yield
    finally:
        _LOADING.reset(token)


def _other_definitions(context: ComponentLoadContext) -> Definitions:
    """Return what all other components of the project define; the tree keeps it for them."""
    tree: Any = context.component_tree
    own = _place(context.component_decl)
    places = list(_other_places(tree.find_root_decl(), own))
    return Definitions.merge(*(tree.build_defs_at_path(place) for place in places))


def _other_places(decl: Any, own: object) -> Iterator[Any]:
    """Yield the largest parts of the tree that do not contain the place `own`."""
    if _place(decl) == own:
        return
    inside = [_place(part) for part in decl.iterate_all_component_decls()]
    if own not in inside:
        yield _place(decl)
        return
    for child in decl.iterate_child_component_decls():
        yield from _other_places(child, own)


def _place(decl: Any) -> Any:
    """Return where a component is declared; Dagster 1.12 calls it `path`."""
    return decl.loc if hasattr(decl, "loc") else decl.path


# --- the policies in the file -------------------------------------------------------------------


def _given_policies(
    entries: Sequence[PolicyAttributes],
    others: Definitions,
    carried: Collection[AssetKey],
    file: str,
) -> dict[AssetKey, MaxLag]:
    """Return the policies that the component's file gives, by asset."""
    given: dict[AssetKey, MaxLag] = {}
    specs = {spec.key: spec for spec in others.resolve_all_asset_specs()}
    unfollowed = unfollowed_partitions_of(others)
    for number, entry in enumerate(entries):
        where = f"{file}: policies[{number}]"
        policy = MaxLag.parse(
            entry.model_dump(exclude={"key", "selection"}, exclude_none=True), where
        )
        for key in _selected(entry, specs, others, where):
            name = key.to_user_string()
            if key in given or key in carried:
                raise PolicyError(f"{where}: asset {name} has a policy already. Keep one.")
            if key in unfollowed:
                raise PolicyError(f"{where}: {partitioned_message(name, None, unfollowed[key])}")
            given[key] = policy
    return given


def _selected(
    entry: PolicyAttributes, specs: Mapping[AssetKey, AssetSpec], others: Definitions, where: str
) -> list[AssetKey]:
    if (entry.key is None) == (entry.selection is None):
        raise PolicyError(f"{where}: say which assets it is for: give either key or selection.")
    if entry.selection is not None:
        selection = AssetSelection.from_string(entry.selection)
        keys = selection.resolve(others.resolve_asset_graph())
        if not keys:
            raise PolicyError(
                f"{where}: no asset of the project is in the selection {entry.selection!r}."
            )
        return sorted(keys)
    key = AssetKey.from_user_string(entry.key or "")
    if key not in specs:
        close = similar(key.to_user_string(), [known.to_user_string() for known in specs])
        meant = f"; did you mean {close}?" if close else "."
        raise PolicyError(f"{where}: the project has no asset {key.to_user_string()}{meant}")
    return [key]
