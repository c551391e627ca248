"""The one exception that a command turns into a single line and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """Bad input from the user: names the key, what was given, what is allowed, and the fix.

    The message is one line, whatever was quoted in it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None; '-', '_' and capitals do not count as differences."""
    plain = {k.replace("-", "_").lower(): k for k in known}
    match = difflib.get_close_matches(name.replace("-", "_").lower(), plain, 1)
    return plain[match[0]] if match else None


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean 'X'?' for the known name closest to `name`, or ''."""
    match = closest(name, known)
    return f" Did you mean '{match}'?" if match else ""
