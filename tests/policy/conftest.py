"""Policies as files."""

from __future__ import annotations

from tests.support.policy_file import policy_file

__all__ = ["policy_file"]
