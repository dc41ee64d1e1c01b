"""A checkout for each test that starts a stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import Checkout


@pytest.fixture
def checkout(quick_folder: Path) -> Iterator[Checkout]:
    """A checkout in which nothing has been started yet."""
    root = quick_folder / "checkout"
    root.mkdir(mode=0o711)
    made = Checkout(root)
    yield made
    made.clean()
