"""The hierarchy of errors."""

from __future__ import annotations

import pytest
from freshline import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_the_one_root(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.FreshlineError)


def test_bad_input_is_a_value_error() -> None:
    assert issubclass(errors.InputError, ValueError)


def test_a_missing_manifest_is_a_missing_file() -> None:
    error = errors.ManifestMissingError("there is no manifest")

    assert isinstance(error, FileNotFoundError)
    assert "there is no manifest" == str(error)


@pytest.mark.parametrize("name", errors.__all__)
def test_the_module_draws_every_error(name: str) -> None:
    assert name in str(errors.__doc__)
