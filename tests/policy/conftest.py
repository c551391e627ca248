"""Policies as files."""

from __future__ import annotations

from tests.support.foreign_files import picking
from tests.support.policy_file import policy_file

__all__ = ["picking", "policy_file"]
