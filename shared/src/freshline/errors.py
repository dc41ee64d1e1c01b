"""Every error that freshline raises on purpose, under one root.

    FreshlineError
    |-- InputError               also a ValueError
    |   |-- KeyConventionError
    |   |-- DefinitionsError
    |   |-- PolicyError
    |   |-- TickError
    |   |-- MetadataError
    |   |-- ModeError
    |   |-- StreamError
    |   |-- ContractError
    |   |-- WorkspaceError
    |   |-- UnknownNameError
    |   |-- DurationsError
    |   |-- WhatIfError
    |   |-- SourcesError
    |   |-- SettingsError
    |   |-- ManifestError
    |   |-- RoleError
    |   |-- BrokerAddressError
    |   |-- PortError
    |   |-- ReleaseError
    |   `-- CommandError
    |-- InstanceError
    |-- GitError
    |-- NotReadyError
    |-- ControlError
    |-- HandoverError
    `-- ManifestMissingError     also a FileNotFoundError

Each message names what is wrong and how to put it right. The command line catches the root, prints
the message and ends with status 2.
"""

from __future__ import annotations

__all__ = [
    "BrokerAddressError",
    "CommandError",
    "ContractError",
    "ControlError",
    "DefinitionsError",
    "DurationsError",
    "FreshlineError",
    "GitError",
    "HandoverError",
    "InputError",
    "InstanceError",
    "KeyConventionError",
    "ManifestError",
    "ManifestMissingError",
    "MetadataError",
    "ModeError",
    "NotReadyError",
    "PolicyError",
    "PortError",
    "ReleaseError",
    "RoleError",
    "SettingsError",
    "SourcesError",
    "StreamError",
    "TickError",
    "UnknownNameError",
    "WhatIfError",
    "WorkspaceError",
]


class FreshlineError(Exception):
    """The root of all errors that freshline raises on purpose."""


class InputError(FreshlineError, ValueError):
    """An input that cannot be used, such as a name, a policy, a file or an argument."""


class KeyConventionError(InputError):
    """A name that the key convention cannot express; says which file to change, and to what."""


class DefinitionsError(InputError):
    """Definitions that freshline cannot be added to; names what is in the way, and the fix."""


class PolicyError(InputError):
    """A policy that cannot be kept; names the asset, the file and the fix."""


class TickError(InputError):
    """A tick that is shorter than Dagster's daemon allows; names the location."""


class MetadataError(InputError):
    """Metadata by which an asset tells freshline something that cannot be used; names both."""


class ModeError(InputError):
    """A mode that a location cannot have; names the location and the modes."""


class StreamError(InputError):
    """A field or column that a stream's JSON schema does not have, or has twice."""


class ContractError(InputError):
    """A contract that cannot be read; names the location and the field."""


class WorkspaceError(InputError):
    """A workspace file that cannot be read; names the file, the entry and the fix."""


class UnknownNameError(InputError):
    """A location, asset or column that is not there; names those that are."""


class DurationsError(InputError):
    """A file of durations that cannot be read; says which entry and what it should be."""


class WhatIfError(InputError):
    """A ``--what-if`` that cannot be simulated; says how to write it."""


class SourcesError(InputError):
    """A file of dbt sources that cannot be updated; says what is in the way."""


class SettingsError(InputError):
    """A setting of a workspace that cannot be used; names the file, the field and the fix."""


class ManifestError(InputError):
    """A dbt manifest that cannot be used as it is; says how to read it."""


class RoleError(InputError):
    """A workspace whose rights in Postgres cannot be derived; names the location and the fix."""


class BrokerAddressError(InputError):
    """The address of the broker cannot be read."""


class PortError(InputError):
    """A port or host that cannot be served; names it and the fix."""


class ReleaseError(InputError):
    """A release that cannot be served; names its folder and what it lacks."""


class CommandError(InputError):
    """A command whose arguments do not say what to do, or leave nothing to do."""


class InstanceError(FreshlineError):
    """A Dagster instance that is missing or does not answer; names the place."""


class GitError(FreshlineError):
    """A revision that git does not know, or a folder that is no checkout."""


class NotReadyError(FreshlineError):
    """A code server that does not answer, or is not healthy."""


class ControlError(FreshlineError):
    """A supervisor that is missing or does not answer; names its control socket."""


class HandoverError(FreshlineError):
    """A release that does not take the place of the one that is served; says why."""


class ManifestMissingError(FreshlineError, FileNotFoundError):
    """A dbt project whose manifest has not been made; says how to make it."""
