"""What the package logs during a test, and whether a message states its facts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from holosoma_jax.terminal import messages_to


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """The lines that a user would see, as they come."""
    lines: list[str] = []
    with messages_to(lines.append):
        yield lines


def tells(message: str, facts: str) -> bool:
    """Whether `facts` are in `message` in their order; ' ... ' in them stands for words that may change."""
    return re.search(".*".join(map(re.escape, facts.split(" ... "))), message, re.DOTALL) is not None
