"""What the package logs during a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holosoma_jax.terminal import messages_to


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """The lines that a user would see, as they come."""
    lines: list[str] = []
    with messages_to(lines.append):
        yield lines
