"""Programs compiled once for all tests of the commands."""

from __future__ import annotations

from tests.support.programs import cached_programs

__all__ = ["cached_programs"]
