"""The one exception that a command turns into a single line and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Bad input from the user: names the key, what was given, what is allowed, and the fix."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the known name closest to `name`, or ''."""
    match = difflib.get_close_matches(name.replace("-", "_"), [k.replace("-", "_") for k in known], 1)
    return f" Did you mean '{match[0]}'?" if match else ""
