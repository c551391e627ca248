"""Programs of the toy robot, compiled once for all tests of this folder."""

from __future__ import annotations

from tests.support.messages import messages as messages
from tests.support.programs import cached_programs

__all__ = ["cached_programs"]
